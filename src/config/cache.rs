//! How answers are cached.

use std::fmt;
use std::sync::Arc;

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
///     .with(|builder| builder.keep_query(|name| !name.starts_with("utm_")));
/// # let _ = policy;
/// ```
#[derive(Clone)]
pub struct CachePolicy {
    pub(crate) capacity_bytes: u64,
    pub(crate) rules: Rules,
    configure: Vec<Configure>,
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
        Self { capacity_bytes: bytes, rules: Rules::default(), configure: Vec::new() }
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

    /// Any other setting of the cache: key, query filter, bypass, lifetimes, tags.
    #[must_use]
    pub fn with(
        mut self,
        configure: impl Fn(HttpCacheBuilder) -> HttpCacheBuilder + Send + Sync + 'static,
    ) -> Self {
        self.configure.push(Arc::new(configure));
        self
    }

    pub(crate) fn apply(&self, builder: HttpCacheBuilder) -> HttpCacheBuilder {
        self.configure.iter().fold(builder.rules(self.rules.clone()), |builder, step| step(builder))
    }

    /// Whether two policies are the same as far as can be told: a reload then keeps what is stored.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.capacity_bytes == other.capacity_bytes
            && format!("{:?}", self.rules) == format!("{:?}", other.rules)
            && self.configure.len() == other.configure.len()
            && self.configure.iter().zip(&other.configure).all(|(one, two)| Arc::ptr_eq(one, two))
    }
}
