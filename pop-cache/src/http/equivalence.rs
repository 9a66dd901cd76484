//! Responses for several URIs: where they lie, and how a request finds them.
//!
//! A response with a `No-Vary-Search` that counts is stored under a key without what does not count (see
//! [`SearchVariance`]). Which variances a path has is remembered, so that a request that finds nothing under its own key
//! looks under few others, and one for a path that never had the field under none. What is remembered bears a random
//! name, which is part of those keys: a variance that was forgotten and comes back finds nothing that was stored, and
//! perhaps invalidated, before.

use std::sync::Arc;
use std::time::SystemTime;

use super::cache::Shared;
use super::key::CacheKey;
use super::rules::NoVarySearch;
use super::search::{self, SearchVariance};
use super::stored::{Resource, Stored};
use crate::Cache;

/// At most this many paths are remembered to have responses for several URIs.
pub const MAX_VARIANCE_PATHS: u64 = 16_384;

/// At most this many variances of one path are remembered; the draft lets a cache look at the latest alone.
pub const MAX_VARIANCES: usize = 4;

/// The variances of paths, the latest first, each with its name.
pub(crate) type Variances = Cache<CacheKey, Arc<[(SearchVariance, u64)]>>;

pub(crate) fn variances() -> Variances {
    Cache::builder(MAX_VARIANCE_PATHS).build()
}

impl Shared {
    /// What is stored for a URI: under its own key, else under one that stands for all URIs equivalent to it.
    pub(crate) fn find(&self, key: &str) -> Option<Arc<Resource>> {
        self.resource(key).or_else(|| self.find_equivalent(key))
    }

    #[cold]
    pub(crate) fn find_equivalent(&self, key: &str) -> Option<Arc<Resource>> {
        self.equivalents(key).iter().find_map(|key| self.resource(key.as_str()))
    }

    /// The keys that stand for URIs equivalent to that of `key`, as far as is known; none for most.
    pub(crate) fn equivalents(&self, key: &str) -> Vec<CacheKey> {
        if self.variances.is_empty() {
            return Vec::new();
        }
        let path = key.split('?').next().unwrap_or_default();
        let Some(variances) = self.variances.get(path) else { return Vec::new() };
        let key = CacheKey::from_raw(key);
        variances.iter().filter_map(|(variance, name)| variance.key(&key, *name)).collect()
    }

    /// Stores a response, unless its key was invalidated since the fetch began. Says whether it is stored.
    pub(crate) fn store(&self, key: &CacheKey, stored: Arc<Stored>, epoch: u64, now: SystemTime) -> bool {
        let Some(common) = self.common_key(key, &stored) else {
            return self.store_as(key, stored, epoch, now);
        };
        if !self.store_as(&common, stored, epoch, now) {
            return false;
        }
        // Whoever invalidates the URI does it first and then looks for common keys: either we see it, or it saw ours.
        if self.writer(key).is_outdated(epoch) {
            self.invalidate_one(&common);
            return false;
        }
        // What lies under the URI itself is older, and would be found first.
        self.store.remove(key.as_str());
        true
    }

    fn common_key(&self, key: &CacheKey, stored: &Stored) -> Option<CacheKey> {
        if self.rules().no_vary_search == NoVarySearch::Ignored || search::is_derived(key) {
            return None;
        }
        let variance = SearchVariance::parse(&stored.headers)?;
        let name = self.remember(key, &variance);
        variance.key(key, name)
    }

    /// Makes a variance known for a path, if it is not, and says what it is called.
    fn remember(&self, key: &CacheKey, variance: &SearchVariance) -> u64 {
        let path = key.as_str().split('?').next().unwrap_or_default();
        let known = self.variances.get(path);
        let known = known.as_deref().unwrap_or_default();
        if let Some((_, name)) = known.iter().find(|(known, _)| known == variance) {
            return *name;
        }
        let new = (variance.clone(), self.new_name());
        let name = new.1;
        let all = std::iter::once(new).chain(known.iter().take(MAX_VARIANCES - 1).cloned()).collect();
        // Of two that come at once one may be lost, or find no room: what is stored under its name is not found.
        let _refused = self.variances.insert(CacheKey::from_raw(path), all);
        name
    }
}
