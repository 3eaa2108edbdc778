//! Packs with right seals around directories and trailers that lie.

use crate::keys;
use arbitrary::{Arbitrary as _, Result, Unstructured};
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use cistern_format::id::{PackId, SessionId};
use cistern_format::pack::{self, END_LEN, HEADER_LEN};
use cistern_format::record::{ChunkKind, Sealer};

pub fn run(input: &[u8]) {
    let mut u = Unstructured::new(input);
    let _ = if u.ratio(1, 4).unwrap_or(false) { unsealed(u) } else { forged(u) };
}

/// An object somebody put under a pack's name, whose digest is right at best.
fn unsealed(mut u: Unstructured<'_>) -> Result<()> {
    let named_rightly = bool::arbitrary(&mut u)?;
    let object = u.take_rest();
    let digest = blake3::hash(if named_rightly { object } else { b"" });
    let id = PackId::of(SessionId([0; 16]), &digest);
    assert!(pack::check_whole(&keys(), &id, object).is_err(), "nobody without the key makes a pack");
    Ok(())
}

fn forged(mut u: Unstructured<'_>) -> Result<()> {
    let id = SessionId(u.arbitrary()?);
    let sound = u.ratio(3, 4)?;
    let lies: [u64; 3] = [u.arbitrary()?, u.arbitrary()?, u.arbitrary()?];
    let records = <&[u8]>::arbitrary(&mut u)?;
    let directory = u.take_rest();
    crate::index::directory(directory);

    let mut object = header(id);
    object.extend_from_slice(records);
    let records_end = object.len() as u64;
    let sealed = part(&object[..HEADER_LEN], b"DIRECTORY", directory);
    let truth = [records_end, sealed.len() as u64, records_end];
    let [offset, len, end] = if sound { truth } else { lies };
    object.extend_from_slice(&sealed);
    let trailer =
        [&offset.to_le_bytes()[..], &(len as u32).to_le_bytes(), &end.to_le_bytes(), &[0; 4]].concat();
    let trailer = part(&object[..HEADER_LEN], b"TRAILER", &trailer);
    object.extend_from_slice(&trailer);
    let mac = blake3::keyed_hash(&keys().auth().0, blake3::hash(&object).as_bytes());
    object.extend_from_slice(mac.as_bytes());
    check(PackId::of(id, &blake3::hash(&object)), &object);
    Ok(())
}

/// Reads a pack as readers do: whole, and by its end alone.
fn check(id: PackId, object: &[u8]) {
    let keys = keys();
    let whole = pack::check_whole(&keys, &id, object);
    let header = &object[..HEADER_LEN];
    pack::check_header(&keys, &id, header).expect("the header is right");
    let Ok(trailer) =
        pack::open_trailer(&keys, header, &object[object.len() - END_LEN..], object.len() as u64)
    else {
        return assert!(whole.is_err());
    };
    let from = trailer.directory_offset as usize;
    let sealed = &object[from..from + trailer.directory_len as usize];
    let by_end = pack::open_directory(&keys, header, &trailer, sealed);
    assert_eq!(by_end, whole, "both ways lead to the same directory");
    let Ok(directory) = by_end else { return };
    for (offset, row) in directory.located() {
        let end = offset + u64::from(row.record_len);
        assert!(end <= trailer.records_end, "a record lies within the records");
        if row.binding.kind == ChunkKind::Recipe {
            let mut record = object[offset as usize..end as usize].to_vec();
            let opened = Sealer::recipe(&keys).open(&row.binding, &mut record);
            assert!(opened.is_err(), "nobody sealed it");
        }
        assert_eq!(row.key.is_none(), row.binding.kind == ChunkKind::Recipe);
    }
    for (session, sealed) in &directory.keys {
        let _ = keys.open_data_key(*session, sealed);
    }
}

fn header(session: SessionId) -> Vec<u8> {
    let mut header = [b"CSTNPACK", &[1, 0, 0, 0][..], &(HEADER_LEN as u32).to_le_bytes()].concat();
    header.extend_from_slice(&keys().repo().0);
    header.extend_from_slice(&session.0);
    header.resize(HEADER_LEN, 0);
    header
}

/// One sealed part of a pack, made as `docs/format.md` says.
fn part(header: &[u8], name: &[u8], plain: &[u8]) -> Vec<u8> {
    let nonce = [4; 24];
    let mut sealed = plain.to_vec();
    let tag = XChaCha20Poly1305::new(&keys().meta().0.into())
        .encrypt_inout_detached(&nonce.into(), &[header, name].concat(), sealed.as_mut_slice().into())
        .expect("a short text");
    [&nonce[..], &sealed, &tag].concat()
}
