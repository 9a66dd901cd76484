//! A PoP in an access network: a caching resolver for its subscribers, and the nearest healthy gateway for each.
//!
//! ```sh
//! cargo run --release --example isp_pop -- --dns 127.0.0.1:5353 --upstream 192.0.2.53:53 --allow 127.0.0.0/8
//! cargo run --release --example isp_pop -- --selftest
//! ```

#[path = "../cli/mod.rs"]
mod cli;
mod story;

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use pop_edge::Pop;
use pop_edge::config::Block;
use pop_edge::dns::forward::Forwarder;
use pop_edge::dns::zone::Zone;
use pop_edge::route::{ClientFacts, Selector, Site, SiteMap};

use crate::cli::{Failure, Place};

/// A caching resolver for subscribers, and a name whose address is the nearest healthy gateway.
#[derive(Clone, Debug, Parser)]
#[command(
    about,
    after_help = "Example:\n  isp_pop --upstream 192.0.2.53:53 --allow 198.51.100.0/24 --gateway FRA=50.1,8.7,192.0.2.1"
)]
struct Options {
    /// Answer DNS here, over UDP and TCP
    #[arg(long, value_name = "ADDR", env = "POP_DNS", default_value = "127.0.0.1:5353")]
    dns: SocketAddr,
    /// Resolvers to ask
    #[arg(
        long,
        value_name = "ADDR",
        env = "POP_UPSTREAM",
        value_delimiter = ',',
        required_unless_present = "selftest"
    )]
    upstream: Vec<SocketAddr>,
    /// The subscribers; others are refused
    #[arg(
        long,
        value_name = "BLOCK",
        env = "POP_ALLOW",
        value_delimiter = ',',
        required_unless_present = "selftest"
    )]
    allow: Vec<Block>,
    /// Gateways: NAME=LATITUDE,LONGITUDE,ADDRESS
    #[arg(long, value_name = "GATEWAY", env = "POP_GATEWAY", value_delimiter = ';')]
    gateway: Vec<Place<IpAddr>>,
    #[command(flatten)]
    common: cli::Common,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let serve = || pop(&options, forwarder(&options)?, gateways(&options)?);
    cli::run("isp_pop", options.common, serve, story::play(&options))
}

fn pop(options: &Options, forwarder: Forwarder, gateways: Option<Arc<Selector>>) -> Result<Pop, Failure> {
    let pop = Pop::isp("isp1").resolver(options.dns, forwarder);
    let Some(gateways) = gateways else { return Ok(pop.build()?) };
    let zone = b"@ 300 SOA ns hostmaster 1 2h 15m 2w 5m\n@ 300 NS ns\nns 300 A 127.0.0.1\n";
    let origin = "isp.home.arpa".parse().map_err(Failure::config)?;
    Ok(pop.zone(Zone::parse(zone, origin)?).route(gateways).geo("gateway.isp.home.arpa").build()?)
}

fn forwarder(options: &Options) -> Result<Forwarder, Failure> {
    let builder =
        options.upstream.iter().fold(Forwarder::builder(), |builder, &address| builder.upstream(address));
    let builder = options.allow.iter().fold(builder, |builder, block| builder.allow((block.0, block.1)));
    builder.build().map_err(|error| Failure::config(cli::chain(&error)))
}

/// Chooses among the gateways. Subscribers are where the first gateway is.
fn gateways(options: &Options) -> Result<Option<Arc<Selector>>, Failure> {
    let Some(first) = options.gateway.first() else { return Ok(None) };
    let sites =
        options.gateway.iter().map(|place| Site::new(&place.name, place.location).address(place.target));
    let mut builder = Selector::builder(SiteMap::new(sites).map_err(Failure::config)?);
    for block in &options.allow {
        let facts = ClientFacts::at(first.location);
        builder = builder.client((block.0, block.1), facts).map_err(Failure::config)?;
    }
    Ok(Some(Arc::new(builder.build())))
}
