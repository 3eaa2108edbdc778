//! Stories of the webhook's certificate on the paper cluster.

use super::*;
use cistern_api::Time;
use cistern_sim::cluster::{Fate, PaperCluster};
use std::sync::atomic::{AtomicI64, Ordering};

const MIDWINTER: i64 = 1_800_000_000;

struct Stage {
    cluster: Arc<PaperCluster>,
    clock: Arc<AtomicI64>,
    certificate: Certificate,
}

impl Stage {
    async fn new() -> Stage {
        let cluster = Arc::new(PaperCluster::new(Vec::new()));
        let clock = Arc::new(AtomicI64::new(MIDWINTER));
        let stage = Stage { certificate: certificate(&cluster, &clock), cluster, clock };
        let webhook =
            |name: &str| json!({ "name": name, "clientConfig": { "service": { "name": "cistern" } } });
        let configuration = json!({ "kind": "ValidatingWebhookConfiguration",
            "webhooks": [webhook("blueprints.cistern.dev"), webhook("other.cistern.dev")] });
        stage.cluster.create(&configuration_at(), &configuration).await.unwrap();
        stage
    }

    fn later(&self, days: i64) {
        self.clock.fetch_add(days * SECS_PER_DAY, Ordering::SeqCst);
    }

    async fn trusted(&self) -> String {
        let configuration = self.cluster.get(&configuration_at()).await.unwrap();
        let bundles: Vec<&str> = (0..2)
            .map(|i| configuration["webhooks"][i]["clientConfig"]["caBundle"].as_str().unwrap_or_default())
            .collect();
        assert_eq!(bundles[0], bundles[1]);
        assert_eq!(configuration["webhooks"][0]["clientConfig"]["service"]["name"], "cistern");
        String::from_utf8(BASE64.decode(bundles[0]).unwrap()).unwrap()
    }
}

fn certificate(cluster: &Arc<PaperCluster>, clock: &Arc<AtomicI64>) -> Certificate {
    let clock = Arc::clone(clock);
    let now = move || {
        let secs = clock.load(Ordering::SeqCst);
        serde_json::from_value::<Time>(OffsetDateTime::from_unix_timestamp(secs).map(rfc3339).unwrap().into())
            .unwrap()
    };
    Certificate {
        cluster: Arc::clone(cluster) as Arc<dyn Cluster>,
        world: World { identity: "a".to_owned(), now: Arc::new(now) },
        namespace: "backup".to_owned(),
        secret: "cistern-webhook".to_owned(),
        own: Some(Own { service: "cistern".to_owned(), configuration: "cistern-backup".to_owned() }),
    }
}

fn rfc3339(at: OffsetDateTime) -> String {
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

fn configuration_at() -> ObjectReference {
    ObjectReference {
        api_version: "v1".to_owned(),
        group: "admissionregistration.k8s.io".to_owned(),
        resource: "validatingwebhookconfigurations".to_owned(),
        ..ObjectReference::named("", "cistern-backup")
    }
}

fn text(pem: &[u8]) -> String {
    String::from_utf8(pem.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_first_look_makes_it_and_the_next_ones_find_it() {
    let stage = Stage::new().await;
    let first = stage.certificate.look().await.unwrap();
    assert_eq!(stage.trusted().await, text(&first.chain));
    let writes = stage.cluster.writes();
    let other = certificate(&stage.cluster, &stage.clock);
    assert_eq!(other.look().await.unwrap(), first, "another replica serves with the same");
    stage.later(VALID_DAYS - RENEW_DAYS - 1);
    assert_eq!(stage.certificate.look().await.unwrap(), first);
    assert_eq!(stage.cluster.writes(), writes, "looking writes nothing");
    let (_, pem) = x509_parser::pem::parse_x509_pem(&first.chain).unwrap();
    let parsed = pem.parse_x509().unwrap();
    let names = format!("{:?}", parsed.subject_alternative_name().unwrap().unwrap().value.general_names);
    assert_eq!(names, r#"[DNSName("cistern.backup.svc")]"#);
    assert!(!parsed.is_ca(), "who takes the key of it can sign nothing");
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_in_time_and_the_old_one_is_trusted_meanwhile() {
    let stage = Stage::new().await;
    let first = stage.certificate.look().await.unwrap();
    stage.later(VALID_DAYS - RENEW_DAYS + 1);
    let second = stage.certificate.look().await.unwrap();
    assert_ne!(first, second);
    assert_eq!(stage.trusted().await, text(&second.chain) + &text(&first.chain));
    stage.later(VALID_DAYS - RENEW_DAYS + 1);
    let third = stage.certificate.look().await.unwrap();
    assert_eq!(stage.trusted().await, text(&third.chain) + &text(&second.chain), "and no older one");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_used_is_made_anew() {
    let stage = Stage::new().await;
    let first = stage.certificate.look().await.unwrap();
    let at = of_kind("secret", "backup", "cistern-webhook");
    for (field, value) in [("tls.key", "bm90IGEga2V5"), ("tls.crt", "bm90IGEgY2VydA=="), ("tls.crt", "")] {
        let patch = json!({ "data": { field: value } });
        stage.cluster.patch(&at, Patch::Merge, &patch).await.unwrap();
        let next = stage.certificate.look().await.unwrap();
        assert!(next != first && text(&next.chain).contains("BEGIN CERTIFICATE"), "{field}");
        assert!(stage.trusted().await.starts_with(&text(&next.chain)));
    }
    let mut moved = stage.certificate.clone();
    moved.own.as_mut().unwrap().service = "other".to_owned();
    let before = stage.certificate.look().await.unwrap();
    assert_ne!(moved.look().await.unwrap(), before, "it is for the Service that is called");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_served_that_was_not_announced_whoever_dies() {
    for fate in [Fate::DiesAfter(1), Fate::LosesReply(1), Fate::LosesReply(2), Fate::DiesBefore(2)] {
        let stage = Stage::new().await;
        stage.later(0);
        let base = stage.cluster.writes();
        stage.cluster.decree(match fate {
            Fate::DiesAfter(n) => Fate::DiesAfter(base + n),
            Fate::DiesBefore(n) => Fate::DiesBefore(base + n),
            Fate::LosesReply(n) => Fate::LosesReply(base + n),
        });
        let dead = tokio::select! {
            _ = stage.cluster.death() => true,
            served = stage.certificate.look() => {
                assert_eq!(stage.trusted().await, text(&served.unwrap().chain), "{fate:?}");
                false
            }
        };
        if dead {
            stage.cluster.revive();
            let served = stage.certificate.look().await.unwrap();
            assert_eq!(stage.trusted().await, text(&served.chain), "{fate:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_issue_is_only_read() {
    let mut stage = Stage::new().await;
    stage.certificate.own = None;
    let before = stage.cluster.writes();
    assert!(stage.certificate.look().await.unwrap_err().contains("backup/cistern-webhook"));
    let at = of_kind("secret", "backup", "cistern-webhook");
    let secret = json!({ "kind": "Secret", "data": { "tls.crt": "Yw==", "tls.key": "aw==" } });
    stage.cluster.create(&at, &secret).await.unwrap();
    let found = stage.certificate.look().await.unwrap();
    assert_eq!((text(&found.chain).as_str(), text(&found.key).as_str()), ("c", "k"));
    assert_eq!(stage.cluster.writes(), before + 1);
    assert_eq!(format!("{found:?}"), "Pair { .. }");
}

#[tokio::test(start_paused = true)]
async fn a_missing_configuration_is_said_and_nothing_is_handed_out() {
    let mut stage = Stage::new().await;
    stage.certificate.own.as_mut().unwrap().configuration = "elsewhere".to_owned();
    let told = stage.certificate.look().await.unwrap_err();
    assert!(told.contains("ValidatingWebhookConfiguration elsewhere"), "{told}");
}
