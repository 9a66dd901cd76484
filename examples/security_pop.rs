//! A PoP in front of what is attacked: lists, limits by prefix, a penalty box, request rules, TLS.
//!
//! ```sh
//! cargo run --release --example security_pop -- --http 127.0.0.1:8080 --origin http://127.0.0.1:8000
//! cargo run --release --example security_pop -- --selftest
//! ```

#![allow(
    unreachable_pub,
    dead_code,
    reason = "a program has no public face, and takes of the shared modules what it needs"
)]

mod cli;

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use pop_edge::config::Block;
use pop_edge::guard::Guard;
use pop_edge::ratelimit::{Access, AccessList, PenaltyTerms, Quota};
use pop_edge::rules::Rules;
use pop_edge::{Certificates, Host, Origin, Pop};

use crate::cli::selftest::{self, Claims, get, is_status, raw};
use crate::cli::{Failure, LogFormat};

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
    #[arg(
        long,
        value_name = "URL",
        env = "POP_ORIGIN",
        required_unless_present = "selftest",
        default_value_if("selftest", "true", "http://127.0.0.1:1")
    )]
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
    /// Play the story against an embedded origin and exit 0 or 1
    #[arg(long)]
    selftest: bool,
    /// How logs look
    #[arg(long, value_enum, env = "POP_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

fn main() -> ExitCode {
    let options = Options::parse();
    cli::log(options.log_format, if options.selftest { "warn" } else { "info" });
    cli::run("security_pop", async move {
        if options.selftest {
            return play(options).await;
        }
        let certificates =
            Certificates::self_signed(["localhost"]).map_err(|error| Failure::config(cli::chain(&error)))?;
        pop(&options, certificates)?.run_until(cli::told_to_stop()).await?;
        Ok(())
    })
}

/// The PoP itself.
fn pop(options: &Options, certificates: Certificates) -> Result<Pop, Failure> {
    let url = options.origin.as_deref().unwrap_or_default();
    let origin = Origin::from_url(url).map_err(|error| Failure::usage(format!("--origin {url}: {error}")))?;
    let deny = options.deny.iter().map(|block| ((block.0, block.1), Access::Deny));
    let allow = options.allow.iter().map(|block| ((block.0, block.1), Access::Allow));
    let guard = Guard::new()
        .access(AccessList::new(deny.chain(allow)).map_err(Failure::config)?)
        .limit(Quota::per_second(options.rate).burst(2 * options.rate))
        .penalty(PenaltyTerms::new(Duration::from_secs(10)), Quota::per_second(5).burst(2 * options.rate));
    let host = Host::new("*").origin(origin);
    let pop = Pop::security("security1").http(options.http).https(options.https, certificates);
    Ok(pop.without_limit().gate(guard).gate(Rules::baseline()).host_with(host).build()?)
}

/// Good clients are served, and everything else meets what it deserves.
async fn play(options: Options) -> Result<(), Failure> {
    let (origin, _task) = selftest::origin("origin").await?;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let deny = vec!["127.66.0.0/16".parse().map_err(Failure::config)?];
    let (certificates, trusted) = selftest::certificates("localhost")?;
    let options =
        Options { http: any, https: any, origin: Some(format!("http://{origin}")), deny, ..options };
    let pop = pop(&options, certificates)?;
    let addresses = pop.bind().await?;
    let (server, _serving) = (addresses.http[0], tokio::spawn(async move { pop.run().await }));
    let (good, bad, stranger) =
        (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 77, 0, 1]), IpAddr::from([127, 66, 0, 1]));
    let mut claims = Claims::default();
    let answer = get(good, server, "localhost", "/").await;
    claims.check("a good client is served", is_status(&answer, 200), &answer);
    let answer = get(stranger, server, "localhost", "/").await;
    claims.check("a denied block is not", !is_status(&answer, 200), &answer);
    for (what, path, status) in [
        ("hidden files", "/.git/config", 404),
        ("traversal", "/%2e%2e/%2e%2e/etc/passwd", 400),
        ("double encoding", "/%252e%252e/", 400),
    ] {
        let answer = get(good, server, "localhost", path).await;
        claims.check(&format!("{what} are refused with {status}"), is_status(&answer, status), &answer);
    }
    let smuggled = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n";
    let answer = raw(good, server, smuggled).await;
    claims.check("two framings are refused with 400", is_status(&answer, 400), &answer);
    let mut refused = 0;
    for _ in 0..6 * options.rate {
        refused += u64::from(!is_status(&get(bad, server, "localhost", "/").await, 200));
    }
    claims.check("a flood is held to its burst", refused >= 3 * options.rate, refused);
    let answer = get(bad, server, "localhost", "/").await;
    let is_shut_out = !answer.as_ref().is_ok_and(|answer| answer.contains("HTTP/"));
    claims.check("who does not stop is shut out", is_shut_out, &answer);
    let answer = get(good, server, "localhost", "/").await;
    claims.check("the good client is still served", is_status(&answer, 200), &answer);
    let answer = selftest::get_tls(addresses.https[0], "localhost", trusted).await;
    claims.check(
        "TLS ends here, by a certificate that the client can check",
        is_status(&answer, 200),
        &answer,
    );
    claims.verdict()
}
