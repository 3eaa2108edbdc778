//! Names of things: chunk, pack, session or snapshot, repository. Never mixed, no `From` between them.

use std::fmt;
use std::str::FromStr;

/// A text that is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct BadId {
    what: &'static str,
    text: String,
}

fn bad(what: &'static str, text: &str) -> BadId {
    BadId { what, text: text.chars().take(80).collect() }
}

/// Keyed BLAKE3-256 of a chunk's plain bytes: its name for deduplication.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId(pub [u8; 32]);

impl ChunkId {
    /// The first 16 bytes, which is what tables in memory hold: with 42 million chunks the chance
    /// that any two share them is below 10⁻²³, and readers check the whole name.
    pub fn short(&self) -> [u8; 16] {
        self.0[..16].try_into().expect("32 bytes have 16")
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chunk {}…", hex::encode(&self.0[..6]))
    }
}

impl FromStr for ChunkId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<ChunkId, BadId> {
        let mut id = [0; 32];
        hex::decode_to_slice(text, &mut id).map_err(|_| bad("a chunk id (64 hex digits)", text))?;
        Ok(ChunkId(id))
    }
}

/// Names one push, from its registration on; a snapshot has the id of the session that made it.
///
/// A ULID: 48 bits of milliseconds, 80 random bits. The time is for people and for sorting only;
/// nothing is decided by it. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 16]);

/// The id of a snapshot is the id of its session.
pub type SnapshotId = SessionId;

impl SessionId {
    /// From the time of day in milliseconds since 1970 and ten random bytes.
    pub fn new(now_ms: u64, random: [u8; 10]) -> SessionId {
        let mut low = [0; 16];
        low[6..].copy_from_slice(&random);
        SessionId(ulid::Ulid::from_parts(now_ms, u128::from_be_bytes(low)).to_bytes())
    }

    /// The time in the name, milliseconds since 1970, as the writer's clock had it.
    pub fn time_ms(&self) -> u64 {
        ulid::Ulid::from_bytes(self.0).timestamp_ms()
    }

    /// Ten characters that tell snapshots apart in listings: the last ones, which are random.
    pub fn short(&self) -> String {
        self.to_string()[16..].to_owned()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&ulid::Ulid::from_bytes(self.0).to_string())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for SessionId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<SessionId, BadId> {
        let ulid = ulid::Ulid::from_string(text).map_err(|_| bad("a snapshot id", text))?;
        let id = SessionId(ulid.to_bytes());
        // One spelling only, so that a name on storage and an id are the same thing.
        if id.to_string() == text { Ok(id) } else { Err(bad("a snapshot id", text)) }
    }
}

/// Names a pack: the first 160 bits of the BLAKE3 of the object's bytes, and the session that wrote it.
///
/// Anyone can check a pack against its name without a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackId {
    /// First 20 bytes of the BLAKE3 of the whole object.
    pub digest: [u8; 20],
    /// Session that wrote it.
    pub session: SessionId,
}

impl PackId {
    /// Name of the object with these bytes.
    pub fn of(session: SessionId, object_digest: &blake3::Hash) -> PackId {
        PackId { digest: object_digest.as_bytes()[..20].try_into().expect("32 bytes have 20"), session }
    }

    /// Key below the repository's root, such as `packs/3f/3f….01J…`.
    pub fn key(&self) -> String {
        let digest = hex::encode(self.digest);
        format!("packs/{}/{digest}.{}", &digest[..2], self.session)
    }
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", hex::encode(self.digest), self.session)
    }
}

impl fmt::Debug for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pack {}…", hex::encode(&self.digest[..6]))
    }
}

impl FromStr for PackId {
    type Err = BadId;

    /// Reads the last segment of a pack's key.
    fn from_str(text: &str) -> Result<PackId, BadId> {
        let wrong = || bad("a pack name", text);
        let (digest, session) = text.split_once('.').ok_or_else(wrong)?;
        let mut bytes = [0; 20];
        hex::decode_to_slice(digest, &mut bytes).map_err(|_| wrong())?;
        if digest.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(wrong());
        }
        Ok(PackId { digest: bytes, session: session.parse().map_err(|_| wrong())? })
    }
}

/// Names a repository: 128 random bits, drawn at `init`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RepoId(pub [u8; 16]);

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "repository {self}")
    }
}

impl FromStr for RepoId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<RepoId, BadId> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id).map_err(|_| bad("a repository id (32 hex digits)", text))?;
        Ok(RepoId(id))
    }
}

/// Serialises ids as text in JSON (for people and scripts) and as bytes in CBOR (at rest).
macro_rules! serde_id {
    ($id:ty, $n:literal, $make:expr) => {
        impl serde::Serialize for $id {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.collect_str(self) } else { s.serialize_bytes(&self.0) }
            }
        }
        impl<'de> serde::Deserialize<'de> for $id {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                use serde::de::Error as _;
                if d.is_human_readable() {
                    return String::deserialize(d)?.parse().map_err(D::Error::custom);
                }
                let bytes = serde_bytes::ByteBuf::deserialize(d)?;
                let array: [u8; $n] =
                    bytes.as_slice().try_into().map_err(|_| D::Error::custom("an id of another length"))?;
                Ok($make(array))
            }
        }
    };
}
serde_id!(ChunkId, 32, ChunkId);
serde_id!(SessionId, 16, SessionId);
serde_id!(RepoId, 16, RepoId);

impl serde::Serialize for PackId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            return s.collect_str(self);
        }
        s.serialize_bytes(&[&self.digest[..], &self.session.0].concat())
    }
}

impl<'de> serde::Deserialize<'de> for PackId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        if d.is_human_readable() {
            return String::deserialize(d)?.parse().map_err(D::Error::custom);
        }
        let bytes = serde_bytes::ByteBuf::deserialize(d)?;
        let (digest, session) = bytes.split_at_checked(20).ok_or(D::Error::custom("a pack id cut short"))?;
        Ok(PackId {
            digest: digest.try_into().expect("split at 20"),
            session: SessionId(
                session.try_into().map_err(|_| D::Error::custom("a pack id of another length"))?,
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_reads_back_what_it_writes_and_nothing_else() {
        let session = SessionId::new(1_700_000_000_000, [7; 10]);
        assert_eq!(session.time_ms(), 1_700_000_000_000);
        assert_eq!(session.to_string().parse(), Ok(session));
        assert!(session.to_string().to_lowercase().parse::<SessionId>().is_err(), "one spelling only");
        let pack = PackId { digest: [0xab; 20], session };
        assert_eq!(pack.to_string().parse(), Ok(pack));
        assert!(pack.to_string().to_uppercase().parse::<PackId>().is_err());
        assert!(pack.key().starts_with("packs/ab/abab"));
        let chunk = ChunkId([3; 32]);
        assert_eq!(chunk.to_string().parse(), Ok(chunk));
        for text in ["", ".", "zz", &"0".repeat(63)] {
            assert!(text.parse::<ChunkId>().is_err() && text.parse::<PackId>().is_err());
        }
    }
}
