//! A secondary name server: zones from their primaries, served, and given to others on request.
//!
//! ```text
//! cargo run --release -p pop-dns --features tokio,dnssec --example secondary -- --listen 127.0.0.1:5302 --zone example.org --primary 127.0.0.1:5300
//! dig @127.0.0.1 -p 5302 example.org SOA
//! ```

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use clap::Parser;
use pop_dns::server::{Counters, Server, Swap};
use pop_dns::transfer::{Event, Secondary, Transfers};
use pop_dns::tsig::{Algorithm, Key, Keyring};
use pop_dns::{Authority, NameBuf};

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

fn key(text: &str) -> Result<Key, String> {
    let expected = || "expected ALGORITHM:NAME:SECRET, as hmac-sha256:transfer:00ff".to_owned();
    let mut parts = text.splitn(3, ':');
    let mut part = || parts.next().ok_or_else(expected);
    let algorithm = Algorithm::from_text(part()?).ok_or_else(expected)?;
    let name: NameBuf = part()?.parse().map_err(|_| expected())?;
    let digits = part()?.as_bytes();
    let digit = |octet: u8| char::from(octet).to_digit(16);
    let octet = |pair: &[u8]| match *pair {
        [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    };
    let secret = digits.chunks(2).map(octet).collect::<Option<Vec<u8>>>().ok_or_else(expected)?;
    Ok(Key::new(&name, algorithm, &secret))
}

fn block(text: &str) -> Result<(IpAddr, u8), String> {
    let expected = || "expected a block as 198.51.100.0/24".to_owned();
    let (address, bits) = text.split_once('/').ok_or_else(expected)?;
    Ok((address.parse().map_err(|_| expected())?, bits.parse().map_err(|_| expected())?))
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
    let swap = Swap::new(Authority::default());
    let mut handler = Transfers::new(swap.clone());
    if let Some(key) = &arguments.key {
        handler = handler.keys(Keyring::from_iter([key.clone()]));
    }
    handler = arguments.allow.iter().fold(handler, |handler, &block| handler.allow(block));
    // One zone changes at a time.
    let changing = Arc::new(Mutex::new(()));
    for origin in &arguments.zone {
        let mut secondary = Secondary::new(origin.clone(), arguments.primary.iter().copied());
        if let Some(key) = &arguments.key {
            secondary = secondary.key(key.clone());
        }
        handler = handler.notify(secondary.notifier());
        let (swap, origin, changing) = (swap.clone(), origin.clone(), Arc::clone(&changing));
        let publish = move |event| {
            let _one = changing.lock().expect("no holder of this lock panics");
            change(&swap, &origin, event);
        };
        tokio::spawn(secondary.run(publish, std::future::pending()));
    }
    server
        .run(handler, Arc::new(Counters::default()), async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await;
    ExitCode::SUCCESS
}

/// Puts a zone that came in the place of the one before, or takes away one that expired.
fn change(swap: &Swap, origin: &NameBuf, event: Event) {
    let current = swap.load();
    let others = current.origins().filter(|name| *name != origin).filter_map(|name| current.zone(name));
    let mut zones: Vec<_> = others.cloned().collect();
    match event {
        Event::Zone(zone) => {
            eprintln!("zone {origin}: serial {}, {} records", zone.serial(), zone.records());
            zones.push(zone);
        }
        Event::Expired => eprintln!("zone {origin}: expired"),
    }
    swap.store(Authority::new(zones));
}
