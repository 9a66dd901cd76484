//! What an operator chooses: hosts, origins, limits, deadlines. Plain values, judged when a PoP is built.

#[cfg(feature = "cache")]
mod cache;
#[cfg(feature = "tls")]
mod certificates;
mod host;
#[cfg(feature = "ratelimit")]
mod limit;
mod origin;
mod settings;

#[cfg(feature = "cache")]
pub use cache::CachePolicy;
#[cfg(feature = "tls")]
pub use certificates::{CertificateError, Certificates};
pub use host::{Host, PatternError};
#[cfg(feature = "ratelimit")]
pub use limit::Limit;
pub use origin::{HostField, Origin, OriginAddressError};
pub use settings::{Framing, Methods, Preset, Settings};

#[cfg(feature = "tls")]
pub(crate) use certificates::provider;
pub(crate) use host::Pattern;
pub(crate) use origin::Backend;
