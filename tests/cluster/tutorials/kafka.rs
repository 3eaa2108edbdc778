//! 6. Kafka, played: a connector that the blueprint starts and watches copies topics to the bucket and back.

use crate::bucket::Bucket;
use crate::images::{open, server};
use crate::stage::Stage;
use crate::world::MOVER;
use serde_json::json;
use std::fs::{read_to_string, write};

const ORDERS: &str = "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n";
const RETURNS: &str = "{\"id\":\"ä\"}\n";

#[test]
fn topics_are_copied_by_a_connector_that_is_started_and_watched() {
    let Some(stage) = Stage::new("kafka") else { return };
    stage.world.play(async {
        let Some(bucket) = Bucket::at(&stage).await else { return };
        let kafka = server(stage.world.plane.as_ref().unwrap(), "kafka-connector");
        for folder in ["topics", "offsets"] {
            std::fs::create_dir_all(kafka.join(folder)).unwrap();
            open(&kafka.join(folder));
        }
        let topic = |name: &str| kafka.join("topics").join(name);
        for (name, text) in [("orders", ORDERS), ("returns", RETURNS)] {
            write(topic(name), text).unwrap();
            open(&topic(name));
        }
        let settings = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "kafka" },
            "data": { "brokers": "kafka:9092", "topics": "orders,returns" },
        });
        stage.apply(&settings.to_string()).await;
        stage.published("good/connector.yaml").await;
        let mover = format!("--mover-image={MOVER}cistern");
        let controller = stage.controller(&["--no-leader-election", &mover]);
        let map = json!({
            "apiVersion": "v1", "group": "", "resource": "configmaps", "name": "kafka", "namespace": stage.namespace,
        });
        let order = |action: &str, artifacts: &serde_json::Value| {
            json!({
                "name": action, "object": map, "artifacts": artifacts,
                "profile": { "name": "store", "namespace": stage.namespace },
                "secrets": { "aws": { "name": "bucket", "namespace": stage.namespace } },
            })
        };
        let none = json!({});
        let made = stage.complete("backup", "connector", order("backup", &none)).await;
        let artifact = &made["artifacts"]["topics"]["keyValue"];
        assert_eq!(artifact["topics"], "orders,returns");
        let path = artifact["path"].as_str().unwrap();
        let keys = ["orders/0", "orders/1", "orders/2", "returns/0"].map(|key| format!("{path}/{key}"));
        assert_eq!(bucket.keys(), keys);
        ["orders", "returns"].iter().for_each(|name| write(topic(name), "").unwrap());
        stage.complete("restore", "connector", order("restore", &made["artifacts"])).await;
        assert_eq!([topic("orders"), topic("returns")].map(|f| read_to_string(f).unwrap()), [ORDERS, RETURNS]);
        let asked = read_to_string(kafka.join("asked")).unwrap();
        assert_eq!(asked, "S3Sink orders,returns\nstopped\nS3Source orders,returns\nstopped\n");

        // A connector that dies is not waited for.
        let wrong = json!({ "data": { "brokers": "elsewhere:9092" } });
        let maps = stage.objects("v1", "ConfigMap").await;
        maps.patch("kafka", &Default::default(), &kube::api::Patch::Merge(wrong)).await.unwrap();
        let said = stage.failure("wrong", "connector", order("backup", &none)).await;
        assert!(said.contains("no broker at elsewhere:9092"), "{said}");
        assert!(said.contains("the connector has ended before it was done"), "{said}");

        let mut delete = order("delete", &made["artifacts"]);
        delete["object"] = json!({ "kind": "Namespace", "name": stage.namespace, "namespace": stage.namespace });
        stage.complete("delete", "connector", delete).await;
        assert!(bucket.keys().is_empty());
        controller.assert_well();
    });
}
