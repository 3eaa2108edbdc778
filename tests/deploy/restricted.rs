//! The controller's pod under the restricted profile of Kubernetes' Pod Security Standards.

use crate::helm::{VARIANTS, objects, only, program};
use serde_json::{Value as Json, json};

#[test]
fn the_pod_keeps_to_the_restricted_profile() {
    let Some(program) = program("pod security") else { return };
    for values in VARIANTS {
        let objects = objects(program, values);
        let pod = &only(&objects, "Deployment")["spec"]["template"]["spec"];
        assert_eq!(broken(pod), Vec::<&str>::new(), "{values:?}");
        for container in pod["containers"].as_array().unwrap() {
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
            assert!(container["resources"]["limits"]["memory"].is_string());
            assert!(container["livenessProbe"].is_object() && container["readinessProbe"].is_object());
        }
    }
}

/// The rules of the profile a pod breaks
/// (<https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>).
fn broken(pod: &Json) -> Vec<&'static str> {
    let mut broken = Vec::new();
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if pod[field] == true {
            broken.push("host namespaces");
        }
    }
    let security = &pod["securityContext"];
    if security["runAsNonRoot"] != true || security["runAsUser"] == 0 {
        broken.push("non-root");
    }
    if security["seccompProfile"]["type"] != "RuntimeDefault" {
        broken.push("seccomp");
    }
    let allowed = ["configMap", "emptyDir", "projected", "secret", "persistentVolumeClaim", "csi"];
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        if volume.as_object().unwrap().keys().any(|key| key != "name" && !allowed.contains(&key.as_str())) {
            broken.push("volume types");
        }
    }
    for container in pod["containers"].as_array().unwrap() {
        let security = &container["securityContext"];
        if security["allowPrivilegeEscalation"] != false || security["privileged"] == true {
            broken.push("privilege escalation");
        }
        if security["capabilities"] != json!({ "drop": ["ALL"] }) {
            broken.push("capabilities");
        }
    }
    broken
}
