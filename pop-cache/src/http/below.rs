//! Between the memory and the tier below it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::cache::Shared;
use super::handle::Purge;
use super::key::CacheKey;
use super::record;
use super::search;
use super::stored::Stored;

impl Shared {
    /// What the tier below has for a key, now in memory too; the newest first. Responses for several URIs, and answers to
    /// QUERY, are in memory only: their keys do not outlive it.
    pub(crate) async fn fetch_below(&self, key: &CacheKey, epoch: u64) -> Vec<Arc<Stored>> {
        let Some(tier) = self.settings.tier.as_ref().filter(|_| !search::is_derived(key)) else {
            return Vec::new();
        };
        // Pairs with `purge_below`: whoever sees no purge under way asks after it.
        if self.purges_below.load(Ordering::Acquire) > 0 {
            return Vec::new();
        }
        let Some(record) = tier.get(key).await else { return Vec::new() };
        let Some(found) = record::decode(self, key, &record) else {
            // Torn, damaged, or of another version.
            tier.remove(key).await;
            return Vec::new();
        };
        let found: Vec<Arc<Stored>> = found.into_iter().map(Arc::new).collect();
        let now = self.now();
        for stored in found.iter().rev() {
            if !self.store(key, Arc::clone(stored), epoch, now) {
                // Purged meanwhile, or no room: what no longer counts is not served either.
                return Vec::new();
            }
        }
        found
    }

    /// Hands what is stored for a key down to the tier below, in a task of its own.
    pub(crate) fn keep_below(self: &Arc<Self>, key: &CacheKey, epoch: u64) {
        let Some(tier) = self.settings.tier.clone() else { return };
        let Some(resource) = self.resource(key.as_str()).filter(|_| !search::is_derived(key)) else { return };
        let Some(record) = record::encode(self, &resource, self.now()) else { return };
        let (shared, key) = (Arc::clone(self), key.clone());
        tokio::spawn(async move {
            tier.put(&key, record).await;
            // A purge that came meanwhile may not have found it.
            if shared.writer(&key).is_outdated(epoch) {
                tier.remove(&key).await;
            }
        });
    }

    /// Purges the tier below. Until it has done so it is not asked.
    pub(crate) fn purge_below(self: &Arc<Self>, what: Purge) {
        let Some(tier) = self.settings.tier.clone() else { return };
        self.purges_below.fetch_add(1, Ordering::AcqRel);
        let shared = Arc::clone(self);
        let purge = async move {
            match &what {
                Purge::Key(key) => tier.remove(key).await,
                what => tier.purge(what).await,
            }
            shared.purges_below.fetch_sub(1, Ordering::AcqRel);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(purge)),
            // An operator's thread outside of any runtime can wait.
            Err(_) => {
                if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() {
                    runtime.block_on(purge);
                }
            }
        }
    }

    /// Keeps the tier below from being asked while memory and tier are purged one after the other.
    pub(crate) fn hold_below(&self) -> HoldBelow<'_> {
        self.purges_below.fetch_add(1, Ordering::AcqRel);
        HoldBelow(&self.purges_below)
    }
}

/// While it lives the tier below is not asked.
pub(crate) struct HoldBelow<'a>(&'a AtomicU64);

impl Drop for HoldBelow<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
