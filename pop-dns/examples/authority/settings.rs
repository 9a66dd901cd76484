//! Flags, and what they lead to.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use pop_dns::tsig::Key;
use pop_dns::zone::Zone;
use pop_dns::{Authority, NameBuf, ResponseRateLimit, TransferQuery};
use rustls::ServerConfig;

use crate::block::block;
use crate::certificate::server_config;
use crate::key::key;

/// Serves zones from master files. SIGHUP loads them again, and tells the secondaries; SIGINT and SIGTERM stop.
#[derive(Parser)]
#[command(after_help = "Examples:
  authority --listen 127.0.0.1:5300 --zone example.org.zone
  authority --listen 127.0.0.1:5300 --listen '[::1]:5300' --zone db.example --origin example.org --workers 2
  authority --zone example.org.zone --tls 127.0.0.1:8853 --https 127.0.0.1:8443 --tls-cert cert.pem --tls-key key.pem
  authority --zone example.org.zone --key hmac-sha256:transfer:73656372657421 --notify 192.0.2.53:53")]
pub(crate) struct Arguments {
    /// The address to serve on; may be given several times.
    #[arg(
        long,
        env = "POP_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:5300",
        value_delimiter = ','
    )]
    pub(crate) listen: Vec<SocketAddr>,
    /// A master file; may be given several times. The zone's name is its file name less `.zone`.
    #[arg(long, env = "POP_ZONE", value_name = "FILE", required = true, value_delimiter = ',')]
    pub(crate) zone: Vec<PathBuf>,
    /// The name of the zone of the first file, of the second, and so on.
    #[arg(long, env = "POP_ORIGIN", value_name = "NAME", value_delimiter = ',')]
    pub(crate) origin: Vec<NameBuf>,
    /// Threads that serve UDP on each address.
    #[arg(long, env = "POP_WORKERS", value_name = "N", default_value = "1")]
    pub(crate) workers: NonZeroUsize,
    /// Takes a zone only if its ZONEMD record holds (RFC 8976).
    #[arg(long, env = "POP_ZONEMD")]
    pub(crate) zonemd: bool,
    /// What `id.server` in class CH and NSID answer.
    #[arg(long, env = "POP_SERVER_ID", value_name = "TEXT")]
    pub(crate) server_id: Option<String>,
    /// Serves DNS over TLS on this address too.
    #[arg(long, env = "POP_TLS", value_name = "ADDR", requires_all = ["tls_cert", "tls_key"])]
    pub(crate) tls: Option<SocketAddr>,
    /// Serves DNS over HTTPS on this address too, at `/dns-query`.
    #[arg(long, env = "POP_HTTPS", value_name = "ADDR", requires_all = ["tls_cert", "tls_key"])]
    pub(crate) https: Option<SocketAddr>,
    /// The certificate and those above it, in PEM.
    #[arg(long, env = "POP_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long, env = "POP_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The key that transfers and notifications are signed with: algorithm, name, and the secret in hexadecimal.
    #[arg(long, env = "POP_KEY", value_name = "ALGORITHM:NAME:SECRET", value_parser = key)]
    pub(crate) key: Option<Key>,
    /// Who may have the zones; may be given several times. With a key, those only who sign with it.
    #[arg(long, env = "POP_ALLOW", value_name = "ADDR/BITS", value_delimiter = ',', value_parser = block)]
    pub(crate) allow: Vec<(IpAddr, u8)>,
    /// A secondary that is told of new zones; may be given several times.
    #[arg(long, env = "POP_NOTIFY", value_name = "ADDR", value_delimiter = ',')]
    pub(crate) notify: Vec<SocketAddr>,
    /// Answers of one kind to one network a second; every second of those beyond is cut short, the others are dropped.
    #[arg(long, env = "POP_RATE", value_name = "N")]
    pub(crate) rate: Option<u32>,
}

/// All zones as their files are now.
pub(crate) fn zones(arguments: &Arguments) -> Result<Vec<Arc<Zone>>, Box<dyn Error>> {
    let mut zones = Vec::new();
    for (index, file) in arguments.zone.iter().enumerate() {
        let origin = match arguments.origin.get(index) {
            Some(origin) => origin.clone(),
            None => origin_of(file)?,
        };
        let start = std::time::Instant::now();
        let zone = Zone::load(file, origin)?;
        if arguments.zonemd {
            pop_dns::dnssec::verify_zone(&zone).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        eprintln!("zone {}: {} records in {:.2?}", zone.origin(), zone.records(), start.elapsed());
        zones.push(Arc::new(zone));
    }
    Ok(zones)
}

/// `example.org.zone` holds `example.org`.
fn origin_of(file: &Path) -> Result<NameBuf, Box<dyn Error>> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.strip_suffix(".zone").unwrap_or(name);
    name.parse()
        .map_err(|error| format!("{}: no name of a zone ({error}); use --origin", file.display()).into())
}

/// The authority with all that the flags ask for.
pub(crate) fn authority(arguments: &Arguments, zones: Vec<Arc<Zone>>) -> Authority {
    let name = arguments.key.as_ref().map(|key| key.name().clone());
    let blocks = arguments.allow.clone();
    let may_have = move |asked: &TransferQuery<'_>| {
        (name.is_some() || !blocks.is_empty())
            && (name.is_none() || asked.key == name.as_ref())
            && (blocks.is_empty() || asked.is_from(&blocks))
    };
    let mut authority = Authority::new(zones).keys(arguments.key.clone()).transfers(may_have);
    if let Some(id) = &arguments.server_id {
        authority = authority.server_id(id);
    }
    if let Some(rate) = arguments.rate {
        let limit = ResponseRateLimit::new(rate, 2);
        authority = authority.limit(move |asked| limit.check(asked));
    }
    authority
}

/// TLS for its two uses, which differ in the name of the protocol (ALPN).
pub(crate) struct Tls {
    pub(crate) dot: Arc<ServerConfig>,
    pub(crate) https: Arc<ServerConfig>,
}

/// What certificate and key make.
pub(crate) fn tls(arguments: &Arguments) -> Result<Option<Tls>, Box<dyn Error>> {
    let (Some(certificate), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) else { return Ok(None) };
    let dot = server_config(certificate, key)?;
    let with = |protocol: &[u8]| {
        let mut config = dot.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    };
    Ok(Some(Tls { dot: with(b"dot"), https: with(b"h2") }))
}
