//! Each distinct value once, with a number.

use core::hash::Hash;
use std::sync::Arc;

use ahash::RandomState;

use super::VALUES_MAX;

/// The bits of a number: [`VALUES_MAX`] is their largest.
const NUMBER: u32 = VALUES_MAX as u32;
const _: () = assert!(NUMBER.count_ones() == NUMBER.trailing_ones());

/// Places at the beginning; a power of two.
const PLACES_MIN: usize = 1 << 10;

/// Gives each distinct value a number, from one on.
///
/// An open table of places that grows with what is in it: a few thousand values among a million prefixes are found in
/// the nearest caches. A place is four bytes, a number and as much of the hash as there is room for; values are
/// compared only where that agrees.
#[derive(Debug)]
pub(super) struct Interner<V> {
    values: Vec<V>,
    /// A part of the hash above, the number below; zero is free. At most half of them are taken.
    places: Vec<u32>,
    hasher: RandomState,
    /// The last one asked for: neighbours often agree.
    last: u32,
}

impl<V> Default for Interner<V> {
    fn default() -> Self {
        Self { values: Vec::new(), places: vec![0; PLACES_MIN], hasher: RandomState::new(), last: 0 }
    }
}

impl<V> Interner<V> {
    /// The value of a number that was given.
    pub(super) fn value(&self, number: u32) -> &V {
        &self.values[number as usize - 1]
    }

    /// All of them, in order of their numbers.
    pub(super) fn values(&self) -> &[V] {
        &self.values
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        self.values.capacity() * size_of::<V>() + self.places.capacity() * size_of::<u32>()
    }
}

impl<V: Clone + Eq + Hash> Interner<V> {
    /// The number of a value.
    ///
    /// # Panics
    /// With more than [`VALUES_MAX`] distinct ones.
    pub(super) fn number(&mut self, value: &V) -> u32 {
        if self.get(self.last) == Some(value) {
            return self.last;
        }
        let (mut place, tag) = self.place(value);
        self.last = loop {
            let entry = self.places[place];
            if entry == 0 {
                break self.add(value.clone(), place, tag);
            }
            if entry & !NUMBER == tag && self.get(entry & NUMBER) == Some(value) {
                break entry & NUMBER;
            }
            place = (place + 1) & (self.places.len() - 1);
        };
        self.last
    }

    fn get(&self, number: u32) -> Option<&V> {
        self.values.get((number as usize).wrapping_sub(1))
    }

    /// The first place to look at, and the part of the hash that stands in it.
    fn place(&self, value: &V) -> (usize, u32) {
        let hash = self.hasher.hash_one(value);
        (hash as usize & (self.places.len() - 1), (hash >> 32) as u32 & !NUMBER)
    }

    fn add(&mut self, value: V, place: usize, tag: u32) -> u32 {
        assert!(self.values.len() < VALUES_MAX, "more than {VALUES_MAX} distinct values");
        self.values.push(value);
        let number = self.values.len() as u32;
        self.places[place] = tag | number;
        if self.values.len() * 2 > self.places.len() {
            self.grow();
        }
        number
    }

    fn grow(&mut self) {
        self.places = vec![0; self.places.len() * 2];
        for (number, value) in (1..).zip(&self.values) {
            let (mut place, tag) = self.place(value);
            while self.places[place] != 0 {
                place = (place + 1) & (self.places.len() - 1);
            }
            self.places[place] = tag | number;
        }
    }

    pub(super) fn finish(self) -> Arc<[V]> {
        self.values.into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn numbers_agree_with_a_map() {
        let (mut interner, mut map) = (Interner::default(), HashMap::new());
        for index in 0..20_000_u32 {
            let value = (index.wrapping_mul(2_654_435_761) >> 19).to_string();
            let number = interner.number(&value);
            assert_eq!(*map.entry(value).or_insert(number), number);
        }
        let values = interner.finish();
        assert_eq!(values.len(), map.len());
        assert!(map.iter().all(|(value, &number)| values[number as usize - 1] == *value));
    }

    /// A type whose values all hash alike.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Colliding(u32);

    impl Hash for Colliding {
        fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
            state.write_u8(7);
        }
    }

    #[test]
    fn colliding_values_are_told_apart() {
        let mut interner = Interner::default();
        let numbers: Vec<u32> = (0..1000).map(|value| interner.number(&Colliding(value % 700))).collect();
        assert_eq!(numbers[..700], (1..=700).collect::<Vec<u32>>());
        assert_eq!(numbers[700..], numbers[..300]);
    }
}
