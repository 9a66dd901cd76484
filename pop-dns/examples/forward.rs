//! A caching forwarder for one's own clients.
//!
//! ```text
//! cargo run --release -p pop-dns --features tokio,tls --example forward -- --listen 127.0.0.1:5301 --upstream 192.0.2.53 --allow 127.0.0.0/8
//! dig @127.0.0.1 -p 5301 www.example.org
//! ```

#[path = "flags/block.rs"]
mod block;
#[path = "flags/certificate.rs"]
mod certificate;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use pop_dns::forward::{Action, Forwarder, Lists};
use pop_dns::server::{Counters, Server};

use crate::block::block;
use crate::certificate::server_config;

/// Where to serve TLS, and how.
type Tls = (SocketAddr, Arc<rustls::ServerConfig>);

/// Cannot bind.
const EXIT_UNAVAILABLE: u8 = 69;
/// A setting, or a list, is wrong.
const EXIT_CONFIG: u8 = 78;
/// The port where no other is given.
const PORT: u16 = 53;

/// Forwards the queries of the clients in the allowed blocks, and remembers the answers. SIGHUP loads the lists again,
/// SIGINT and SIGTERM stop once what is under way is answered.
#[derive(Parser)]
#[command(after_help = "Examples:
  forward --listen 127.0.0.1:5301 --upstream 192.0.2.53 --allow 127.0.0.0/8
  forward --upstream 192.0.2.53 --upstream 192.0.2.54:5353 --allow 10.0.0.0/8 --block ads.txt --subnet 24,56")]
struct Arguments {
    /// The address to serve on; may be given several times.
    #[arg(
        long,
        env = "POP_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:5301",
        value_delimiter = ','
    )]
    listen: Vec<SocketAddr>,
    /// Where to ask; may be given several times.
    #[arg(long, env = "POP_UPSTREAM", value_name = "ADDR[:PORT]", required = true, value_delimiter = ',', value_parser = upstream)]
    upstream: Vec<SocketAddr>,
    /// Whose queries are answered; may be given several times. There is no default.
    #[arg(long, env = "POP_ALLOW", value_name = "ADDR/BITS", required = true, value_delimiter = ',', value_parser = block)]
    allow: Vec<(IpAddr, u8)>,
    /// MiB of the cache.
    #[arg(long, env = "POP_CACHE", value_name = "MIB", default_value = "64")]
    cache: usize,
    /// Names that do not exist for our clients: a list of names, or a hosts file; may be given several times.
    #[arg(long, env = "POP_BLOCK", value_name = "FILE", value_delimiter = ',')]
    block: Vec<PathBuf>,
    /// Tell upstreams so many bits of a client's address, for IPv4 and IPv6.
    #[arg(long, env = "POP_SUBNET", value_name = "BITS,BITS", value_delimiter = ',', num_args = 2)]
    subnet: Option<Vec<u8>>,
    /// The address to serve DNS over TLS on, with certificate and key.
    #[arg(long, env = "POP_TLS", value_name = "ADDR", requires_all = ["tls_cert", "tls_key"])]
    tls: Option<SocketAddr>,
    /// The certificate and what leads to its root, in PEM.
    #[arg(long, env = "POP_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM.
    #[arg(long, env = "POP_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Threads that serve UDP on each address.
    #[arg(long, env = "POP_WORKERS", value_name = "N", default_value = "1")]
    workers: NonZeroUsize,
}

fn upstream(text: &str) -> Result<SocketAddr, String> {
    let with_port = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, PORT));
    text.parse().or_else(|_| with_port()).map_err(|_| "expected an address, perhaps a port".to_owned())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("forward: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let built = forwarder(&arguments).and_then(|forwarder| Ok((forwarder, tls(&arguments)?)));
        match built {
            Ok((forwarder, tls)) => serve(&arguments, forwarder, tls).await,
            Err(error) => {
                eprintln!("forward: {error}");
                ExitCode::from(EXIT_CONFIG)
            }
        }
    })
}

fn forwarder(arguments: &Arguments) -> Result<Forwarder, Box<dyn std::error::Error>> {
    let mut builder =
        Forwarder::builder().cache_octets(arguments.cache.saturating_mul(1 << 20)).lists(lists(arguments)?);
    if let Some([ipv4, ipv6]) = arguments.subnet.as_deref() {
        builder = builder.client_subnet(*ipv4, *ipv6);
    }
    builder = arguments.upstream.iter().fold(builder, |builder, &upstream| builder.upstream(upstream));
    Ok(arguments.allow.iter().fold(builder, |builder, &block| builder.allow(block)).build()?)
}

/// Where to serve TLS, and how.
fn tls(arguments: &Arguments) -> Result<Option<Tls>, Box<dyn std::error::Error>> {
    let (Some(address), Some(certificate), Some(key)) =
        (arguments.tls, &arguments.tls_cert, &arguments.tls_key)
    else {
        return Ok(None);
    };
    let mut config = server_config(certificate, key)?;
    config.alpn_protocols = vec![b"dot".to_vec()];
    Ok(Some((address, Arc::new(config))))
}

fn lists(arguments: &Arguments) -> Result<Lists, String> {
    let mut lists = Lists::default();
    for file in &arguments.block {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let (added, refused) = lists.insert_text(&text, &Action::NxDomain);
        eprintln!("{}: {added} names, {refused} words that are none", file.display());
    }
    Ok(lists)
}

async fn serve(arguments: &Arguments, forwarder: Forwarder, mut tls: Option<Tls>) -> ExitCode {
    let counters = Arc::new(Counters::default());
    let (stop, stopped) = tokio::sync::watch::channel(());
    let mut running = tokio::task::JoinSet::new();
    for &address in &arguments.listen {
        let mut bound = Server::bind(address).await.and_then(|server| server.workers(arguments.workers));
        if let Some((address, config)) = tls.take()
            && let Ok(server) = bound
        {
            bound = server.tls(address, config).await;
        }
        let server = match bound {
            Ok(server) => server,
            Err(error) => {
                let cause =
                    std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
                eprintln!("forward: {error}{cause}");
                return ExitCode::from(EXIT_UNAVAILABLE);
            }
        };
        println!("listening on {}", server.local_addr());
        let mut stopped = stopped.clone();
        running.spawn(server.run(forwarder.clone(), Arc::clone(&counters), async move {
            let _ = stopped.changed().await;
        }));
    }
    if let Err(error) = until_stopped(arguments, &forwarder).await {
        eprintln!("forward: {error}");
        return ExitCode::FAILURE;
    }
    drop(stop);
    while running.join_next().await.is_some() {}
    eprintln!("{:#?}\n{:#?}", forwarder.stats(), forwarder.upstreams());
    ExitCode::SUCCESS
}

/// Waits for the word to stop, and loads the lists again at every word to do so.
#[cfg(unix)]
async fn until_stopped(arguments: &Arguments, forwarder: &Forwarder) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => return interrupted,
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => match lists(arguments) {
                Ok(lists) => forwarder.set_lists(lists),
                Err(error) => eprintln!("forward: {error}; the lists that are in use stay"),
            },
        }
    }
}

#[cfg(not(unix))]
async fn until_stopped(_: &Arguments, _: &Forwarder) -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
