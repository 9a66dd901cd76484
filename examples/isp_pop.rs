//! A PoP in an access network: a caching resolver for its subscribers, and the nearest healthy gateway for each.
//!
//! ```sh
//! cargo run --release --example isp_pop -- --dns 127.0.0.1:5353 --upstream 192.0.2.53 --allow 127.0.0.0/8
//! cargo run --release --example isp_pop -- --selftest
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
use std::time::Duration;

use clap::Parser;
use pop_edge::Pop;
use pop_edge::config::Block;
use pop_edge::dns::forward::Forwarder;
use pop_edge::dns::zone::Zone;
use pop_edge::route::{ClientFacts, HealthPolicy, Location, Selector, Site, SiteMap, Timestamp};

use crate::cli::selftest::{self, Claims};
use crate::cli::{Failure, LogFormat};

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
    gateway: Vec<String>,
    /// Play the story against an embedded upstream and exit 0 or 1
    #[arg(long)]
    selftest: bool,
    /// How logs look
    #[arg(long, value_enum, env = "POP_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

fn main() -> ExitCode {
    let options = Options::parse();
    cli::log(options.log_format, if options.selftest { "warn" } else { "info" });
    cli::run("isp_pop", async move {
        if options.selftest {
            return play(options).await;
        }
        pop(&options)?.0.run_until(cli::told_to_stop()).await?;
        Ok(())
    })
}

/// The PoP, and the selector that knows its gateways.
fn pop(options: &Options) -> Result<(Pop, Option<Arc<Selector>>, Forwarder), Failure> {
    let forwarder =
        options.upstream.iter().fold(Forwarder::builder(), |builder, &upstream| builder.upstream(upstream));
    let forwarder = options.allow.iter().fold(forwarder, |builder, block| builder.allow((block.0, block.1)));
    let forwarder = forwarder.build().map_err(|error| Failure::config(cli::chain(&error)))?;
    let pop = Pop::isp("isp1").resolver(options.dns, forwarder.clone());
    if options.gateway.is_empty() {
        return Ok((pop.build()?, None, forwarder));
    }
    let selector = Arc::new(selector(options)?);
    let zone = b"@ 300 SOA ns hostmaster 1 2h 15m 2w 5m\n@ 300 NS ns\nns 300 A 127.0.0.1\n";
    let origin = "isp.home.arpa".parse().map_err(Failure::config)?;
    let pop = pop.zone(Zone::parse(zone, origin)?).route(Arc::clone(&selector)).geo("gateway.isp.home.arpa");
    Ok((pop.build()?, Some(selector), forwarder))
}

fn selector(options: &Options) -> Result<Selector, Failure> {
    let sites = options.gateway.iter().map(|text| gateway(text)).collect::<Result<Vec<_>, _>>()?;
    let centre = sites[0].location();
    let health =
        HealthPolicy { fall: 2, rise: 2, hold_down: Duration::from_secs(1), ..HealthPolicy::default() };
    let mut builder = Selector::builder(SiteMap::new(sites).map_err(Failure::config)?).health(health);
    for block in &options.allow {
        builder = builder.client((block.0, block.1), ClientFacts::at(centre)).map_err(Failure::config)?;
    }
    Ok(builder.build())
}

fn gateway(text: &str) -> Result<Site, Failure> {
    let wrong = || Failure::usage(format!("--gateway {text}: expected NAME=LATITUDE,LONGITUDE,ADDRESS"));
    let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
    let [latitude, longitude, address] = rest.split(',').collect::<Vec<_>>()[..] else { return Err(wrong()) };
    let degrees = |text: &str| text.parse::<f64>().map_err(|_| wrong());
    let location = Location::new(degrees(latitude)?, degrees(longitude)?).ok_or_else(wrong)?;
    Ok(Site::new(name, location).address(address.parse().map_err(|_| wrong())?))
}

/// Subscribers resolve through the cache and reach the nearest gateway that is well; strangers are refused.
async fn play(options: Options) -> Result<(), Failure> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let upstream = selftest::name_server("example.net", "www 60 A 192.0.2.80\n").await?;
    let gateway = vec!["FRA=50.1,8.7,192.0.2.1".to_owned(), "VIE=48.2,16.4,192.0.2.2".to_owned()];
    let allow = vec!["127.0.0.0/16".parse().map_err(Failure::config)?];
    let options = Options { dns: any, upstream: vec![upstream], allow, gateway, ..options };
    let (pop, selector, forwarder) = pop(&options)?;
    let server = pop.bind().await?.dns[0];
    let _serving = tokio::spawn(async move { pop.run().await });
    let (subscriber, stranger) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 9, 0, 1]));
    let mut claims = Claims::default();
    for what in ["a subscriber's name is resolved upstream", "and again, from the cache"] {
        let answer = selftest::resolve(subscriber, server, "www.example.net").await;
        claims.check(what, answer.as_deref().ok() == Some("192.0.2.80"), &answer);
    }
    claims.check("the upstream was asked once", forwarder.stats().upstream_queries == 1, forwarder.stats());
    let answer = selftest::resolve(stranger, server, "www.example.net").await;
    claims.check("a stranger is refused", answer.is_err(), &answer);
    let answer = selftest::resolve(subscriber, server, "gateway.isp.home.arpa").await;
    claims.check("the nearest gateway", answer.as_deref().ok() == Some("192.0.2.1"), &answer);
    let selector = selector.ok_or_else(|| Failure::new("no gateways"))?;
    let nearest = selector.sites().find("FRA").ok_or_else(|| Failure::new("no such site"))?;
    for _ in 0..2 {
        selector.probed(nearest, false, Timestamp::ZERO);
    }
    let answer = selftest::resolve(subscriber, server, "gateway.isp.home.arpa").await;
    claims.check("when it dies, the next nearest", answer.as_deref().ok() == Some("192.0.2.2"), &answer);
    claims.verdict()
}
