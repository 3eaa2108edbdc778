//! What a process printed: written to a file as it comes, read from the beginning by whoever wants it.
//!
//! Memory holds one piece per reader and writer, however much is printed and however slowly it is read.

use crate::Stream;
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

/// Longest piece that is read or sent at once, in bytes; a message of gRPC may have 4 MiB.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// The kept output of one stream. The file goes when the last holder of this goes.
#[derive(Clone)]
pub(crate) struct Kept {
    path: Arc<TempPath>,
    /// How long it is, in bytes; closed when nothing more will come.
    length: watch::Receiver<u64>,
}

/// The end of [`Kept`] that is written.
pub(crate) struct Keeping {
    file: File,
    length: watch::Sender<u64>,
}

/// A place for what comes: what is written to the one appears in the other.
pub(crate) fn keep(stream: Stream) -> io::Result<(Keeping, Kept)> {
    // Named as Kanister names them, for those who look for them in /tmp.
    let suffix = match stream {
        Stream::Stdout => ".stdout",
        Stream::Stderr => ".stderr",
    };
    let (file, path) = tempfile::Builder::new().prefix("kando.").suffix(suffix).tempfile()?.into_parts();
    let (length, known) = watch::channel(0);
    Ok((Keeping { file: File::from_std(file), length }, Kept { path: Arc::new(path), length: known }))
}

impl Keeping {
    /// Keeps all that comes, and shows each piece to `seen`.
    ///
    /// # Errors
    /// It cannot be read, or not be written: then the pipe is closed, and its writer learns of it.
    pub(crate) async fn take(
        mut self,
        mut pipe: impl AsyncRead + Unpin,
        seen: impl Fn(&[u8]),
    ) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES_MAX];
        loop {
            let read = pipe.read(&mut piece).await?;
            if read == 0 {
                return Ok(());
            }
            self.file.write_all(&piece[..read]).await?;
            self.file.flush().await?;
            seen(&piece[..read]);
            self.length.send_modify(|length| *length += read as u64);
        }
    }
}

impl Kept {
    /// Reads it from its beginning, and goes on reading while more may come.
    pub(crate) async fn read(&self) -> io::Result<Reading> {
        let file = File::open(&**self.path).await?;
        Ok(Reading { file, kept: self.clone(), read: 0, held: Vec::new() })
    }
}

/// One reader of what is kept.
pub(crate) struct Reading {
    file: File,
    kept: Kept,
    read: u64,
    /// The beginning of a character whose end was not there yet.
    held: Vec<u8>,
}

impl Reading {
    /// The next piece, once there is one; `None` at the end. UTF-8 is not cut within a character: Kanister's
    /// clients take each piece for a text.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let length = *self.kept.length.borrow_and_update();
            if self.read == length {
                if self.kept.length.changed().await.is_ok() {
                    continue;
                }
                // Closed; what was written before it closed is known by now.
                if self.read == *self.kept.length.borrow() {
                    let held = std::mem::take(&mut self.held);
                    return Ok(Some(Bytes::from(held)).filter(|held| !held.is_empty()));
                }
                continue;
            }
            let room = (length - self.read).min((PIECE_BYTES_MAX - self.held.len()) as u64);
            let mut piece = std::mem::take(&mut self.held);
            let have = piece.len();
            piece.resize(have + usize::try_from(room).expect("at most a piece"), 0);
            self.file.read_exact(&mut piece[have..]).await?;
            self.read += room;
            self.held = piece.split_off(piece.len() - cut_short(&piece));
            if !piece.is_empty() {
                return Ok(Some(piece.into()));
            }
        }
    }
}

/// How many bytes at the end are the beginning of a character of UTF-8.
fn cut_short(piece: &[u8]) -> usize {
    // A character has four bytes at most, so an unfinished one has three.
    (1..=piece.len().min(3))
        .find(|back| {
            let unfinished = &piece[piece.len() - back..];
            std::str::from_utf8(unfinished).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

    use super::*;

    async fn all(reading: &mut Reading) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        while let Some(piece) = reading.next().await.unwrap() {
            pieces.push(piece);
        }
        pieces
    }

    #[test]
    fn an_unfinished_character_is_told_from_a_finished_and_from_a_wrong_one() {
        for (bytes, want) in [
            (&b""[..], 0),
            (b"a", 0),
            ("aé".as_bytes(), 0),
            (b"a\xc3", 1),
            (b"\xe2\x82", 2),
            (b"\xf0\x9f\x92", 3),
            (b"\x82\x82\x82", 0),
            (b"\xff", 0),
            (b"\xc3a", 0),
        ] {
            assert_eq!(cut_short(bytes), want, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn what_is_written_is_read_whole_before_and_after_its_end() {
        let text = "naïve €uro 💾 ".repeat(40_000);
        let (keeping, kept) = keep(Stream::Stdout).unwrap();
        let mut early = kept.read().await.unwrap();
        let follow = tokio::spawn(async move { all(&mut early).await });
        let (mut write, read) = tokio::io::duplex(7);
        let taking = tokio::spawn(keeping.take(read, |_| {}));
        write.write_all(text.as_bytes()).await.unwrap();
        drop(write);
        taking.await.unwrap().unwrap();
        let early = follow.await.unwrap();
        let late = all(&mut kept.read().await.unwrap()).await;
        for pieces in [early, late] {
            assert!(pieces.iter().all(|piece| std::str::from_utf8(piece).is_ok()), "cut within a character");
            assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES_MAX));
            assert!(pieces.concat() == text.as_bytes());
        }
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_come_through_too() {
        let bytes: Vec<u8> = (0..=255).rev().cycle().take(300_001).collect();
        let (keeping, kept) = keep(Stream::Stderr).unwrap();
        keeping.take(&bytes[..], |_| {}).await.unwrap();
        assert!(all(&mut kept.read().await.unwrap()).await.concat() == bytes);
        let (keeping, kept) = keep(Stream::Stderr).unwrap();
        keeping.take(&b"ends in the midst of one: \xe2\x82"[..], |_| {}).await.unwrap();
        assert_eq!(
            all(&mut kept.read().await.unwrap()).await.concat(),
            b"ends in the midst of one: \xe2\x82"
        );
    }

    #[tokio::test]
    async fn the_file_goes_with_its_last_holder() {
        let (keeping, kept) = keep(Stream::Stdout).unwrap();
        keeping.take(&b"some"[..], |_| {}).await.unwrap();
        let path = kept.path.to_path_buf();
        let mut reading = kept.read().await.unwrap();
        drop(kept);
        assert!(path.exists());
        assert_eq!(all(&mut reading).await.concat(), b"some");
        drop(reading);
        assert!(!path.exists());
    }
}
