//! Kanister's data mover, on our engine: streams under a path, into a Cistern repository or as plain objects.
//!
//! What happens to a stream before the engine sees it stands here too, for both doors: [`Intake`] takes gzip
//! off and looks at the dump, [`judge`] decides whether it may be committed, [`Wrapping`] puts gzip back.
//!
//! **What is absent on purpose:** Kubernetes; arguments, environment, processes and standard streams, which
//! are the doors'.

mod error;
mod intake;
mod judge;
mod location;
mod objects;
mod path;
mod profile;
mod wrapping;

pub use error::Error;
pub use intake::{Intake, Outcome, Seen};
pub use judge::{Lenience, Verdict, judge};
pub use location::{Deleted, Location, Pushed, Source, Taken, Terms};
pub use objects::Plain;
pub use path::StreamPath;
pub use profile::Place;
pub use wrapping::Wrapping;
