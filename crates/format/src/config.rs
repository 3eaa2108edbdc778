//! The repository's own description: one clear file that says what it is, one sealed with parameters.

use crate::chunk::ChunkSizes;
use crate::id::RepoId;
use crate::pack::PACK_BYTES_MAX;
use crate::{Damage, VERSION};
use serde::{Deserialize, Serialize};

/// Key of the clear description.
pub const MARKER_KEY: &str = "cistern.json";
/// Key of the sealed parameters.
pub const CONFIG_KEY: &str = "config";
/// Largest clear description that is read, in bytes.
pub const MARKER_BYTES_MAX: u64 = 4096;

/// `cistern.json`, in clear: enough to know what lies here and whether this program can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Always `cistern`.
    pub format: String,
    /// Version of the format.
    pub version: u32,
    /// Features a reader must know; none in version 1.
    pub features: Vec<String>,
    /// The repository's id.
    pub repository: RepoId,
}

impl Marker {
    /// The description of a new repository.
    pub fn new(repository: RepoId) -> Marker {
        Marker { format: "cistern".into(), version: VERSION.into(), features: vec![], repository }
    }

    /// To the bytes of the object.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("plain fields serialise");
        text.push(b'\n');
        text
    }

    /// From the bytes of the object.
    pub fn decode(bytes: &[u8]) -> Result<Marker, Damage> {
        let what = "cistern.json";
        let marker: Marker = serde_json::from_slice(bytes).map_err(|e| Damage::malformed(what, e))?;
        if marker.format != "cistern" {
            return Err(Damage::malformed(what, "it describes something else"));
        }
        if marker.version > VERSION.into() {
            return Err(Damage::TooNew { what, found: marker.version, known: VERSION.into() });
        }
        match marker.features.first() {
            None => Ok(marker),
            Some(f) => {
                Err(Damage::malformed(what, format!("it needs the feature `{f}`: use a newer cistern")))
            }
        }
    }
}

/// `config`, sealed: what all writers of a repository must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// How streams are cut.
    pub chunk_sizes: ChunkSizes,
    /// Size of a full pack in bytes.
    pub pack_bytes: u32,
    /// zstd level of chunks stored whole.
    pub level: i32,
    /// How long a listing may lag behind a write, in seconds; prune waits twice as long.
    pub staleness_secs: u32,
}

/// Average chunk of a new repository, in bytes. See `docs/performance.md` for the table behind it.
pub const CHUNK_BYTES_DEFAULT: u32 = 512 << 10;
/// Pack size of a new repository, in bytes: several uploads under way stay within the memory budget.
pub const PACK_BYTES_DEFAULT: u32 = 16 << 20;

impl Default for Config {
    fn default() -> Config {
        Config {
            chunk_sizes: ChunkSizes::around(CHUNK_BYTES_DEFAULT).expect("the default is legal"),
            pack_bytes: PACK_BYTES_DEFAULT,
            level: 1,
            staleness_secs: 0,
        }
    }
}

impl Config {
    /// Refuses parameters outside what this program can bound its memory for.
    pub fn check(&self) -> Result<(), Damage> {
        self.chunk_sizes.check()?;
        let pack_ok = (64 << 10..=PACK_BYTES_MAX).contains(&self.pack_bytes);
        if !pack_ok || !(-7..=19).contains(&self.level) {
            return Err(Damage::malformed("configuration", format!("{self:?}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_tells_friend_from_foe() {
        let marker = Marker::new(RepoId([5; 16]));
        assert_eq!(Marker::decode(&marker.encode()), Ok(marker.clone()));
        let newer = Marker { version: 2, ..marker.clone() };
        assert!(matches!(Marker::decode(&newer.encode()), Err(Damage::TooNew { found: 2, .. })));
        let featured = Marker { features: vec!["x".into()], ..marker.clone() };
        assert!(Marker::decode(&featured.encode()).is_err());
        assert!(Marker::decode(&Marker { format: "other".into(), ..marker }.encode()).is_err());
        assert!(Marker::decode(b"{}").is_err());
    }

    #[test]
    fn the_default_is_legal_and_hostile_parameters_are_not() {
        assert!(Config::default().check().is_ok());
        assert!(Config { pack_bytes: u32::MAX, ..Config::default() }.check().is_err());
        assert!(Config { level: 100, ..Config::default() }.check().is_err());
    }
}
