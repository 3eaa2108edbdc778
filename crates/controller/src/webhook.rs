//! Admission of blueprints: a review in, the linter's verdict out. Pure.
//!
//! The envelope is `AdmissionReview` of `admission.k8s.io/v1`
//! (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>).
//!
//! # Guarantees
//! * An error of the linter refuses the blueprint; the message lists every error with its place. Warnings
//!   let it in, and are shown by `kubectl`.
//! * Whoever changes only labels, annotations or finalizers is never refused: a blueprint that was let in by
//!   an earlier release can still be deleted.
//! * An answer is bounded, whatever the blueprint holds.

use cistern_action::check::{self, Complaint, Severity};
use serde_json::{Value as Json, json};

/// Version of the envelope, in and out.
const API_VERSION: &str = "admission.k8s.io/v1";
/// Complaints in one message; more are counted.
const LISTED_MAX: usize = 50;
/// Longest complaint, in bytes: a template may stand in it.
const COMPLAINT_BYTES_MAX: usize = 400;
/// Warnings in one answer: the API server cuts all of them short from 4 KiB on.
const WARNINGS_MAX: usize = 12;
/// Longest warning, in bytes: the API server cuts off what is longer.
const WARNING_BYTES_MAX: usize = 256;

/// The answer to a review.
///
/// # Errors
/// It is no review that can be answered; the sentence is for the HTTP response.
pub fn answer(body: &[u8]) -> Result<Json, String> {
    let review: Json =
        serde_json::from_slice(body).map_err(|error| format!("the review is not JSON: {error}"))?;
    if review["apiVersion"] != API_VERSION || review["kind"] != "AdmissionReview" {
        return Err(format!("expected an AdmissionReview of {API_VERSION}"));
    }
    let request = &review["request"];
    let uid = request["uid"].as_str().ok_or("the review has no request.uid")?;
    let (allowed, refusal, warnings) = verdict(request);
    let mut response = json!({ "uid": uid, "allowed": allowed });
    if let Some(message) = refusal {
        response["status"] = json!({ "code": 422, "reason": "Invalid", "message": message });
    }
    if !warnings.is_empty() {
        response["warnings"] = warnings.into();
    }
    Ok(json!({ "apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response }))
}

/// Whether the object may be stored, why not, and what to warn of.
fn verdict(request: &Json) -> (bool, Option<String>, Vec<String>) {
    let object = &request["object"];
    if object["kind"] != "Blueprint" {
        // A deletion has no object; other kinds are not ours to judge.
        return (true, None, Vec::new());
    }
    let complaints = check::check(&object.to_string());
    let (errors, warnings): (Vec<_>, Vec<_>) =
        complaints.iter().partition(|complaint| complaint.rule.severity == Severity::Error);
    if !errors.is_empty() && changes_content(request) {
        return (false, Some(refusal(&errors)), warned(&warnings));
    }
    let all: Vec<&Complaint> = errors.into_iter().chain(warnings).collect();
    (true, None, warned(&all))
}

/// Whether anything but the metadata differs from what is stored.
fn changes_content(request: &Json) -> bool {
    let content = |object: &Json| {
        let mut content = object.clone();
        if let Some(fields) = content.as_object_mut() {
            fields.remove("metadata");
        }
        content
    };
    request["operation"] != "UPDATE" || content(&request["object"]) != content(&request["oldObject"])
}

fn refusal(errors: &[&Complaint]) -> String {
    let problems = if errors.len() == 1 { "1 error".to_owned() } else { format!("{} errors", errors.len()) };
    let mut message =
        format!("the blueprint has {problems}; `kanctl lint -f FILE` shows them with their lines");
    for error in errors.iter().take(LISTED_MAX) {
        message.push_str("\n  ");
        message.push_str(&sentence(error, COMPLAINT_BYTES_MAX));
    }
    if errors.len() > LISTED_MAX {
        message.push_str(&format!("\n  and {} more", errors.len() - LISTED_MAX));
    }
    message
}

fn warned(complaints: &[&Complaint]) -> Vec<String> {
    let mut warnings: Vec<String> =
        complaints.iter().take(WARNINGS_MAX).map(|c| sentence(c, WARNING_BYTES_MAX)).collect();
    if complaints.len() > WARNINGS_MAX {
        warnings.push(format!("and {} more: see `kanctl lint`", complaints.len() - WARNINGS_MAX));
    }
    warnings
}

/// A complaint in one line. The linter's line and column are those of the API server's JSON, which nobody
/// has seen: the path is the place.
fn sentence(complaint: &Complaint, bytes_max: usize) -> String {
    let place = if complaint.path.is_empty() { "blueprint" } else { &complaint.path };
    let line = format!("{place}: {} [{}]", complaint.message.replace('\n', " "), complaint.rule.id);
    if line.len() <= bytes_max {
        return line;
    }
    let end = line.floor_char_boundary(bytes_max - '…'.len_utf8());
    format!("{}…", &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blueprint(phases: Json) -> Json {
        json!({
            "apiVersion": "cr.kanister.io/v1alpha1", "kind": "Blueprint",
            "metadata": { "name": "shop", "uid": "u", "resourceVersion": "7", "managedFields": [{}] },
            "actions": { "backup": { "phases": phases } },
        })
    }

    fn good() -> Json {
        blueprint(json!([{ "func": "KubeTask", "name": "dump",
            "args": { "image": "postgres", "command": ["pg_dump"] } }]))
    }

    fn asked(operation: &str, object: Json, old: Json) -> Json {
        let review = json!({ "apiVersion": API_VERSION, "kind": "AdmissionReview", "request":
            { "uid": "r-1", "operation": operation, "object": object, "oldObject": old } });
        answer(review.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_sound_blueprint_is_let_in_without_a_word() {
        let told = asked("CREATE", good(), Json::Null);
        assert_eq!(
            told,
            json!({ "apiVersion": API_VERSION, "kind": "AdmissionReview",
                    "response": { "uid": "r-1", "allowed": true } })
        );
    }

    #[test]
    fn every_error_is_told_with_its_place() {
        let bad = blueprint(json!([
            { "func": "KubTask", "name": "dump" },
            { "func": "KubeTask", "name": "tell", "args": { "command": ["echo", "{{ .Nonsense }}"] } },
        ]));
        let told = asked("CREATE", bad, Json::Null);
        assert_eq!(told["response"]["allowed"], false);
        assert_eq!(told["response"]["status"]["reason"], "Invalid");
        let message = told["response"]["status"]["message"].as_str().unwrap();
        for part in [
            "the blueprint has 3 errors",
            "actions.backup.phases[0].func:",
            "[function/unknown]",
            "actions.backup.phases[1]",
            "[argument/missing]",
            "[template/field]",
        ] {
            assert!(message.contains(part), "{part} is missing in:\n{message}");
        }
    }

    #[test]
    fn a_warning_lets_it_in() {
        let leaky = blueprint(json!([{ "func": "KubeTask", "name": "dump", "args": { "image": "i",
            "command": ["sh", "-c", "mysqldump --password={{ index .Phases.dump.Secrets.db.Data \"p\" | toString }}"] },
            "objects": { "db": { "kind": "Secret", "name": "db" } } }]));
        let told = asked("CREATE", leaky, Json::Null);
        assert_eq!(told["response"]["allowed"], true, "{told}");
        let warnings = told["response"]["warnings"].as_array().unwrap();
        assert!(warnings.iter().any(|w| w.as_str().unwrap().contains("[shell/secret]")), "{told}");
    }

    #[test]
    fn labels_of_a_broken_blueprint_may_change_and_its_actions_may_not() {
        let broken = || blueprint(json!([{ "func": "KubTask", "name": "dump" }]));
        let mut labelled = broken();
        labelled["metadata"]["labels"] = json!({ "team": "db" });
        let told = asked("UPDATE", labelled, broken());
        assert_eq!(told["response"]["allowed"], true);
        assert!(told["response"]["warnings"][0].as_str().unwrap().contains("[function/unknown]"));
        assert_eq!(asked("UPDATE", broken(), good())["response"]["allowed"], false);
        assert_eq!(asked("DELETE", Json::Null, broken())["response"]["allowed"], true);
    }

    #[test]
    fn an_answer_is_bounded() {
        let long = "ü".repeat(5000);
        let phases: Vec<Json> =
            (0..300).map(|i| json!({ "func": format!("{long}{i}"), "name": format!("p{i}") })).collect();
        let told = asked("CREATE", blueprint(phases.into()), Json::Null);
        let message = told["response"]["status"]["message"].as_str().unwrap();
        assert!(message.len() < 24_000, "{} bytes", message.len());
        assert!(message.ends_with("and 250 more"), "{}", &message[message.len() - 40..]);
        assert!(message.contains('…'));
    }

    #[test]
    fn what_is_no_review_is_told_so() {
        assert!(answer(b"{").unwrap_err().starts_with("the review is not JSON"));
        assert!(answer(b"{}").unwrap_err().contains("admission.k8s.io/v1"));
        let no_uid = json!({ "apiVersion": API_VERSION, "kind": "AdmissionReview", "request": {} });
        assert_eq!(answer(no_uid.to_string().as_bytes()).unwrap_err(), "the review has no request.uid");
    }
}
