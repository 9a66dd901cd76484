//! How answers are cached.

use std::fmt;
#[cfg(feature = "disk")]
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "compression")]
use pop_cache::http::Compression;
use pop_cache::http::{HttpCacheBuilder, Rules};

type Configure = Arc<dyn Fn(HttpCacheBuilder) -> HttpCacheBuilder + Send + Sync>;

/// How a PoP, or one host of it, caches.
///
/// ```
/// use pop_edge::CachePolicy;
/// use pop_edge::cache::http::Rules;
/// use std::time::Duration;
///
/// let policy = CachePolicy::capacity(1 << 30)
///     .rules(Rules { stale_if_error: Duration::from_secs(3600), ..Rules::default() })
///     .query()
///     .with(|builder| builder.keep_query(|name| !name.starts_with("utm_")));
/// # let _ = policy;
/// ```
#[derive(Clone)]
pub struct CachePolicy {
    pub(crate) capacity_bytes: u64,
    pub(crate) rules: Rules,
    /// Whether the answers to QUERY are cached.
    pub(crate) caches_queries: bool,
    #[cfg(feature = "disk")]
    pub(crate) disk: Option<Disk>,
    configure: Vec<Configure>,
    /// What the steps above were made from, where that can be compared.
    origin: Option<Box<str>>,
}

/// A folder on a disk below the memory.
#[cfg(feature = "disk")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) folder: PathBuf,
    pub(crate) capacity_bytes: u64,
}

impl fmt::Debug for CachePolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CachePolicy")
            .field("capacity_bytes", &self.capacity_bytes)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

impl CachePolicy {
    /// Keeps responses of up to `bytes` in memory, fields and bookkeeping counted.
    #[must_use]
    pub fn capacity(bytes: u64) -> Self {
        Self {
            capacity_bytes: bytes,
            rules: Rules::default(),
            caches_queries: false,
            #[cfg(feature = "disk")]
            disk: None,
            configure: Vec::new(),
            origin: None,
        }
    }

    /// The policy of a PoP to which nothing is said: literal in everything but that stale answers are served for ten
    /// minutes while the origin cannot be reached, which a cache may without permission (RFC 9111 §4.2.4).
    pub(crate) fn preset(bytes: u64) -> Self {
        let stale_if_disconnected = std::time::Duration::from_secs(600);
        Self::capacity(bytes).rules(Rules { stale_if_disconnected, ..Rules::default() })
    }

    /// No cache: every request goes to the origin.
    #[must_use]
    pub fn off() -> Self {
        Self::capacity(0)
    }

    /// The choices that the RFCs leave.
    #[must_use]
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Caches the answers to QUERY (RFC 10008) too, by target and content. Content of up to
    /// [`MAX_QUERY_BYTES`](pop_cache::http::MAX_QUERY_BYTES) is read before the cache is asked; more is passed on.
    /// Default no: QUERY is passed on.
    #[must_use]
    pub fn query(mut self) -> Self {
        self.caches_queries = true;
        self
    }

    /// Stores one representation and serves it compressed to those who like it better so. Default no: mind what
    /// [`Compression`] says of pages with secrets.
    #[cfg(feature = "compression")]
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        self.with(move |builder| builder.compression(compression.clone()))
    }

    /// Keeps up to `bytes` of responses in a folder below the memory, which survives a restart, and being killed. The
    /// folder belongs to this PoP alone; it is opened, or made, when the PoP is built. Caches that name the same folder
    /// share it. Default none.
    #[cfg(feature = "disk")]
    #[must_use]
    pub fn disk(mut self, folder: impl Into<PathBuf>, bytes: u64) -> Self {
        self.disk = Some(Disk { folder: folder.into(), capacity_bytes: bytes });
        self
    }

    /// Any other setting of the cache: key, query filter, bypass, lifetimes, tags.
    #[must_use]
    pub fn with(
        mut self,
        configure: impl Fn(HttpCacheBuilder) -> HttpCacheBuilder + Send + Sync + 'static,
    ) -> Self {
        self.configure.push(Arc::new(configure));
        self.origin = None;
        self
    }

    /// Says what all settings were made from: two policies of the same origin are the same.
    #[cfg(feature = "config")]
    pub(crate) fn made_from(mut self, origin: String) -> Self {
        self.origin = Some(origin.into_boxed_str());
        self
    }

    pub(crate) fn apply(&self, builder: HttpCacheBuilder) -> HttpCacheBuilder {
        // Nobody may, until a step says who: an origin that trusts the PoP's address would be purged by anybody.
        let builder = builder.rules(self.rules.clone()).purge_method(|_| false);
        self.configure.iter().fold(builder, |builder, step| step(builder))
    }

    /// Whether two policies are the same as far as can be told: a reload then keeps what is stored.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let is_alike = self.capacity_bytes == other.capacity_bytes
            && self.caches_queries == other.caches_queries
            && format!("{:?}", self.rules) == format!("{:?}", other.rules);
        #[cfg(feature = "disk")]
        let is_alike = is_alike && self.disk == other.disk;
        is_alike && self.has_steps_of(other)
    }

    fn has_steps_of(&self, other: &Self) -> bool {
        if let (Some(own), Some(other)) = (&self.origin, &other.origin) {
            return own == other;
        }
        self.configure.len() == other.configure.len()
            && self.configure.iter().zip(&other.configure).all(|(one, two)| Arc::ptr_eq(one, two))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_the_same_by_what_they_say() {
        let plain = || CachePolicy::capacity(1 << 20);
        assert!(plain().is_same(&plain()));
        assert!(!plain().is_same(&CachePolicy::capacity(2 << 20)));
        assert!(!plain().is_same(&plain().query()));
        let step = plain().with(|builder| builder.show_key());
        assert!(step.is_same(&step.clone()));
        assert!(!step.is_same(&plain().with(|builder| builder.show_key())), "closures cannot be compared");
        #[cfg(feature = "disk")]
        assert!(
            !plain().is_same(&plain().disk("a", 1)) && plain().disk("a", 1).is_same(&plain().disk("a", 1))
        );
        #[cfg(feature = "config")]
        {
            let made = |origin: &str| plain().with(|builder| builder.show_key()).made_from(origin.to_owned());
            assert!(made("a").is_same(&made("a")) && !made("a").is_same(&made("b")));
            assert!(!made("a").is_same(&made("a").with(|builder| builder)), "a step of somebody else's");
        }
    }
}
