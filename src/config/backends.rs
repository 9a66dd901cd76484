//! `origin` of a site in a file: a URL, several, or a table that says more.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::unit::Span;

/// Where a site's content comes from: `"http://…"`, `["http://…", "http://…"]`, or a table with `urls` and more.
///
/// ```
/// use pop_edge::config::File;
///
/// let text = "[[host]]\nname = \"a\"\norigin = { urls = [\"https://b\"], host = \"backend\", connect_timeout = \"1s\" }\n";
/// let file = File::parse(text, "pop-edge.toml")?;
/// assert_eq!(file.host[0].origin.host.as_deref(), Some("backend"));
/// # Ok::<(), pop_edge::config::FileError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
#[non_exhaustive]
pub struct OriginSection {
    /// `http://…` or `https://…`, all of one scheme; several share the load.
    pub urls: Vec<String>,
    /// What the origin reads in `Host`: `keep` for what the client asked for, which is the default, `backend` for its
    /// own address, or a name.
    #[serde(default)]
    pub host: Option<String>,
    /// Certificates (PEM) of the authorities trusted, relative to this file. Default: the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Refuse addresses that are not public.
    #[serde(default)]
    pub public_only: bool,
    /// For resolving, connecting and a TLS handshake; default 2 s.
    #[serde(default)]
    pub connect_timeout: Option<Span>,
    /// From the sending of a request to the head of its response; default 30 s.
    #[serde(default)]
    pub first_byte_timeout: Option<Span>,
    /// Between parts of a body; default 30 s.
    #[serde(default)]
    pub between_bytes_timeout: Option<Span>,
    /// Idle connections kept to each backend; default 64.
    #[serde(default)]
    pub idle_connections_max: Option<usize>,
    /// How often a request that may be repeated is; default once.
    #[serde(default)]
    pub retries_max: Option<u32>,
}

impl From<Vec<String>> for OriginSection {
    fn from(urls: Vec<String>) -> Self {
        Self { urls, ..Self::default() }
    }
}

impl<'de> Deserialize<'de> for OriginSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = OriginSection;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a URL, several, or a table with urls")
            }

            fn visit_str<E>(self, url: &str) -> Result<OriginSection, E> {
                Ok(vec![url.to_owned()].into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, urls: A) -> Result<OriginSection, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(urls)).map(OriginSection::from)
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<OriginSection, A::Error> {
                // The derived one, of the fields.
                OriginSection::deserialize(MapAccessDeserializer::new(table))
            }
        }

        deserializer.deserialize_any(Written)
    }
}
