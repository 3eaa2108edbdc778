//! Who may do what: one root secret, everything derived from it, and the four roles.
//!
//! All derivations are `blake3::derive_key(context, material)`; contexts are constants here and in
//! `docs/format.md`. Secrets are wiped when dropped and print as nothing.

use crate::id::{RepoId, SessionId};
use crate::{Damage, VERSION};
use crypto_box::aead::rand_core as rand_core_06;
use crypto_box::{PublicKey, SecretKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A 256-bit secret. `Debug` says nothing, drop wipes it.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret32(pub [u8; 32]);

impl fmt::Debug for Secret32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret32(…)")
    }
}

/// What the holder of a credential can do. Each role is a set of keys; a role cannot do what its
/// keys cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Prune, forget, list; moves sealed records, reads no data.
    Maintain,
    /// Store snapshots and deduplicate; reads no stored data, not even its own of yesterday.
    Push,
    /// Store and read.
    Pull,
    /// Everything, and hand out credentials.
    Owner,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Maintain => "maintain",
            Role::Push => "push",
            Role::Pull => "pull",
            Role::Owner => "owner",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        match text {
            "maintain" => Ok(Role::Maintain),
            "push" => Ok(Role::Push),
            "pull" => Ok(Role::Pull),
            "owner" => Ok(Role::Owner),
            _ => Err("the roles are push, pull, maintain and owner".to_owned()),
        }
    }
}

/// The keys of one credential for one repository.
#[derive(Clone, Debug)]
pub struct Keyring {
    role: Role,
    repo: RepoId,
    meta: Secret32,
    auth: Secret32,
    recipe_id: Secret32,
    push: Option<PushKeys>,
    data_secret: Option<Secret32>,
    root: Option<Secret32>,
}

#[derive(Clone, Debug)]
struct PushKeys {
    chunk_id: Secret32,
    gear: Secret32,
    sketch: Secret32,
    psk: Secret32,
    data_public: [u8; 32],
}

fn derive(context: &str, material: &[&[u8]]) -> Secret32 {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    material.iter().for_each(|m| {
        hasher.update(m);
    });
    Secret32(*hasher.finalize().as_bytes())
}

impl Keyring {
    /// All keys, from the root secret of a repository.
    pub fn from_root(root: Secret32, repo: RepoId) -> Keyring {
        let base = derive("cistern v1 repository root", &[&root.0, &repo.0]);
        let key = |context| derive(context, &[&base.0]);
        let meta = key("cistern v1 metadata");
        let data_secret = key("cistern v1 data secret");
        let push = PushKeys {
            chunk_id: key("cistern v1 chunk id"),
            gear: key("cistern v1 gear table"),
            sketch: key("cistern v1 sketch"),
            psk: key("cistern v1 data psk"),
            data_public: *SecretKey::from(data_secret.0).public_key().as_bytes(),
        };
        Keyring {
            role: Role::Owner,
            repo,
            recipe_id: recipe_id_key(&meta),
            meta,
            auth: key("cistern v1 pack mac"),
            push: Some(push),
            data_secret: Some(data_secret),
            root: Some(root),
        }
    }

    /// The keys of a lesser role, or `None` if this keyring lacks some of them.
    pub fn restrict(&self, role: Role) -> Option<Keyring> {
        let mut lesser = self.clone();
        lesser.role = role;
        if role != Role::Owner {
            lesser.root = None;
        }
        if role <= Role::Push {
            lesser.data_secret = None;
        }
        if role == Role::Maintain {
            lesser.push = None;
        }
        let complete = match role {
            Role::Owner => lesser.root.is_some(),
            Role::Pull => lesser.data_secret.is_some(),
            Role::Push => lesser.push.is_some(),
            Role::Maintain => true,
        };
        complete.then_some(lesser)
    }

    /// What this keyring may do.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The repository these keys belong to.
    pub fn repo(&self) -> RepoId {
        self.repo
    }

    /// Seals metadata: envelopes, pack directories, recipe records.
    pub fn meta(&self) -> &Secret32 {
        &self.meta
    }

    /// Authenticates whole packs.
    pub fn auth(&self) -> &Secret32 {
        &self.auth
    }

    /// Names recipe segments.
    pub fn recipe_id(&self) -> &Secret32 {
        &self.recipe_id
    }

    /// Names data chunks; push, pull and owner have it.
    pub fn chunk_id(&self) -> Option<&Secret32> {
        self.push.as_ref().map(|p| &p.chunk_id)
    }

    /// Grows the table chunks are cut with.
    pub fn gear(&self) -> Option<&Secret32> {
        self.push.as_ref().map(|p| &p.gear)
    }

    /// Grows the table sketches are made with.
    pub fn sketch(&self) -> Option<&Secret32> {
        self.push.as_ref().map(|p| &p.sketch)
    }

    /// Seals the session keys a machine keeps for itself, see [`crate::kept`].
    pub(crate) fn kept(&self) -> Option<Secret32> {
        self.push.as_ref().map(|p| derive("cistern v1 kept session keys", &[&p.psk.0, &self.repo.0]))
    }

    /// Whether stored data can be read.
    pub fn can_read(&self) -> bool {
        self.data_secret.is_some()
    }

    /// The data key of a new session and its sealed form, from 64 random bytes.
    ///
    /// The sealed form is a NaCl sealed box of the first 32 bytes to the repository's public key; the
    /// other 32 are its ephemeral key. The session can seal records as long as it lives; afterwards
    /// only holders of the data secret can.
    pub fn new_data_key(&self, session: SessionId, random: [u8; 64]) -> Option<DataKey> {
        let push = self.push.as_ref()?;
        let (seed, ephemeral) = random.split_at(32);
        let mut rng = OneShot(ephemeral.try_into().expect("64 bytes have twice 32"));
        let sealed = PublicKey::from(push.data_public)
            .seal(&mut rng, seed)
            .expect("sealing 32 bytes cannot overflow")
            .try_into()
            .expect("a sealed box of 32 bytes has 80");
        Some(DataKey { session, sealed, key: self.session_key(push, session, seed) })
    }

    /// Opens the sealed data key of an earlier session.
    pub fn open_data_key(&self, session: SessionId, sealed: &[u8; 80]) -> Result<DataKey, Damage> {
        let (Some(secret), Some(push)) = (&self.data_secret, &self.push) else {
            return Err(Damage::WrongKey { what: "data key" });
        };
        let mut seed = SecretKey::from(secret.0)
            .unseal(sealed)
            .map_err(|_| Damage::Mismatch { what: "sealed data key" })?;
        let key = self.session_key(push, session, &seed);
        seed.zeroize();
        Ok(DataKey { session, sealed: *sealed, key })
    }

    fn session_key(&self, push: &PushKeys, session: SessionId, seed: &[u8]) -> Secret32 {
        derive("cistern v1 session data", &[seed, &push.psk.0, &self.repo.0, &session.0])
    }

    /// As a credential: one line of text with a checksum, for a key file or a Kubernetes Secret.
    pub fn to_credential(&self) -> Credential {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.repo.0);
        if let Some(root) = &self.root {
            bytes.extend_from_slice(&root.0);
        } else {
            bytes.extend_from_slice(&self.meta.0);
            bytes.extend_from_slice(&self.auth.0);
            if let Some(p) = &self.push {
                for key in [&p.chunk_id.0, &p.gear.0, &p.sketch.0, &p.psk.0, &p.data_public] {
                    bytes.extend_from_slice(key);
                }
            }
            if let Some(secret) = &self.data_secret {
                bytes.extend_from_slice(&secret.0);
            }
        }
        let check = blake3::derive_key(CREDENTIAL_CHECK, &bytes);
        let text = format!("cistern-{}-{}{}", self.role, hex::encode(&bytes), hex::encode(&check[..4]));
        bytes.zeroize();
        Credential(text)
    }

    /// Reads a credential.
    ///
    /// # Errors
    /// [`Damage`] that says in which way the text is no credential; it never repeats the text.
    pub fn from_credential(credential: &Credential) -> Result<Keyring, Damage> {
        let bad = |why: &str| Damage::malformed("credential", why);
        let text = credential.0.trim();
        let mut parts = text.splitn(3, '-');
        let (Some("cistern"), Some(role), Some(payload)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("it does not start with `cistern-ROLE-`"));
        };
        let role: Role = role.parse().map_err(|e: String| bad(&e))?;
        let mut bytes = hex::decode(payload)
            .map_err(|_| bad("it has characters that are no hex digits, or one is missing"))?;
        let keyring = Keyring::from_payload(role, &bytes);
        bytes.zeroize();
        keyring
    }

    fn from_payload(role: Role, bytes: &[u8]) -> Result<Keyring, Damage> {
        let bad = |why: &str| Damage::malformed("credential", why);
        let (body, check) =
            bytes.split_at_checked(bytes.len().wrapping_sub(4)).ok_or(bad("it is too short"))?;
        if blake3::derive_key(CREDENTIAL_CHECK, body)[..4] != *check {
            return Err(bad("its checksum does not match: was it copied completely?"));
        }
        let mut r = crate::reader::Reader::new("credential", body);
        match r.u8()? {
            VERSION => {}
            found => {
                return Err(Damage::TooNew {
                    what: "credential",
                    found: found.into(),
                    known: VERSION.into(),
                });
            }
        }
        let repo = RepoId(r.array()?);
        if role == Role::Owner {
            let root = Secret32(r.array()?);
            r.end()?;
            return Ok(Keyring::from_root(root, repo));
        }
        let (meta, auth) = (Secret32(r.array()?), Secret32(r.array()?));
        let push = match role {
            Role::Maintain => None,
            _ => Some(PushKeys {
                chunk_id: Secret32(r.array()?),
                gear: Secret32(r.array()?),
                sketch: Secret32(r.array()?),
                psk: Secret32(r.array()?),
                data_public: r.array()?,
            }),
        };
        let data_secret = if role == Role::Pull { Some(Secret32(r.array()?)) } else { None };
        r.end()?;
        Ok(Keyring { role, repo, recipe_id: recipe_id_key(&meta), meta, auth, push, data_secret, root: None })
    }
}

const CREDENTIAL_CHECK: &str = "cistern v1 credential check";

fn recipe_id_key(meta: &Secret32) -> Secret32 {
    derive("cistern v1 recipe id", &[&meta.0])
}

/// A keyring as text. Whoever has it has the keys: `Debug` shows nothing, drop wipes it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Credential(String);

impl Credential {
    /// Takes text that may be a credential; it is checked when it is read.
    pub fn new(text: String) -> Credential {
        Credential(text)
    }

    /// The text, to be written to a file of mode 0600 and nowhere else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// The key one session sealed its data records with.
#[derive(Clone, Debug)]
pub struct DataKey {
    /// The session.
    pub session: SessionId,
    /// The seed, sealed to the repository's public key; stands in every directory that needs it.
    pub sealed: [u8; 80],
    /// The key itself.
    pub(crate) key: Secret32,
}

/// Hands out the 32 bytes it was made with, once: `crypto_box` draws its ephemeral key from it.
struct OneShot([u8; 32]);

impl rand_core_06::RngCore for OneShot {
    fn next_u32(&mut self) -> u32 {
        rand_core_06::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core_06::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        assert_eq!(dest.len(), 32, "a sealed box draws one ephemeral key");
        dest.copy_from_slice(&self.0);
        self.0.zeroize();
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl rand_core_06::CryptoRng for OneShot {}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Keyring {
        Keyring::from_root(Secret32([1; 32]), RepoId([2; 16]))
    }

    #[test]
    fn a_credential_reads_back_and_a_typo_is_noticed() {
        for role in [Role::Maintain, Role::Push, Role::Pull, Role::Owner] {
            let keyring = owner().restrict(role).expect("the owner can hand out every role");
            let credential = keyring.to_credential();
            let back = Keyring::from_credential(&credential).expect("reads its own text");
            assert_eq!((back.role(), back.repo()), (role, RepoId([2; 16])));
            assert_eq!(back.to_credential().reveal(), credential.reveal());
            let text = credential.reveal();
            let last = text.len() - 20;
            let typo = format!(
                "{}{}{}",
                &text[..last],
                if &text[last..=last] == "0" { "1" } else { "0" },
                &text[last + 1..]
            );
            for bad in [&typo, &text[..text.len() - 2], "", "cistern-push-", "hello"] {
                assert!(Keyring::from_credential(&Credential::new(bad.to_owned())).is_err());
            }
            assert!(!format!("{keyring:?} {credential:?}").contains(&text[60..70]));
        }
    }

    #[test]
    fn each_role_has_its_keys_and_no_more() {
        let keys = |role| owner().restrict(role).expect("the owner has all");
        assert!(keys(Role::Maintain).chunk_id().is_none() && !keys(Role::Maintain).can_read());
        assert!(keys(Role::Push).chunk_id().is_some() && !keys(Role::Push).can_read());
        assert!(keys(Role::Pull).can_read());
        assert!(keys(Role::Push).restrict(Role::Pull).is_none());
        assert!(keys(Role::Pull).restrict(Role::Owner).is_none());
        assert!(keys(Role::Maintain).restrict(Role::Push).is_none());
    }

    #[test]
    fn a_data_key_opens_for_readers_only() {
        let session = SessionId::new(5, [6; 10]);
        let push = owner().restrict(Role::Push).expect("push");
        let made = push.new_data_key(session, [8; 64]).expect("push can make keys");
        assert!(push.open_data_key(session, &made.sealed).is_err(), "a writer cannot read back");
        let opened = owner().open_data_key(session, &made.sealed).expect("a reader can");
        assert_eq!(opened.key, made.key);
        let other = owner().open_data_key(SessionId::new(6, [6; 10]), &made.sealed).expect("opens");
        assert_ne!(other.key, made.key, "the key is bound to the session");
    }
}
