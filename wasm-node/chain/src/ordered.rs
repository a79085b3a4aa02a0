//! Ordered sets that share their code.
//!
//! The B-trees of the standard library are compiled again for each type of element, 8 to 17 kB of wasm each time. These
//! translate their elements to numbers, which one type of tree keeps.

use alloc::collections::BTreeSet;
use core::{cmp::Reverse, marker::PhantomData};

use crate::{
    hash::BlockHash,
    key::Author,
    time::{MonotonicMillis, UnixMillis},
    work::Work,
};

/// How many numbers the largest element takes: 256 bits of work, a hash and a slot.
const MAX_NUMBERS: usize = 9;

/// An element as numbers, the most significant one first. Those that it does not take are 0.
type Numbers = [u64; MAX_NUMBERS];

/// Values that are ordered as their numbers are.
pub trait AsNumbers: Copy {
    /// How many numbers it takes.
    const COUNT: usize;

    /// Passes each number to `put`.
    fn write(&self, put: &mut dyn FnMut(u64));

    /// Takes as many numbers from `next` as [`Self::write`] passes.
    fn read(next: &mut dyn FnMut() -> u64) -> Self;
}

/// A set of values in their order.
#[derive(Clone, Debug)]
pub struct OrderedSet<T> {
    numbers: BTreeSet<Numbers>,
    values: PhantomData<T>,
}

impl<T: AsNumbers> OrderedSet<T> {
    /// How many values it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether it has no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Whether it has this value.
    #[must_use]
    pub fn contains(&self, value: &T) -> bool {
        self.numbers.contains(&numbers(value))
    }

    /// Adds a value, unless it has it already.
    pub fn insert(&mut self, value: T) {
        self.numbers.insert(numbers(&value));
    }

    /// Removes a value, if it has it.
    pub fn remove(&mut self, value: &T) {
        self.numbers.remove(&numbers(value));
    }

    /// The least value, unless it is empty.
    #[must_use]
    pub fn first(&self) -> Option<T> {
        self.numbers.first().map(value)
    }

    /// The greatest value, unless it is empty.
    #[must_use]
    pub fn last(&self) -> Option<T> {
        self.numbers.last().map(value)
    }

    /// All values, the least first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = T> {
        self.numbers.iter().map(value)
    }

    /// The values that are not less than this one, the least first.
    pub fn starting_at(&self, least: T) -> impl Iterator<Item = T> {
        self.numbers.range(numbers(&least)..).map(value)
    }
}

impl<T> Default for OrderedSet<T> {
    fn default() -> Self {
        Self {
            numbers: BTreeSet::new(),
            values: PhantomData,
        }
    }
}

impl<T: AsNumbers> Extend<T> for OrderedSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        for value in values {
            self.insert(value);
        }
    }
}

fn numbers<T: AsNumbers>(value: &T) -> Numbers {
    const { assert!(T::COUNT <= MAX_NUMBERS) };
    let mut numbers = [0; MAX_NUMBERS];
    let mut places = numbers.iter_mut();
    value.write(&mut |number| {
        if let Some(place) = places.next() {
            *place = number;
        }
    });
    numbers
}

fn value<T: AsNumbers>(numbers: &Numbers) -> T {
    let mut rest = numbers.iter().copied();
    T::read(&mut || rest.next().unwrap_or_default())
}

macro_rules! as_one_number {
    ($($type:ty, |$value:ident| $number:expr, |$read:ident| $from:expr;)*) => {$(
        impl AsNumbers for $type {
            const COUNT: usize = 1;

            fn write(&self, put: &mut dyn FnMut(u64)) {
                let $value = *self;
                put($number);
            }

            fn read(next: &mut dyn FnMut() -> u64) -> Self {
                let $read = next();
                $from
            }
        }
    )*};
}

as_one_number! {
    u64, |value| value, |number| number;
    u32, |value| value.into(), |number| Self::try_from(number).unwrap_or(Self::MAX);
    usize, |value| value as u64, |number| Self::try_from(number).unwrap_or(Self::MAX);
    UnixMillis, |time| time.get(), |number| Self::new(number);
    MonotonicMillis, |time| time.get(), |number| Self::new(number);
}

macro_rules! as_four_numbers {
    ($($type:ty, |$value:ident| $bytes:expr, |$read:ident| $from:expr;)*) => {$(
        impl AsNumbers for $type {
            const COUNT: usize = 4;

            fn write(&self, put: &mut dyn FnMut(u64)) {
                let $value = self;
                write_bytes($bytes, put);
            }

            fn read(next: &mut dyn FnMut() -> u64) -> Self {
                let $read = read_bytes(next);
                $from
            }
        }
    )*};
}

as_four_numbers! {
    Author, |author| author.as_bytes(), |bytes| Self::new(bytes);
    BlockHash, |hash| hash.as_bytes(), |bytes| Self::new(bytes);
    Work, |work| &work.to_be_bytes(), |bytes| Self::from_be_bytes(bytes);
}

fn write_bytes(bytes: &[u8; 32], put: &mut dyn FnMut(u64)) {
    let (parts, _) = bytes.as_chunks();
    for part in parts {
        put(u64::from_be_bytes(*part));
    }
}

fn read_bytes(next: &mut dyn FnMut() -> u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    let (parts, _) = bytes.as_chunks_mut();
    for part in parts {
        *part = next().to_be_bytes();
    }
    bytes
}

impl<T: AsNumbers> AsNumbers for Reverse<T> {
    const COUNT: usize = T::COUNT;

    fn write(&self, put: &mut dyn FnMut(u64)) {
        self.0.write(&mut |number| put(!number));
    }

    fn read(next: &mut dyn FnMut() -> u64) -> Self {
        Self(T::read(&mut || !next()))
    }
}

impl<A: AsNumbers, B: AsNumbers> AsNumbers for (A, B) {
    const COUNT: usize = A::COUNT + B::COUNT;

    fn write(&self, put: &mut dyn FnMut(u64)) {
        self.0.write(put);
        self.1.write(put);
    }

    fn read(next: &mut dyn FnMut() -> u64) -> Self {
        (A::read(next), B::read(next))
    }
}

impl<A: AsNumbers, B: AsNumbers, C: AsNumbers> AsNumbers for (A, B, C) {
    const COUNT: usize = A::COUNT + B::COUNT + C::COUNT;

    fn write(&self, put: &mut dyn FnMut(u64)) {
        self.0.write(put);
        self.1.write(put);
        self.2.write(put);
    }

    fn read(next: &mut dyn FnMut() -> u64) -> Self {
        (A::read(next), B::read(next), C::read(next))
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, vec::Vec};
    use core::fmt::Debug;

    use proptest::prelude::*;

    use super::*;

    /// Few values of each kind, so that many tuples begin alike.
    fn bytes() -> impl Strategy<Value = [u8; 32]> {
        (0..32_usize, prop_oneof![0..3_u8, 254..=255_u8]).prop_map(|(at, byte)| {
            let mut bytes = [7; 32];
            bytes[at] = byte;
            bytes
        })
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..4_u64, (u64::MAX - 2)..=u64::MAX]
    }

    /// Compares a set with one of the standard library.
    fn check<T: AsNumbers + Ord + Debug>(values: &[T], removed: &[T], least: &T) {
        let (mut set, mut expected) = (OrderedSet::default(), BTreeSet::new());
        for value in values {
            set.insert(*value);
            expected.insert(*value);
        }
        for value in removed {
            set.remove(value);
            expected.remove(value);
        }
        assert!(expected.iter().all(|value| set.contains(value)));
        assert_eq!(set.contains(least), expected.contains(least));
        assert_eq!(set.len(), expected.len());
        assert_eq!(set.is_empty(), expected.is_empty());
        assert_eq!(set.first(), expected.first().copied());
        assert_eq!(set.last(), expected.last().copied());
        assert!(set.iter().eq(expected.iter().copied()));
        assert!(set.iter().rev().eq(expected.iter().rev().copied()));
        let behind: Vec<T> = set.starting_at(*least).collect();
        assert!(behind.iter().eq(expected.range(*least..)));
    }

    macro_rules! is_ordered_as_the_type_is {
        ($($name:ident, $strategy:expr;)*) => {
            proptest! {$(
                #[test]
                fn $name(
                    values in prop::collection::vec($strategy, 0..40),
                    removed in prop::collection::vec($strategy, 0..20),
                    least in $strategy,
                ) {
                    check(&values, &removed, &least);
                }
            )*}
        };
    }

    is_ordered_as_the_type_is! {
        authors, bytes().prop_map(Author::new);
        sizes, (0..5_usize, number(), bytes().prop_map(Author::new));
        arrivals, (number().prop_map(MonotonicMillis::new), bytes().prop_map(Author::new));
        readings, (bytes().prop_map(Author::new), number());
        heights, (number(), bytes().prop_map(BlockHash::new));
        early, (number().prop_map(UnixMillis::new), any::<u32>());
        ranks, (
            (bytes().prop_map(Work::from_be_bytes), bytes().prop_map(|hash| Reverse(BlockHash::new(hash)))),
            0..3_u32,
        );
    }
}
