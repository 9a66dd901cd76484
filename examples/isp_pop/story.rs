//! The story that `--selftest` plays.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use pop_edge::route::{HealthPolicy, Timestamp};

use crate::cli::Failure;
use crate::cli::selftest::{self, Claims};
use crate::{Options, forwarder, gateways, pop};

/// Subscribers resolve through the cache and reach the nearest gateway that is well; strangers are refused.
pub(crate) async fn play(options: &Options) -> Result<(), Failure> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let upstream = selftest::name_server("example.net", "www 60 A 192.0.2.80\n").await?;
    let gateway = ["FRA=50.1,8.7,192.0.2.1", "VIE=48.2,16.4,192.0.2.2"];
    let gateway = gateway.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(Failure::new)?;
    let allow = vec!["127.0.0.0/16".parse().map_err(Failure::config)?];
    let options = Options { dns: any, upstream: vec![upstream], allow, gateway, ..*options };
    let forwarder = forwarder(&options)?;
    let selector = gateways(&options)?.ok_or_else(|| Failure::new("no gateways"))?;
    let pop = pop(&options, forwarder.clone(), Some(Arc::clone(&selector)))?;
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
    let nearest = selector.sites().find("FRA").ok_or_else(|| Failure::new("no such site"))?;
    for _ in 0..HealthPolicy::default().fall {
        selector.probed(nearest, false, Timestamp::ZERO);
    }
    let answer = selftest::resolve(subscriber, server, "gateway.isp.home.arpa").await;
    claims.check("when it dies, the next nearest", answer.as_deref().ok() == Some("192.0.2.2"), &answer);
    claims.verdict()
}
