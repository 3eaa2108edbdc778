//! What flows through the pipe: recognises database dumps, proves that they ended, sees through gzip.
//!
//! Two things are done to a stream on its way in, both push style and in constant memory:
//!
//! * [`Sniffer`] is shown every byte of the *content* and says at the end which dump it was and whether the
//!   dump reached its proper end. A reader of a pipe sees only end of file: a dump that was killed looks
//!   finished unless somebody asks the format.
//! * [`gzip::Unwrapper`] takes gzip off, so that equal rows of two days stay equal bytes; what it notes about
//!   the wrapping lets [`gzip::Rewrapper`] put it back when the stream is read again.
//!
//! **What is absent on purpose:** no file, no socket, no async, no thread, no clock, no randomness, and no
//! knowledge of repositories. Every line can be fuzzed through the public functions.
//!
//! ```
//! use cistern_stream::{Completeness, Format, Sniffer, gzip};
//!
//! // `pg_dump | gzip` as it arrives, in whatever pieces the pipe hands over.
//! let dump = b"--\n-- PostgreSQL database dump\n--\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n";
//! let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
//! std::io::Write::write_all(&mut encoder, dump)?;
//! let wrapped = encoder.finish()?;
//!
//! let mut sniffer = Sniffer::new();
//! let mut content = Vec::new();
//! let mut unwrapper = gzip::Unwrapper::new(gzip::Limits::default());
//! for piece in wrapped.chunks(7) {
//!     unwrapper.push(piece, &mut |bytes| {
//!         sniffer.push(bytes);
//!         content.extend_from_slice(bytes);
//!     })?;
//! }
//! let segments = unwrapper.finish()?;
//! let finding = sniffer.finish();
//! assert_eq!(finding.format, Format::PgDumpPlain);
//! assert_eq!(finding.completeness, Completeness::Complete);
//!
//! // Read back: gzip again, with the same members, though not the same compressed bytes.
//! let mut again = Vec::new();
//! let mut rewrapper = gzip::Rewrapper::new(segments)?;
//! rewrapper.push(&content, &mut |bytes| again.extend_from_slice(bytes))?;
//! rewrapper.finish(&mut |bytes| again.extend_from_slice(bytes))?;
//! assert_eq!(&again[..3], [0x1f, 0x8b, 8]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod gzip;
pub mod sniff;

pub use sniff::{Completeness, Finding, Format, Sniffer};
