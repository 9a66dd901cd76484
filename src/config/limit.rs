//! How much one client may ask.

use pop_ratelimit::Quota;

/// How much one client may ask of a PoP, or of one host of it. A client is an address, and together with it the
/// prefixes around it: who rotates through a network is held by the network's share.
///
/// ```
/// use pop_edge::Limit;
/// use pop_edge::ratelimit::Quota;
///
/// let limit = Limit::per_client(Quota::per_second(50).burst(100));
/// # let _ = limit;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub(crate) quota: Quota,
    pub(crate) memory_bytes: usize,
}

/// Room for about a million clients that owe something.
const MEMORY_BYTES: usize = 8 << 20;

impl Limit {
    /// `quota` requests for each client address.
    #[must_use]
    pub const fn per_client(quota: Quota) -> Self {
        Self { quota, memory_bytes: MEMORY_BYTES }
    }

    /// Memory of the tables, fixed from the start. Default 8 MiB.
    #[must_use]
    pub const fn memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes;
        self
    }
}
