//! What goes from the memory: a key, a tag, a host, or what a predicate finds.

use super::cache::{Held, Shared};
use super::handle::PurgeMode;
use super::key::CacheKey;
use super::stored::Stored;

impl Shared {
    /// Invalidates one URI (RFC 9111 §4.4), and what was stored for it and its equivalents together. Says how many
    /// responses went; answers to QUERY go uncounted.
    pub(crate) fn invalidate(&self, key: &CacheKey) -> usize {
        // The URI first: see `store`.
        let own = self.invalidate_one(key);
        self.queried.remove(key.as_str());
        own + self.equivalents(key.as_str()).iter().map(|key| self.invalidate_one(key)).sum::<usize>()
    }

    /// Invalidates what lies under this very key.
    pub(super) fn invalidate_one(&self, key: &CacheKey) -> usize {
        let mut writer = self.writer(key);
        writer.invalidate();
        self.uncacheable.remove(key.as_str());
        match self.store.remove(key.as_str()) {
            Some(Held::Resource(resource)) => resource.variants.len(),
            Some(Held::Slice(_)) | None => 0,
        }
    }

    /// Purges one URI, and what is stored for it and its equivalents together. Says how many responses that concerned.
    pub(crate) fn purge_key(&self, key: &CacheKey, mode: PurgeMode) -> usize {
        if mode == PurgeMode::Remove {
            return self.invalidate(key);
        }
        let own = self.mark_one(key);
        self.queried.remove(key.as_str());
        own + self.equivalents(key.as_str()).iter().map(|key| self.mark_one(key)).sum::<usize>()
    }

    fn mark_one(&self, key: &CacheKey) -> usize {
        let mut writer = self.writer(key);
        // What is being fetched is older than the purge.
        writer.invalidate();
        let now = self.now();
        let resource = self.resource(key.as_str());
        resource.map_or(0, |found| found.variants.iter().filter(|stored| stored.purge_softly(now)).count())
    }

    /// Purges every response with this tag.
    pub(crate) fn purge_tag(&self, tag: &str, mode: PurgeMode) -> usize {
        match mode {
            PurgeMode::Remove => {
                self.epochs.sweep();
                self.store.remove_tag(self.tag(tag))
            }
            PurgeMode::MarkStale => self.mark(|_, stored| stored.tags.iter().any(|own| **own == *tag)),
        }
    }

    /// Purges every response of this host, whatever the scheme and the port.
    pub(crate) fn purge_host(&self, host: &str, mode: PurgeMode) -> usize {
        match mode {
            PurgeMode::Remove => {
                self.epochs.sweep();
                self.store.remove_tag(self.host_tag(host))
            }
            PurgeMode::MarkStale => self.mark(|key, _| key.host().eq_ignore_ascii_case(host)),
        }
    }

    /// Marks stale every response for which `concerns` holds, and says how many.
    pub(crate) fn mark(&self, concerns: impl Fn(&CacheKey, &Stored) -> bool) -> usize {
        self.epochs.sweep();
        let now = self.now();
        let mut marked = 0;
        self.store.for_each(|key, held| {
            if let Held::Resource(resource) = held {
                let variants = resource.variants.iter().filter(|stored| concerns(key, stored));
                marked += variants.filter(|stored| stored.purge_softly(now)).count();
            }
        });
        marked
    }
}
