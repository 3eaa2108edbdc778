//! What a store really does, found out by trying.
//!
//! Documentation of a store says what it should do; some that speak S3 ignore the condition "if absent",
//! some check it and still let two racing writers win, some mounts show a new file only after a minute.

use crate::cloud::CloudStore;
use crate::connect::connect;
use crate::location::Location;
use crate::open::{open, open_directory, stack};
use crate::{Error, ErrorKind, Key, MemStore, Options, Store};
use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::future::join_all;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep};

/// Writers that race, each on a connection of its own.
const WRITERS: usize = 8;

/// Races.
const RACES: usize = 5;

/// Small objects whose times are taken.
const SMALL: usize = 9;

/// Size of the object whose transfer is timed.
const LARGE_BYTES: usize = 8 << 20;

/// How long a new object may stay out of listings: NFS caches a directory for 60 s (`acdirmax`).
const LIST_DELAY_MAX: Duration = Duration::from_secs(65);

/// How long passing failures are tried again meanwhile: somebody is waiting for the answer.
const RETRY_SECS: u64 = 30;

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, with less safety or speed.
    Limited,
    /// Something that backups rely on does not work.
    Bad,
}

/// One thing that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was tried, such as `create-if-absent`.
    pub check: &'static str,
    /// How good it is.
    pub verdict: Verdict,
    /// What was seen, in numbers where there are some.
    pub measured: String,
    /// What that means for backups here.
    pub meaning: &'static str,
}

/// All findings about one store.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it is.
    pub location: String,
    /// In the order in which they were tried.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The worst of the verdicts.
    pub fn verdict(&self) -> Verdict {
        self.findings.iter().map(|f| f.verdict).max().unwrap_or(Verdict::Good)
    }

    /// The finding of one check, if it was made.
    pub fn finding(&self, check: &str) -> Option<&Finding> {
        self.findings.iter().find(|f| f.check == check)
    }
}

/// Tries what the store at `location` can do, below `doctor/<random>/`, and removes what it wrote.
///
/// `now` is the time by the caller's clock when it calls. Takes seconds on a healthy store, and at most
/// some minutes.
///
/// # Errors
/// As [`open`]. What goes wrong after that is a finding.
pub async fn probe(location: &Location, options: &Options, now: SystemTime) -> Result<Report, Error> {
    let began = Instant::now();
    let mut options = options.clone();
    options.retry_secs = Some(options.retry_secs.unwrap_or(RETRY_SECS).min(RETRY_SECS));
    let dir = format!("doctor/{:025x}", rand::random::<u128>() >> 28);
    let probe = Probe { stores: connections(location, &options).await?, dir, began, now };
    let mut findings = Vec::new();
    findings.extend(probe.leftovers(location).await?);
    findings.extend(transport(location, &options));
    let written = probe.read_after_write().await;
    let writable = written.verdict != Verdict::Bad;
    findings.push(written);
    if writable {
        findings.push(probe.create_if_absent().await);
        findings.push(probe.racing_writers().await);
        findings.extend(probe.overwrite(location, &options).await?);
        findings.push(probe.list_after_write().await);
        findings.push(probe.range_read().await);
        findings.push(probe.clock().await);
        findings.push(probe.latency().await);
        findings.push(probe.throughput().await);
        findings.push(probe.delete().await);
        findings.extend(probe.clean_up().await);
    }
    Ok(Report { location: location.to_string(), findings })
}

/// Stores that share nothing but what is behind them.
async fn connections(location: &Location, options: &Options) -> Result<Vec<Arc<dyn Store>>, Error> {
    if *location == Location::Memory {
        let store: Arc<dyn Store> = Arc::new(MemStore::new());
        return Ok(vec![store; WRITERS]);
    }
    let mut stores = vec![open(location, options).await?];
    for _ in 1..WRITERS {
        stores.push(match location {
            // The first one has seen to it that the bucket is there.
            Location::Bucket { cloud, bucket, prefix } => {
                stack(connect(*cloud, bucket, prefix, options)?, options)
            }
            _ => open(location, options).await?,
        });
    }
    Ok(stores)
}

fn transport(location: &Location, options: &Options) -> Option<Finding> {
    let Location::Bucket { cloud, .. } = location else { return None };
    let plain = options.speaks_plain_http(*cloud);
    let (verdict, measured, meaning) = match (plain, options.skip_verify) {
        (true, _) => {
            let meaning = "backups stay encrypted, but anybody on the way sees names and sizes and can repeat or \
                           change requests";
            (Verdict::Limited, "plain HTTP", meaning)
        }
        (false, true) => {
            let meaning = "anybody on the way can pose as the server; give its authority as `ca_file`";
            (Verdict::Limited, "TLS, certificate not verified", meaning)
        }
        (false, false) => (Verdict::Good, "TLS, certificate verified", "nobody on the way reads or changes"),
    };
    Some(Finding { check: "transport", verdict, measured: measured.to_owned(), meaning })
}

struct Probe {
    stores: Vec<Arc<dyn Store>>,
    dir: String,
    began: Instant,
    now: SystemTime,
}

/// What one check came to, before it has a name.
type Outcome = Result<(Verdict, String), Error>;

impl Probe {
    fn store(&self) -> &dyn Store {
        &*self.stores[0]
    }

    fn key(&self, name: impl std::fmt::Display) -> Key {
        Key::new(format!("{}/{name}", self.dir))
    }

    async fn write(&self, name: impl std::fmt::Display, text: &'static str) -> Result<(), Error> {
        self.store().put_new(&self.key(name), vec![Bytes::from_static(text.as_bytes())]).await
    }

    async fn leftovers(&self, location: &Location) -> Result<Option<Finding>, Error> {
        let Location::Directory(path) = location else { return Ok(None) };
        let left = open_directory(path).await?.staging_len().await?;
        let verdict = if left == 0 { Verdict::Good } else { Verdict::Limited };
        Ok(Some(Finding {
            check: "leftovers",
            verdict,
            measured: format!("{left} unfinished files"),
            meaning: "writers that run now, or crashed; maintenance removes those older than a day",
        }))
    }

    async fn read_after_write(&self) -> Finding {
        let outcome: Outcome = async {
            self.write("plain", "hello").await?;
            let there = self.stores[1].get(&self.key("plain"), 100).await?;
            let verdict = if there == "hello" { Verdict::Good } else { Verdict::Bad };
            Ok((verdict, format!("{} bytes read back on another connection", there.len())))
        }
        .await;
        finding("read-after-write", outcome, Verdict::Bad, "what a writer has stored, a reader finds")
    }

    async fn create_if_absent(&self) -> Finding {
        let outcome: Outcome = async {
            self.write("once", "first").await?;
            let again = self.write("once", "other").await;
            let there = self.store().get(&self.key("once"), 100).await?;
            let kept = there == "first";
            let seen = |what: &str| format!("the second write was {what}");
            Ok(match again {
                Err(e) if e.kind == ErrorKind::Exists && kept => (Verdict::Good, seen("refused")),
                Err(e) if e.kind == ErrorKind::Exists => (Verdict::Bad, seen("refused after overwriting")),
                Ok(()) => (Verdict::Bad, seen("accepted")),
                Err(e) => return Err(e),
            })
        }
        .await;
        let meaning =
            "without it a fenced writer can still publish; prune must wait a week instead of asking";
        finding("create-if-absent", outcome, Verdict::Bad, meaning)
    }

    async fn racing_writers(&self) -> Finding {
        let outcome: Outcome = async {
            let mut won_max = 0;
            for race in 0..RACES {
                let key = self.key(format!("race-{race}"));
                let writers = self.stores.iter().enumerate().map(|(i, store)| {
                    let body = Bytes::from(vec![i as u8; 1000]);
                    let key = &key;
                    async move { store.put_new(key, vec![body]).await }
                });
                let ends = join_all(writers).await;
                won_max = won_max.max(ends.iter().filter(|end| end.is_ok()).count());
                if let Some(e) =
                    ends.into_iter().filter_map(Result::err).find(|e| e.kind != ErrorKind::Exists)
                {
                    return Err(e);
                }
            }
            let verdict = if won_max == 1 { Verdict::Good } else { Verdict::Bad };
            Ok((verdict, format!("at most {won_max} of {WRITERS} writers won, in {RACES} races")))
        }
        .await;
        let meaning = "a store may check the condition and still let two writers win when they come together";
        finding("racing-writers", outcome, Verdict::Bad, meaning)
    }

    /// Whether this credential could overwrite, which Cistern itself never does.
    async fn overwrite(&self, location: &Location, options: &Options) -> Result<Option<Finding>, Error> {
        let Location::Bucket { cloud, bucket, prefix } = location else { return Ok(None) };
        let store: CloudStore = connect(*cloud, bucket, prefix, options)?;
        let outcome = match store.overwrite(&self.key("plain"), Bytes::from_static(b"other")).await {
            Ok(()) => Ok((Verdict::Limited, "accepted".to_owned())),
            Err(e) if e.kind == ErrorKind::Denied => Ok((Verdict::Good, "refused".to_owned())),
            Err(e) => Err(e),
        };
        let meaning = "a stolen credential that can overwrite can destroy, unless the bucket keeps versions, \
                       locks objects or demands `If-None-Match`";
        Ok(Some(finding("overwrite", outcome, Verdict::Limited, meaning)))
    }

    async fn list_after_write(&self) -> Finding {
        let outcome: Outcome = async {
            self.listed(1, "listed").await?;
            self.write("listed", "x").await?;
            let began = Instant::now();
            while !self.listed(1, "listed").await? {
                if began.elapsed() > LIST_DELAY_MAX {
                    return Ok((Verdict::Bad, format!("not listed after {} s", LIST_DELAY_MAX.as_secs())));
                }
                sleep(Duration::from_millis(250)).await;
            }
            let delay = began.elapsed();
            let verdict = if delay < Duration::from_secs(1) { Verdict::Good } else { Verdict::Limited };
            Ok((verdict, format!("listed on another connection after {}", shown(delay))))
        }
        .await;
        let meaning = "prune waits twice this long between announcing and deleting";
        finding("list-after-write", outcome, Verdict::Bad, meaning)
    }

    /// Whether a listing on connection `at` shows the object `name`.
    async fn listed(&self, at: usize, name: &str) -> Result<bool, Error> {
        let dir = format!("{}/", self.dir);
        let key = self.key(name);
        let mut entries = self.stores[at].list(&dir);
        while let Some(entry) = entries.try_next().await? {
            if entry.key == key {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn range_read(&self) -> Finding {
        let outcome: Outcome = async {
            self.write("range", "0123456789").await?;
            let piece = self.store().get_range(&self.key("range"), 3..7).await?;
            let past = self.store().get_range(&self.key("range"), 3..11).await;
            let exact = piece == "3456" && past.is_err_and(|e| e.kind == ErrorKind::CutShort);
            let verdict = if exact { Verdict::Good } else { Verdict::Bad };
            Ok((verdict, format!("asked for 4 bytes, got {}", piece.len())))
        }
        .await;
        finding("range-read", outcome, Verdict::Bad, "restores read pieces of packs, not whole packs")
    }

    async fn clock(&self) -> Finding {
        let outcome: Outcome = async {
            self.write("clock", "x").await?;
            let ours = self.now + self.began.elapsed();
            let theirs = self.store().head(&self.key("clock")).await?.modified;
            let ahead = theirs.duration_since(ours);
            let (offset, side) = match ahead {
                Ok(ahead) => (ahead, "ahead of"),
                Err(behind) => (behind.duration(), "behind"),
            };
            let verdict = match offset.as_secs() {
                // Clouds tell whole seconds, and the request took some time.
                0..=5 => Verdict::Good,
                // S3 refuses signatures that are older than a quarter of an hour.
                6..=900 => Verdict::Limited,
                _ => Verdict::Bad,
            };
            Ok((verdict, format!("its clock is {} {side} ours", shown(offset))))
        }
        .await;
        let meaning = "retention goes by the store's clock, and signatures expire by it";
        finding("clock", outcome, Verdict::Bad, meaning)
    }

    async fn latency(&self) -> Finding {
        let outcome: Outcome = async {
            let (mut puts, mut gets) = (Vec::new(), Vec::new());
            for i in 0..SMALL {
                let began = Instant::now();
                self.write(format!("small-{i}"), "x").await?;
                puts.push(began.elapsed());
                let began = Instant::now();
                self.store().get(&self.key(format!("small-{i}")), 10).await?;
                gets.push(began.elapsed());
            }
            puts.sort();
            gets.sort();
            let (put, get) = (puts[SMALL / 2], gets[SMALL / 2]);
            let fast = put.max(get) < Duration::from_millis(300);
            let verdict = if fast { Verdict::Good } else { Verdict::Limited };
            Ok((verdict, format!("write {}, read {} (medians of {SMALL})", shown(put), shown(get))))
        }
        .await;
        finding(
            "latency",
            outcome,
            Verdict::Limited,
            "every push makes some small writes one after the other",
        )
    }

    async fn throughput(&self) -> Finding {
        let outcome: Outcome = async {
            let mut noise = vec![0; LARGE_BYTES];
            blake3::Hasher::new().update(self.dir.as_bytes()).finalize_xof().fill(&mut noise);
            let (key, body) = (self.key("large"), Bytes::from(noise));
            let began = Instant::now();
            self.store().put_new(&key, vec![body.clone()]).await?;
            let up = began.elapsed();
            let began = Instant::now();
            let there = self.store().get(&key, LARGE_BYTES as u64).await?;
            let down = began.elapsed();
            if there != body {
                return Ok((Verdict::Bad, "what came back is not what was written".to_owned()));
            }
            let rate = |took: Duration| (LARGE_BYTES >> 20) as f64 / took.as_secs_f64().max(1e-6);
            let slow = rate(up).min(rate(down)) < 1.0;
            let verdict = if slow { Verdict::Limited } else { Verdict::Good };
            Ok((
                verdict,
                format!("write {:.1} MiB/s, read {:.1} MiB/s, one 8 MiB object", rate(up), rate(down)),
            ))
        }
        .await;
        finding("throughput", outcome, Verdict::Limited, "one transfer; a push makes several at once")
    }

    async fn delete(&self) -> Finding {
        let outcome = match self.store().delete(&self.key("plain")).await {
            Ok(()) => match self.store().head(&self.key("plain")).await {
                Err(e) if e.kind == ErrorKind::NotFound => Ok((Verdict::Good, "allowed".to_owned())),
                Ok(_) => Ok((Verdict::Limited, "accepted, but the object is still there".to_owned())),
                Err(e) => Err(e),
            },
            Err(e) if e.kind == ErrorKind::Denied => Ok((Verdict::Limited, format!("refused: {}", e.why))),
            Err(e) => Err(e),
        };
        let meaning = "prune needs it; a credential that only pushes is safer without";
        finding("delete", outcome, Verdict::Limited, meaning)
    }

    /// Removes everything the checks wrote; a finding only if that did not work.
    async fn clean_up(&self) -> Option<Finding> {
        let outcome: Outcome = async {
            let entries: Vec<_> = self.store().list(&format!("{}/", self.dir)).try_collect().await?;
            for entry in &entries {
                self.store().delete(&entry.key).await?;
            }
            Ok((Verdict::Good, String::new()))
        }
        .await;
        let e = outcome.err()?;
        let meaning = "a credential that may delete can remove what is left below `doctor/`";
        let measured = format!("{} is left: {e}", self.dir);
        Some(Finding { check: "clean-up", verdict: Verdict::Limited, measured, meaning })
    }
}

/// A check that failed altogether is as bad as `failed`.
fn finding(check: &'static str, outcome: Outcome, failed: Verdict, meaning: &'static str) -> Finding {
    let (verdict, measured) = outcome.unwrap_or_else(|e| (failed, e.to_string()));
    Finding { check, verdict, measured, meaning }
}

fn shown(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;
    use async_trait::async_trait;
    use futures::StreamExt as _;
    use futures::stream::{self, BoxStream};
    use std::ops::Range;

    /// A store that overwrites, hides what it holds, and returns the wrong bytes.
    struct Lying(MemStore);

    #[async_trait]
    impl Store for Lying {
        async fn put_new(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
            self.0.tamper(key, parts.concat().into());
            Ok(())
        }

        async fn get(&self, key: &Key, size_max: u64) -> Result<Bytes, Error> {
            self.0.get(key, size_max).await
        }

        async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
            self.0.get_range(key, 0..range.end - range.start).await
        }

        async fn head(&self, key: &Key) -> Result<Entry, Error> {
            self.0.head(key).await
        }

        fn list(&self, _: &str) -> BoxStream<'_, Result<Entry, Error>> {
            stream::empty().boxed()
        }

        async fn delete(&self, _: &Key) -> Result<(), Error> {
            Ok(())
        }

        fn location(&self) -> String {
            "lies:".to_owned()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_lie_is_found_good() {
        let store: Arc<dyn Store> = Arc::new(Lying(MemStore::new()));
        let probe = Probe {
            stores: vec![store; WRITERS],
            dir: "doctor/x".to_owned(),
            began: Instant::now(),
            now: SystemTime::UNIX_EPOCH,
        };
        assert_eq!(probe.read_after_write().await.verdict, Verdict::Good, "in this it does not lie");
        assert_eq!(probe.clock().await.verdict, Verdict::Good, "nor in this");
        assert_eq!(probe.create_if_absent().await.verdict, Verdict::Bad);
        assert_eq!(probe.racing_writers().await.verdict, Verdict::Bad);
        assert_eq!(probe.list_after_write().await.verdict, Verdict::Bad);
        assert_eq!(probe.range_read().await.verdict, Verdict::Bad);
        assert_eq!(probe.delete().await.verdict, Verdict::Limited);
    }
}
