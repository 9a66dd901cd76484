//! How entries end by themselves: their time is over, or one of their tags is void.
//!
//! None of them is found from that instant on, whatever has become of it: each look-up checks what it found. The memory
//! comes back in small portions, with the operations that follow ([`deadlines`](crate::deadlines),
//! [`tags`](crate::tags)).

use crate::Timestamp;
use crate::index::Found;
use crate::memory::kind;
use crate::store::{RemovalCause, Store};
use crate::stripe::Own;
use crate::sync::Ordering;
use crate::table::WORDS;

/// Entries that one operation takes out because their time is over.
const EXPIRED_MOST: usize = 16;
/// Buckets that one insert looks at after an invalidation by tag.
const SWEPT: usize = 4;

impl<K, V> Store<K, V> {
    /// Why an entry that was found is none any more, if it is not: its time is over, or it is void.
    #[inline]
    pub(crate) fn fault(&self, found: &Found<'_, K, V>, at: Option<Timestamp>) -> Option<RemovalCause> {
        let marks = found.slot.kind.load(Ordering::Relaxed);
        if marks & (kind::DEADLINE | kind::TAGGED) == 0 {
            return None;
        }
        if self.deadline_of(found.handle, marks).is_some_and(|deadline| deadline <= self.now(at)) {
            return Some(RemovalCause::Expired);
        }
        let extra = if marks & kind::TAGGED == 0 { None } else { self.index.extra(found) };
        extra.is_some_and(|extra| self.tags.is_void(extra)).then_some(RemovalCause::Explicit)
    }

    /// An entry with this deadline has come into the index.
    pub(crate) fn arm(&self, handle: u32, deadline: Option<Timestamp>) {
        if let Some(deadline) = deadline {
            self.deadlines.arm(handle, deadline);
        }
    }

    /// Takes out a few entries whose time is over. False if none was.
    pub(crate) fn expire(&self, own: Own<'_>, at: Option<Timestamp>) -> bool {
        if self.deadlines.is_empty() {
            return false;
        }
        let now = self.now(at);
        let Some(region) = self.deadlines.due(now) else { return false };
        let look = self.deadlines.look_at(region);
        let slab = &self.index.slab;
        let mut removed = 0;
        for handle in region.handles().take_while(|&handle| handle < slab.length()) {
            let marks = slab.slot(handle).kind.load(Ordering::Relaxed);
            let is_resident = matches!(marks & kind::MASK, kind::SMALL | kind::MAIN);
            let Some(deadline) = self.deadline_of(handle, marks).filter(|_| is_resident) else { continue };
            if deadline > now || removed == EXPIRED_MOST {
                look.keep(handle, deadline);
            } else if let Some(found) = self.index.find_slot(handle) {
                if self.fault(&found, Some(now)) != Some(RemovalCause::Expired) {
                    // A hit has put its end off.
                    look.keep(handle, self.deadline_of(handle, marks).unwrap_or(now));
                } else if self.remove_found(own, &found, RemovalCause::Expired) {
                    removed += 1;
                    drop(found);
                    self.settle_removal(own);
                }
            }
        }
        removed > 0
    }

    /// Takes out everything whose time is over.
    pub(crate) fn expire_all(&self) {
        while !self.deadlines.is_empty() && self.deadlines.is_due(self.now(None)) {
            self.expire(self.stripes.own(), None);
        }
    }

    /// Looks at a few buckets for entries that are void. False if none was.
    pub(crate) fn sweep(&self, own: Own<'_>) -> bool {
        if !self.tags.sweep.is_under_way() {
            return false;
        }
        let buckets = self.index.buckets();
        let mut any = false;
        for place in (0..SWEPT).map_while(|_| self.tags.sweep.next(buckets)) {
            for index in 0..WORDS {
                if let Ok(Some(found)) = self.index.entry_at(place, index, buckets)
                    && self.fault(&found, Some(Timestamp::ZERO)) == Some(RemovalCause::Explicit)
                {
                    any |= self.remove_found(own, &found, RemovalCause::Explicit);
                    drop(found);
                    self.settle_removal(own);
                }
            }
        }
        any
    }

    /// Voids the entries with this tag.
    pub(crate) fn invalidate_tag(&self, tag: u64) {
        self.tags.invalidate(tag);
        self.tags.sweep.begin(self.index.buckets());
        if self.tags.is_full() {
            let own = self.stripes.own();
            let done = self.tags.done_after_a_look();
            for found in self.index.walk() {
                if self.fault(&found, Some(Timestamp::ZERO)) == Some(RemovalCause::Explicit) {
                    self.remove_found(own, &found, RemovalCause::Explicit);
                    drop(found);
                    self.settle_removal(own);
                }
            }
            self.tags.forget(&done);
        }
    }
}
