//! Objects in S3, GCS or Azure, through `object_store`.
//!
//! One object is one PUT with the condition "if absent"; there is no multipart upload, which could
//! not carry that condition everywhere and would leave parts behind.

use crate::explain::{Meaning, explain};
use crate::http::ContentMd5;
use crate::retry::{Backoff, Patience};
use crate::{Entry, Error, ErrorKind, Key, Store};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    Attributes, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode,
    PutOptions, PutPayload,
};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;
use tokio::time::timeout;

/// What is asked of a cloud's client: objects whole, and objects in parts.
pub(crate) trait Client: ObjectStore + MultipartStore {}

impl<C: ObjectStore + MultipartStore> Client for C {}

/// A bucket or container, or what lies below a prefix of it.
pub(crate) struct CloudStore {
    pub(crate) client: Arc<dyn Client>,
    /// Above every key; may be empty.
    pub(crate) prefix: Path,
    /// URL for messages, without secrets.
    pub(crate) location: String,
    /// Sent with every write, such as the storage class.
    pub(crate) attributes: Attributes,
    /// For listings, which go on where they were cut off, and for bodies that stop coming.
    pub(crate) patience: Patience,
    /// Learnt from the server's refusal: buckets with object lock want a `Content-MD5` with each object.
    pub(crate) wants_md5: AtomicBool,
}

impl CloudStore {
    fn path(&self, key: &Key) -> Path {
        self.prefix.parts().chain(Path::from(key.as_str()).parts()).collect()
    }

    fn subject(&self, key: &Key) -> String {
        format!("{}/{key}", self.location)
    }

    /// Asks for the first page of a listing, to learn whether bucket and credentials are good.
    ///
    /// `Denied` is fine: a credential may well write here and not list. Unless the server does not know it.
    pub(crate) async fn greet(&self) -> Result<(), Error> {
        let mut objects = self.client.list(Some(&self.prefix));
        let first = timeout(self.patience.stall, objects.next()).await;
        match first.map_err(|_| self.stalled("open", &self.location))? {
            Some(Err(e)) => match explain(&e) {
                meaning if meaning.kind == ErrorKind::Denied && !meaning.stranger => Ok(()),
                // Of a listing it can only be the bucket that is not found.
                mut meaning if meaning.kind == ErrorKind::NotFound => {
                    meaning.kind = ErrorKind::Config;
                    Err(meaning.error("open", &self.location))
                }
                meaning => Err(meaning.error("open", &self.location)),
            },
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// The region the bucket is in, where a listing shows that it is another than this client's.
    pub(crate) async fn other_region(&self) -> Option<String> {
        let mut objects = self.client.list(Some(&self.prefix));
        match timeout(self.patience.stall, objects.next()).await {
            Ok(Some(Err(e))) => explain(&e).region,
            _ => None,
        }
    }

    /// Writes without a condition, which nothing but [`crate::doctor`] does, to see whether it is refused.
    pub(crate) async fn overwrite(&self, key: &Key, bytes: Bytes) -> Result<(), Error> {
        let path = self.path(key);
        self.answer("overwrite", &self.subject(key), self.client.put(&path, bytes.into())).await.map(drop)
    }

    /// Waits for an answer for as long as a request without data may take.
    pub(crate) async fn answer<T>(
        &self,
        doing: &'static str,
        subject: &str,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Error> {
        match timeout(self.patience.stall, request).await {
            Ok(answer) => answer.map_err(|e| explain(&e).error(doing, subject)),
            Err(_) => Err(self.stalled(doing, subject)),
        }
    }

    fn stalled(&self, doing: &'static str, subject: impl std::fmt::Display) -> Error {
        let why = format!("the server said nothing for {} s", self.patience.stall.as_secs());
        Error::new(ErrorKind::Unavailable, doing, subject, why)
    }

    /// One PUT, if the object is absent: `None` when it was written, or why not.
    async fn put(&self, key: &Key, parts: &[Bytes]) -> Result<Option<Meaning>, Error> {
        let mut options = PutOptions {
            mode: PutMode::Create,
            attributes: self.attributes.clone(),
            ..PutOptions::default()
        };
        if self.wants_md5.load(Ordering::Relaxed) {
            let parts = parts.to_vec();
            let digest = tokio::task::spawn_blocking(move || ContentMd5::of(&parts)).await.map_err(|_| {
                Error::new(ErrorKind::Other, "write", self.subject(key), "the program is shutting down")
            })?;
            options.extensions.insert(digest);
        }
        let payload: PutPayload = parts.iter().cloned().collect();
        Ok(self.client.put_opts(&self.path(key), payload, options).await.err().map(|e| explain(&e)))
    }

    /// The server refused to write because of what is there. Is that what we were writing?
    async fn settle(&self, key: &Key, parts: &[Bytes]) -> Result<(), Error> {
        let subject = self.subject(key);
        match self.get(key, parts.iter().map(|part| part.len() as u64).sum()).await {
            Ok(there) if is_same(&there, parts) => Ok(()),
            Err(e) if e.kind == ErrorKind::NotFound => {
                let why = "another write of this name was under way, and nothing is there yet";
                Err(Error::new(ErrorKind::Unavailable, "write", subject, why))
            }
            Err(e) if e.kind != ErrorKind::TooLarge => Err(e),
            _ => Err(Error::new(ErrorKind::Exists, "write", subject, "another object has this name")),
        }
    }

    /// Reads a body of exactly `len` bytes, each piece of it within the stall time.
    pub(crate) async fn body(&self, subject: &str, result: GetResult, len: u64) -> Result<Bytes, Error> {
        let mut pieces = result.into_stream();
        let mut whole = BytesMut::new();
        while let Some(piece) =
            timeout(self.patience.stall, pieces.next()).await.map_err(|_| self.stalled("read", subject))?
        {
            let piece = piece.map_err(|e| explain(&e).error("read", subject))?;
            if piece.len() as u64 == len && whole.is_empty() {
                return Ok(piece);
            }
            if whole.is_empty() {
                whole.reserve(usize::try_from(len).unwrap_or(usize::MAX));
            }
            if (whole.len() + piece.len()) as u64 > len {
                let why = format!("more came than the {len} bytes that were announced");
                return Err(Error::new(ErrorKind::Unavailable, "read", subject, why));
            }
            whole.extend_from_slice(&piece);
        }
        if (whole.len() as u64) < len {
            let why = format!("{} bytes came, {len} were announced", whole.len());
            return Err(Error::new(ErrorKind::Unavailable, "read", subject, why));
        }
        Ok(whole.freeze())
    }

    /// Every object below a directory of the bucket, or in the whole bucket, in the order of names.
    pub(crate) fn list_below(&self, dir: Path) -> BoxStream<'_, Result<ObjectMeta, Error>> {
        let listing = Listing::new(self, dir);
        stream::unfold(listing, |mut listing| async { Some((listing.next().await?, listing)) }).boxed()
    }

    fn cut_short(&self, key: &Key, range: &Range<u64>, size: u64) -> Error {
        let why = format!("it has {size} bytes, {range:?} was asked for");
        Error::new(ErrorKind::CutShort, "read", self.subject(key), why)
    }
}

#[async_trait]
impl Store for CloudStore {
    async fn put_new(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        let meaning = match self.put(key, &parts).await? {
            Some(meaning) if meaning.wants_md5 && !self.wants_md5.swap(true, Ordering::Relaxed) => {
                self.put(key, &parts).await?
            }
            first => first,
        };
        match meaning {
            None => Ok(()),
            Some(meaning) if meaning.taken => self.settle(key, &parts).await,
            Some(meaning) => Err(meaning.error("write", self.subject(key))),
        }
    }

    async fn get(&self, key: &Key, size_max: u64) -> Result<Bytes, Error> {
        let path = self.path(key);
        let result = self.answer("read", &self.subject(key), self.client.get(&path)).await?;
        let size = result.meta.size;
        if size > size_max {
            let why = format!("it has {size} bytes, at most {size_max} are allowed");
            return Err(Error::new(ErrorKind::TooLarge, "read", self.subject(key), why));
        }
        self.body(&self.subject(key), result, size).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        if range.start >= range.end {
            // HTTP has no empty range.
            let size = self.head(key).await?.size;
            let inside = range.start == range.end && range.end <= size;
            return if inside { Ok(Bytes::new()) } else { Err(self.cut_short(key, &range, size)) };
        }
        let path = self.path(key);
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let subject = self.subject(key);
        let result = match self.answer("read", &subject, self.client.get_opts(&path, options)).await {
            // Some answer a range of an empty object in a way of their own; its size says what they meant.
            Err(e) if matches!(e.kind, ErrorKind::Other | ErrorKind::CutShort) => {
                let size = self.head(key).await?.size;
                return Err(if range.end > size { self.cut_short(key, &range, size) } else { e });
            }
            answer => answer?,
        };
        if result.range != range {
            return Err(self.cut_short(key, &range, result.meta.size));
        }
        self.body(&subject, result, range.end - range.start).await
    }

    async fn head(&self, key: &Key) -> Result<Entry, Error> {
        let path = self.path(key);
        let meta = self.answer("look up", &self.subject(key), self.client.head(&path)).await?;
        Ok(entry(key.clone(), &meta))
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, Error>> {
        let dir = prefix.rfind('/').map_or("", |end| &prefix[..end]);
        let dir: Path = self.prefix.parts().chain(Path::from(dir).parts()).collect();
        let prefix = prefix.to_owned();
        let ours = move |meta: ObjectMeta| {
            let below: Path = meta.location.prefix_match(&self.prefix)?.collect();
            let key = below.as_ref().parse::<Key>().ok()?;
            key.as_str().starts_with(&prefix).then(|| entry(key, &meta))
        };
        let all = self.list_below(dir);
        all.filter_map(move |meta| std::future::ready(meta.map(&ours).transpose())).boxed()
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let path = self.path(key);
        match self.answer("delete", &self.subject(key), self.client.delete(&path)).await {
            Err(e) if e.kind == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn location(&self) -> String {
        self.location.clone()
    }
}

fn is_same(there: &[u8], parts: &[Bytes]) -> bool {
    let mut rest = Some(there);
    for part in parts {
        rest = rest.and_then(|rest| rest.strip_prefix(&part[..]));
    }
    rest.is_some_and(<[u8]>::is_empty)
}

fn entry(key: Key, meta: &ObjectMeta) -> Entry {
    Entry { key, size: meta.size, modified: SystemTime::from(meta.last_modified) }
}

/// One listing under way. The clouds list in the order of names, so one that was cut off goes on after
/// the last name it gave.
struct Listing<'s> {
    store: &'s CloudStore,
    dir: Path,
    objects: Option<BoxStream<'static, object_store::Result<ObjectMeta>>>,
    last: Option<Path>,
    backoff: Backoff,
    over: bool,
}

impl<'s> Listing<'s> {
    fn new(store: &'s CloudStore, dir: Path) -> Listing<'s> {
        let backoff = Backoff::new(&store.patience);
        Listing { store, dir, objects: None, last: None, backoff, over: false }
    }

    async fn next(&mut self) -> Option<Result<ObjectMeta, Error>> {
        while !self.over {
            match self.step().await {
                Ok(Some(meta)) => {
                    // It moves, so its patience is as fresh as at the start.
                    self.backoff = Backoff::new(&self.store.patience);
                    self.last = Some(meta.location.clone());
                    return Some(Ok(meta));
                }
                Ok(None) => self.over = true,
                Err(e) => {
                    self.objects = None;
                    let again = match e.kind {
                        ErrorKind::Unavailable => self.backoff.wait_after(e).await,
                        _ => Err(e),
                    };
                    if let Err(e) = again {
                        self.over = true;
                        return Some(Err(e));
                    }
                }
            }
        }
        None
    }

    /// The next object as the cloud lists it, or the end.
    async fn step(&mut self) -> Result<Option<ObjectMeta>, Error> {
        let store = self.store;
        let objects = self.objects.get_or_insert_with(|| match &self.last {
            Some(last) => store.client.list_with_offset(Some(&self.dir), last),
            None => store.client.list(Some(&self.dir)),
        });
        let subject = || format!("{}, below `{}`", store.location, self.dir);
        match timeout(store.patience.stall, objects.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(meta))) => Ok(Some(meta)),
            Ok(Some(Err(e))) => Err(explain(&e).error("list", subject())),
            Err(_) => Err(store.stalled("list", subject())),
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]
mod tests {
    use super::*;
    use object_store::GetResultPayload;
    use object_store::memory::InMemory;

    async fn read(len: u64, pieces: &[&'static str]) -> Result<Bytes, Error> {
        let store = CloudStore {
            client: Arc::new(InMemory::new()),
            prefix: Path::default(),
            location: "memory:".to_owned(),
            attributes: Attributes::new(),
            patience: Patience::default(),
            wants_md5: AtomicBool::new(false),
        };
        let key = Key::new("a");
        store.put_new(&key, vec![Bytes::from_static(b"x")]).await.unwrap();
        let mut result = store.client.get(&store.path(&key)).await.unwrap();
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
        result.payload = GetResultPayload::Stream(stream::iter(pieces).boxed());
        store.body("a", result, len).await
    }

    #[tokio::test]
    async fn a_body_is_as_long_as_was_announced_or_no_object() {
        assert_eq!(read(6, &["one", "two"]).await.unwrap(), "onetwo");
        assert_eq!(read(6, &["onetwo"]).await.unwrap(), "onetwo");
        assert_eq!(read(0, &[]).await.unwrap(), "");
        for (len, pieces) in [(7, &["one", "two"][..]), (5, &["one", "two"]), (5, &["onetwo"]), (1, &[])] {
            assert_eq!(read(len, pieces).await.unwrap_err().kind, ErrorKind::Unavailable, "{pieces:?}");
        }
    }
}
