//! From a kubeconfig, or the account of the pod this runs in, to a client.

use super::KubeCluster;
use super::refusal::chain;
use cistern_functions::ports::{Refusal, Why};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::path::Path;
use std::time::Duration;

/// How long it may take to reach the API server, before anything is asked.
const CONNECT: Duration = Duration::from_secs(10);

/// A cluster: that of the kubeconfig file, if one is named; else that of `KUBECONFIG` or of the kubeconfig in the
/// home directory; else the one this runs in, with the pod's own account. `context` chooses within a kubeconfig.
///
/// Nothing is asked of the cluster yet; see [`KubeCluster::reachable`].
///
/// # Errors
/// [`Why::Invalid`]: there is no such configuration, or it cannot be read.
pub async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<KubeCluster, Refusal> {
    let mut config = configuration(kubeconfig, context).await?;
    config.connect_timeout = Some(CONNECT);
    // Whoever asks knows whether a request may be sent twice; the client does not.
    config.default_retry = false;
    let client = Client::try_from(config)
        .map_err(|e| Refusal::new(Why::Invalid, format!("cannot set up a client: {}", chain(&e))))?;
    Ok(KubeCluster::new(client))
}

async fn configuration(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Config, Refusal> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let invalid = |said: String| Refusal::new(Why::Invalid, said);
    match kubeconfig {
        Some(path) => {
            let shown = path.display();
            let read = Kubeconfig::read_from(path)
                .map_err(|e| invalid(format!("cannot read the kubeconfig {shown}: {}", chain(&e))))?;
            let config = Config::from_custom_kubeconfig(read, &options).await;
            config.map_err(|e| invalid(format!("cannot use the kubeconfig {shown}: {}", chain(&e))))
        }
        None if context.is_some() => {
            let config = Config::from_kubeconfig(&options).await;
            config.map_err(|e| invalid(format!("cannot use the kubeconfig: {}", chain(&e))))
        }
        None => {
            let config = Config::infer().await;
            config.map_err(|e| {
                let said = "found no cluster: there is no kubeconfig (KUBECONFIG, ~/.kube/config), and this is not \
                            a pod with a service account";
                invalid(format!("{said}: {}", chain(&e)))
            })
        }
    }
}
