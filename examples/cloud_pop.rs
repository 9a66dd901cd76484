//! The entry to a cloud provider's regions: each client reaches the nearest healthy one, the next when that dies.
//!
//! ```sh
//! cargo run --release --example cloud_pop -- --region FRA=50.1,8.7,127.0.0.1:8001 --region IAD=38.9,-77.5,127.0.0.1:8002
//! cargo run --release --example cloud_pop -- --selftest
//! ```

#![allow(
    unreachable_pub,
    dead_code,
    reason = "a program has no public face, and takes of the shared modules what it needs"
)]

mod cli;

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use pop_edge::config::Block;
use pop_edge::route::{ClientFacts, Location, Selector, Site, SiteMap};
use pop_edge::{Origin, Pop};

use crate::cli::selftest::{self, Claims, get, is_status};
use crate::cli::{Failure, LogFormat};

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
    region: Vec<String>,
    /// Where clients are: BLOCK=LATITUDE,LONGITUDE
    #[arg(long, value_name = "CLIENT")]
    client: Vec<String>,
    /// Play the story against embedded regions and exit 0 or 1
    #[arg(long)]
    selftest: bool,
    /// How logs look
    #[arg(long, value_enum, env = "POP_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

fn main() -> ExitCode {
    let options = Options::parse();
    cli::log(options.log_format, if options.selftest { "warn" } else { "info" });
    cli::run("cloud_pop", async move {
        if options.selftest {
            return play(options).await;
        }
        pop(&options)?.run_until(cli::told_to_stop()).await?;
        Ok(())
    })
}

fn pop(options: &Options) -> Result<Pop, Failure> {
    let wrong = |text: &str| Failure::usage(format!("{text}: expected NAME=LATITUDE,LONGITUDE[,BACKEND]"));
    let mut sites = Vec::new();
    let mut backends = Vec::new();
    for text in &options.region {
        let (name, place) = text.split_once('=').ok_or_else(|| wrong(text))?;
        let (place, backend) = place.rsplit_once(',').ok_or_else(|| wrong(text))?;
        sites.push(Site::new(name, location(place).ok_or_else(|| wrong(text))?));
        backends.push((name.to_owned(), backend.to_owned()));
    }
    let mut builder = Selector::builder(SiteMap::new(sites).map_err(Failure::config)?);
    for text in &options.client {
        let (block, place) = text.split_once('=').ok_or_else(|| wrong(text))?;
        let block: Block = block.parse().map_err(Failure::usage)?;
        let facts = ClientFacts::at(location(place).ok_or_else(|| wrong(text))?);
        builder = builder.client((block.0, block.1), facts).map_err(Failure::config)?;
    }
    let selector = Arc::new(builder.build());
    let regions = Origin::nearest(Arc::clone(&selector), backends);
    Ok(Pop::cloud("entry1").http(options.http).route(selector).host("*", regions).build()?)
}

fn location(text: &str) -> Option<Location> {
    let (latitude, longitude) = text.split_once(',')?;
    Location::new(latitude.trim().parse().ok()?, longitude.trim().parse().ok()?)
}

/// Two cities reach two regions; one region dies, its clients are served by the other, and nobody else notices.
async fn play(options: Options) -> Result<(), Failure> {
    let (frankfurt, power) = selftest::origin("frankfurt").await?;
    let (ashburn, _task) = selftest::origin("ashburn").await?;
    let http = SocketAddr::from(([127, 0, 0, 1], 0));
    let region = vec![format!("FRA=50.1,8.7,{frankfurt}"), format!("IAD=38.9,-77.5,{ashburn}")];
    let client = vec!["127.1.0.0/16=52.5,13.4".to_owned(), "127.2.0.0/16=40.7,-74.0".to_owned()];
    let pop = pop(&Options { http, region, client, ..options })?;
    let server = pop.bind().await?.http[0];
    let _serving = tokio::spawn(async move { pop.run().await });
    let (berlin, new_york) = (IpAddr::from([127, 1, 0, 1]), IpAddr::from([127, 2, 0, 1]));
    let mut claims = Claims::default();
    let served = |answer: &std::io::Result<String>, by: &str| {
        is_status(answer, 200) && answer.as_ref().is_ok_and(|answer| answer.ends_with(&format!("{by} /")))
    };
    let answer = get(berlin, server, "app.example.org", "/").await;
    claims.check("Berlin enters Frankfurt", served(&answer, "frankfurt"), &answer);
    let answer = get(new_york, server, "app.example.org", "/").await;
    claims.check("New York enters Ashburn", served(&answer, "ashburn"), &answer);
    power.abort();
    for _ in 0..5 {
        let answer = get(berlin, server, "app.example.org", "/").await;
        claims.check("Frankfurt is dead: Berlin enters Ashburn", served(&answer, "ashburn"), &answer);
    }
    let answer = get(new_york, server, "app.example.org", "/").await;
    claims.check("New York noticed nothing", served(&answer, "ashburn"), &answer);
    claims.verdict()
}
