//! A caching reverse proxy to put in front of any origin, and the name server beside it.
//!
//! ```sh
//! cargo run --release --example cdn_pop -- --http 127.0.0.1:8080 --origin http://127.0.0.1:8000
//! ```

mod cli;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use pop_edge::PopBuilder;
use pop_edge::config::{
    CacheSection, File, HostSection, LimitSection, Octets, OriginSection, Span, ZoneSection,
};

use crate::cli::{Failure, LogFormat};

/// A caching reverse proxy (RFC 9111) in front of any origin, and an authoritative name server beside it.
#[derive(Debug, Parser)]
#[command(
    about,
    after_help = "Examples:
  cdn_pop --http 127.0.0.1:8080 --origin http://127.0.0.1:8000
  cdn_pop --http 127.0.0.1:8080 --origin http://127.0.0.1:8000 --capacity 2GiB --grace 1h
  cdn_pop --http 127.0.0.1:8080 --origin http://127.0.0.1:8000 --disk cache --compress br,zstd,gzip --query
  cdn_pop --http 127.0.0.1:8080 --origin http://127.0.0.1:8000 --dns 127.0.0.1:5300 --zone example.org.zone
  cdn_pop --https 127.0.0.1:8443 --self-signed localhost --origin http://127.0.0.1:8000
  cdn_pop --config pop-edge.toml

SIGTERM and SIGINT drain: exchanges under way end, then it does. SIGHUP reads --config anew; what needs a new start is
logged as a warning.

A flag counts before an environment variable (POP_HTTP for --http), that before the file, that before the default."
)]
struct Options {
    /// Listen for HTTP here; can be said several times
    #[arg(long, value_name = "ADDR", env = "POP_HTTP", value_delimiter = ',')]
    http: Vec<SocketAddr>,
    /// Listen for HTTPS here
    #[arg(long, value_name = "ADDR", env = "POP_HTTPS", value_delimiter = ',')]
    https: Vec<SocketAddr>,
    /// Certificate chain for --https, PEM
    #[arg(long, value_name = "FILE", env = "POP_TLS_CERTIFICATE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Private key for --https, PEM
    #[arg(long, value_name = "FILE", env = "POP_TLS_KEY", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Make a certificate for these names at the start
    #[arg(long, value_name = "NAME", env = "POP_SELF_SIGNED", value_delimiter = ',')]
    self_signed: Vec<String>,
    /// Where content comes from, http:// or https://; several share the load
    #[arg(long, value_name = "URL", env = "POP_ORIGIN", value_delimiter = ',')]
    origin: Vec<String>,
    /// What the origin reads in Host: keep (what the client asked for), backend (its own address), or a name
    #[arg(long, value_name = "HOST", env = "POP_ORIGIN_HOST", requires = "origin")]
    origin_host: Option<String>,
    /// The host names to serve; another is answered 421
    #[arg(long, value_name = "PATTERN", env = "POP_HOST", default_value = "*")]
    host: Vec<String>,
    /// Answer DNS here, over UDP and TCP
    #[arg(long, value_name = "ADDR", env = "POP_DNS", requires = "zone")]
    dns: Option<SocketAddr>,
    /// Zones to answer (master files); NAME=FILE, or a file called like its zone
    #[arg(long, value_name = "[NAME=]FILE", env = "POP_ZONE", requires = "dns", value_delimiter = ',')]
    zone: Vec<String>,
    /// Memory for cached responses
    #[arg(long, value_name = "BYTES", env = "POP_CAPACITY")]
    capacity: Option<Octets>,
    /// Serve stale for so long when the origin fails and does not say itself [default: 10m, if it cannot be reached]
    #[arg(long, value_name = "SPAN", env = "POP_GRACE")]
    grace: Option<Span>,
    /// Targeted cache-control fields (RFC 9213), the first that is there counts
    #[arg(long, value_name = "FIELD", env = "POP_TARGETS", value_delimiter = ',')]
    target: Vec<String>,
    /// Fields that carry tags to purge by
    #[arg(long, value_name = "FIELD", env = "POP_TAG_FIELDS", value_delimiter = ',')]
    tag_field: Vec<String>,
    /// Never cache paths that begin so
    #[arg(long, value_name = "PREFIX", env = "POP_BYPASS", value_delimiter = ',')]
    bypass: Vec<String>,
    /// Query parameters that do not distinguish responses; a * at the end stands for any end
    #[arg(long, value_name = "NAME", env = "POP_IGNORE_QUERY", value_delimiter = ',')]
    ignore_query: Vec<String>,
    /// Cache the answers to QUERY too, by target and content
    #[arg(long, env = "POP_QUERY")]
    query: bool,
    /// Serve stored text in these codings to those who like them better: br, zstd, gzip
    #[arg(long, value_name = "CODING", env = "POP_COMPRESS", value_delimiter = ',')]
    compress: Vec<String>,
    /// A folder below the memory, which survives a restart
    #[arg(long, value_name = "FOLDER", env = "POP_DISK")]
    disk: Option<PathBuf>,
    /// How much lies in --disk
    #[arg(long, value_name = "BYTES", env = "POP_DISK_CAPACITY")]
    disk_capacity: Option<Octets>,
    /// Requests a second for each client; bursts of twice that
    #[arg(long, value_name = "RATE", env = "POP_LIMIT")]
    limit: Option<u64>,
    /// Metrics, health and purge on this loopback address
    #[arg(long, value_name = "ADDR", env = "POP_ADMIN")]
    admin: Option<SocketAddr>,
    /// Serving threads, each with its own sockets; 0 for one a core
    #[arg(long, value_name = "N", env = "POP_WORKERS", default_value_t = 0)]
    workers: usize,
    /// The name in Cache-Status and of the name server
    #[arg(long, value_name = "NAME", env = "POP_NAME")]
    name: Option<String>,
    /// A configuration file; see pop-edge.toml beside this program's source
    #[arg(long, value_name = "FILE", env = "POP_CONFIG")]
    config: Option<PathBuf>,
    /// How logs look
    #[arg(long, value_enum, env = "POP_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

fn main() -> ExitCode {
    let options = Options::parse();
    cli::log(options.log_format, "info");
    cli::end("cdn_pop", serve(&options))
}

fn serve(options: &Options) -> Result<(), Failure> {
    let configured = || -> Result<PopBuilder, Failure> {
        let (file, path) = configuration(options)?;
        Ok(PopBuilder::from_file(&file, path)?)
    };
    let mut builder = configured()?;
    if options.workers != 1 {
        builder = builder.share_ports();
    }
    // Flags stay what they are: only a file can say something else than before.
    cli::serve(&builder.build()?, options.workers, options.config.is_some().then_some(configured))
}

/// The file, if there is one, and the flags over it; and what errors call that.
fn configuration(options: &Options) -> Result<(File, PathBuf), Failure> {
    let (mut file, path) = match &options.config {
        Some(path) => (File::read(path)?, path.clone()),
        None if options.origin.is_empty() => {
            return Err(Failure::usage("expected --origin URL or --config FILE; see --help"));
        }
        None => (File::default(), PathBuf::from("command line")),
    };
    if let Some(name) = options.name.clone().or_else(|| file.name.is_empty().then(|| "cdn".to_owned())) {
        file.name = name;
    }
    listeners(options, &mut file);
    cache(options, &mut file.cache);
    if let Some(rate) = options.limit {
        file.limit = Some(LimitSection::per_second(rate, rate.saturating_mul(2)));
    }
    if !options.origin.is_empty() {
        let mut origin = OriginSection::from(options.origin.clone());
        origin.host.clone_from(&options.origin_host);
        file.host.extend(options.host.iter().map(|host| HostSection::new(host, origin.clone())));
    }
    for zone in &options.zone {
        file.zone.push(zone_section(zone));
    }
    Ok((file, path))
}

fn cache(options: &Options, cache: &mut CacheSection) {
    cache.capacity = options.capacity.or(cache.capacity);
    cache.stale_if_error = options.grace.or(cache.stale_if_error);
    if !options.target.is_empty() {
        cache.targets = Some(options.target.clone());
    }
    if !options.tag_field.is_empty() {
        cache.tag_fields = Some(options.tag_field.clone());
    }
    cache.bypass.extend(options.bypass.iter().cloned());
    cache.ignore_query.extend(options.ignore_query.iter().cloned());
    cache.query |= options.query;
    if !options.compress.is_empty() {
        cache.compress.clone_from(&options.compress);
    }
    if let Some(folder) = &options.disk {
        // A flag is relative to where the program runs, not to the file.
        cache.disk = Some(std::path::absolute(folder).unwrap_or_else(|_| folder.clone()));
    }
    cache.disk_capacity = options.disk_capacity.or(cache.disk_capacity);
}

fn listeners(options: &Options, file: &mut File) {
    let listen = &mut file.listen;
    let replace = |ours: &mut Vec<SocketAddr>, flags: &[SocketAddr]| {
        if !flags.is_empty() {
            *ours = flags.to_vec();
        }
    };
    replace(&mut listen.http, &options.http);
    replace(&mut listen.https, &options.https);
    replace(&mut listen.dns, options.dns.as_slice());
    if listen.http.is_empty() && listen.https.is_empty() {
        listen.http.push(SocketAddr::from(([127, 0, 0, 1], 8080)));
    }
    listen.admin = options.admin.or(listen.admin);
    if options.tls_certificate.is_some() {
        file.tls.certificate.clone_from(&options.tls_certificate);
        file.tls.key.clone_from(&options.tls_key);
    }
    if !options.self_signed.is_empty() {
        file.tls.self_signed.clone_from(&options.self_signed);
    }
}

/// `NAME=FILE`, or a file whose stem is the zone's name.
fn zone_section(argument: &str) -> ZoneSection {
    match argument.split_once('=') {
        Some((name, file)) => ZoneSection::new(name, file),
        None => {
            let stem = Path::new(argument).file_stem().unwrap_or_default();
            ZoneSection::new(stem.to_string_lossy(), argument)
        }
    }
}
