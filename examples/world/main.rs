//! The whole story of a PoP, on real sockets: six PoPs, one origin, clients in twenty cities.
//!
//! ```sh
//! cargo run --release --example world
//! ```
//!
//! DNS is real UDP, HTTP is real TCP, all of it on loopback; only the distances are simulated, by waiting. Every
//! event asserts a claim; the first failed claim makes the program exit with 1.

#![allow(unreachable_pub, reason = "a program has no public face")]

mod acts;
mod client;
mod flood;
mod geography;
mod network;
mod origin;
mod random;
mod resolver;
mod table;
mod timeline;
mod visits;

use std::process::ExitCode;

use clap::Parser;

use crate::acts::World;
use crate::network::{HOST, Network, Places};
use crate::origin::Origin;
use crate::random::Random;
use crate::timeline::{Style, Timeline};

/// Six PoPs, an origin and clients in twenty cities, on loopback: DNS, cache, purge, failover, stale serving, a flood.
#[derive(Debug, Parser)]
#[command(
    about,
    after_help = "Examples:\n  world                 the whole story, under a minute\n  world --fast          under fifteen seconds; latency is shown, not judged\n  world --json | jq .   one event a line\n  world --hold          stays up for dig and curl, and prints what to type"
)]
struct Options {
    /// Fewer rounds, shorter waits; latency claims are reported without judging.
    #[arg(long)]
    fast: bool,
    /// The seed of everything random.
    #[arg(long, default_value_t = 1, env = "POP_SEED")]
    seed: u64,
    /// One JSON object a line instead of text.
    #[arg(long)]
    json: bool,
    /// Keep the PoPs up after the story, until Ctrl-C.
    #[arg(long)]
    hold: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("world: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("world: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let timeline = Timeline::new(if options.json { Style::Json } else { Style::Text });
    let places = Places::find()?;
    let origin = Origin::start(origin::address(places.own_addresses)).await?;
    let origins: Vec<_> = (0..geography::POPS.len()).map(|index| origin.for_pop(index)).collect();
    let network = Network::start(places, &origins).await?;
    let mut world =
        World { network, origin, timeline, random: Random::new(options.seed), fast: options.fast };
    world.introduction();
    world.nearest_pop().await?;
    world.miss_then_hit().await?;
    world.fifty_become_one().await?;
    world.purge_by_tag().await?;
    world.a_pop_dies().await?;
    world.the_origin_is_away().await?;
    world.a_flood().await?;
    world.with_and_without().await?;
    let World { network, timeline, .. } = world;
    let holds = timeline.verdict();
    if options.hold {
        hold(&network).await?;
    }
    network.stop().await;
    Ok(holds)
}

/// Keeps the PoPs up, and says what to type in another terminal.
async fn hold(network: &Network) -> std::io::Result<()> {
    let (dns, http) = (network.places().dns()[0], network.places().http(0));
    eprintln!("\nThe PoPs stay up until Ctrl-C. In another terminal:");
    eprintln!("  dig @{} -p {} {HOST} +subnet=198.18.0.0/24", dns.ip(), dns.port());
    eprintln!("  dig @{} -p {} {HOST} +subnet=198.18.19.0/24", dns.ip(), dns.port());
    eprintln!("  curl -i --resolve {HOST}:{}:{} http://{HOST}:{}/", http.port(), http.ip(), http.port());
    tokio::signal::ctrl_c().await
}
