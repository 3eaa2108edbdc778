//! The certificate of the webhook: made, kept in a Secret that all replicas read, renewed, announced.
//!
//! # Expected flow
//! [`Certificate::look`] is called at the start, and from time to time by every replica. It finds the
//! certificate in the Secret, makes a new one where there is none or where it is about to expire, tells the
//! API server whom to trust, and hands the pair out.
//!
//! # Guarantees
//! * Nobody serves a certificate that the API server was not told to trust: it is announced before it is
//!   handed out. The Secret's `ca.crt` holds the one before as well, so replicas that have not looked yet
//!   are still trusted.
//! * Of several replicas that make one at the same time, one wins; the others hand out the winner's.
//!
//! # If it crashes here
//! The Secret is written first, by one request. Whoever looks next announces what it holds.
//!
//! Each certificate is its own authority and can sign no other, so there is no authority's key to guard.

use crate::World;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cistern_api::ObjectReference;
use cistern_functions::patience::ask;
use cistern_functions::ports::{Cluster, Patch, Refusal, Why};
use cistern_functions::reference::of_kind;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use serde_json::{Value as Json, json};
use std::fmt;
use std::sync::Arc;
use time::OffsetDateTime;

/// So long is a certificate good, in days.
const VALID_DAYS: i64 = 365;
/// It is renewed when so many days are left.
const RENEW_DAYS: i64 = 90;
/// Clocks of API servers may be behind by so many hours.
const BEHIND_HOURS: i64 = 1;
/// How often others may get in between with a change of their own.
const TRIES: usize = 5;
const SECS_PER_DAY: i64 = 24 * 3600;

/// Where the certificate is, and who sees to it.
#[derive(Clone)]
pub struct Certificate {
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// Its clock says when a certificate is due.
    pub world: World,
    /// Namespace of the Secret and of the Service.
    pub namespace: String,
    /// The Secret with `tls.crt`, `tls.key` and, where we make it, `ca.crt`.
    pub secret: String,
    /// Where we make it: for whom. Else somebody else does, such as cert-manager.
    pub own: Option<Own>,
}

/// Whom a certificate of our own is for.
#[derive(Clone, Debug)]
pub struct Own {
    /// The Service through which the API server calls.
    pub service: String,
    /// The ValidatingWebhookConfiguration that has to name the authority.
    pub configuration: String,
}

/// A certificate with its key, both as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The chain, leaf first.
    pub chain: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

impl Certificate {
    /// The pair to serve with.
    ///
    /// # Errors
    /// There is none and none can be made, or it cannot be announced; a sentence for the log.
    pub async fn look(&self) -> Result<Pair, String> {
        let Some(own) = &self.own else {
            let secret = self.read().await.map_err(|e| self.refused("read", &e))?;
            return pair(&secret).ok_or_else(|| {
                format!(
                    "the Secret {} holds no tls.crt and tls.key yet: whoever issues certificates fills it in",
                    self.words()
                )
            });
        };
        let secret = self.present(own).await?;
        let found = pair(&secret).ok_or_else(|| format!("the Secret {} is not as written", self.words()))?;
        self.announce(own, secret["data"]["ca.crt"].as_str().unwrap_or_default()).await?;
        Ok(found)
    }

    /// The Secret with a certificate that is good for a while.
    async fn present(&self, own: &Own) -> Result<Json, String> {
        for _ in 0..TRIES {
            let there = match self.read().await {
                Ok(secret) => Some(secret),
                Err(refusal) if refusal.why == Why::Absent => None,
                Err(refusal) => return Err(self.refused("read", &refusal)),
            };
            if let Some(secret) = there.as_ref().filter(|secret| self.good(own, secret)) {
                return Ok(secret.clone());
            }
            let secret = self.renewed(own, there.as_ref())?;
            let at = self.at();
            let written = match there {
                Some(_) => ask(|| self.cluster.replace(&at, &secret)).await,
                None => ask(|| self.cluster.create(&at, &secret)).await,
            };
            match written {
                Ok(secret) => return Ok(secret),
                // Another replica was faster; or the answer to our own write was lost.
                Err(refusal) if matches!(refusal.why, Why::Exists | Why::Conflict | Why::Absent) => {}
                Err(refusal) => return Err(self.refused("write", &refusal)),
            }
        }
        Err(format!("the Secret {} was changed {TRIES} times meanwhile", self.words()))
    }

    async fn read(&self) -> Result<Json, Refusal> {
        let at = self.at();
        ask(|| self.cluster.get(&at)).await
    }

    fn at(&self) -> ObjectReference {
        of_kind("secret", &self.namespace, &self.secret)
    }

    fn words(&self) -> String {
        format!("{}/{}", self.namespace, self.secret)
    }

    fn refused(&self, what: &str, refusal: &Refusal) -> String {
        format!("cannot {what} the webhook's certificate in the Secret {}: {refusal}", self.words())
    }

    /// Whether the Secret holds a certificate for us that need not be renewed.
    fn good(&self, own: &Own, secret: &Json) -> bool {
        let Some(pair) = pair(secret) else { return false };
        if KeyPair::from_pem(&String::from_utf8_lossy(&pair.key)).is_err() {
            return false;
        }
        let Ok((_, block)) = x509_parser::pem::parse_x509_pem(&pair.chain) else { return false };
        let Ok(certificate) = block.parse_x509() else { return false };
        let left_secs = certificate.validity().not_after.timestamp() - (self.world.now)().0.as_second();
        let named =
            certificate.subject_alternative_name().ok().flatten().is_some_and(|names| {
                let wanted = self.dns_name(own);
                names.value.general_names.iter().any(
                    |name| matches!(name, x509_parser::prelude::GeneralName::DNSName(dns) if *dns == wanted),
                )
            });
        named && left_secs > RENEW_DAYS * SECS_PER_DAY && !secret["data"]["ca.crt"].is_null()
    }

    /// The name by which the API server calls a Service.
    fn dns_name(&self, own: &Own) -> String {
        format!("{}.{}.svc", own.service, self.namespace)
    }

    /// The Secret with a new certificate. Its `ca.crt` holds the one before as well.
    fn renewed(&self, own: &Own, there: Option<&Json>) -> Result<Json, String> {
        let (chain, key) =
            self.made(own).map_err(|e| format!("cannot make the webhook's certificate: {e}"))?;
        let before = there.and_then(pair).map(|pair| pair.chain).unwrap_or_default();
        let trusted = [chain.as_bytes(), &before].concat();
        let mut secret = there.cloned().unwrap_or_else(|| {
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": { "name": self.secret, "namespace": self.namespace,
                    "labels": { "app.kubernetes.io/name": "cistern" } },
            })
        });
        secret["data"] = json!({
            "tls.crt": BASE64.encode(chain), "tls.key": BASE64.encode(key), "ca.crt": BASE64.encode(trusted),
        });
        Ok(secret)
    }

    fn made(&self, own: &Own) -> Result<(String, String), rcgen::Error> {
        let name = self.dns_name(own);
        let key = KeyPair::generate()?;
        let mut wanted = CertificateParams::new(vec![name.clone()])?;
        // The common name is bounded by 64 characters, names of Services are not.
        wanted.distinguished_name.push(DnType::CommonName, "cistern webhook");
        wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let now = OffsetDateTime::from_unix_timestamp((self.world.now)().0.as_second())
            .map_err(|_| rcgen::Error::Time)?;
        wanted.not_before = now - time::Duration::hours(BEHIND_HOURS);
        wanted.not_after = now + time::Duration::days(VALID_DAYS);
        let certificate = wanted.self_signed(&key)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// Tells the API server whom to trust.
    async fn announce(&self, own: &Own, bundle: &str) -> Result<(), String> {
        let at = ObjectReference {
            api_version: "v1".to_owned(),
            group: "admissionregistration.k8s.io".to_owned(),
            resource: "validatingwebhookconfigurations".to_owned(),
            ..ObjectReference::named("", &own.configuration)
        };
        let refused = |refusal: Refusal| {
            format!(
                "cannot enter the webhook's certificate into the ValidatingWebhookConfiguration {}: {refusal}",
                own.configuration
            )
        };
        for _ in 0..TRIES {
            let there = ask(|| self.cluster.get(&at)).await.map_err(refused)?;
            let mut webhooks = there["webhooks"].as_array().cloned().unwrap_or_default();
            if webhooks.iter().all(|webhook| webhook["clientConfig"]["caBundle"] == bundle) {
                return Ok(());
            }
            for webhook in &mut webhooks {
                webhook["clientConfig"]["caBundle"] = bundle.into();
            }
            let version = &there["metadata"]["resourceVersion"];
            let patch = json!({ "metadata": { "resourceVersion": version }, "webhooks": webhooks });
            match ask(|| self.cluster.patch(&at, Patch::Merge, &patch)).await {
                Ok(_) => return Ok(()),
                Err(refusal) if refusal.why == Why::Conflict => {}
                Err(refusal) => return Err(refused(refusal)),
            }
        }
        Err(refused(Refusal::new(Why::Conflict, format!("it was changed {TRIES} times meanwhile"))))
    }
}

/// What the Secret holds, if it holds both.
fn pair(secret: &Json) -> Option<Pair> {
    let part =
        |name: &str| BASE64.decode(secret["data"][name].as_str()?).ok().filter(|part| !part.is_empty());
    Some(Pair { chain: part("tls.crt")?, key: part("tls.key")? })
}

#[cfg(test)]
mod tests;
