//! An asymmetric barrier: almost free for readers, dear for the reclaimer.
//!
//! A reader announces what it is about to read, then checks that it is still there. A reclaimer takes something away,
//! then looks at the announcements. Between the two steps each side needs a full barrier, or both could miss the
//! other. Readers are frequent and reclaimers work in batches, so the reclaimer pays for both where the system lets
//! it: `membarrier(2)` runs a full barrier on every processor that runs a thread of this process, and the reader's
//! half shrinks to keeping the compiler from reordering. Elsewhere both sides run a fence.
//!
//! Under loom both are sequentially consistent fences: that is what the pair amounts to.

use crate::sync::{Ordering, fence};

#[cfg(all(target_os = "linux", not(loom)))]
mod system {
    use core::sync::atomic::{AtomicU8, Ordering};

    use rustix::thread::{MembarrierCommand, membarrier};

    const UNKNOWN: u8 = 0;
    const FENCES: u8 = 1;
    const MEMBARRIER: u8 = 2;

    /// What the reader's half is. Readers fence until they read `MEMBARRIER`, which is stored once and stays; a
    /// reclaimer never trusts `UNKNOWN` but asks, so it can't miss that a reader fences no more.
    static MODE: AtomicU8 = AtomicU8::new(UNKNOWN);

    #[inline]
    pub(super) fn readers_fence() -> bool {
        MODE.load(Ordering::Relaxed) != MEMBARRIER
    }

    #[cold]
    pub(super) fn ask() -> bool {
        let granted = membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok();
        // A process that was granted it once stays with it: its readers may have stopped to fence.
        if granted {
            MODE.store(MEMBARRIER, Ordering::SeqCst);
        } else {
            let _other_thread_was_first =
                MODE.compare_exchange(UNKNOWN, FENCES, Ordering::SeqCst, Ordering::SeqCst);
        }
        granted
    }

    /// True if every thread of this process has run a full barrier meanwhile, or fences by itself.
    pub(super) fn everywhere() -> bool {
        match MODE.load(Ordering::SeqCst) {
            FENCES => true,
            // A forked process inherits the mode but not the registration: ask again then.
            MEMBARRIER => {
                membarrier(MembarrierCommand::PrivateExpedited).is_ok()
                    || (ask() && membarrier(MembarrierCommand::PrivateExpedited).is_ok())
            }
            _ => {
                ask();
                MODE.load(Ordering::SeqCst) == FENCES
                    || membarrier(MembarrierCommand::PrivateExpedited).is_ok()
            }
        }
    }
}

#[cfg(not(all(target_os = "linux", not(loom))))]
mod system {
    #[inline]
    pub(super) fn readers_fence() -> bool {
        true
    }

    pub(super) fn ask() -> bool {
        false
    }

    pub(super) fn everywhere() -> bool {
        true
    }
}

/// Asks the system once for its help; called when a thread first comes here.
pub(crate) fn prepare() {
    system::ask();
}

/// The reader's half, between its announcement and its check.
#[inline]
pub(crate) fn light() {
    if system::readers_fence() {
        fence(Ordering::SeqCst);
    } else {
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    }
}

/// The reclaimer's half, between taking away and looking at the announcements. False if the system refused a barrier
/// that it had promised: then nothing may be reclaimed.
#[must_use]
pub(crate) fn heavy() -> bool {
    fence(Ordering::SeqCst);
    let done = system::everywhere();
    fence(Ordering::SeqCst);
    done
}
