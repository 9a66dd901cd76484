//! A secondary name server: zones from their primaries, served, and given to others on request.
//!
//! ```text
//! cargo run --release -p pop-dns --features tokio,dnssec --example secondary -- --listen 127.0.0.1:5302 --zone example.org --primary 127.0.0.1:5300
//! dig @127.0.0.1 -p 5302 example.org SOA
//! ```

#[path = "flags/block.rs"]
mod block;
#[path = "flags/key.rs"]
mod key;

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use pop_dns::server::{Counters, Server, Swap};
use pop_dns::transfer::{Event, Notifier, Secondary};
use pop_dns::tsig::Key;
use pop_dns::{Authority, NameBuf, Notification, TransferQuery};

use crate::block::block;
use crate::key::key;

/// Cannot bind.
const EXIT_UNAVAILABLE: u8 = 69;

/// Follows zones at their primaries and serves them. Notifications of the primaries are heard on the address served.
#[derive(Parser)]
#[command(after_help = "Examples:
  secondary --listen 127.0.0.1:5302 --zone example.org --primary 192.0.2.53:53
  secondary --zone example.org --primary 192.0.2.53:53 --key hmac-sha256:transfer:73656372657421 --allow 127.0.0.0/8")]
struct Arguments {
    /// The address to serve on.
    #[arg(long, env = "POP_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:5302")]
    listen: SocketAddr,
    /// A zone; may be given several times.
    #[arg(long, env = "POP_ZONE", value_name = "NAME", required = true, value_delimiter = ',')]
    zone: Vec<NameBuf>,
    /// A primary, of all the zones; may be given several times.
    #[arg(long, env = "POP_PRIMARY", value_name = "ADDR", required = true, value_delimiter = ',')]
    primary: Vec<SocketAddr>,
    /// The key that transfers are signed with, both ways: algorithm, name, and the secret in hexadecimal.
    #[arg(long, env = "POP_KEY", value_name = "ALGORITHM:NAME:SECRET", value_parser = key)]
    key: Option<Key>,
    /// Who may have the zones from us; may be given several times.
    #[arg(long, env = "POP_ALLOW", value_name = "ADDR/BITS", value_delimiter = ',', value_parser = block)]
    allow: Vec<(IpAddr, u8)>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let server = match Server::bind(arguments.listen).await {
        Ok(server) => server,
        Err(error) => {
            let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
            eprintln!("secondary: {error}{cause}");
            return ExitCode::from(EXIT_UNAVAILABLE);
        }
    };
    println!("listening on {}", server.local_addr());
    let secondaries: Vec<Secondary> = arguments.zone.iter().map(|zone| secondary(zone, &arguments)).collect();
    let notifiers: Vec<Notifier> = secondaries.iter().map(Secondary::notifier).collect();
    let (blocks, name) = (arguments.allow, arguments.key.as_ref().map(|key| key.name().clone()));
    // Transfers go to whoever signs with the key, if there is one, and lives in one of the blocks, if any were given.
    let may_have = move |asked: &TransferQuery<'_>| {
        (name.is_some() || !blocks.is_empty())
            && (name.is_none() || asked.key == name.as_ref())
            && (blocks.is_empty() || asked.is_from(&blocks))
    };
    let welcome = move |told: &Notification<'_>| {
        notifiers.iter().any(|notifier| notifier.origin() == told.zone && notifier.notify(told.client))
    };
    let authority = Authority::default().keys(arguments.key).transfers(may_have).notifications(welcome);
    let swap = Swap::new(authority);
    for (secondary, origin) in secondaries.into_iter().zip(arguments.zone) {
        let swap = swap.clone();
        tokio::spawn(secondary.run(move |event| publish(&swap, &origin, &event), std::future::pending()));
    }
    server
        .run(swap, Arc::new(Counters::default()), async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await;
    ExitCode::SUCCESS
}

fn secondary(zone: &NameBuf, arguments: &Arguments) -> Secondary {
    let secondary = Secondary::new(zone.clone(), arguments.primary.iter().copied());
    match &arguments.key {
        Some(key) => secondary.key(key.clone()),
        None => secondary,
    }
}

/// Puts a zone that came in the place of the one before, or takes away one that expired.
fn publish(swap: &Swap, origin: &NameBuf, event: &Event) {
    match event {
        Event::Zone(zone) => {
            eprintln!("zone {origin}: serial {}, {} records", zone.serial(), zone.records());
            swap.change(|authority| authority.replace(Arc::clone(zone)));
        }
        Event::Expired => {
            eprintln!("zone {origin}: expired");
            swap.change(|authority| drop(authority.remove(origin)));
        }
    }
}
