//! `cistern benchmark`: its report has what it promises, and it leaves nothing behind.

use crate::home::*;
use crate::ls::fields;

const STAGES: [&str; 11] =
    ["compress", "cut", "delta", "digest", "expand", "name", "open", "read", "recognise", "seal", "sketch"];

#[test]
fn stages_and_trips_have_speeds_and_ratios() {
    let home = Home::new();
    std::fs::create_dir(home.path("place")).unwrap();
    let report = home.ok(&["benchmark", "--size", "8M", "--at", "place", "--json"], b"").json();
    assert_eq!(fields(&report), ["at", "cores", "stages", "trips"]);
    assert_eq!(fields(&report["stages"]), STAGES);
    let trips = report["trips"].as_array().unwrap();
    let names: Vec<_> = trips.iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["push", "push again", "push next night", "pull"]);
    for trip in trips {
        assert_eq!(fields(trip), ["added_bytes", "mb_per_sec", "name", "ratio", "raw_bytes", "secs"]);
        assert_eq!(trip["raw_bytes"], 8 << 20);
        assert!(trip["mb_per_sec"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(trips[1]["added_bytes"], 0, "the same dump again");
    assert!(trips[2]["ratio"].as_f64() > trips[0]["ratio"].as_f64(), "{report}");
    assert_eq!(files_below(&home.path("place")), Vec::<std::path::PathBuf>::new());
    assert!(!home.repository().exists());
}

#[test]
fn the_stages_of_given_files_alone() {
    let home = Home::new();
    home.write("data/a.sql", &pg_dump());
    home.write("data/b.sql", &pg_dump());
    let mut command = home.command(&["benchmark", "--stages"]);
    command.env("CISTERN_BENCH_DATA", home.path("data"));
    let ran = run(command, b"");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let stages = ran.json();
    assert_eq!(fields(&stages), STAGES);
    assert_eq!(fields(&stages["cut"]), ["a.sql", "b.sql"]);
    assert!(stages["compress"]["a.sql"].as_f64().unwrap() > 0.0);
    assert_eq!(home.run(&["benchmark", "--data", "absent"], b"").code, Some(2));
}
