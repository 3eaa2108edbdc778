//! Where an object is in the API: the path of a request, made of parts that cannot lead elsewhere.

use cistern_api::ObjectReference;
use cistern_functions::ports::{Inside, Refusal, Why};
use kube::core::Request as Verbs;
use serde_json::{Value as Json, json};

/// The longest name of any kind of object; most kinds allow 253 characters.
const NAME_BYTES_MAX: usize = 1024;

/// Requests for the resource, in the reference's namespace or in all.
pub(super) fn verbs(of: &ObjectReference) -> Result<Verbs, Refusal> {
    let group = of.group_name();
    let mut path = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", segment(group)?) };
    path = format!("{path}/{}", segment(&of.api_version)?);
    if !of.namespace.is_empty() {
        path = format!("{path}/namespaces/{}", segment(&of.namespace)?);
    }
    Ok(Verbs::new(format!("{path}/{}", segment(&of.resource)?)))
}

/// The object's name, fit for a path.
pub(super) fn name(at: &ObjectReference) -> Result<&str, Refusal> {
    segment(&at.name)
}

/// The pod's name, fit for a path, with its namespace.
pub(super) fn pod<'n>(of: &Inside<'n>) -> Result<&'n str, Refusal> {
    segment(of.namespace)?;
    segment(of.pod)
}

/// The object gets the name and namespace of its place.
pub(super) fn put_name(at: &ObjectReference, object: &mut Json) -> Result<(), Refusal> {
    if !object.is_object() {
        return Err(Refusal::new(Why::Invalid, "is no object"));
    }
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    object["metadata"]["name"] = name(at)?.into();
    if !at.namespace.is_empty() {
        object["metadata"]["namespace"] = at.namespace.clone().into();
    }
    Ok(())
}

/// A part of a path that stays a part: names can come out of a blueprint's templates.
fn segment(part: &str) -> Result<&str, Refusal> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._:@~".contains(c);
    let leads_up = part == "." || part == "..";
    if part.is_empty() || part.len() > NAME_BYTES_MAX || leads_up || !part.chars().all(fits) {
        let shown: String = part.chars().take(100).collect();
        return Err(Refusal::new(Why::Invalid, format!("cannot be asked for: {shown:?} is no name")));
    }
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cistern_functions::reference::of_kind;

    #[test]
    fn objects_are_where_the_api_puts_them() {
        let at = of_kind("deployment", "app", "db");
        assert_eq!(verbs(&at).unwrap().url_path, "/apis/apps/v1/namespaces/app/deployments");
        assert_eq!(verbs(&of_kind("pod", "", "")).unwrap().url_path, "/api/v1/pods");
        assert_eq!(verbs(&of_kind("namespace", "", "app")).unwrap().url_path, "/api/v1/namespaces");
    }

    #[test]
    fn no_name_leads_elsewhere() {
        for name in ["../secrets/pw", "..", ".", "", "a/b", "a%2fb", "a?watch=1", "a#b", "a b", "ä"] {
            let at = of_kind("pod", "app", name);
            assert_eq!(super::name(&at).unwrap_err().why, Why::Invalid, "{name}");
            let at = of_kind("pod", &format!("x{name}/"), "db");
            assert_eq!(verbs(&at).map(|v| v.url_path).unwrap_err().why, Why::Invalid, "{name}");
            assert!(pod(&Inside { namespace: "app", pod: name, container: "" }).is_err(), "{name}");
        }
        assert_eq!(super::name(&of_kind("pod", "app", "system:node-1.x")).unwrap(), "system:node-1.x");
    }
}
