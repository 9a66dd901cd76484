//! What a fabric is told before it is used.

use std::fmt;
use std::time::Duration;

use super::Fabric;

/// A store that is not described well: which setting, and what was expected. Never what was given, which may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FabricError {
    /// The setting.
    pub field: &'static str,
    /// What it must be.
    pub expected: &'static str,
}

impl fmt::Display for FabricError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fabric: {}: expected {}", self.field, self.expected)
    }
}

impl std::error::Error for FabricError {}

/// How long a question may take, by default.
const DEADLINE: Duration = Duration::from_millis(250);
/// The longest prefix of names.
const PREFIX_MAX: usize = 64;

/// A [`Fabric`] under construction.
#[derive(Clone)]
pub struct FabricBuilder {
    url: String,
    pub(super) prefix: String,
    pub(super) deadline: Duration,
    /// The largest value of the second cache; 0: there is none.
    pub(super) value_max: usize,
    pub(super) pops_max: u32,
    pub(super) home_percent: u32,
}

/// Without the URL, which may hold a password.
impl fmt::Debug for FabricBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FabricBuilder")
            .field("prefix", &self.prefix)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl FabricBuilder {
    pub(super) fn new(url: String) -> Self {
        Self { url, prefix: "pop".into(), deadline: DEADLINE, value_max: 0, pops_max: 8, home_percent: 25 }
    }

    /// What all names in the store begin with: PoPs with the same prefix belong together. Letters, digits, hyphens, dots
    /// and underscores, at most 64. Default `pop`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a question to the store may take; three in a row that take longer, and it is away. Default 250 ms.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Puts a second cache, which all PoPs share, below the memory of each: records of up to so many octets, bookkeeping
    /// counted. Caches with a tier of their own keep that one. Give the store a bound on its memory and the policy
    /// `volatile-lru`: purges have no expiry and stay. Default: none.
    #[must_use]
    pub fn second_cache(mut self, record_octets_max: usize) -> Self {
        self.value_max = record_octets_max;
        self
    }

    /// How shared limits are divided: among at most so many PoPs (1 to 1000), with so many percent (0 to 99) of each limit
    /// at home, an equal part in each PoP, whether the store is there or not. The rest is leased where it is needed. What
    /// lies at home in a quiet PoP is not used, and without the store there is nothing else. Default: 8 and 25.
    #[must_use]
    pub fn divide_limits(mut self, pops_max: u32, home_percent: u32) -> Self {
        (self.pops_max, self.home_percent) = (pops_max, home_percent);
        self
    }

    /// Judges the settings. Connects to nothing: that is done by [`Pop::run_until`](crate::Pop::run_until).
    ///
    /// # Errors
    /// [`FabricError`] names the setting that is wrong.
    pub fn build(self) -> Result<Fabric, FabricError> {
        let wrong = |field, expected| FabricError { field, expected };
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if self.prefix.is_empty() || self.prefix.len() > PREFIX_MAX || !self.prefix.bytes().all(fits) {
            return Err(wrong("prefix", "1 to 64 letters, digits, hyphens, dots and underscores"));
        }
        if self.deadline.is_zero() {
            return Err(wrong("deadline", "more than nothing"));
        }
        if !(1..=1000).contains(&self.pops_max) || self.home_percent > 99 {
            return Err(wrong("divide_limits", "1 to 1000 PoPs and 0 to 99 percent"));
        }
        // The library's error may quote what it was given.
        let client = redis::Client::open(self.url.as_str())
            .map_err(|_| wrong("url", "redis://[user:password@]host[:port][/database], or unix:///path"))?;
        Ok(Fabric::new(client, self))
    }
}
