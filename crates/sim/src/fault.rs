//! What can go wrong with a store, and the script that says when.

use cistern_store::ErrorKind;
use rand::RngExt as _;
use rand::rngs::Xoshiro256PlusPlus;
use std::ops::Range;
use std::time::Duration;

/// A verb of the store, as it is counted and scripted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// `put_new`.
    Put,
    /// `get`.
    Get,
    /// `get_range`.
    GetRange,
    /// `head`.
    Head,
    /// `list`.
    List,
    /// `delete`.
    Delete,
}

impl Verb {
    /// Whether the verb changes what the store holds.
    pub fn mutates(self) -> bool {
        matches!(self, Verb::Put | Verb::Delete)
    }

    /// The verb as the store's own errors spell it.
    pub(crate) fn doing(self) -> &'static str {
        match self {
            Verb::Put => "write",
            Verb::Get | Verb::GetRange => "read",
            Verb::Head => "look up",
            Verb::List => "list",
            Verb::Delete => "delete",
        }
    }
}

/// How far something trails behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// By this many operations of all handles on the same inner store.
    Ops(u64),
    /// By this much of tokio's time, which tests pause.
    Time(Duration),
    /// Until the test asks for it with [`ChaosStore::land_parked`](crate::ChaosStore::land_parked).
    Asked,
}

/// One way an operation goes wrong.
///
/// A fault that makes no sense for a verb (a bit flip in a `delete`) leaves the operation alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails with this kind and has no effect.
    Fail(ErrorKind),
    /// The operation takes effect, then fails as `Unavailable`. A listing breaks off part-way.
    LoseReply,
    /// The operation fails as `Unavailable`, and a write or delete takes effect only later, when its
    /// caller has given up. Reads and listings fail without more.
    LandLater(Lag),
    /// The operation waits, then goes on. A hang is a long delay.
    Delay(Duration),
    /// One bit of what was read is wrong (`get`, `get_range`).
    FlipBit,
    /// What was read (`get`, `get_range`) or listed ends early, and nothing says so.
    Truncate,
    /// A listing shows an older state: what appeared within the lag is absent, what vanished is
    /// still there. ([`Lag::Asked`] shows the oldest state remembered.)
    Stale(Lag),
}

/// When a [`Fault`] strikes: which operations it looks at, and which of those it hits.
///
/// A new rule hits every operation. A rule counts only the operations it looks at, from 0.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    verbs: Option<Vec<Verb>>,
    prefix: String,
    nth: Range<u64>,
    chance: f64,
    lasting_ops: u64,
    seen: u64,
    still_lasting: u64,
}

impl Rule {
    /// A rule under which every operation meets `fault`.
    pub fn new(fault: Fault) -> Rule {
        Rule {
            fault,
            verbs: None,
            prefix: String::new(),
            nth: 0..u64::MAX,
            chance: 1.0,
            lasting_ops: 1,
            seen: 0,
            still_lasting: 0,
        }
    }

    /// From the `n`-th write or delete on, every one is [`ErrorKind::Denied`].
    pub fn read_only_from(n: u64) -> Rule {
        Rule::new(Fault::Fail(ErrorKind::Denied)).on(&[Verb::Put, Verb::Delete]).from(n)
    }

    /// From the `n`-th write on, every one is [`ErrorKind::Full`]; deletes still work.
    pub fn full_from(n: u64) -> Rule {
        Rule::new(Fault::Fail(ErrorKind::Full)).on(&[Verb::Put]).from(n)
    }

    /// Now and then (with `chance` per operation) the store is [`ErrorKind::Unavailable`] for
    /// `lasting_ops` operations in a row.
    pub fn bursts(chance: f64, lasting_ops: u64) -> Rule {
        Rule::new(Fault::Fail(ErrorKind::Unavailable)).chance(chance).lasting(lasting_ops)
    }

    /// Looks only at these verbs.
    pub fn on(mut self, verbs: &[Verb]) -> Rule {
        self.verbs = Some(verbs.to_vec());
        self
    }

    /// Looks only at keys and listings that start with `prefix`.
    pub fn under(mut self, prefix: &str) -> Rule {
        self.prefix = prefix.to_owned();
        self
    }

    /// Hits only the `n`-th operation it looks at.
    pub fn nth(self, n: u64) -> Rule {
        self.between(n..n + 1)
    }

    /// Hits the `n`-th operation it looks at and all after it.
    pub fn from(self, n: u64) -> Rule {
        self.between(n..u64::MAX)
    }

    /// Hits the operations it looks at whose number lies in `nth`.
    pub fn between(mut self, nth: Range<u64>) -> Rule {
        self.nth = nth;
        self
    }

    /// Hits each of those only with this probability (0 to 1), thrown from the store's seed.
    pub fn chance(mut self, chance: f64) -> Rule {
        assert!((0.0..=1.0).contains(&chance), "a probability lies between 0 and 1");
        self.chance = chance;
        self
    }

    /// Once it has hit, hits the next operations too, `ops` in a row in all.
    pub fn lasting(mut self, ops: u64) -> Rule {
        assert!(ops > 0, "a fault lasts for one operation at least");
        self.lasting_ops = ops;
        self
    }

    /// The fault this operation meets under the rule, if any; counts the operation.
    pub(crate) fn strikes(
        &mut self,
        verb: Verb,
        subject: &str,
        dice: &mut Xoshiro256PlusPlus,
    ) -> Option<Fault> {
        let looks = self.verbs.as_ref().is_none_or(|verbs| verbs.contains(&verb));
        if !looks || !subject.starts_with(&self.prefix) {
            return None;
        }
        let number = self.seen;
        self.seen += 1;
        if self.still_lasting > 0 {
            self.still_lasting -= 1;
            return Some(self.fault.clone());
        }
        if !self.nth.contains(&number) || !dice.random_bool(self.chance) {
            return None;
        }
        self.still_lasting = self.lasting_ops - 1;
        Some(self.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    /// The numbers of those among `count` writes that the rule hits.
    fn hits(mut rule: Rule, count: u64) -> Vec<u64> {
        let mut dice = Xoshiro256PlusPlus::seed_from_u64(7);
        (0..count).filter(|_| rule.strikes(Verb::Put, "packs/a", &mut dice).is_some()).collect()
    }

    #[test]
    fn a_rule_hits_what_it_names_and_nothing_else() {
        let rule = || Rule::new(Fault::LoseReply);
        assert_eq!(hits(rule(), 3), [0, 1, 2]);
        assert_eq!(hits(rule().nth(2), 5), [2]);
        assert_eq!(hits(rule().from(3), 5), [3, 4]);
        assert_eq!(hits(rule().between(1..3), 5), [1, 2]);
        assert_eq!(hits(rule().nth(1).lasting(3), 9), [1, 2, 3]);
        assert_eq!(hits(rule().under("index/"), 3), [0; 0]);
        assert_eq!(hits(rule().on(&[Verb::Get]), 3), [0; 0]);
    }

    #[test]
    fn chance_is_thrown_from_the_seed() {
        let rule = || Rule::new(Fault::LoseReply).chance(0.25);
        let first = hits(rule(), 1000);
        assert_eq!(first, hits(rule(), 1000));
        assert!((200..300).contains(&first.len()), "{} of 1000 at one in four", first.len());
    }

    #[test]
    fn bursts_come_in_rows() {
        let hit = hits(Rule::bursts(0.01, 5), 1000);
        let rows = hit.chunk_by(|a, b| a + 1 == *b).collect::<Vec<_>>();
        assert!(!rows.is_empty());
        assert!(rows.iter().all(|row| row.len() >= 5 || row.last() == Some(&999)), "{rows:?}");
    }
}
