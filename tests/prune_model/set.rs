//! Small sets of numbered things, one bit each, so that a state of the model is a few dozen bytes.

use std::fmt;
use std::marker::PhantomData;

/// A thing that is known by a small number.
pub trait Numbered: Copy {
    /// The thing with this number.
    fn from_number(number: u8) -> Self;
    /// Its number, below 16.
    fn number(self) -> u8;
}

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name(pub u8);

        impl Numbered for $name {
            fn from_number(number: u8) -> Self {
                $name(number)
            }
            fn number(self) -> u8 {
                self.0
            }
        }
    };
}

numbered!(
    /// A chunk of a stream, whichever way it is stored.
    Chunk
);
numbered!(
    /// A pack, by its unique name.
    Pack
);
numbered!(
    /// A push, and the snapshot it may become.
    Session
);

/// A set of numbered things.
#[derive(PartialEq, Eq, Hash)]
pub struct Set<T> {
    bits: u16,
    of: PhantomData<T>,
}

impl<T> Clone for Set<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Set<T> {}

impl<T: Numbered> Set<T> {
    /// The set without members.
    pub const EMPTY: Set<T> = Set { bits: 0, of: PhantomData };

    /// The set of all there could be.
    pub const ALL: Set<T> = Set { bits: u16::MAX, of: PhantomData };

    /// The set of these.
    pub fn of(members: &[T]) -> Set<T> {
        members.iter().copied().collect()
    }

    /// Whether there is no member.
    pub fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// Whether `member` is in the set.
    pub fn has(self, member: T) -> bool {
        self.bits >> member.number() & 1 == 1
    }

    /// Adds one member.
    pub fn add(&mut self, member: T) {
        self.bits |= 1 << member.number();
    }

    /// Takes one member out.
    pub fn remove(&mut self, member: T) {
        self.bits &= !(1 << member.number());
    }

    /// What is in either set.
    pub fn or(self, other: Set<T>) -> Set<T> {
        Set { bits: self.bits | other.bits, of: PhantomData }
    }

    /// What is in both sets.
    pub fn and(self, other: Set<T>) -> Set<T> {
        Set { bits: self.bits & other.bits, of: PhantomData }
    }

    /// What is in this set and not in the other.
    pub fn minus(self, other: Set<T>) -> Set<T> {
        Set { bits: self.bits & !other.bits, of: PhantomData }
    }

    /// Whether every member is in the other set.
    pub fn within(self, other: Set<T>) -> bool {
        self.minus(other).is_empty()
    }

    /// The members in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = T> {
        (0..16).map(T::from_number).filter(move |member| self.has(*member))
    }
}

impl<T: Numbered> FromIterator<T> for Set<T> {
    fn from_iter<I: IntoIterator<Item = T>>(members: I) -> Self {
        let mut set = Set::EMPTY;
        members.into_iter().for_each(|member| set.add(member));
        set
    }
}

impl<T: Numbered> fmt::Debug for Set<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Numbered::number)).finish()
    }
}
