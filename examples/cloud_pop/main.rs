//! The entry to a cloud provider's regions: each client reaches the nearest healthy one, the next when that dies.
//!
//! ```sh
//! cargo run --release --example cloud_pop -- --region FRA=50.1,8.7,127.0.0.1:8001 --region IAD=38.9,-77.5,127.0.0.1:8002
//! cargo run --release --example cloud_pop -- --selftest
//! ```

#[path = "../cli/mod.rs"]
mod cli;
mod story;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use pop_edge::route::{ClientFacts, Selector, Site, SiteMap};
use pop_edge::{Origin, Pop};

use crate::cli::{Clients, Failure, Place};

/// The entry to regions: nearest healthy first, the next when it fails.
#[derive(Clone, Debug, Parser)]
#[command(
    about,
    after_help = "Example:\n  cloud_pop --region FRA=50.1,8.7,192.0.2.1:80 --region IAD=38.9,-77.5,192.0.2.2:80 --client 198.51.100.0/24=40.7,-74.0"
)]
struct Options {
    /// Listen for HTTP here
    #[arg(long, value_name = "ADDR", env = "POP_HTTP", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Regions: NAME=LATITUDE,LONGITUDE,BACKEND
    #[arg(long, value_name = "REGION", required_unless_present = "selftest")]
    region: Vec<Place<String>>,
    /// Where clients are: BLOCK=LATITUDE,LONGITUDE
    #[arg(long, value_name = "CLIENT")]
    client: Vec<Clients>,
    #[command(flatten)]
    common: cli::Common,
}

fn main() -> ExitCode {
    let options = Options::parse();
    cli::run("cloud_pop", options.common, || pop(&options), story::play(&options))
}

fn pop(options: &Options) -> Result<Pop, Failure> {
    let sites = options.region.iter().map(|region| Site::new(&region.name, region.location));
    let mut builder = Selector::builder(SiteMap::new(sites).map_err(Failure::config)?);
    for Clients { block, location } in &options.client {
        let facts = ClientFacts::at(*location);
        builder = builder.client((block.0, block.1), facts).map_err(Failure::config)?;
    }
    let selector = Arc::new(builder.build());
    let backends = options.region.iter().map(|region| (region.name.clone(), region.target.clone()));
    let regions = Origin::nearest(Arc::clone(&selector), backends);
    Ok(Pop::cloud("entry1").http(options.http).route(selector).host("*", regions).build()?)
}
