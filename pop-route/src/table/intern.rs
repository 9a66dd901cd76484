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

/// Values that are numbered side by side: where most are new, each of their places is a cache miss, and these overlap.
pub(super) const LANES: usize = 16;

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
        self.last = self.number_of(value, self.hasher.hash_one(value));
        self.last
    }

    /// [`number`](Self::number) for each of at most [`LANES`] values, in order.
    pub(super) fn numbers(&mut self, values: &[&V], numbers: &mut [u32; LANES]) {
        let (mut hashes, mut entries) = ([0; LANES], [0; LANES]);
        for (lane, value) in values.iter().enumerate() {
            hashes[lane] = match lane.checked_sub(1) {
                Some(before) if values[before] == *value => hashes[before],
                _ => self.hasher.hash_one(value),
            };
            entries[lane] = self.places[self.place(hashes[lane])];
        }
        for (lane, value) in values.iter().enumerate() {
            let entry = entries[lane];
            // What was read is right, or a value before this one has taken the place, or moved everything.
            numbers[lane] = match lane.checked_sub(1) {
                Some(before) if hashes[before] == hashes[lane] && values[before] == *value => numbers[before],
                _ if entry & !NUMBER == tag(hashes[lane]) && self.get(entry & NUMBER) == Some(value) => {
                    entry & NUMBER
                }
                _ => self.number_of(value, hashes[lane]),
            };
        }
    }

    fn number_of(&mut self, value: &V, hash: u64) -> u32 {
        let (mut place, tag) = (self.place(hash), tag(hash));
        loop {
            let entry = self.places[place];
            if entry == 0 {
                return self.add(value.clone(), place, tag);
            }
            if entry & !NUMBER == tag && self.get(entry & NUMBER) == Some(value) {
                return entry & NUMBER;
            }
            place = (place + 1) & (self.places.len() - 1);
        }
    }

    fn get(&self, number: u32) -> Option<&V> {
        self.values.get((number as usize).wrapping_sub(1))
    }

    /// The first place to look at.
    fn place(&self, hash: u64) -> usize {
        hash as usize & (self.places.len() - 1)
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
            let hash = self.hasher.hash_one(value);
            let mut place = self.place(hash);
            while self.places[place] != 0 {
                place = (place + 1) & (self.places.len() - 1);
            }
            self.places[place] = tag(hash) | number;
        }
    }

    pub(super) fn finish(self) -> Arc<[V]> {
        self.values.into()
    }
}

/// The part of a hash that stands in a place.
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32 & !NUMBER
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

    #[test]
    fn side_by_side_is_one_after_another() {
        for bits in [0, 4, 19, 28] {
            let values: Vec<u32> =
                (0..20_000_u32).map(|index| (index / 3).wrapping_mul(2_654_435_761) >> bits).collect();
            let (mut one, mut other) = (Interner::default(), Interner::default());
            for lanes in values.chunks(LANES) {
                let mut numbers = [0; LANES];
                one.numbers(&lanes.iter().collect::<Vec<_>>(), &mut numbers);
                let expected: Vec<u32> = lanes.iter().map(|value| other.number(value)).collect();
                assert_eq!(numbers[..lanes.len()], expected);
            }
            assert_eq!(one.finish(), other.finish());
        }
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
