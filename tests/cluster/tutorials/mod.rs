//! The stories that Kanister's tutorials tell, on the cluster: published blueprints, stand-ins for databases, `kanctl`
//! and the controller. PostgreSQL is real, and has a file of its own.

mod consistent;
mod discovery;
mod kafka;
mod mongodb;
mod operator;
mod time_logger;

use crate::stage::Stage;
use crate::world::until;
use kube::api::ListParams;
use serde_json::Value as Json;

/// Makes an ActionSet by `kanctl create actionset` with these flags, and waits; its name and its first action.
async fn ordered(stage: &Stage, flags: &[&str]) -> (String, Json) {
    let said = stage.kanctl(&[&["create", "actionset"], flags].concat());
    let name = said.trim().strip_prefix("actionset ").and_then(|rest| rest.strip_suffix(" created"));
    let name = name.unwrap_or_else(|| panic!("no name in {said}")).to_owned();
    let action = stage.completed(&name).await;
    (name, action)
}

/// Waits until all these reasons are told in Events about the ActionSet.
async fn assert_told(stage: &Stage, name: &str, reasons: &[&str]) {
    let events = stage.objects("v1", "Event").await;
    let about = ListParams::default().fields(&format!("involvedObject.name={name}"));
    until(&format!("events of {name}: {reasons:?}"), async || {
        let told = events.list(&about).await.ok()?.items;
        reasons.iter().all(|reason| told.iter().any(|event| event.data["reason"] == *reason)).then_some(())
    })
    .await;
}
