//! Hazard slots: what each thread reads at the moment, so that nobody reuses it meanwhile.
//!
//! ```text
//! reader:    announce the address; light barrier; is it still in the index? then it stays readable until I let go
//! reclaimer: take it out of the index; heavy barrier; announced by nobody? then it may be reused
//! ```
//!
//! (Michael, "Hazard pointers", 2004, with the barrier of [`barrier`](crate::barrier).) A thread that stalls holds
//! back what it has announced, at most [`HAZARDS`] things, and nothing else: unlike with epochs, the reclamation
//! of everything else goes on.
//!
//! Each thread owns a [`Record`] while it lives; records of threads that ended are taken over by new ones and never
//! freed, so there are as many as there were threads at once. A `Record` also numbers its thread, for striping.

use core::cell::Cell;
use core::marker::PhantomData;

use crate::barrier;
use crate::memory::Leaked;
use crate::sync::{AtomicBool, AtomicUsize, Ordering};

/// Announcements a thread can have at once before it takes a second record.
pub(crate) const HAZARDS: usize = if cfg!(loom) { 2 } else { 8 };
const ALL_TAKEN: u32 = (1 << HAZARDS) - 1;

/// One thread's announcements.
#[repr(C, align(128))]
pub(crate) struct Record {
    /// In the cache line of the first announcements, with which it is read.
    number: usize,
    claimed: AtomicBool,
    announcements: [Announcement; HAZARDS],
}

/// What one reader announces; 0 is nothing.
struct Announcement {
    /// The address of an entry.
    entry: AtomicUsize,
    /// The address of an index table. In a thread's first announcement it stays when the reader has gone, so that the next
    /// look-up in the same table finds it announced already.
    table: AtomicUsize,
}

/// All records of this process.
struct Registry {
    records: Leaked<Record>,
    count: AtomicUsize,
}

impl Registry {
    #[cfg(not(loom))]
    const fn new() -> Self {
        Self { records: Leaked::new(), count: AtomicUsize::new(0) }
    }

    #[cfg(loom)]
    fn new() -> Self {
        Self { records: Leaked::new(), count: AtomicUsize::new(0) }
    }

    /// A record that nobody owns: an abandoned one or a new one.
    fn claim(&self) -> &'static Record {
        let free = self.records.iter().find(|record| {
            // Acquire pairs with the release in `abandon`: what the last owner counted in its stripe is ours to
            // count on.
            record.claimed.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
        });
        free.unwrap_or_else(|| {
            let number = self.count.fetch_add(1, Ordering::Relaxed);
            self.records.push(Record {
                announcements: core::array::from_fn(|_| Announcement {
                    entry: AtomicUsize::new(0),
                    table: AtomicUsize::new(0),
                }),
                claimed: AtomicBool::new(true),
                number,
            })
        })
    }
}

impl Record {
    fn abandon(&self) {
        for announced in &self.announcements {
            announced.entry.store(0, Ordering::Release);
            announced.table.store(0, Ordering::Release);
        }
        self.claimed.store(false, Ordering::Release);
    }
}

#[cfg(not(loom))]
static REGISTRY: Registry = Registry::new();
#[cfg(loom)]
crate::sync::lazy_static! {
    static ref REGISTRY: Registry = Registry::new();
}

/// What a thread knows of itself.
struct Local {
    record: Cell<Option<&'static Record>>,
    /// A bit for each of the record's slots that a [`Hazard`] owns.
    taken: Cell<u32>,
}

/// Gives the record up when the thread ends.
struct Tenancy;

impl Drop for Tenancy {
    fn drop(&mut self) {
        let _gone = LOCAL.try_with(|local| {
            // A hazard that outlives this destructor keeps the record: nobody takes it over then.
            if let Some(record) = local.record.take()
                && local.taken.get() == 0
            {
                record.abandon();
            }
        });
    }
}

#[cfg(not(loom))]
thread_local! {
    static LOCAL: Local = const { Local { record: Cell::new(None), taken: Cell::new(0) } };
    static TENANCY: Tenancy = const { Tenancy };
}
#[cfg(loom)]
crate::sync::thread_local! {
    static LOCAL: Local = Local { record: Cell::new(None), taken: Cell::new(0) };
    static TENANCY: Tenancy = Tenancy;
}

/// This thread's record, claimed at its first visit; none while the thread is being torn down.
#[cold]
fn settle(local: &Local) -> Option<&'static Record> {
    if let Some(record) = local.record.get() {
        return Some(record);
    }
    TENANCY.try_with(|_| ()).ok()?;
    barrier::prepare();
    let record = REGISTRY.claim();
    local.record.set(Some(record));
    Some(record)
}

/// The number of this thread: small, and of no other living thread.
#[inline]
pub(crate) fn thread_number() -> usize {
    LOCAL.with(|local| match local.record.get() {
        Some(record) => record.number,
        None => settle(local).map_or(usize::MAX, |record| record.number),
    })
}

/// One announcement of this thread's, for as long as it lives.
pub(crate) struct Hazard {
    announced: &'static Announcement,
    /// Its bit among the thread's; none if it has a whole record for itself.
    bit: u32,
    extra: Option<&'static Record>,
    stays_on_its_thread: PhantomData<*const ()>,
}

impl Hazard {
    #[inline]
    pub(crate) fn new() -> Self {
        LOCAL.with(|local| {
            let taken = local.taken.get();
            if let Some(record) = local.record.get()
                && taken != ALL_TAKEN
            {
                return Self::take(local, record, taken);
            }
            Self::new_slowly(local)
        })
    }

    /// The thread's first announcement, if it is not in use, and the thread's number: for a short look that nearly always
    /// finds it so. None as well if the thread comes here for the first time.
    #[inline]
    pub(crate) fn first() -> Option<(Self, usize)> {
        LOCAL.with(|local| {
            let taken = local.taken.get();
            let record = local.record.get().filter(|_| taken & 1 == 0)?;
            local.taken.set(taken | 1);
            let announced = &record.announcements[0];
            let hazard = Self { announced, bit: 1, extra: None, stays_on_its_thread: PhantomData };
            Some((hazard, record.number))
        })
    }

    #[inline]
    fn take(local: &Local, record: &'static Record, taken: u32) -> Self {
        let slot = (!taken).trailing_zeros() as usize % HAZARDS;
        let bit = 1 << slot;
        local.taken.set(taken | bit);
        let announced = &record.announcements[slot];
        Self { announced, bit, extra: None, stays_on_its_thread: PhantomData }
    }

    #[cold]
    fn new_slowly(local: &Local) -> Self {
        match settle(local) {
            Some(record) if local.taken.get() != ALL_TAKEN => Self::take(local, record, local.taken.get()),
            _ => {
                let record = REGISTRY.claim();
                let announced = &record.announcements[0];
                Self { announced, bit: 0, extra: Some(record), stays_on_its_thread: PhantomData }
            }
        }
    }

    /// Announces an entry. It is safe from reuse if, after this, the index still holds it.
    #[inline]
    pub(crate) fn announce(&self, address: usize) {
        self.announced.entry.store(address, Ordering::Relaxed);
        barrier::light();
    }

    /// Announces a table, unless it is announced already; false then: the announcement never lapsed since the table
    /// was found current under it, so the caller need not look again.
    #[inline]
    pub(crate) fn announce_table(&self, address: usize) -> bool {
        // Only this thread writes the word.
        if self.announced.table.load(Ordering::Relaxed) == address {
            return false;
        }
        self.announced.table.store(address, Ordering::Relaxed);
        barrier::light();
        true
    }
}

impl Drop for Hazard {
    #[inline]
    fn drop(&mut self) {
        // Release: the reclaimer that reads this has our reads behind it.
        self.announced.entry.store(0, Ordering::Release);
        if self.bit != 1 {
            // Only the first announcement is used so often that keeping its table saves anything; one that is used once in
            // a while would keep a table from being freed for ever.
            self.announced.table.store(0, Ordering::Release);
        }
        if let Some(record) = self.extra {
            record.abandon();
        } else {
            LOCAL.with(|local| local.taken.set(local.taken.get() & !self.bit));
        }
    }
}

/// Every announced entry at this moment, as a set that may say yes too often but never no.
pub(crate) struct Announced {
    bits: [u64; Self::WORDS],
}

impl Announced {
    const WORDS: usize = 32;

    /// None if the barrier failed.
    pub(crate) fn entries() -> Option<Self> {
        Self::read(|announced| &announced.entry)
    }

    /// The same for tables.
    pub(crate) fn tables() -> Option<Self> {
        Self::read(|announced| &announced.table)
    }

    fn read(of: impl Fn(&Announcement) -> &AtomicUsize) -> Option<Self> {
        if !barrier::heavy() {
            return None;
        }
        let mut announced = Self { bits: [0; Self::WORDS] };
        for record in REGISTRY.records.iter() {
            for announcement in &record.announcements {
                // Acquire pairs with the release in `Hazard::drop`.
                let address = of(announcement).load(Ordering::Acquire);
                if address != 0 {
                    let (word, bit) = Self::place(address);
                    announced.bits[word] |= bit;
                }
            }
        }
        Some(announced)
    }

    fn place(address: usize) -> (usize, u64) {
        let bit = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - 11);
        (bit as usize / 64, 1 << (bit % 64))
    }

    pub(crate) fn may_contain(&self, address: usize) -> bool {
        let (word, bit) = Self::place(address);
        self.bits[word] & bit != 0
    }
}
