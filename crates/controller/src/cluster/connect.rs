//! From a kubeconfig, or the account of the pod this runs in, to a client.
//!
//! Proxies: `proxy-url` of the kubeconfig is always used. Without it `HTTPS_PROXY` and `NO_PROXY` decide, as they do for
//! `kubectl`; the library matches `NO_PROXY` against the proxy itself, so it is done here. A pod reaches the API server of
//! its own cluster directly, whatever the variables say: they are set for what lies outside.

use super::KubeCluster;
use super::refusal::chain;
use cistern_functions::ports::{Refusal, Why};
use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::path::Path;
use std::time::Duration;

/// How long it may take to reach the API server, before anything is asked.
const CONNECT: Duration = Duration::from_secs(10);
/// Kinds of proxies that the client can use.
const PROXIES: [&str; 3] = ["http", "https", "socks5"];

/// This machine, before which no proxy is, as `NO_PROXY` would say it.
const HERE: &str = "localhost,127.0.0.0/8,::1";

/// What the environment says of proxies.
#[derive(Clone, Default)]
pub struct Proxies {
    https: String,
    http: String,
    none: String,
}

/// A cluster: that of the kubeconfig file, if one is named; else that of `KUBECONFIG` or of the kubeconfig in the
/// home directory; else the one this runs in, with the pod's own account. `context` chooses within a kubeconfig.
///
/// Nothing is asked of the cluster yet; see [`KubeCluster::reachable`].
///
/// # Errors
/// [`Why::Invalid`]: there is no such configuration, or it cannot be read.
pub async fn connect(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
    proxies: &Proxies,
) -> Result<KubeCluster, Refusal> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let read = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let used = match read {
        Ok(read) => of_kubeconfig(read, &options, proxies).await,
        Err(error) => Err(chain(&error)),
    };
    let config = match used {
        Ok(config) => config,
        Err(said) if kubeconfig.is_some() || context.is_some() => {
            let shown = kubeconfig.map_or_else(String::new, |path| format!(" {}", path.display()));
            return Err(invalid(format!("cannot use the kubeconfig{shown}: {said}")));
        }
        Err(unused) => Config::incluster().map_err(|error| {
            let said = "found no cluster: there is no kubeconfig (KUBECONFIG, ~/.kube/config), and this is not \
                        a pod with a service account";
            invalid(format!("{said}: {unused}; {}", chain(&error)))
        })?,
    };
    cluster(config)
}

fn invalid(said: String) -> Refusal {
    Refusal::new(Why::Invalid, said)
}

pub(super) fn cluster(mut config: Config) -> Result<KubeCluster, Refusal> {
    config.connect_timeout = Some(CONNECT);
    // Whoever asks knows whether a request may be sent twice; the client does not.
    config.default_retry = false;
    let client =
        Client::try_from(config).map_err(|e| invalid(format!("cannot set up a client: {}", chain(&e))))?;
    Ok(KubeCluster::new(client))
}

pub(super) async fn of_kubeconfig(
    read: Kubeconfig,
    options: &KubeConfigOptions,
    proxies: &Proxies,
) -> Result<Config, String> {
    let named = proxy_url(&read, options.context.as_deref());
    let mut config = Config::from_custom_kubeconfig(read, options).await.map_err(|e| chain(&e))?;
    config.proxy_url = match named {
        Some(url) => Some(proxy(&url)?),
        None => proxies.before(&config.cluster_url)?,
    };
    Ok(config)
}

/// What the kubeconfig itself says of a proxy.
fn proxy_url(read: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let context = context.or(read.current_context.as_deref())?;
    let context = read.contexts.iter().find(|named| named.name == context)?.context.as_ref()?;
    let cluster = read.clusters.iter().find(|named| named.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.clone().filter(|url| !url.is_empty())
}

/// The address of a proxy. What is wrong with it is said without it: there may be a password in it.
fn proxy(text: &str) -> Result<Uri, String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url: Uri = whole.parse().map_err(|e| format!("the address of its proxy is none: {e}"))?;
    match url.scheme_str() {
        Some(scheme) if PROXIES.contains(&scheme) => Ok(url),
        other => Err(format!(
            "its proxy is of the kind {:?}; there are {}",
            other.unwrap_or_default(),
            PROXIES.join(", ")
        )),
    }
}

impl Proxies {
    /// What these variables say, each also in small letters.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Proxies {
        let read = |name: &str| variable(name).or_else(|| variable(&name.to_lowercase())).unwrap_or_default();
        Proxies { https: read("HTTPS_PROXY"), http: read("HTTP_PROXY"), none: read("NO_PROXY") }
    }

    /// The proxy before this cluster, if there is one.
    fn before(&self, cluster: &Uri) -> Result<Option<Uri>, String> {
        let text = if cluster.scheme_str() == Some("http") { &self.http } else { &self.https };
        if text.is_empty() {
            return Ok(None);
        }
        let none = format!("{HERE},{}", self.none);
        // Only whether there is one: that matcher takes the password away.
        let anything = Matcher::builder().all("http://proxy").no(none).build();
        anything.intercept(cluster).map(|_| proxy(text)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(variables: &[(&str, &str)], cluster: &str) -> Result<String, String> {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let found = Proxies::of(variable).before(&cluster.parse().unwrap())?;
        Ok(found.map_or_else(String::new, |url| url.to_string()))
    }

    #[test]
    fn the_environment_says_which_proxy_is_before_which_cluster() {
        let right = |text: &str| Ok(text.to_owned());
        let proxy = ("HTTPS_PROXY", "http://me:secret@proxy.corp:3128");
        assert_eq!(before(&[], "https://api.far:6443"), right(""));
        assert_eq!(before(&[proxy], "https://api.far:6443"), right("http://me:secret@proxy.corp:3128/"));
        assert_eq!(before(&[("https_proxy", "proxy:3128")], "https://10.0.0.1"), right("http://proxy:3128/"));
        // The cluster counts, not the proxy.
        let none = ("NO_PROXY", "10.0.0.0/8, .corp,,localhost");
        assert_eq!(before(&[proxy, none], "https://api.far"), right("http://me:secret@proxy.corp:3128/"));
        assert_eq!(before(&[proxy, none], "https://10.1.2.3:6443"), right(""));
        assert_eq!(before(&[proxy, none], "https://api.corp:6443"), right(""));
        assert_eq!(before(&[proxy, ("no_proxy", "*")], "https://api.far"), right(""));
        for here in ["https://127.0.0.1:6443", "https://localhost:1", "https://[::1]:6443"] {
            assert_eq!(before(&[proxy], here), right(""), "{here}");
        }
        assert_eq!(before(&[proxy], "http://api.far"), right(""), "that variable is for HTTPS");
        assert_eq!(before(&[("HTTP_PROXY", "socks5://p:1")], "http://api.far"), right("socks5://p:1/"));
    }

    #[test]
    fn a_proxy_that_makes_no_sense_is_refused_without_its_password() {
        for url in ["ftp://me:secret@proxy", "http://me:secret@a b"] {
            let said = before(&[("HTTPS_PROXY", url)], "https://api.far").unwrap_err();
            assert!(
                said.starts_with("its proxy is of the kind") || said.starts_with("the address of its proxy")
            );
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
