//! The test kubelet keeps what Kubernetes promises of pods: without it, no other story here would prove a thing.

use crate::world::{NOWHERE, OURS, PATIENCE, World, until, world};
use futures::AsyncReadExt as _;
use k8s_openapi::api::core::v1::{Pod, PodStatus, Secret};
use kube::Api;
use kube::api::{AttachParams, DeleteParams, LogParams, Patch, PatchParams, PostParams};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A namespace and its pods.
async fn pods(world: &World, wanted: &str) -> (String, Api<Pod>) {
    let namespace = world.namespace(wanted).await;
    let pods = Api::namespaced(world.client.clone(), &namespace);
    (namespace, pods)
}

async fn create(pods: &Api<Pod>, name: &str, spec: Json) {
    let mut whole = json!({ "metadata": { "name": name }, "spec": { "restartPolicy": "Never" } });
    for (key, value) in spec.as_object().unwrap() {
        whole["spec"][key] = value.clone();
    }
    pods.create(&PostParams::default(), &serde_json::from_value(whole).unwrap()).await.unwrap();
}

fn shell(name: &str, script: &str) -> Json {
    json!({ "name": name, "image": "anything", "command": ["sh", "-c", script] })
}

async fn in_phase(pods: &Api<Pod>, name: &str, phase: &str) -> PodStatus {
    until(&format!("{name} is {phase}"), async || {
        let status = pods.get(name).await.ok()?.status?;
        (status.phase.as_deref() == Some(phase)).then_some(status)
    })
    .await
}

fn exit(status: &PodStatus, at: usize) -> (i32, String) {
    let ended = status.container_statuses.as_ref().unwrap()[at].state.clone().unwrap().terminated.unwrap();
    (ended.exit_code, ended.message.unwrap_or_default())
}

async fn log(pods: &Api<Pod>, name: &str, container: &str) -> String {
    let params = LogParams { container: Some(container.to_owned()), ..LogParams::default() };
    pods.logs(name, &params).await.unwrap()
}

#[test]
fn commands_run_and_their_ends_are_reported() {
    let Some(world) = world() else { return };
    if world.node("commands_run_and_their_ends_are_reported").is_none() {
        return;
    }
    world.play(async {
        let (_, pods) = pods(&world, "ends").await;
        let good =
            shell("one", "echo out; echo err >&2; echo last words >/dev/termination-log; exec sleep 0.2");
        let bad = shell("two", "exit 7");
        create(&pods, "both", json!({ "containers": [good, bad] })).await;
        let status = in_phase(&pods, "both", "Failed").await;
        assert_eq!(exit(&status, 0), (0, "last words\n".to_owned()));
        assert_eq!(exit(&status, 1), (7, String::new()));
        assert_eq!(log(&pods, "both", "one").await, "out\nerr\n");
        // Gone with the container: it wrote to a layer of its own.
        create(&pods, "trace", json!({ "containers": [shell("one", "echo x >/etc/cistern-test-trace")] }))
            .await;
        in_phase(&pods, "trace", "Succeeded").await;
        assert!(!std::path::Path::new("/etc/cistern-test-trace").exists());
    });
}

#[test]
fn volumes_variables_and_preparing_containers() {
    let Some(world) = world() else { return };
    if world.node("volumes_variables_and_preparing_containers").is_none() {
        return;
    }
    world.play(async {
        let (namespace, pods) = pods(&world, "volumes").await;
        let mount = json!([{ "name": "shared", "mountPath": "/data/shared" }, { "name": "key", "mountPath": "/key", "readOnly": true }]);
        let mut init = shell("init", "cp /key/word /data/shared/");
        init["volumeMounts"] = mount.clone();
        let mut main = shell("main", "cat /data/shared/word; echo; echo $POD $(id -u); echo x >/key/y");
        main["volumeMounts"] = mount;
        main["env"] = json!([{ "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }]);
        main["securityContext"] = json!({ "runAsUser": 1234, "allowPrivilegeEscalation": false });
        let volumes = json!([{ "name": "shared", "emptyDir": {} }, { "name": "key", "secret": { "secretName": "key" } }]);
        create(&pods, "one", json!({ "initContainers": [init], "containers": [main], "volumes": volumes })).await;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let phase = pods.get("one").await.unwrap().status.unwrap().phase;
        assert_eq!(phase.as_deref(), Some("Pending"), "the secret is not there yet");
        let secrets: Api<Secret> = Api::namespaced(world.client.clone(), &namespace);
        let secret = json!({ "metadata": { "name": "key" }, "stringData": { "word": "open sesame" } });
        secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
        in_phase(&pods, "one", "Failed").await;
        let said = log(&pods, "one", "main").await;
        assert!(said.starts_with("open sesame\none 1234\n"), "{said}");
        assert!(said.contains("Read-only file system") || said.contains("Permission denied"), "{said}");
    });
}

#[test]
fn a_log_is_followed_to_the_end() {
    let Some(world) = world() else { return };
    if world.node("a_log_is_followed_to_the_end").is_none() {
        return;
    }
    world.play(async {
        let (_, pods) = pods(&world, "log").await;
        let script = "for i in $(seq 2000); do echo line $i; [ $((i % 500)) != 0 ] || sleep 0.1; done";
        create(&pods, "one", json!({ "containers": [shell("one", script)] })).await;
        in_phase(&pods, "one", "Running").await;
        let params = LogParams { follow: true, ..LogParams::default() };
        let mut text = String::new();
        pods.log_stream("one", &params).await.unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!(text.lines().count(), 2000);
        assert_eq!(text.lines().last(), Some("line 2000"));
        let params = LogParams { tail_lines: Some(2), ..LogParams::default() };
        assert_eq!(pods.logs("one", &params).await.unwrap(), "line 1999\nline 2000\n");
    });
}

#[test]
fn commands_run_beside_a_container() {
    let Some(world) = world() else { return };
    if world.node("commands_run_beside_a_container").is_none() {
        return;
    }
    world.play(async {
        let (_, pods) = pods(&world, "exec").await;
        create(&pods, "one", json!({ "containers": [shell("one", "echo x >/tmp/here; exec sleep 100")] }))
            .await;
        in_phase(&pods, "one", "Running").await;
        // It runs before its first command has.
        let wait = "until [ -s /tmp/here ]; do sleep 0.1; done";
        let script = format!("{wait}; cat /tmp/here; head -c 3000000 /dev/zero; echo bad >&2; exit 37");
        let command = ["sh", "-c", &script];
        let mut running = pods.exec("one", command, &AttachParams::default()).await.unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (mut stdout, mut stderr) = (running.stdout().unwrap(), running.stderr().unwrap());
        let status = running.take_status().unwrap();
        let (a, b, status) = tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err), status);
        a.and(b).unwrap();
        assert_eq!((&out[..2], out.len(), &err[..]), (&b"x\n"[..], 3_000_002, &b"bad\n"[..]));
        let causes = status.unwrap().details.unwrap().causes.unwrap();
        assert_eq!(causes[0].message.as_deref(), Some("37"));
        pods.delete("one", &DeleteParams::default().grace_period(0)).await.unwrap();
    });
}

#[test]
fn a_command_hears_that_its_input_has_ended() {
    let Some(world) = world() else { return };
    if world.node("a_command_hears_that_its_input_has_ended").is_none() {
        return;
    }
    if world.plane.as_ref().is_some_and(|plane| plane.version == "1.20.2") {
        return println!("before Kubernetes 1.30 no client can say it");
    }
    world.play(async {
        let (_, pods) = pods(&world, "input").await;
        create(&pods, "one", json!({ "containers": [shell("one", "exec sleep 100")] })).await;
        in_phase(&pods, "one", "Running").await;
        let params = AttachParams::default().stdin(true).stderr(false);
        let mut running = pods.exec("one", ["wc", "-c"], &params).await.unwrap();
        let mut input = running.stdin().unwrap();
        input.write_all(&[7; 100_000]).await.unwrap();
        input.shutdown().await.unwrap();
        let mut out = String::new();
        let mut stdout = running.stdout().unwrap();
        tokio::time::timeout(PATIENCE, stdout.read_to_string(&mut out)).await.expect("it ends").unwrap();
        assert_eq!(out.trim(), "100000");
        pods.delete("one", &DeleteParams::default().grace_period(0)).await.unwrap();
    });
}

#[test]
fn a_pod_is_stopped_with_grace_and_kept_by_a_finalizer() {
    let Some(world) = world() else { return };
    if world.node("a_pod_is_stopped_with_grace_and_kept_by_a_finalizer").is_none() {
        return;
    }
    world.play(async {
        let (_, pods) = pods(&world, "grace").await;
        let script = "trap 'echo asked; exit 3' TERM; while :; do sleep 0.05; done";
        create(&pods, "polite", json!({ "containers": [shell("one", script)] })).await;
        create(&pods, "deaf", json!({ "containers": [shell("one", "trap '' TERM; sleep 100; sleep 100")] }))
            .await;
        let none = PatchParams::default();
        let keep = json!({ "metadata": { "finalizers": ["cistern.dev/test"] } });
        for (name, grace_secs) in [("polite", 60), ("deaf", 1)] {
            in_phase(&pods, name, "Running").await;
            pods.patch(name, &none, &Patch::Merge(&keep)).await.unwrap();
            pods.delete(name, &DeleteParams::default().grace_period(grace_secs)).await.unwrap();
        }
        for (name, code) in [("polite", 3), ("deaf", 137)] {
            let status = in_phase(&pods, name, "Failed").await;
            assert_eq!(exit(&status, 0).0, code);
        }
        assert_eq!(log(&pods, "polite", "one").await, "asked\n");
        for name in ["polite", "deaf"] {
            let free = json!({ "metadata": { "finalizers": [] } });
            pods.patch(name, &none, &Patch::Merge(&free)).await.unwrap();
            until("the pod is gone", async || pods.get_opt(name).await.unwrap().is_none().then_some(()))
                .await;
        }
    });
}

#[test]
fn images_that_cannot_be_pulled_and_users_that_may_not_be() {
    let Some(world) = world() else { return };
    if world.node("images_that_cannot_be_pulled_and_users_that_may_not_be").is_none() {
        return;
    }
    world.play(async {
        let (_, pods) = pods(&world, "images").await;
        let waiting = async |name: &str, wanted: &str| {
            until(&format!("{name}: {wanted}"), async || {
                let statuses = pods.get(name).await.ok()?.status?.container_statuses?;
                let reason = statuses[0].state.clone()?.waiting?.reason?;
                (reason == wanted).then_some(())
            })
            .await;
        };
        let mut absent = shell("one", "true");
        absent["image"] = format!("{NOWHERE}x").into();
        create(&pods, "absent", json!({ "containers": [absent] })).await;
        waiting("absent", "ImagePullBackOff").await;
        let restricted = json!({ "runAsNonRoot": true });
        create(&pods, "root", json!({ "securityContext": restricted, "containers": [shell("one", "true")] }))
            .await;
        waiting("root", "CreateContainerConfigError").await;
        let ours = json!({ "name": "one", "image": format!("{OURS}kando"), "args": ["--version"] });
        create(&pods, "ours", json!({ "securityContext": restricted, "containers": [ours] })).await;
        in_phase(&pods, "ours", "Succeeded").await;
        assert!(log(&pods, "ours", "one").await.contains(env!("CARGO_PKG_VERSION")));
    });
}
