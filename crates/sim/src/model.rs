//! What a repository must hold after any history, and what it would mean if it did not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::io::{self, Read};

/// A stream, told apart from every other by its length and BLAKE3 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Content {
    /// Length in bytes.
    pub size_bytes: u64,
    /// BLAKE3 of all bytes.
    pub digest: [u8; 32],
}

impl Content {
    /// The content of these bytes.
    pub fn of(bytes: &[u8]) -> Content {
        Content { size_bytes: bytes.len() as u64, digest: *blake3::hash(bytes).as_bytes() }
    }

    /// The content of a stream, read to its end.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn read(stream: impl Read) -> io::Result<Content> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(stream)?;
        Ok(Content { size_bytes: hasher.count(), digest: *hasher.finalize().as_bytes() })
    }
}

impl Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.digest;
        write!(f, "{} bytes, {a:02x}{b:02x}{c:02x}{d:02x}", self.size_bytes)
    }
}

/// A promise that a repository broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken<Id> {
    /// A snapshot whose push succeeded is not listed.
    Missing(Id),
    /// A snapshot is listed that nobody can have pushed, with this content.
    Unknown(Id, Content),
    /// A snapshot is listed although forgetting it succeeded.
    Resurrected(Id),
    /// A listed snapshot cannot be restored, and why.
    Unreadable(Id, String),
    /// A snapshot was restored to something else.
    Wrong {
        /// The snapshot.
        id: Id,
        /// What was pushed.
        want: Content,
        /// What came back.
        got: Content,
    },
    /// A snapshot is listed twice.
    ListedTwice(Id),
}

/// What was promised so far, by everybody who used the repository.
///
/// A push or forget that failed promises nothing: it may have happened. A snapshot that is listed
/// must restore whether or not its push knows that it succeeded.
#[derive(Clone, Debug)]
pub struct Promises<Id> {
    committed: BTreeMap<Id, Content>,
    /// Contents of pushes that failed, and may be there under an id nobody was told.
    attempted: BTreeSet<Content>,
    forgotten: BTreeSet<Id>,
    /// Snapshots that somebody tried to forget, and failed.
    perhaps_forgotten: BTreeSet<Id>,
}

impl<Id> Default for Promises<Id> {
    fn default() -> Self {
        Promises {
            committed: BTreeMap::new(),
            attempted: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            perhaps_forgotten: BTreeSet::new(),
        }
    }
}

impl<Id: Ord + Clone + Debug> Promises<Id> {
    /// Nothing promised yet.
    pub fn new() -> Promises<Id> {
        Promises::default()
    }

    /// A push succeeded and was given this id.
    ///
    /// # Panics
    /// If the id was given before: ids name one push for ever.
    pub fn pushed(&mut self, id: Id, content: Content) {
        let before = self.committed.insert(id.clone(), content);
        assert!(before.is_none() && !self.forgotten.contains(&id), "{id:?} was given to two pushes");
    }

    /// A push began and failed, or its process died.
    pub fn push_failed(&mut self, content: Content) {
        self.attempted.insert(content);
    }

    /// A snapshot was forgotten.
    pub fn forgot(&mut self, id: &Id) {
        self.committed.remove(id);
        self.forgotten.insert(id.clone());
    }

    /// Forgetting a snapshot failed, or its process died.
    pub fn forget_failed(&mut self, id: &Id) {
        self.perhaps_forgotten.insert(id.clone());
    }

    /// Snapshots that must be there, with what they must restore to.
    pub fn must_hold(&self) -> impl Iterator<Item = (&Id, &Content)> {
        self.committed.iter().filter(|(id, _)| !self.perhaps_forgotten.contains(*id))
    }

    /// What is wrong with these `listed` snapshots, each restored with `restore`; empty if nothing is.
    pub async fn check(
        &self,
        listed: impl IntoIterator<Item = Id>,
        restore: impl AsyncFn(&Id) -> Result<Content, String>,
    ) -> Vec<Broken<Id>> {
        let mut broken = Vec::new();
        let mut seen = BTreeSet::new();
        for id in listed {
            if !seen.insert(id.clone()) {
                broken.push(Broken::ListedTwice(id));
            } else if self.forgotten.contains(&id) {
                broken.push(Broken::Resurrected(id));
            } else {
                let restored = restore(&id).await;
                broken.extend(self.check_one(id, restored).err());
            }
        }
        let missing = self.must_hold().filter(|(id, _)| !seen.contains(*id));
        broken.extend(missing.map(|(id, _)| Broken::Missing(id.clone())));
        broken
    }

    fn check_one(&self, id: Id, restored: Result<Content, String>) -> Result<(), Broken<Id>> {
        let got = match restored {
            Ok(got) => got,
            Err(why) => return Err(Broken::Unreadable(id, why)),
        };
        match self.committed.get(&id) {
            Some(want) if *want != got => Err(Broken::Wrong { id, want: *want, got }),
            None if !self.attempted.contains(&got) => Err(Broken::Unknown(id, got)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]
mod tests {
    use super::*;

    fn content(text: &str) -> Content {
        Content::of(text.as_bytes())
    }

    /// A repository of these snapshots, checked against promises; `?` cannot be read.
    async fn check(promises: &Promises<u8>, held: &[(u8, &str)]) -> Vec<Broken<u8>> {
        let restore = async |id: &u8| {
            let (_, text) = held.iter().find(|(held, _)| held == id).unwrap();
            if *text == "?" { Err("a pack is gone".to_owned()) } else { Ok(content(text)) }
        };
        promises.check(held.iter().map(|(id, _)| *id), restore).await
    }

    #[test]
    fn a_stream_and_its_bytes_are_one_content() {
        assert_eq!(Content::read(&b"rows"[..]).unwrap(), content("rows"));
        assert_ne!(content("rows"), content("row"));
    }

    #[tokio::test]
    async fn what_was_pushed_must_be_there_and_right() {
        let mut promises = Promises::new();
        promises.pushed(1, content("one"));
        promises.pushed(2, content("two"));
        assert_eq!(check(&promises, &[(1, "one"), (2, "two")]).await, []);
        assert_eq!(check(&promises, &[(1, "one")]).await, [Broken::Missing(2)]);
        let wrong = Broken::Wrong { id: 2, want: content("two"), got: content("one") };
        assert_eq!(check(&promises, &[(1, "one"), (2, "one")]).await, [wrong]);
        let unreadable = Broken::Unreadable(1, "a pack is gone".to_owned());
        assert_eq!(check(&promises, &[(1, "?"), (2, "two")]).await, [unreadable]);
        let twice = check(&promises, &[(1, "one"), (1, "one"), (2, "two")]).await;
        assert_eq!(twice, [Broken::ListedTwice(1)]);
    }

    #[tokio::test]
    async fn a_failed_push_may_be_there_but_then_whole() {
        let mut promises = Promises::new();
        promises.push_failed(content("one"));
        assert_eq!(check(&promises, &[]).await, []);
        assert_eq!(check(&promises, &[(1, "one")]).await, []);
        assert_eq!(check(&promises, &[(1, "on")]).await, [Broken::Unknown(1, content("on"))]);
        assert_eq!(check(&promises, &[(1, "?")]).await.len(), 1);
    }

    #[tokio::test]
    async fn what_was_forgotten_stays_away() {
        let mut promises = Promises::new();
        promises.pushed(1, content("one"));
        promises.forget_failed(&1);
        assert_eq!(check(&promises, &[(1, "one")]).await, []);
        assert_eq!(check(&promises, &[]).await, []);
        assert_eq!(promises.must_hold().count(), 0);
        promises.forgot(&1);
        promises.forget_failed(&1);
        assert_eq!(check(&promises, &[]).await, []);
        assert_eq!(check(&promises, &[(1, "one")]).await, [Broken::Resurrected(1)]);
    }

    #[test]
    #[should_panic(expected = "two pushes")]
    fn an_id_names_one_push() {
        let mut promises = Promises::new();
        promises.pushed(1, content("one"));
        promises.pushed(1, content("one"));
    }
}
