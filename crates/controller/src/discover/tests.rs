//! Discovery on the paper cluster: annotations, bindings, namespaces, labels.

use super::*;
use cistern_sim::cluster::PaperCluster;
use serde_json::json;

fn rules(text: &Json) -> LabelSelector {
    serde_json::from_value(text.clone()).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn label_selectors_are_read_as_kubernetes_reads_them() {
    let rule = |operator: &str, values: &[&str]| {
        rules(&json!({"matchExpressions": [{"key": "env", "operator": operator, "values": values}]}))
    };
    let (prod, none) = (labels(&[("env", "prod")]), labels(&[]));
    for (selector, on_prod, on_none) in [
        (rules(&json!({})), true, true),
        (rules(&json!({"matchLabels": {"env": "prod"}})), true, false),
        (rules(&json!({"matchLabels": {"env": "test"}})), false, false),
        (rule("In", &["prod", "test"]), true, false),
        (rule("NotIn", &["prod"]), false, true),
        (rule("Exists", &[]), true, false),
        (rule("DoesNotExist", &[]), false, true),
        (rule("Gt", &["1"]), false, false),
    ] {
        assert_eq!(
            (matches(&selector, &prod), matches(&selector, &none)),
            (on_prod, on_none),
            "{selector:?}"
        );
    }
}

/// A cluster with a database in each of two namespaces, one of them annotated, and a web server.
fn cluster() -> PaperCluster {
    let cluster = PaperCluster::new(Vec::new());
    for (kind, namespace, name, labels, blueprint) in [
        ("StatefulSet", "a", "db", json!({"app": "postgres"}), Some("by-annotation")),
        ("StatefulSet", "b", "db", json!({"app": "postgres"}), None),
        ("Deployment", "b", "web", json!({"app": "web"}), None),
    ] {
        let annotations = blueprint.map_or(json!({}), |name| json!({ BLUEPRINT: name }));
        cluster.add(json!({"kind": kind, "metadata": {
            "name": name, "namespace": namespace, "labels": labels, "annotations": annotations}}));
    }
    for (name, tier) in [("a", "prod"), ("b", "test")] {
        cluster.add(json!({"kind": "Namespace", "metadata": {"name": name, "labels": {"tier": tier}}}));
    }
    cluster
}

async fn bind(cluster: &PaperCluster, name: &str, spec: Json) {
    let at = ObjectReference {
        api_version: VERSION.to_owned(),
        group: OWN_GROUP.to_owned(),
        resource: "blueprintbindings".to_owned(),
        ..ObjectReference::named("kanister", name)
    };
    cluster.create(&at, &json!({"spec": spec})).await.unwrap();
}

fn everywhere() -> ObjectSelector {
    ObjectSelector { namespaces: vec!["*".to_owned()], ..ObjectSelector::default() }
}

async fn found(cluster: &PaperCluster, wanted: &ObjectSelector) -> Vec<String> {
    let targets = discover(cluster, wanted, "kanister").await.unwrap();
    let shown =
        |t: &Target| format!("{} {}/{} {}", t.object.kind, t.object.namespace, t.object.name, t.blueprint);
    targets.iter().map(shown).collect()
}

#[tokio::test]
async fn an_annotation_counts_before_every_binding_and_the_first_binding_before_others() {
    let cluster = cluster();
    assert_eq!(found(&cluster, &everywhere()).await, ["statefulset a/db by-annotation"]);
    let postgres = json!({"namespaces": ["*"], "labelSelector": {"matchLabels": {"app": "postgres"}}});
    bind(&cluster, "2-postgres", json!({"blueprint": "second", "objects": postgres})).await;
    bind(&cluster, "1-postgres", json!({"blueprint": "first", "objects": postgres})).await;
    bind(&cluster, "0-nothing", json!({"blueprint": "", "objects": postgres})).await;
    bind(&cluster, "0-odd", json!({"blueprint": 7})).await;
    assert_eq!(
        found(&cluster, &everywhere()).await,
        ["statefulset a/db by-annotation", "statefulset b/db first"]
    );
}

#[tokio::test]
async fn bindings_reach_as_far_as_their_kinds_and_namespaces() {
    let cluster = cluster();
    bind(&cluster, "own", json!({"blueprint": "own", "objects": {}})).await;
    assert_eq!(
        found(&cluster, &everywhere()).await,
        ["statefulset a/db by-annotation"],
        "only its namespace"
    );
    let tests = json!({"kinds": ["Deployment"], "namespaceSelector": {"matchLabels": {"tier": "test"}}});
    bind(&cluster, "tests", json!({"blueprint": "tests", "objects": tests})).await;
    assert_eq!(
        found(&cluster, &everywhere()).await,
        ["deployment b/web tests", "statefulset a/db by-annotation"]
    );
}

#[tokio::test]
async fn a_selector_looks_where_it_is_told() {
    let cluster = cluster();
    let names = async |wanted: Json| {
        let wanted: ObjectSelector = serde_json::from_value(wanted).unwrap();
        let found = select(&cluster, &wanted, "b").await.unwrap();
        found.iter().map(|o| format!("{}/{}", o.namespace, o.name)).collect::<Vec<_>>()
    };
    assert_eq!(names(json!({})).await, ["b/db", "b/web"]);
    assert_eq!(names(json!({"namespaces": ["a"]})).await, ["a/db"]);
    assert_eq!(names(json!({"kinds": ["statefulset"], "namespaces": ["*"]})).await, ["a/db", "b/db"]);
    assert_eq!(names(json!({"namespaceSelector": {"matchLabels": {"tier": "prod"}}})).await, ["a/db"]);
    assert_eq!(names(json!({"labelSelector": {"matchLabels": {"app": "web"}}})).await, ["b/web"]);
    assert_eq!(names(json!({"kinds": ["namespace"], "namespaces": ["a"]})).await, ["a/a"]);
    let odd = ObjectSelector { kinds: vec!["cronjob".to_owned()], ..ObjectSelector::default() };
    let refusal = select(&cluster, &odd, "b").await.unwrap_err();
    assert_eq!((refusal.why, refusal.said.contains("looked for: \"cronjob\"")), (Why::Invalid, true));
}
