//! An authoritative name server: zones from master files, UDP and TCP.
//!
//! ```text
//! cargo run --release -p pop-dns --features tokio --example authority -- --listen 127.0.0.1:5300 --zone example.org.zone
//! dig @127.0.0.1 -p 5300 www.example.org
//! ```

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use pop_dns::server::{Counters, Server, Swap};
use pop_dns::zone::Zone;
use pop_dns::{Authority, NameBuf};

/// Cannot bind.
const EXIT_UNAVAILABLE: u8 = 69;
/// A zone file is wrong.
const EXIT_CONFIG: u8 = 78;

/// Serves zones from master files over UDP and TCP. SIGHUP loads them again, SIGINT and SIGTERM stop.
#[derive(Parser)]
#[command(after_help = "Examples:
  authority --listen 127.0.0.1:5300 --zone example.org.zone
  authority --listen 127.0.0.1:5300 --listen '[::1]:5300' --zone db.example --origin example.org --workers 2")]
struct Arguments {
    /// The address to serve on; may be given several times.
    #[arg(
        long,
        env = "POP_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:5300",
        value_delimiter = ','
    )]
    listen: Vec<SocketAddr>,
    /// A master file; may be given several times. The zone's name is its file name less `.zone`.
    #[arg(long, env = "POP_ZONE", value_name = "FILE", required = true, value_delimiter = ',')]
    zone: Vec<PathBuf>,
    /// The name of the zone of the first file, of the second, and so on.
    #[arg(long, env = "POP_ORIGIN", value_name = "NAME", value_delimiter = ',')]
    origin: Vec<NameBuf>,
    /// Threads that serve UDP on each address.
    #[arg(long, env = "POP_WORKERS", value_name = "N", default_value = "1")]
    workers: NonZeroUsize,
    /// What `id.server` in class CH and NSID answer.
    #[arg(long, env = "POP_SERVER_ID", value_name = "TEXT")]
    server_id: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let authority = match load(&arguments) {
        Ok(authority) => authority,
        Err(error) => {
            eprintln!("authority: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("authority: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(serve(&arguments, authority))
}

fn load(arguments: &Arguments) -> Result<Authority, Box<dyn std::error::Error>> {
    let mut zones = Vec::new();
    for (index, file) in arguments.zone.iter().enumerate() {
        let origin = match arguments.origin.get(index) {
            Some(origin) => origin.clone(),
            None => origin_of(file)?,
        };
        let start = std::time::Instant::now();
        let zone = Zone::load(file, origin)?;
        eprintln!("zone {}: {} records in {:.2?}", zone.origin(), zone.records(), start.elapsed());
        zones.push(zone);
    }
    let authority = Authority::new(zones);
    Ok(match &arguments.server_id {
        Some(id) => authority.server_id(id),
        None => authority,
    })
}

/// `example.org.zone` holds `example.org`.
fn origin_of(file: &Path) -> Result<NameBuf, Box<dyn std::error::Error>> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.strip_suffix(".zone").unwrap_or(name);
    name.parse()
        .map_err(|error| format!("{}: no name of a zone ({error}); use --origin", file.display()).into())
}

async fn serve(arguments: &Arguments, authority: Authority) -> ExitCode {
    let swap = Swap::new(authority);
    let counters = Arc::new(Counters::default());
    let (stop, stopped) = tokio::sync::watch::channel(());
    let mut running = tokio::task::JoinSet::new();
    for &address in &arguments.listen {
        let server = Server::bind(address).await.and_then(|server| server.workers(arguments.workers));
        let server = match server {
            Ok(server) => server,
            Err(error) => {
                let cause =
                    std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
                eprintln!("authority: {error}{cause}");
                return ExitCode::from(EXIT_UNAVAILABLE);
            }
        };
        println!("listening on {}", server.local_addr());
        let mut stopped = stopped.clone();
        running.spawn(server.run(swap.clone(), Arc::clone(&counters), async move {
            let _ = stopped.changed().await;
        }));
    }
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("authority: {error}");
            return ExitCode::FAILURE;
        }
    };
    while signals.reload_or_stop().await {
        match load(arguments) {
            Ok(authority) => swap.store(authority),
            Err(error) => eprintln!("authority: {error}; the zones that are running stay"),
        }
    }
    drop(stop);
    while running.join_next().await.is_some() {}
    let counts = counters.read();
    eprintln!(
        "answered {} by UDP and {} by TCP, silent {}",
        counts.udp - counts.silent,
        counts.tcp,
        counts.silent
    );
    ExitCode::SUCCESS
}

/// What the operator tells us.
struct Signals {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        #[cfg(unix)]
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            #[cfg(unix)]
            hangup: signal(SignalKind::hangup())?,
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Whether to load again; if not, to stop.
    async fn reload_or_stop(&mut self) -> bool {
        #[cfg(unix)]
        tokio::select! {
            Some(()) = self.hangup.recv() => true,
            _ = self.terminate.recv() => false,
            _ = tokio::signal::ctrl_c() => false,
        }
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await.is_err()
    }
}
