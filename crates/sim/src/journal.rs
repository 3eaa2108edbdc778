//! What happened: the operations of one handle, and the effects every handle had on the inner store.

use crate::fault::{Fault, Lag, Verb};
use cistern_store::{Entry, ErrorKind, Key};
use std::collections::VecDeque;
use std::fmt;
use tokio::time::Instant;

/// Operations a handle remembers; older ones are dropped, the counts stay exact.
const OPS_KEPT_MAX: usize = 1 << 18;

/// Effects the world remembers for stale listings.
const EFFECTS_KEPT_MAX: usize = 1 << 14;

/// How an operation ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is under way, or its future was dropped.
    Unfinished,
    /// It succeeded.
    Done,
    /// It failed.
    Failed(ErrorKind),
}

/// One operation as its caller saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// What was asked.
    pub verb: Verb,
    /// The key, or the prefix of a listing.
    pub subject: String,
    /// Bytes written or read; for a listing the number of entries handed out.
    pub size: u64,
    /// What was done to it on purpose.
    pub faults: Vec<Fault>,
    /// How it ended.
    pub outcome: Outcome,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({}): {:?}", self.verb.doing(), self.subject, self.size, self.outcome)?;
        if self.faults.is_empty() { Ok(()) } else { write!(f, " under {:?}", self.faults) }
    }
}

/// The operations of one handle, oldest first.
#[derive(Default)]
pub(crate) struct OpLog {
    ops: VecDeque<Op>,
    dropped: usize,
}

impl OpLog {
    /// Notes that an operation began; the number stands for it when it ends.
    pub(crate) fn begin(&mut self, verb: Verb, subject: &str, faults: &[Fault]) -> usize {
        if self.ops.len() == OPS_KEPT_MAX {
            self.ops.pop_front();
            self.dropped += 1;
        }
        let op = Op {
            verb,
            subject: subject.to_owned(),
            size: 0,
            faults: faults.to_vec(),
            outcome: Outcome::Unfinished,
        };
        self.ops.push_back(op);
        self.dropped + self.ops.len() - 1
    }

    /// Notes how the operation ended. Nothing happens if it was dropped or cleared meanwhile.
    pub(crate) fn end(&mut self, number: usize, size: u64, outcome: Outcome) {
        let op = number.checked_sub(self.dropped).and_then(|i| self.ops.get_mut(i));
        if let Some(op) = op {
            (op.size, op.outcome) = (size, outcome);
        }
    }

    pub(crate) fn to_vec(&self) -> Vec<Op> {
        self.ops.iter().cloned().collect()
    }

    /// Forgets what happened so far.
    pub(crate) fn clear(&mut self) {
        self.dropped += self.ops.len();
        self.ops.clear();
    }
}

/// A change of what the inner store holds.
enum Change {
    Appeared(Key),
    Vanished(Entry),
}

struct Effect {
    op: u64,
    at: Instant,
    change: Change,
}

/// The changes all handles made, newest last, so that a listing can be turned back.
#[derive(Default)]
pub(crate) struct Effects {
    kept: VecDeque<Effect>,
}

impl Effects {
    pub(crate) fn appeared(&mut self, op: u64, key: Key) {
        self.note(op, Change::Appeared(key));
    }

    pub(crate) fn vanished(&mut self, op: u64, entry: Entry) {
        self.note(op, Change::Vanished(entry));
    }

    fn note(&mut self, op: u64, change: Change) {
        if self.kept.len() == EFFECTS_KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(Effect { op, at: Instant::now(), change });
    }

    /// Turns a listing of `prefix` made at operation `op` back by `lag`.
    pub(crate) fn turn_back(&self, entries: &mut Vec<Entry>, prefix: &str, op: u64, lag: Lag) {
        let now = Instant::now();
        let recent = |e: &&Effect| match lag {
            Lag::Ops(ops) => e.op + ops >= op,
            Lag::Time(time) => e.at + time > now,
            Lag::Asked => true,
        };
        for effect in self.kept.iter().rev().take_while(recent) {
            match &effect.change {
                Change::Appeared(key) => entries.retain(|e| e.key != *key),
                Change::Vanished(entry) if entry.key.as_str().starts_with(prefix) => {
                    entries.push(entry.clone());
                }
                Change::Vanished(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_that_ends_late_ends_itself_and_no_other() {
        let mut log = OpLog::default();
        let early = log.begin(Verb::Put, "early", &[]);
        log.clear();
        let late = log.begin(Verb::Put, "late", &[]);
        log.end(early, 1, Outcome::Done);
        assert_eq!(log.to_vec()[0].outcome, Outcome::Unfinished);
        log.end(late, 1, Outcome::Done);
        assert_eq!(log.to_vec()[0].outcome, Outcome::Done);
    }

    #[test]
    fn the_log_is_bounded() {
        let mut log = OpLog::default();
        let first = log.begin(Verb::Put, "first", &[]);
        let last = (0..OPS_KEPT_MAX).map(|_| log.begin(Verb::Get, "later", &[])).last();
        assert_eq!(last, Some(first + OPS_KEPT_MAX));
        log.end(first, 1, Outcome::Done);
        log.end(first + OPS_KEPT_MAX, 1, Outcome::Done);
        let kept = log.to_vec();
        assert_eq!(kept.len(), OPS_KEPT_MAX);
        assert_eq!(kept[0].outcome, Outcome::Unfinished);
        assert_eq!(kept[OPS_KEPT_MAX - 1].outcome, Outcome::Done);
    }
}
