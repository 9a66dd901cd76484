//! A CDN's PoP with every guard of its preset on: `pop ADDR ORIGIN`, on one thread.

use pop_edge::ratelimit::Quota;
use pop_edge::{CachePolicy, Limit, Origin, Pop};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:18080".to_owned());
    let origin = arguments.next().unwrap_or_else(|| "127.0.0.1:18000".to_owned());
    let quota = Quota::per_second(10_000_000);
    let pop = Pop::cdn("pop")
        .http(address.parse()?)
        .cache(CachePolicy::capacity(64 << 20))
        .limit(Limit::per_client(quota))
        .host("*", Origin::http(origin))
        .build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(pop.run_until(async { drop(tokio::signal::ctrl_c().await) }))?)
}
