//! Growing: a larger table takes over bucket by bucket, by the hands of whoever comes by.

use super::*;

impl<K, V> Index<K, V> {
    /// Makes a bucket usable: its parent is handed over to it, or, if it is `frozen` itself, it is to its heirs.
    #[cold]
    pub(super) fn hand_over(&self, table: &Table, place: usize, frozen: bool) {
        let hazard = Hazard::new();
        let home = |handle| self.slab.slot(handle).home();
        if frozen {
            // The newest table need not be the direct successor: but then this bucket was handed over long ago.
            let newest = self.table(&hazard);
            let other = Hazard::new();
            if let Some(previous) = Self::announced(&newest.previous, &other)
                && ptr::eq(previous, table)
            {
                newest.hand_over(table, place, home);
            }
        } else if let Some(previous) = Self::announced(&table.previous, &hazard) {
            table.hand_over(previous, place / 2, home);
        }
    }

    /// Doubles the table, unless it is being doubled.
    #[cold]
    pub(crate) fn grow(&self) {
        let hazard = Hazard::new();
        let table = self.table(&hazard);
        if table.has_previous() {
            return;
        }
        let Some(new) = Table::successor(table) else { return };
        let new = Box::into_raw(Box::new(new));
        let old = ptr::from_ref(table).cast_mut();
        // Release publishes the table to the acquire in `announced`.
        if self.root.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            // SAFETY: it came from a box just now and nobody else has it.
            drop(unsafe { Box::from_raw(new) });
        }
    }

    /// A part of handing over what is left of an old table.
    #[inline]
    pub(crate) fn help(&self, table: &Table) {
        if table.has_previous() {
            self.help_slowly(table);
        }
    }

    #[cold]
    fn help_slowly(&self, table: &Table) {
        let hazard = Hazard::new();
        let Some(previous) = Self::announced(&table.previous, &hazard) else { return };
        for _ in 0..HAND_OVERS {
            let Some(place) = table.next_to_hand_over(previous) else {
                let old = ptr::from_ref(previous).cast_mut();
                let done = table.previous.compare_exchange(
                    old,
                    ptr::null_mut(),
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                );
                if done.is_ok() {
                    self.retire(old);
                }
                return;
            };
            table.hand_over(previous, place, |handle| self.slab.slot(handle).home());
            table.did_hand_over(place);
        }
    }

    /// Puts a table on the list of those that are gone.
    fn retire(&self, table: *mut Table) {
        let mut head = self.retired.load(Ordering::Relaxed);
        loop {
            // SAFETY: the caller took it out of the index, so it is freed by nobody before it is on the list.
            unsafe { (*table).next_retired.store(head, Ordering::Relaxed) };
            match self.retired.compare_exchange_weak(head, table, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => head = other,
            }
        }
    }

    /// Frees the tables that nobody reads any more.
    pub(crate) fn free_tables(&self) {
        if self.retired.load(Ordering::Relaxed).is_null() {
            return;
        }
        let mut table = self.retired.swap(ptr::null_mut(), Ordering::AcqRel);
        let announced = Announced::tables();
        while !table.is_null() {
            // SAFETY: we took the list, so its tables are ours.
            let next = unsafe { (*table).next_retired.load(Ordering::Relaxed) };
            if announced.as_ref().is_some_and(|announced| !announced.may_contain(table.addr())) {
                // SAFETY: it was retired before the barrier and nobody announces it: nobody reads it any more.
                drop(unsafe { Box::from_raw(table) });
            } else {
                self.retire(table);
            }
            table = next;
        }
    }
}
