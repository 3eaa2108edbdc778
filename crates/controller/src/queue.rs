//! ActionSets that wait for their turn, and how many are under way: pure, names only.
//!
//! Namespaces take turns, so that a thousand ActionSets of one do not keep the others waiting; within one, those
//! come first that a controller has begun before, then the oldest. What only has to be ended waits for nobody's turn.

use std::collections::{BTreeMap, HashSet, VecDeque};

/// Where an ActionSet is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// So many at a time are ended that never began.
const ENDINGS_MAX: usize = 10;

/// The line of each namespace.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Place>,
    under_way: usize,
}

/// Who waits and who is under way.
#[derive(Debug)]
pub(crate) struct Queue {
    lines: BTreeMap<String, Line>,
    /// Namespaces in the order in which it is their turn.
    turns: VecDeque<String>,
    /// Everybody who waits or is under way.
    known: HashSet<Place>,
    under_way: usize,
    under_way_max: usize,
    per_namespace_max: usize,
    /// Who only has to be ended, and takes up no place.
    to_end: VecDeque<Place>,
    /// Who is being ended.
    endings: HashSet<Place>,
}

impl Queue {
    /// An empty queue from which so many may be under way in all, and so many of each namespace.
    pub(crate) fn new(under_way_max: usize, per_namespace_max: usize) -> Queue {
        Queue {
            lines: BTreeMap::new(),
            turns: VecDeque::new(),
            known: HashSet::new(),
            under_way: 0,
            under_way_max,
            per_namespace_max,
            to_end: VecDeque::new(),
            endings: HashSet::new(),
        }
    }

    /// Lines an ActionSet up, unless it is known; `first` before all others of its namespace.
    pub(crate) fn push(&mut self, place: Place, first: bool) {
        if !self.known.insert(place.clone()) {
            return;
        }
        if !self.lines.contains_key(&place.namespace) {
            self.turns.push_back(place.namespace.clone());
        }
        let line = self.lines.entry(place.namespace.clone()).or_default();
        if first { line.waiting.push_front(place) } else { line.waiting.push_back(place) }
    }

    /// Takes an ActionSet that is not under way out of its line: it only has to be ended.
    pub(crate) fn push_to_end(&mut self, place: Place) {
        if self.known.insert(place.clone()) {
            self.to_end.push_back(place);
            return;
        }
        // Not there if it is to be ended already.
        let Some(line) = self.lines.get_mut(&place.namespace) else { return };
        let Some(at) = line.waiting.iter().position(|waiting| *waiting == place) else { return };
        line.waiting.remove(at);
        self.close(&place.namespace);
        self.to_end.push_back(place);
    }

    /// The next one that only has to be ended.
    pub(crate) fn next_to_end(&mut self) -> Option<Place> {
        if self.endings.len() >= ENDINGS_MAX {
            return None;
        }
        let place = self.to_end.pop_front()?;
        self.endings.insert(place.clone());
        Some(place)
    }

    /// The next one whose turn it is; it is under way from now on.
    pub(crate) fn next(&mut self) -> Option<Place> {
        if self.under_way >= self.under_way_max {
            return None;
        }
        for _ in 0..self.turns.len() {
            let namespace = self.turns.pop_front()?;
            let line = self.lines.get_mut(&namespace);
            self.turns.push_back(namespace);
            let Some(line) = line.filter(|line| line.under_way < self.per_namespace_max) else { continue };
            if let Some(place) = line.waiting.pop_front() {
                line.under_way += 1;
                self.under_way += 1;
                return Some(place);
            }
        }
        None
    }

    /// One that was under way, or being ended, is no more.
    pub(crate) fn done(&mut self, place: &Place) {
        if !self.known.remove(place) || self.endings.remove(place) {
            return;
        }
        self.under_way = self.under_way.saturating_sub(1);
        let Some(line) = self.lines.get_mut(&place.namespace) else { return };
        line.under_way = line.under_way.saturating_sub(1);
        self.close(&place.namespace);
    }

    /// Forgets a line in which nobody is.
    fn close(&mut self, namespace: &str) {
        if self.lines.get(namespace).is_some_and(|line| line.under_way == 0 && line.waiting.is_empty()) {
            self.lines.remove(namespace);
            self.turns.retain(|turn| turn != namespace);
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.known.len() - self.under_way - self.endings.len()
    }

    /// How many are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        let (namespace, name) = text.split_once('/').expect("a test says both");
        Place { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn all(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.next()).map(|p| format!("{}/{}", p.namespace, p.name)).collect()
    }

    #[test]
    fn namespaces_take_turns() {
        let mut queue = Queue::new(100, 100);
        ["a/1", "a/2", "a/3", "b/1", "c/1", "a/1"].iter().for_each(|p| queue.push(place(p), false));
        queue.push(place("a/0"), true);
        assert_eq!(queue.waiting(), 6);
        assert_eq!(all(&mut queue), ["a/0", "b/1", "c/1", "a/1", "a/2", "a/3"]);
        assert_eq!((queue.waiting(), queue.under_way()), (0, 6));
    }

    #[test]
    fn no_more_are_under_way_than_allowed() {
        let mut queue = Queue::new(4, 2);
        for n in 0..5 {
            ["a", "b", "c"].iter().for_each(|ns| queue.push(place(&format!("{ns}/{n}")), false));
        }
        assert_eq!(all(&mut queue), ["a/0", "b/0", "c/0", "a/1"]);
        queue.done(&place("b/0"));
        assert_eq!(all(&mut queue), ["b/1"]);
        queue.done(&place("c/0"));
        queue.done(&place("b/1"));
        assert_eq!(all(&mut queue), ["c/1", "b/2"], "a has its two");
        // Not known to be under way: nothing is counted twice.
        queue.done(&place("b/0"));
        assert_eq!(queue.under_way(), 4);
    }

    #[test]
    fn what_only_has_to_be_ended_waits_for_nobody() {
        let mut queue = Queue::new(1, 1);
        ["a/1", "a/2", "a/3", "b/1"].iter().for_each(|p| queue.push(place(p), false));
        assert_eq!(all(&mut queue), ["a/1"]);
        ["a/2", "b/1", "c/1", "a/2"].iter().for_each(|p| queue.push_to_end(place(p)));
        queue.push(place("a/2"), true);
        assert_eq!(queue.waiting(), 4);
        let ending: Vec<Place> = std::iter::from_fn(|| queue.next_to_end()).collect();
        assert_eq!(ending, ["a/2", "b/1", "c/1"].map(place));
        assert_eq!((queue.waiting(), queue.under_way()), (1, 1));
        queue.push_to_end(place("b/1"));
        ending.iter().for_each(|place| queue.done(place));
        assert_eq!((queue.waiting(), queue.under_way()), (1, 1), "they took up no place");
        queue.done(&place("a/1"));
        assert_eq!(all(&mut queue), ["a/3"]);
        queue.done(&place("a/3"));
        assert!(queue.lines.is_empty() && queue.turns.is_empty() && queue.known.is_empty());
    }

    #[test]
    fn only_so_many_are_ended_at_a_time() {
        let mut queue = Queue::new(1, 1);
        (0..ENDINGS_MAX + 2).for_each(|n| queue.push_to_end(place(&format!("a/{n}"))));
        assert_eq!(std::iter::from_fn(|| queue.next_to_end()).count(), ENDINGS_MAX);
        queue.done(&place("a/0"));
        assert_eq!(std::iter::from_fn(|| queue.next_to_end()).count(), 1);
    }

    #[test]
    fn nothing_stays_of_those_who_are_done() {
        let mut queue = Queue::new(1, 1);
        queue.push(place("a/1"), false);
        assert_eq!(all(&mut queue), ["a/1"]);
        queue.push(place("a/1"), false);
        assert_eq!(queue.waiting(), 0, "it is under way");
        queue.done(&place("a/1"));
        assert!(queue.lines.is_empty() && queue.turns.is_empty() && queue.known.is_empty());
        queue.push(place("a/1"), false);
        assert_eq!(all(&mut queue), ["a/1"]);
    }
}
