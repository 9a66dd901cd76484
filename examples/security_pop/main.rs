//! A PoP in front of what is attacked: lists, limits by prefix, a penalty box, request rules, TLS.
//!
//! ```sh
//! cargo run --release --example security_pop -- --http 127.0.0.1:8080 --origin http://127.0.0.1:8000
//! cargo run --release --example security_pop -- --selftest
//! ```

#[path = "../cli/mod.rs"]
mod cli;
mod story;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use pop_edge::config::Block;
use pop_edge::guard::Guard;
use pop_edge::ratelimit::{Access, AccessList, PenaltyTerms, Quota};
use pop_edge::rules::Rules;
use pop_edge::{Certificates, Origin, Pop};

use crate::cli::Failure;

/// Filters and limits in front of an origin: lists, limits by prefix, a penalty box, request rules, TLS.
#[derive(Clone, Debug, Parser)]
#[command(
    about,
    after_help = "Example:\n  security_pop --origin http://127.0.0.1:8000 --deny 198.51.100.0/24 --rate 50"
)]
struct Options {
    /// Listen for HTTP here
    #[arg(long, value_name = "ADDR", env = "POP_HTTP", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Listen for HTTPS here, with a certificate made at the start
    #[arg(long, value_name = "ADDR", env = "POP_HTTPS", default_value = "127.0.0.1:8443")]
    https: SocketAddr,
    /// What is protected
    #[arg(long, value_name = "URL", env = "POP_ORIGIN", required_unless_present = "selftest")]
    origin: Option<String>,
    /// Blocks that are never served
    #[arg(long, value_name = "BLOCK", env = "POP_DENY", value_delimiter = ',')]
    deny: Vec<Block>,
    /// Blocks that are never limited
    #[arg(long, value_name = "BLOCK", env = "POP_ALLOW", value_delimiter = ',')]
    allow: Vec<Block>,
    /// Requests a second for each client; bursts of twice that
    #[arg(long, value_name = "RATE", env = "POP_LIMIT", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..1_000_000_000))]
    rate: u64,
    #[command(flatten)]
    common: cli::Common,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let serve = || pop(&options, Certificates::self_signed(["localhost"])?);
    cli::run("security_pop", options.common, serve, story::play(&options))
}

fn pop(options: &Options, certificates: Certificates) -> Result<Pop, Failure> {
    let url = options.origin.as_deref().unwrap_or_default();
    let origin = Origin::from_url(url).map_err(|error| Failure::usage(format!("--origin {url}: {error}")))?;
    let deny = options.deny.iter().map(|block| ((block.0, block.1), Access::Deny));
    let allow = options.allow.iter().map(|block| ((block.0, block.1), Access::Allow));
    let burst = 2 * options.rate;
    let guard = Guard::new()
        .access(AccessList::new(deny.chain(allow)).map_err(Failure::config)?)
        .limit(Quota::per_second(options.rate).burst(burst))
        .penalty(PenaltyTerms::new(Duration::from_secs(10)), Quota::per_second(5).burst(burst));
    let pop = Pop::security("security1").http(options.http).https(options.https, certificates);
    Ok(pop.without_limit().gate(guard).gate(Rules::baseline()).host("*", origin).build()?)
}
