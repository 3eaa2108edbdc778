//! Images that published blueprints name, as stand-ins: programs that check what they are asked, and directories that
//! are the servers behind them.

use crate::plane::Plane;
use crate::world::USER;
use cistern_sim::kubelet::Image;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The programs.
const STAND_INS: [(&str, &str); 4] = [
    ("mongodump", include_str!("stand_ins/mongodb")),
    ("mongorestore", include_str!("stand_ins/mongodb")),
    ("connect-standalone", include_str!("stand_ins/connect-standalone")),
    ("kafka-consumer-groups", include_str!("stand_ins/kafka-consumer-groups")),
];

/// Images by name, and where each sees the directory that is its server.
const SERVERS: [(&str, &str); 4] = [
    ("busybox", "/store"),
    ("cistern-tools-mongodb", "/mongo"),
    ("kafka-connector", "/kafka"),
    ("mongodb", "/mongo"),
];

/// All of them.
pub fn published(plane: &Plane) -> Vec<Image> {
    let programs = plane.folder("stand-ins");
    for (name, text) in STAND_INS {
        let path = programs.join(name);
        std::fs::write(&path, text).unwrap();
        open(&path);
    }
    let mut images: Vec<Image> = SERVERS
        .iter()
        .map(|(name, directory)| Image {
            prefix: (*name).to_owned(),
            programs: Some(programs.clone()),
            shared: vec![((*directory).to_owned(), server(plane, name))],
            directory: Some((*directory).to_owned()),
            user: Some(USER),
            ..Image::default()
        })
        .collect();
    images.push(Image { prefix: "kanister-tools".to_owned(), user: Some(USER), ..Image::default() });
    images
}

/// The directory that is the server of an image.
pub fn server(plane: &Plane, image: &str) -> PathBuf {
    let folder = plane.folder(&format!("server-{image}"));
    open(&folder);
    folder
}

/// For whatever user a container has.
pub fn open(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
}
