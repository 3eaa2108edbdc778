//! Sealed chunks in one object, with a sealed directory at the end.
//!
//! ```text
//! 0    64  header: "CSTNPACK" ‖ version=1 ‖ flags ‖ u16 0 ‖ u32 header length ‖ repository[16] ‖ session[16] ‖ zeros[16]
//! 64   …   records, back to back
//! …    …   padding, to the repository's pack size, or for a last pack to the Padmé length
//!      d   directory: nonce[24] ‖ XChaCha20-Poly1305(directory) ‖ tag[16]
//!      64  trailer:   nonce[24] ‖ XChaCha20-Poly1305(u64 directory offset ‖ u32 directory length ‖ u64 end of records ‖ u32 0) ‖ tag[16]
//!      32  mac: keyed_hash(pack mac key, BLAKE3(all before))
//! ```
//! Nothing that tells a length stands in clear: whoever sees only the store learns neither where
//! records end nor how many there are.

use crate::chunk::CHUNK_BYTES_MAX;
use crate::codec::Codec;
use crate::envelope::cipher;
use crate::id::{ChunkId, PackId, SessionId};
use crate::keys::Keyring;
use crate::padme::padded_len;
use crate::reader::Reader;
use crate::record::{Binding, ChunkKind, OVERHEAD};
use crate::{Damage, VERSION};
use bytes::Bytes;
use chacha20poly1305::aead::AeadInOut;
use std::collections::HashMap;
use subtle::ConstantTimeEq;

/// Length of a pack's header.
pub const HEADER_LEN: usize = 64;
/// Length of trailer and mac: what to read first from a pack's end.
pub const END_LEN: usize = 96;
/// Largest pack any repository may have, in bytes.
pub const PACK_BYTES_MAX: u32 = 256 << 20;
/// Key row of records sealed under the metadata key.
const META_ROW: u16 = u16::MAX;
const ROW_LEN: usize = 32 + 4 + 4 + 1 + 1 + 2 + 4;
const KEY_LEN: usize = 4 + 16 + 80;
/// Kind of key encapsulation: 1 is a NaCl sealed box; 2 is reserved for one with a post-quantum part.
const KEM_SEALED_BOX: u8 = 1;

/// One record of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What the record is sealed to.
    pub binding: Binding,
    /// Length of the record in bytes.
    pub record_len: u32,
    /// Row of [`Directory::keys`]; `None` for records under the metadata key.
    pub key: Option<u16>,
}

/// What a pack holds, in the order of its records; the first starts at [`HEADER_LEN`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Sealed data keys of the sessions that sealed the records: session and sealed box.
    pub keys: Vec<(SessionId, [u8; 80])>,
    /// The records.
    pub rows: Vec<Row>,
}

impl Directory {
    /// Rows with the offset of their record in the pack.
    pub fn located(&self) -> impl Iterator<Item = (u64, &Row)> {
        self.rows.iter().scan(HEADER_LEN as u64, |offset, row| {
            let at = *offset;
            *offset += u64::from(row.record_len);
            Some((at, row))
        })
    }

    /// To bytes, in columns, which compress better than rows.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        out.extend_from_slice(&(self.keys.len() as u32).to_le_bytes());
        for (session, sealed) in &self.keys {
            out.extend_from_slice(&[KEM_SEALED_BOX, 0, 0, 0]);
            out.extend_from_slice(&session.0);
            out.extend_from_slice(sealed);
        }
        out.extend_from_slice(&(self.rows.len() as u32).to_le_bytes());
        let rows = || self.rows.iter();
        rows().for_each(|r| out.extend_from_slice(&r.binding.id.0));
        rows().for_each(|r| out.extend_from_slice(&r.binding.raw_len.to_le_bytes()));
        rows().for_each(|r| out.extend_from_slice(&r.record_len.to_le_bytes()));
        rows().for_each(|r| out.push(r.binding.codec as u8));
        rows().for_each(|r| out.push(r.binding.kind as u8));
        rows().for_each(|r| out.extend_from_slice(&r.key.unwrap_or(META_ROW).to_le_bytes()));
        let mut bases: Vec<ChunkId> = Vec::new();
        let mut seen: HashMap<ChunkId, u32> = HashMap::new();
        for row in rows() {
            let number = row.binding.base.map_or(0, |base| {
                *seen.entry(base).or_insert_with(|| {
                    bases.push(base);
                    bases.len() as u32
                })
            });
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&(bases.len() as u32).to_le_bytes());
        bases.iter().for_each(|b| out.extend_from_slice(&b.0));
        out
    }

    /// Upper bound of the encoded length, in bytes.
    pub fn encoded_len(&self) -> usize {
        let deltas = self.rows.iter().filter(|r| r.binding.base.is_some()).count();
        12 + self.keys.len() * KEY_LEN + self.rows.len() * ROW_LEN + deltas * 32
    }

    /// From bytes that were opened, and still may be nonsense.
    pub fn decode(bytes: &[u8]) -> Result<Directory, Damage> {
        let what = "directory";
        let bad = |why: &str| Damage::malformed(what, why);
        let mut r = Reader::new(what, bytes);
        let mut keys = Vec::new();
        for _ in 0..r.count(KEY_LEN)? {
            if r.u8()? != KEM_SEALED_BOX {
                return Err(bad("a data key is sealed in an unknown way"));
            }
            r.take(3)?;
            keys.push((SessionId(r.array()?), r.array()?));
        }
        let n = r.count(ROW_LEN)?;
        let mut columns = Columns {
            ids: Reader::new(what, r.take(n * 32)?),
            raw_lens: Reader::new(what, r.take(n * 4)?),
            record_lens: Reader::new(what, r.take(n * 4)?),
            codecs: Reader::new(what, r.take(n)?),
            kinds: Reader::new(what, r.take(n)?),
            keys: Reader::new(what, r.take(n * 2)?),
            bases: Reader::new(what, r.take(n * 4)?),
        };
        let mut bases = Vec::new();
        for _ in 0..r.count(32)? {
            bases.push(ChunkId(r.array()?));
        }
        r.end()?;
        let rows = (0..n).map(|_| columns.next(&keys, &bases)).collect::<Result<_, _>>()?;
        Ok(Directory { keys, rows })
    }
}

struct Columns<'a> {
    ids: Reader<'a>,
    raw_lens: Reader<'a>,
    record_lens: Reader<'a>,
    codecs: Reader<'a>,
    kinds: Reader<'a>,
    keys: Reader<'a>,
    bases: Reader<'a>,
}

impl Columns<'_> {
    fn next(&mut self, keys: &[(SessionId, [u8; 80])], bases: &[ChunkId]) -> Result<Row, Damage> {
        let bad = |why: &str| Err(Damage::malformed("directory", why));
        let id = ChunkId(self.ids.array()?);
        let (raw_len, record_len) = (self.raw_lens.u32()?, self.record_lens.u32()?);
        let codec = Codec::try_from(self.codecs.u8()?)?;
        let kind = ChunkKind::try_from(self.kinds.u8()?)?;
        let key = Some(self.keys.u16()?).filter(|&k| k != META_ROW);
        let base = match self.bases.u32()? as usize {
            0 => None,
            n if n <= bases.len() => Some(bases[n - 1]),
            _ => return bad("a delta names a base that is not listed"),
        };
        if base.is_some() != (codec == Codec::Delta) || base == Some(id) {
            return bad("a base where there is no delta, none where there is, or the chunk itself");
        }
        if raw_len > CHUNK_BYTES_MAX || (record_len as usize) < OVERHEAD || record_len > 2 * CHUNK_BYTES_MAX {
            return bad("a length beyond what any chunk may have");
        }
        if key.is_some() != (kind == ChunkKind::Data) || key.is_some_and(|k| k as usize >= keys.len()) {
            return bad("a record under a key that is not listed");
        }
        Ok(Row { binding: Binding { id, kind, codec, raw_len, base }, record_len, key })
    }
}

/// Collects records until a pack is full. Dropping it loses nothing but the work.
pub struct PackBuilder {
    session: SessionId,
    size_bytes: usize,
    records: Vec<Bytes>,
    records_len: usize,
    directory: Directory,
}

/// A pack ready to be stored.
pub struct Pack {
    /// Its name.
    pub id: PackId,
    /// Its bytes, in pieces to be written one after the other.
    pub parts: Vec<Bytes>,
    /// Length of all parts together.
    pub object_len: u64,
    /// What it holds, for the index.
    pub directory: Directory,
}

/// Randomness for one pack: two nonces and a seed for the padding.
pub struct PackRandom {
    /// Nonce of the directory.
    pub directory: [u8; 24],
    /// Nonce of the trailer.
    pub trailer: [u8; 24],
    /// Seed of the padding, which looks like sealed records.
    pub padding: [u8; 32],
}

impl PackBuilder {
    /// An empty pack of a session, to be closed at `size_bytes`.
    pub fn new(session: SessionId, size_bytes: u32) -> PackBuilder {
        let directory = Directory::default();
        PackBuilder {
            session,
            size_bytes: size_bytes as usize,
            records: Vec::new(),
            records_len: 0,
            directory,
        }
    }

    /// Whether a record of this length must go to the next pack, so that all full packs have one size.
    pub fn is_full_for(&self, record_len: usize) -> bool {
        // One more row, a base for it and a key for it.
        let grown = self.directory.encoded_len() + ROW_LEN + 32 + KEY_LEN;
        let total = HEADER_LEN + self.records_len + record_len + grown + OVERHEAD + END_LEN;
        !self.records.is_empty() && total > self.size_bytes
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of records so far.
    pub fn len_bytes(&self) -> usize {
        self.records_len
    }

    /// Adds a sealed record. `key` is the session whose data key sealed it, `None` for the metadata key.
    pub fn add(&mut self, binding: Binding, record: Bytes, key: Option<&(SessionId, [u8; 80])>) {
        let key = key.map(|k| match self.directory.keys.iter().position(|have| have.0 == k.0) {
            Some(row) => row as u16,
            None => {
                self.directory.keys.push(*k);
                (self.directory.keys.len() - 1) as u16
            }
        });
        self.directory.rows.push(Row { binding, record_len: record.len() as u32, key });
        self.records_len += record.len();
        self.records.push(record);
    }

    /// Closes the pack. `last` packs of a session are padded to their Padmé length, others to the
    /// repository's pack size.
    pub fn finish(self, keys: &Keyring, last: bool, random: &PackRandom) -> Pack {
        let header = header(keys, self.session);
        let records_end = HEADER_LEN + self.records_len;
        let directory_len = self.directory.encode().len() + OVERHEAD;
        let bare = records_end + directory_len + END_LEN;
        let total = if last { padded_len(bare as u64) as usize } else { bare.max(self.size_bytes) };
        let mut padding = vec![0u8; total - bare];
        blake3::Hasher::new_keyed(&random.padding).finalize_xof().fill(&mut padding);
        let directory = seal_part(keys, &header, b"DIRECTORY", random.directory, &self.directory.encode());
        let mut trailer = Vec::with_capacity(24);
        trailer.extend_from_slice(&((records_end + padding.len()) as u64).to_le_bytes());
        trailer.extend_from_slice(&(directory.len() as u32).to_le_bytes());
        trailer.extend_from_slice(&(records_end as u64).to_le_bytes());
        trailer.extend_from_slice(&[0; 4]);
        let trailer = seal_part(keys, &header, b"TRAILER", random.trailer, &trailer);

        let mut parts = vec![Bytes::from(header)];
        parts.extend(self.records);
        parts.extend([Bytes::from(padding), Bytes::from(directory), Bytes::from(trailer)]);
        let mut hasher = blake3::Hasher::new();
        parts.iter().for_each(|p| {
            hasher.update(p);
        });
        let mac = blake3::keyed_hash(&keys.auth().0, hasher.finalize().as_bytes());
        hasher.update(mac.as_bytes());
        parts.push(Bytes::copy_from_slice(mac.as_bytes()));
        let object_len = parts.iter().map(|p| p.len() as u64).sum();
        Pack {
            id: PackId::of(self.session, &hasher.finalize()),
            parts,
            object_len,
            directory: self.directory,
        }
    }
}

fn header(keys: &Keyring, session: SessionId) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_LEN);
    header.extend_from_slice(b"CSTNPACK");
    header.extend_from_slice(&[VERSION, 0, 0, 0]);
    header.extend_from_slice(&(HEADER_LEN as u32).to_le_bytes());
    header.extend_from_slice(&keys.repo().0);
    header.extend_from_slice(&session.0);
    header.resize(HEADER_LEN, 0);
    header
}

fn seal_part(keys: &Keyring, header: &[u8], part: &[u8], nonce: [u8; 24], plain: &[u8]) -> Vec<u8> {
    let mut out = nonce.to_vec();
    out.extend_from_slice(plain);
    let tag = cipher(keys.meta())
        .encrypt_inout_detached(&nonce.into(), &[header, part].concat(), (&mut out[24..]).into())
        .expect("a directory is far below the cipher's limit");
    out.extend_from_slice(&tag);
    out
}

fn open_part(keys: &Keyring, header: &[u8], part: &'static [u8], sealed: &[u8]) -> Result<Vec<u8>, Damage> {
    let what = if part == b"TRAILER" { "pack trailer" } else { "pack directory" };
    if sealed.len() < OVERHEAD {
        return Err(Damage::CutShort { what, have: sealed.len() as u64, want: OVERHEAD as u64 });
    }
    let nonce: [u8; 24] = sealed[..24].try_into().expect("a slice of 24");
    let (body, tag) = sealed[24..].split_at(sealed.len() - OVERHEAD);
    let tag: [u8; 16] = tag.try_into().expect("what is left are 16");
    let mut plain = body.to_vec();
    cipher(keys.meta())
        .decrypt_inout_detached(
            &nonce.into(),
            &[header, part].concat(),
            plain.as_mut_slice().into(),
            &tag.into(),
        )
        .map_err(|_| Damage::Mismatch { what })?;
    Ok(plain)
}

/// Where a pack's directory lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Offset of the sealed directory, in bytes.
    pub directory_offset: u64,
    /// Its length, in bytes.
    pub directory_len: u32,
    /// End of the last record, in bytes.
    pub records_end: u64,
}

/// Checks a pack's first [`HEADER_LEN`] bytes against the name it was found under.
pub fn check_header(keys: &Keyring, id: &PackId, header: &[u8]) -> Result<(), Damage> {
    let what = "pack header";
    if header.len() < HEADER_LEN {
        return Err(Damage::CutShort { what, have: header.len() as u64, want: HEADER_LEN as u64 });
    }
    if &header[..8] != b"CSTNPACK" {
        return Err(Damage::malformed(what, "its first bytes are those of something else"));
    }
    if header[8] > VERSION {
        return Err(Damage::TooNew { what, found: header[8].into(), known: VERSION.into() });
    }
    if header[16..32] != keys.repo().0 || header[32..48] != id.session.0 {
        return Err(Damage::malformed(what, "it belongs to another repository or session"));
    }
    Ok(())
}

/// Opens the trailer: `end` are the last [`END_LEN`] bytes of a pack of `object_len` bytes.
pub fn open_trailer(keys: &Keyring, header: &[u8], end: &[u8], object_len: u64) -> Result<Trailer, Damage> {
    if end.len() != END_LEN {
        return Err(Damage::CutShort { what: "pack trailer", have: end.len() as u64, want: END_LEN as u64 });
    }
    let plain = open_part(keys, &header[..HEADER_LEN], b"TRAILER", &end[..END_LEN - 32])?;
    let mut r = Reader::new("pack trailer", &plain);
    let trailer = Trailer { directory_offset: r.u64()?, directory_len: r.u32()?, records_end: r.u64()? };
    let after_directory = u64::from(trailer.directory_len) + END_LEN as u64;
    let fits = trailer.directory_offset.checked_add(after_directory) == Some(object_len)
        && trailer.records_end <= trailer.directory_offset;
    if fits { Ok(trailer) } else { Err(Damage::malformed("pack trailer", "it points outside the pack")) }
}

/// Opens the sealed directory a trailer pointed to.
pub fn open_directory(
    keys: &Keyring,
    header: &[u8],
    trailer: &Trailer,
    sealed: &[u8],
) -> Result<Directory, Damage> {
    let directory = Directory::decode(&open_part(keys, &header[..HEADER_LEN], b"DIRECTORY", sealed)?)?;
    let records: u64 = directory.rows.iter().map(|r| u64::from(r.record_len)).sum();
    if records + HEADER_LEN as u64 != trailer.records_end {
        return Err(Damage::malformed("pack directory", "its records end elsewhere than the trailer says"));
    }
    Ok(directory)
}

/// Checks a whole pack: digest against its name, mac, and that the directory opens.
pub fn check_whole(keys: &Keyring, id: &PackId, object: &[u8]) -> Result<Directory, Damage> {
    check_digest(id, object)?;
    check_header(keys, id, object)?;
    let (body, mac) = object.split_at(object.len().saturating_sub(32));
    let want = blake3::keyed_hash(&keys.auth().0, blake3::hash(body).as_bytes());
    if !bool::from(want.as_bytes()[..].ct_eq(mac)) {
        return Err(Damage::Mismatch { what: "pack mac" });
    }
    let end = object.len().checked_sub(END_LEN).filter(|&e| e >= HEADER_LEN).ok_or(Damage::CutShort {
        what: "pack",
        have: object.len() as u64,
        want: (HEADER_LEN + END_LEN) as u64,
    })?;
    let trailer = open_trailer(keys, object, &object[end..], object.len() as u64)?;
    open_directory(keys, object, &trailer, &object[trailer.directory_offset as usize..end])
}

/// Checks a pack's bytes against its name, which anyone can do without a key.
pub fn check_digest(id: &PackId, object: &[u8]) -> Result<(), Damage> {
    if PackId::of(id.session, &blake3::hash(object)) == *id {
        Ok(())
    } else {
        Err(Damage::Mismatch { what: "pack" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RepoId;
    use crate::keys::Secret32;
    use proptest::prelude::*;

    fn keys() -> Keyring {
        Keyring::from_root(Secret32([1; 32]), RepoId([2; 16]))
    }

    fn random() -> PackRandom {
        PackRandom { directory: [1; 24], trailer: [2; 24], padding: [3; 32] }
    }

    fn build(records: usize, last: bool) -> Pack {
        let session = SessionId::new(3, [3; 10]);
        let mut pack = PackBuilder::new(session, 64 << 10);
        let mut row = 0u8;
        while row < records as u8 && !pack.is_full_for(1000) {
            let delta = row % 3 == 1;
            let binding = Binding {
                id: ChunkId([row; 32]),
                kind: if row % 3 == 2 { ChunkKind::Recipe } else { ChunkKind::Data },
                codec: if delta { Codec::Delta } else { Codec::Zstd },
                raw_len: 5000 + u32::from(row),
                base: delta.then_some(ChunkId([200 + row % 2; 32])),
            };
            let key = (binding.kind == ChunkKind::Data).then_some((session, [7; 80]));
            pack.add(binding, Bytes::from(vec![row; 1000]), key.as_ref());
            row += 1;
        }
        pack.finish(&keys(), last, &random())
    }

    fn whole(pack: &Pack) -> Vec<u8> {
        pack.parts.concat()
    }

    #[test]
    fn a_full_pack_has_exactly_the_configured_size_and_reads_back() {
        let pack = build(200, false);
        let object = whole(&pack);
        assert_eq!(object.len(), 64 << 10);
        assert_eq!(pack.object_len, object.len() as u64);
        let directory = check_whole(&keys(), &pack.id, &object).expect("sound");
        assert_eq!(directory, pack.directory);
        for (offset, row) in directory.located() {
            let record = &object[offset as usize..][..row.record_len as usize];
            assert_eq!(record, vec![row.binding.id.0[0]; 1000]);
        }
        assert_eq!(directory.keys.len(), 1, "one data key, listed once");
    }

    #[test]
    fn a_last_pack_tells_only_its_padme_length() {
        let object = whole(&build(3, true));
        assert_eq!(padded_len(object.len() as u64), object.len() as u64);
        assert!(object.len() < 5000);
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let pack = build(2, true);
        let object = whole(&pack);
        for at in 0..object.len() {
            let mut flipped = object.clone();
            flipped[at] ^= 0x10;
            assert!(check_whole(&keys(), &pack.id, &flipped).is_err(), "byte {at}");
            assert!(check_whole(&keys(), &pack.id, &object[..at]).is_err(), "cut {at}");
            // Without the digest in the name, as a reader that fetches only the directory sees it.
            let end = flipped.len() - END_LEN;
            let dir = pack.directory.encode().len() + OVERHEAD;
            if at >= end - dir && at < flipped.len() - 32 {
                let opened =
                    open_trailer(&keys(), &flipped, &flipped[end..], flipped.len() as u64).and_then(|t| {
                        open_directory(&keys(), &flipped, &t, &flipped[t.directory_offset as usize..end])
                    });
                assert!(opened.is_err(), "directory byte {at}");
            }
        }
    }

    #[test]
    fn a_trailer_that_points_to_the_end_of_all_numbers_is_refused() {
        let header = header(&keys(), SessionId::new(3, [3; 10]));
        for offset in [u64::MAX, u64::MAX - 50, u64::MAX - END_LEN as u64] {
            let plain = [&offset.to_le_bytes()[..], &[0; 16]].concat();
            let mut end = seal_part(&keys(), &header, b"TRAILER", [4; 24], &plain);
            end.resize(END_LEN, 0);
            assert!(open_trailer(&keys(), &header, &end, 1000).is_err(), "{offset}");
        }
    }

    proptest! {
        #[test]
        fn a_hostile_directory_costs_no_more_than_its_length(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(directory) = Directory::decode(&bytes) {
                prop_assert_eq!(Directory::decode(&directory.encode()), Ok(directory));
            }
        }
    }

    #[test]
    fn impossible_directories_are_refused() {
        let good = build(6, true).directory;
        let with = |change: &dyn Fn(&mut Row)| {
            let mut d = good.clone();
            change(&mut d.rows[1]);
            Directory::decode(&d.encode())
        };
        assert!(with(&|_| ()).is_ok());
        assert!(with(&|r| r.binding.base = None).is_err(), "a delta without base");
        assert!(with(&|r| r.binding.base = Some(r.binding.id)).is_err(), "its own base");
        assert!(with(&|r| r.binding.raw_len = CHUNK_BYTES_MAX + 1).is_err());
        assert!(with(&|r| r.record_len = 3).is_err());
        assert!(with(&|r| r.key = Some(5)).is_err());
        assert!(with(&|r| r.key = None).is_err(), "data under the metadata key");
    }
}
