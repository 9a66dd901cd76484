//! An authoritative name server: zones from master files; UDP, TCP, TLS and HTTP; transfers to secondaries.
//!
//! ```text
//! cargo run --release -p pop-dns --all-features --example authority -- --listen 127.0.0.1:5300 --zone example.org.zone
//! dig @127.0.0.1 -p 5300 www.example.org
//! ```

#[path = "../flags/block.rs"]
mod block;
#[path = "../flags/certificate.rs"]
mod certificate;
mod https;
#[path = "../flags/key.rs"]
mod key;
mod settings;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use pop_dns::Authority;
use pop_dns::server::{Counters, Server, Swap};
use pop_dns::zone::Zone;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::settings::{Arguments, Tls};

/// Cannot bind.
const EXIT_UNAVAILABLE: u8 = 69;
/// A zone file or a certificate is wrong.
const EXIT_CONFIG: u8 = 78;
/// How long answers that are under way may take once we are told to stop.
const DRAIN: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let built = settings::zones(&arguments).and_then(|zones| Ok((zones, settings::tls(&arguments)?)));
    let (zones, tls) = match built {
        Ok(built) => built,
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
    runtime.block_on(serve(&arguments, settings::authority(&arguments, zones), tls))
}

async fn serve(arguments: &Arguments, authority: Authority, tls: Option<Tls>) -> ExitCode {
    let swap = Swap::new(authority);
    let counters = Arc::new(Counters::default());
    let (stop, stopped) = watch::channel(());
    let mut running = JoinSet::new();
    if let Err(error) = start(arguments, &swap, &counters, tls, &stopped, &mut running).await {
        let cause = error.source().map_or(String::new(), |cause| format!(": {cause}"));
        eprintln!("authority: {error}{cause}");
        return ExitCode::from(EXIT_UNAVAILABLE);
    }
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("authority: {error}");
            return ExitCode::FAILURE;
        }
    };
    tell_secondaries(arguments, &swap);
    while signals.reload_or_stop().await {
        match settings::zones(arguments) {
            Ok(zones) => reload(arguments, &swap, zones),
            Err(error) => eprintln!("authority: {error}; the zones that are running stay"),
        }
    }
    drop((stop, stopped));
    let drained = tokio::time::timeout(DRAIN, async { while running.join_next().await.is_some() {} }).await;
    eprintln!("{:#?}{}", counters.read(), if drained.is_err() { "\nsome connections were cut" } else { "" });
    ExitCode::SUCCESS
}

/// Binds everything, and lets it run until `stopped`.
async fn start(
    arguments: &Arguments,
    swap: &Swap,
    counters: &Arc<Counters>,
    tls: Option<Tls>,
    stopped: &watch::Receiver<()>,
    running: &mut JoinSet<()>,
) -> Result<(), Box<dyn std::error::Error>> {
    let until = |stopped: &watch::Receiver<()>| {
        let mut stopped = stopped.clone();
        async move { drop(stopped.changed().await) }
    };
    let mut dot = tls.as_ref().and_then(|tls| Some((arguments.tls?, Arc::clone(&tls.dot))));
    for &address in &arguments.listen {
        let mut server = Server::bind(address).await?.workers(arguments.workers)?;
        if let Some((address, config)) = dot.take() {
            server = server.tls(address, config).await?;
        }
        println!("listening on {}", server.local_addr());
        running.spawn(server.run(swap.clone(), Arc::clone(counters), until(stopped)));
    }
    if let Some((address, tls)) = arguments.https.zip(tls) {
        let https = https::Https::bind(address, tls.https, swap.clone(), Arc::clone(counters)).await;
        let https = https.map_err(|error| format!("cannot bind {address} for HTTPS: {error}"))?;
        println!("listening on {} for HTTPS", https.local_addr()?);
        running.spawn(https.run(until(stopped)));
    }
    Ok(())
}

/// Puts zones in their places; those that are no newer than what runs keep secondaries where they are.
fn reload(arguments: &Arguments, swap: &Swap, zones: Vec<Arc<Zone>>) {
    swap.change(|authority| zones.iter().for_each(|zone| authority.replace(Arc::clone(zone))));
    tell_secondaries(arguments, swap);
}

/// Lets the secondaries know what there is; nobody waits for them.
fn tell_secondaries(arguments: &Arguments, swap: &Swap) {
    let authority = swap.load();
    for zone in authority.origins().filter_map(|origin| authority.zone(origin)) {
        for &secondary in &arguments.notify {
            let (zone, key) = (Arc::clone(zone), arguments.key.clone());
            tokio::spawn(async move {
                if let Err(error) = pop_dns::transfer::notify(secondary, &zone, key.as_ref()).await {
                    eprintln!("authority: {secondary} was not told of {}: {error}", zone.origin());
                }
            });
        }
    }
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
