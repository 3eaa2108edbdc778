//! The tutorial's time logger.

use crate::stage::Stage;
use crate::support::assert_sound;

#[test]
fn a_log_comes_back() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("time.log");
    let lines = "Fri Nov 20 12:00:00 UTC 2026\nFri Nov 20 12:00:01 UTC 2026\n";
    std::fs::File::create(&file)
        .and_then(|mut f| std::io::Write::write_all(&mut f, lines.as_bytes()))
        .unwrap();
    let option = format!("file={}", file.display());
    let stage = Stage::new("time-log/blueprint.yaml", "Deployment", "", "", &[&option]);
    let path = stage.backup("timeLog");
    assert!(path.starts_with("time-log/app/db/") && path.ends_with("/time.log"), "{path}");
    std::fs::File::create(&file).unwrap();
    stage.follow_ok("restore", &[]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), lines);
    assert_sound(&stage.home);
    stage.delete();

    std::fs::remove_file(&file).unwrap();
    let ran = stage.try_backup();
    assert_eq!(ran.code, Some(1), "a file that is gone fails the action: {}", ran.err);
    assert!(crate::support::listed_names(&stage.home).is_empty());
}
