//! What an image's name stands for.

use std::path::PathBuf;

/// A kind of image, told by how its name begins.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Names that begin so are of this kind; the longest match counts.
    pub prefix: String,
    /// A directory whose programs are found first.
    pub programs: Option<PathBuf>,
    /// Files it brings: where they are seen, and where they are on the machine.
    pub files: Vec<(String, PathBuf)>,
    /// Directories that its containers share with the machine and may write to: where they are seen, and where they
    /// are. So a program of the image can stand in for a client of some server.
    pub shared: Vec<(String, PathBuf)>,
    /// Where its commands begin; the root if it does not say.
    pub directory: Option<String>,
    /// What runs in a container that names no command.
    pub entrypoint: Vec<String>,
    /// The user its processes run as, unless the pod says otherwise; `None` is root.
    pub user: Option<u32>,
    /// Why it cannot be pulled.
    pub absent: Option<String>,
}

/// Where the programs of an image are seen in a container.
pub(super) const PROGRAMS: &str = "/.cistern-image";

/// The kind that a name is of; the machine as it is where none fits.
pub(super) fn find(images: &[Image], name: &str) -> Image {
    let fitting = images.iter().filter(|image| name.starts_with(&image.prefix));
    fitting.max_by_key(|image| image.prefix.len()).cloned().unwrap_or_default()
}
