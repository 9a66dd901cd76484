//! A PoP as a TOML file. What is not known is an error, and every error names file, line, column and what was expected.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::backends::OriginSection;
use super::problem::{Problem, Source, place};
use super::unit::{Block, Octets, Span};

/// The largest file that is read.
pub const FILE_OCTETS_MAX: u64 = 16 << 20;

/// A configuration file, read but not yet turned into a PoP.
///
/// ```
/// use pop_edge::config::File;
///
/// let text = "name = \"fra1\"\n[listen]\nhttp = [\"127.0.0.1:8080\"]\n[[host]]\nname = \"www.example.org\"\norigin = [\"http://127.0.0.1:8000\"]\n";
/// let file = File::parse(text, "pop-edge.toml")?;
/// assert_eq!(file.host[0].name, "www.example.org");
///
/// let error = File::parse("name = \"fra1\"\ncolour = \"red\"\n", "pop-edge.toml").unwrap_err();
/// assert!(error.to_string().starts_with("pop-edge.toml:2:1: unknown field `colour`"), "{error}");
/// # Ok::<(), pop_edge::config::FileError>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct File {
    /// The PoP's name, as in `Cache-Status` and `id.server`.
    pub name: String,
    /// Which preset the defaults are from.
    pub preset: PresetName,
    /// Where it listens.
    pub listen: Listen,
    /// Certificates.
    pub tls: Tls,
    /// How answers are cached.
    pub cache: CacheSection,
    /// What one client may ask of the PoP.
    pub limit: Option<LimitSection>,
    /// Who may come in.
    pub guard: GuardSection,
    /// Sites served.
    pub host: Vec<HostSection>,
    /// Zones answered.
    pub zone: Vec<ZoneSection>,
    /// Request rules, in order.
    pub rule: Vec<RuleSection>,
    /// What it was read from, for errors that come later.
    #[serde(skip)]
    source: Source,
}

/// A preset by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PresetName {
    /// A caching reverse proxy.
    #[default]
    Cdn,
    /// In front of what is attacked.
    Security,
    /// In an access network.
    Isp,
    /// The entry to regions.
    Cloud,
}

/// Addresses to listen on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Listen {
    /// HTTP in clear.
    pub http: Vec<SocketAddr>,
    /// HTTPS.
    pub https: Vec<SocketAddr>,
    /// DNS over UDP and TCP.
    pub dns: Vec<SocketAddr>,
    /// Metrics, health, purge: loopback only.
    pub admin: Option<SocketAddr>,
    /// The token that the admin service asks for, and which lets callers purge and drain.
    pub admin_token: Option<String>,
}

/// Certificates: from files, or made for these names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Tls {
    /// PEM, the leaf first.
    pub certificate: Option<PathBuf>,
    /// PEM.
    pub key: Option<PathBuf>,
    /// Names of a certificate that is made at every start.
    pub self_signed: Vec<String>,
}

/// A cache policy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CacheSection {
    /// Memory; default 256 MiB.
    pub capacity: Option<Octets>,
    /// Off: every request goes to the origin.
    pub off: bool,
    /// How long stale answers may be used while they are revalidated, where the origin does not say.
    pub stale_while_revalidate: Option<Span>,
    /// How long stale answers may be used while the origin fails, where the origin does not say. Default: ten minutes
    /// where it cannot be reached at all, not where it answers with an error.
    pub stale_if_error: Option<Span>,
    /// Targeted cache-control fields (RFC 9213), the first that is there counts. Default `CDN-Cache-Control`.
    pub targets: Option<Vec<String>>,
    /// Fields that carry tags. Default `Surrogate-Key`, `Cache-Tag`.
    pub tag_fields: Option<Vec<String>>,
    /// Query parameters that do not distinguish answers; a `*` at the end stands for any end.
    pub ignore_query: Vec<String>,
    /// Paths that are never cached: prefixes.
    pub bypass: Vec<String>,
    /// Cache the answers to QUERY too, by target and content.
    pub query: bool,
    /// Serve text that is stored as it is in these codings to those who like them better: `br`, `zstd`, `gzip`.
    pub compress: Vec<String>,
    /// A folder below the memory, which survives a restart; relative to this file.
    pub disk: Option<PathBuf>,
    /// How much lies in it; default 1 GiB.
    pub disk_capacity: Option<Octets>,
}

/// A rate.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LimitSection {
    /// Requests.
    pub rate: u64,
    /// In this time; default one second.
    pub per: Option<Span>,
    /// At once; default as many as `rate`.
    pub burst: Option<u64>,
}

/// A field in which proxies tell who asked them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Forwarding {
    /// `X-Forwarded-For`, which most load balancers write.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Who may come in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GuardSection {
    /// Blocks of proxies whose forwarding field counts.
    pub trusted_proxies: Vec<Block>,
    /// The one field that those proxies write; the other is a client's word, and means nothing.
    pub forwarding_field: Forwarding,
    /// Blocks that are never limited.
    pub allow: Vec<Block>,
    /// Blocks that are not served.
    pub deny: Vec<Block>,
    /// Connections in all.
    pub connections_max: Option<usize>,
    /// Connections from one /24 or /48.
    pub connections_per_network: Option<usize>,
    /// The rules that every edge wants before the ones below.
    pub baseline: Option<bool>,
}

/// One site.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HostSection {
    /// `www.example.org`, `*.example.org` or `*`.
    pub name: String,
    /// Only paths that begin so.
    pub path: Option<String>,
    /// Where its content comes from.
    pub origin: OriginSection,
    /// A cache of its own.
    pub cache: Option<CacheSection>,
    /// A limit of its own.
    pub limit: Option<LimitSection>,
    /// A certificate of its own for HTTPS, beside that of `[tls]`: PEM, the leaf first.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
}

impl HostSection {
    /// A site and where its content comes from.
    #[must_use]
    pub fn new(name: impl Into<String>, origin: impl Into<OriginSection>) -> Self {
        let origin = origin.into();
        Self { name: name.into(), path: None, origin, cache: None, limit: None, certificate: None, key: None }
    }
}

/// One zone.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ZoneSection {
    /// A master file (RFC 1035 §5), relative to this file.
    pub file: PathBuf,
    /// The zone's name.
    pub origin: String,
}

impl ZoneSection {
    /// A zone and its master file.
    #[must_use]
    pub fn new(origin: impl Into<String>, file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), origin: origin.into() }
    }
}

impl LimitSection {
    /// So many requests a second, in bursts of at most `burst`.
    #[must_use]
    pub const fn per_second(rate: u64, burst: u64) -> Self {
        Self { rate, per: None, burst: Some(burst) }
    }
}

/// One request rule: all of the conditions, none of the exception, one action.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RuleSection {
    /// What the log calls it.
    pub name: String,
    /// When it applies.
    #[serde(default)]
    pub when: ConditionSection,
    /// When it does not all the same.
    pub unless: Option<ConditionSection>,
    /// Refuse with this status.
    pub deny: Option<u16>,
    /// Let each client do this so often.
    pub limit: Option<LimitSection>,
    /// Only count.
    #[serde(default)]
    pub count: bool,
    /// Ask no further rule.
    #[serde(default)]
    pub pass: bool,
}

/// Conditions, all of which must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ConditionSection {
    /// One of these methods.
    pub method: Vec<String>,
    /// A client in one of these blocks.
    pub client: Vec<Block>,
    /// The host.
    pub host: Option<PatternSection>,
    /// The path, decoded.
    pub path: Option<PatternSection>,
    /// The query, decoded.
    pub query: Option<PatternSection>,
    /// A field by its name.
    pub field: Option<FieldSection>,
    /// A Content-Length above this.
    pub length_above: Option<Octets>,
}

/// A pattern: exactly one of these.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
#[non_exhaustive]
pub enum PatternSection {
    /// Exactly this.
    Is(String),
    /// This first.
    StartsWith(String),
    /// This last.
    EndsWith(String),
    /// This anywhere.
    Contains(String),
}

/// A field and how it must look.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FieldSection {
    /// Its name.
    pub name: String,
    /// How one of its lines looks; none: it must be there.
    pub value: Option<PatternSection>,
    /// It must not be there.
    #[serde(default)]
    pub absent: bool,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// The column in characters, from 1; 0 where the line as a whole is meant.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.problem)
    }
}

impl std::error::Error for FileError {}

impl File {
    /// Reads a file of at most [`FILE_OCTETS_MAX`].
    ///
    /// # Errors
    /// [`FileError`] where it cannot be read or is wrong.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let whole = |problem: String| FileError { file: path.to_owned(), line: 0, column: 0, problem };
        let size = std::fs::metadata(path).map_err(|error| whole(error.to_string()))?.len();
        if size > FILE_OCTETS_MAX {
            return Err(whole(format!("{size} octets, at most {FILE_OCTETS_MAX}")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| whole(error.to_string()))?;
        Self::parse(&text, path)
    }

    /// Reads text; `path` is what errors call it.
    ///
    /// # Errors
    /// [`FileError`] where it is wrong.
    pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Self, FileError> {
        let file = toml::from_str(text).map_err(|error| {
            let (line, column) = error.span().map_or((0, 0), |span| place(text, span.start));
            FileError { file: path.as_ref().to_owned(), line, column, problem: error.message().to_owned() }
        })?;
        Ok(Self { source: Source::new(text), ..file })
    }

    /// An error about a section of this file.
    pub(crate) fn error(&self, path: &Path, problem: Problem) -> FileError {
        let (line, column) = self.source.place(&problem).unwrap_or_default();
        FileError { file: path.to_owned(), line, column, problem: problem.into_text() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, error: &str) {
        let found = File::parse(text, "pop.toml").unwrap_err().to_string();
        assert!(found.starts_with(error), "{found}");
    }

    #[test]
    fn errors_name_the_place_and_what_was_expected() {
        check("name = 1\n", "pop.toml:1:8: invalid type: integer `1`, expected a string");
        check("[listen]\nhttp = [\"127.0.0.1\"]\n", "pop.toml:2:9: invalid socket address syntax");
        check("[cache]\ncapacity = \"1 lot\"\n", "pop.toml:2:12: expected octets, with KiB");
        check(
            "[guard]\ndeny = [\"192.0.2.1/24\"]\n",
            "pop.toml:2:9: expected a block whose host bits are zero",
        );
        check("[[host]]\nname = \"a\"\n", "pop.toml:1:1: missing field `origin`");
        check("[[rule]]\nname = \"a\"\nwhen = { path = { like = \"x\" } }\n", "pop.toml:3:");
        check("[[host]\n", "pop.toml:1:");
        check("preset = \"dcn\"\n", "pop.toml:1:10: unknown variant `dcn`, expected one of");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = File::read(Path::new("no-such-file.toml")).unwrap_err();
        assert!(error.to_string().starts_with("no-such-file.toml: "), "{error}");
    }
}
