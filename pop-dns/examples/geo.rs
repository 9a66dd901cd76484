//! GeoDNS in a page: one name, an address by the client's subnet, and the scope for which that address is right.
//!
//! ```text
//! cargo run --release -p pop-dns --features tokio --example geo -- --listen 127.0.0.1:5300
//! dig @127.0.0.1 -p 5300 www.geo.example +subnet=198.51.100.0/24
//! ```

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use pop_dns::server::{Counters, Server};
use pop_dns::zone::Zone;
use pop_dns::{Authority, DynamicAnswer};

/// Cannot bind.
const EXIT_UNAVAILABLE: u8 = 69;
const ZONE: &[u8] = b"@ 300 SOA ns hostmaster 1 2h 15m 2w 5m\n@ 300 NS ns\nns 300 A 192.0.2.53\n";

/// Answers `www.geo.example` with the PoP of the client's block.
#[derive(Parser)]
struct Arguments {
    /// The address to serve on.
    #[arg(long, env = "POP_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:5300")]
    listen: SocketAddr,
}

/// Blocks of clients, the first octet from and to, and the answer for them. Made once: a query costs a clone.
struct Map(Vec<(u8, u8, DynamicAnswer)>);

impl Map {
    fn new() -> Self {
        let pop = |host| DynamicAnswer::addresses([IpAddr::from([192, 0, 2, host])], 30, 8);
        Self(vec![(0, 99, pop(1)), (100, 199, pop(2)), (200, 255, pop(3))])
    }

    fn choose(&self, client: IpAddr) -> DynamicAnswer {
        let first = match client {
            IpAddr::V4(address) => address.octets()[0],
            // Nothing is known of them here, so the answer holds for all.
            IpAddr::V6(_) => return self.0[0].2.clone().with_scope(0),
        };
        let found = self.0.iter().find(|(from, to, _)| (*from..=*to).contains(&first));
        found.map_or_else(|| self.0[0].2.clone(), |(_, _, answer)| answer.clone())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let zone = Zone::parse(ZONE, "geo.example".parse().expect("a name")).expect("the zone above");
    let map = Map::new();
    let www = "www.geo.example".parse().expect("a name");
    let authority = Authority::new([zone]).dynamic(&www, move |asked| map.choose(asked.client.block.0));
    let server = match Server::bind(arguments.listen).await {
        Ok(server) => server,
        Err(error) => {
            eprintln!("geo: {error}");
            return ExitCode::from(EXIT_UNAVAILABLE);
        }
    };
    println!("listening on {}", server.local_addr());
    server
        .run(authority, Arc::new(Counters::default()), async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await;
    ExitCode::SUCCESS
}
