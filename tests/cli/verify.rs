//! `cistern verify` and `cistern repair`: damage is found, named, and mended as far as it can be.

use crate::home::*;
use crate::ls::fields;
use std::io::{Seek as _, SeekFrom, Write as _};

/// A repository with two snapshots; the first has the only large pack.
fn repository() -> Home {
    let home = Home::new();
    home.ok(&["push", "db"], &noise(3 << 20));
    home.ok(&["push", "other"], b"small");
    home
}

fn largest_pack(home: &Home) -> std::path::PathBuf {
    let mut packs = files_below(&home.repository().join("packs"));
    packs.sort_by_key(|p| p.metadata().unwrap().len());
    packs.pop().unwrap()
}

/// Changes one byte in the middle of a pack.
fn rot(home: &Home) {
    let path = largest_pack(home);
    let mut file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(1 << 20)).unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(&mut file, &mut byte).unwrap();
    file.seek(SeekFrom::Start(1 << 20)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
}

#[test]
fn a_sound_repository_is_well_at_every_level() {
    let home = repository();
    for level in ["0", "1", "2", "3", "4"] {
        let report = home.ok(&["verify", "--level", level, "--json"], b"").json();
        assert_eq!(report["findings"], serde_json::json!([]), "{report}");
        assert_eq!(report["level"].to_string(), level);
    }
    let restored = home.ok(&["verify", "db", "--json"], b"").json();
    assert_eq!((&restored["level"], &restored["restored"]), (&4.into(), &1.into()), "{restored}");
    let ran = home.ok(&["verify"], b"");
    assert!(String::from_utf8_lossy(&ran.out).contains("all is well"), "{ran:?}");
}

#[test]
fn bit_rot_is_found_by_reading_and_names_the_snapshot() {
    let home = repository();
    rot(&home);
    home.ok(&["verify", "--level", "1"], b"");
    for args in [&["verify", "--level", "2", "--json"][..], &["verify", "db", "--json"]] {
        let ran = home.run(args, b"");
        assert_eq!(ran.code, Some(3), "{args:?}: {}", ran.err);
        let report = ran.json();
        let fields = fields(&report);
        let expected = ["findings", "level", "packs", "read_bytes", "restored", "slice", "snapshots"];
        assert!(expected.iter().all(|f| fields.contains(f)), "{report}");
        let finding = &report["findings"][0];
        assert_eq!(finding["severity"], "damage");
        assert!(finding["snapshots"].to_string().contains("db"), "{finding}");
        assert!(!finding["snapshots"].to_string().contains("other"), "{finding}");
    }
    let ran = home.run(&["verify", "--level", "2"], b"");
    let text = String::from_utf8_lossy(&ran.out).into_owned();
    assert!(text.contains("DAMAGE") && text.contains("touches db"), "{text}");
}

#[test]
fn slices_cover_everything_one_after_the_other() {
    let home = repository();
    let parts: Vec<String> = (0..3)
        .map(|_| {
            home.ok(&["verify", "--level", "2", "--slice", "auto/2", "--json"], b"").json()["slice"]
                .to_string()
        })
        .collect();
    assert_eq!(parts, ["[1,2]", "[2,2]", "[1,2]"]);
    rot(&home);
    let codes: Vec<_> = ["1/2", "2/2"]
        .iter()
        .map(|s| home.run(&["verify", "--level", "2", "--slice", s], b"").code)
        .collect();
    assert!(codes == [Some(0), Some(3)] || codes == [Some(3), Some(0)], "{codes:?}");
    for wrong in ["0/2", "3/2", "1", "auto/0", "x/y"] {
        assert_eq!(home.run(&["verify", "--slice", wrong], b"").code, Some(2), "{wrong}");
    }
    assert_eq!(home.run(&["verify", "db", "--level", "2"], b"").code, Some(2));
}

#[test]
fn a_lost_index_is_written_anew() {
    let home = repository();
    for file in files_below(&home.repository().join("index")) {
        std::fs::remove_file(file).unwrap();
    }
    let preview = home.ok(&["repair", "--dry-run", "--json"], b"").json();
    assert_eq!(fields(&preview), ["done", "dry_run", "lost"]);
    assert!(!preview["done"].as_array().unwrap().is_empty(), "{preview}");
    assert!(files_below(&home.repository().join("index")).is_empty());
    home.ok(&["repair"], b"");
    assert!(!files_below(&home.repository().join("index")).is_empty());
    home.ok(&["verify", "--level", "4"], b"");
}

#[test]
fn what_is_lost_is_told_and_given_up_only_when_asked() {
    let home = repository();
    std::fs::remove_file(largest_pack(&home)).unwrap();
    assert_eq!(home.run(&["verify", "--level", "1"], b"").code, Some(3));
    let ran = home.run(&["repair", "--json"], b"");
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(ran.json()["lost"].to_string().contains("db"), "{ran:?}");
    assert!(ran.err.contains("--forget-broken"), "{}", ran.err);
    assert_eq!(home.ok(&["ls", "--json"], b"").json()["snapshots"].as_array().unwrap().len(), 2);
    home.ok(&["repair", "--forget-broken"], b"");
    home.assert_absent("db");
    assert_eq!(home.pull("other"), b"small");
    home.ok(&["verify", "--level", "4"], b"");
}

#[test]
fn pushing_again_heals_what_was_lost() {
    let home = repository();
    std::fs::remove_file(largest_pack(&home)).unwrap();
    home.run(&["repair"], b"");
    home.ok(&["push", "db"], &noise(3 << 20));
    home.ok(&["verify", "--level", "4"], b"");
}
