//! What an operator chooses: hosts, origins, limits, deadlines. Plain values, judged when a PoP is built.

mod admin;
#[cfg(feature = "config")]
mod backends;
#[cfg(feature = "cache")]
mod cache;
#[cfg(feature = "tls")]
mod certificates;
#[cfg(feature = "config")]
mod file;
mod host;
#[cfg(feature = "ratelimit")]
mod limit;
mod origin;
#[cfg(feature = "config")]
mod problem;
mod settings;
#[cfg(feature = "config")]
mod unit;

pub use admin::Admin;
#[cfg(feature = "cache")]
pub use cache::CachePolicy;
#[cfg(feature = "tls")]
pub use certificates::{CertificateError, Certificates};
pub use host::{Host, PatternError};
#[cfg(feature = "ratelimit")]
pub use limit::Limit;
pub use origin::{HostField, Origin, OriginAddressError};
pub use settings::{Framing, Methods, Preset, Settings};
#[cfg(feature = "config")]
#[cfg_attr(docsrs, doc(cfg(feature = "config")))]
pub use {
    backends::OriginSection,
    file::{
        CacheSection, ConditionSection, FILE_OCTETS_MAX, FieldSection, File, FileError, Forwarding,
        GuardSection, HostSection, LimitSection, Listen, PatternSection, PresetName, RuleSection, Tls,
        ZoneSection,
    },
    unit::{Block, Octets, Span, UnitError},
};

#[cfg(feature = "tls")]
pub(crate) use certificates::{Showcase, provider};
pub(crate) use host::Pattern;
pub(crate) use origin::{Backend, Order};
#[cfg(feature = "config")]
pub(crate) use problem::{Problem, Step};
