//! What lies below the memory of a cache: disks, or a store that several caches share.

use core::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::handle::Purge;
use super::key::CacheKey;

/// What a [`Tier`] does, later.
pub type TierFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A store below the memory of a cache. It is asked on a miss, and told of everything that is stored, invalidated or
/// purged; it is never on the path of a hit.
///
/// A tier that fails says so by silence: `get` finds nothing, `put` forgets. It decides itself what to keep and for how
/// long, but gives back a record as it got it or not at all.
pub trait Tier: fmt::Debug + Send + Sync + 'static {
    /// The record of a key.
    fn get<'a>(&'a self, key: &'a CacheKey) -> TierFuture<'a, Option<Bytes>>;

    /// Keeps a record, in place of an older one of the same key. Must not wait for long: a tier that cannot keep up
    /// drops records.
    fn put<'a>(&'a self, key: &'a CacheKey, record: Record) -> TierFuture<'a, ()>;

    /// Forgets one key.
    fn remove<'a>(&'a self, key: &'a CacheKey) -> TierFuture<'a, ()>;

    /// Forgets what a purge names. Soft purges come here too: what is stale stays in memory alone. A tier that cannot
    /// tell what is concerned forgets everything.
    fn purge<'a>(&'a self, what: &'a Purge) -> TierFuture<'a, ()>;
}

/// All responses of one key, in a form that only the cache reads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The responses, with a check sum: a record that was torn is found out when it is read.
    pub bytes: Bytes,
    /// When nothing of it will be of use any more.
    pub expires: SystemTime,
    /// The tags of all its responses.
    pub tags: Vec<String>,
}

/// Two tiers, one below the other. What the lower one has is not copied up: it comes to the memory above both.
#[derive(Debug)]
pub(super) struct Stacked<L> {
    pub(super) upper: Arc<dyn Tier>,
    pub(super) lower: L,
}

impl<L: Tier> Tier for Stacked<L> {
    fn get<'a>(&'a self, key: &'a CacheKey) -> TierFuture<'a, Option<Bytes>> {
        Box::pin(async move {
            match self.upper.get(key).await {
                Some(record) => Some(record),
                None => self.lower.get(key).await,
            }
        })
    }

    fn put<'a>(&'a self, key: &'a CacheKey, record: Record) -> TierFuture<'a, ()> {
        Box::pin(async move {
            self.upper.put(key, record.clone()).await;
            self.lower.put(key, record).await;
        })
    }

    fn remove<'a>(&'a self, key: &'a CacheKey) -> TierFuture<'a, ()> {
        Box::pin(async move {
            self.upper.remove(key).await;
            self.lower.remove(key).await;
        })
    }

    fn purge<'a>(&'a self, what: &'a Purge) -> TierFuture<'a, ()> {
        Box::pin(async move {
            self.upper.purge(what).await;
            self.lower.purge(what).await;
        })
    }
}
