//! What a database was like before it was deleted to make room for its snapshot, kept where a restart finds it.
//!
//! A snapshot knows neither the security groups of its database nor the class of a cluster's instances. They are
//! written into a Secret of the ActionSet before anything is deleted, and go with the ActionSet.

use super::{seen, texts, there, words};
use crate::databases::{Account, Form};
use crate::own;
use crate::patience::ask;
use crate::pod::{ACTION_SET_UID, CREATED_BY};
use crate::ports::{Cluster, Why};
use crate::reference::of_kind;
use crate::setting::Setting;
use cistern_action::machine::Call;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The annotation of the Secret; nothing of it is secret, but no other kind of object is made by a right there is.
const NOTE: &str = "cistern.dev/database";

/// What is needed of the former database.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Remembered {
    pub(super) security_groups: Vec<String>,
    pub(super) subnet_group: String,
    /// The class of a cluster's first instance; empty where there was none.
    pub(super) class: String,
}

/// What the arguments say, and for the rest what the database is or was like.
///
/// # Errors
/// In words: nobody says the security groups of an instance that is not there.
pub(super) async fn recall(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
    account: &dyn Account,
    form: Form,
    id: &str,
) -> Result<Remembered, String> {
    let (namespace, trace) = (&setting.order.namespace, setting.trace(call.id));
    let at = of_kind("secret", namespace, &format!("rds-restore-{trace}"));
    let noted = match ask(|| cluster.get(&at)).await {
        Ok(noted) => Some(noted),
        Err(refusal) if refusal.why == Why::Absent => None,
        Err(refusal) => return Err(own::refused(&at, &refusal)),
    };
    let groups = texts(call, "securityGroupID")?;
    let was = match noted {
        Some(noted) => {
            serde_json::from_str(noted["metadata"]["annotations"][NOTE].as_str().unwrap_or_default())
                .map_err(|e| format!("secrets {namespace}/{} was changed: {e}", at.name))?
        }
        None => match seen(account, form, id).await? {
            Some(_) => {
                let was = look(account, form, id).await?;
                let text = serde_json::to_string(&was).map_err(|e| e.to_string())?;
                let owner = json!({ "apiVersion": cistern_api::resource::API_VERSION, "kind": "ActionSet",
                    "name": setting.order.name, "uid": setting.order.uid });
                let labels = json!({ CREATED_BY.0: CREATED_BY.1, ACTION_SET_UID: setting.order.uid.clone() });
                let secret = json!({
                    "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                    "metadata": { "name": at.name, "namespace": namespace, "labels": labels,
                        "annotations": { NOTE: text }, "ownerReferences": [owner] },
                });
                own::make(cluster, &at, secret, &trace).await?;
                was
            }
            None if groups.is_none() && form == Form::Instance => {
                return Err(format!(
                    "there is no {} that tells its security groups: name them in securityGroupID",
                    words(form, id)
                ));
            }
            None => Remembered::default(),
        },
    };
    Ok(Remembered { security_groups: groups.unwrap_or(was.security_groups), ..was })
}

async fn look(account: &dyn Account, form: Form, id: &str) -> Result<Remembered, String> {
    let database = there(account, form, id).await?;
    let mut class = database.class;
    if let (Form::Cluster, Some(first)) = (form, database.members.first()) {
        class = seen(account, Form::Instance, first).await?.map(|m| m.class).unwrap_or_default();
    }
    let (security_groups, subnet_group) = (database.security_groups, database.subnet_group);
    Ok(Remembered { security_groups, subnet_group, class })
}
