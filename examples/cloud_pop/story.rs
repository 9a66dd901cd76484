//! The story that `--selftest` plays.

use std::net::{IpAddr, SocketAddr};

use crate::cli::Failure;
use crate::cli::selftest::{self, Claims, get, is_status};
use crate::{Options, pop};

/// Two cities reach two regions; one region dies, its clients are served by the other, and nobody else notices.
pub(crate) async fn play(options: &Options) -> Result<(), Failure> {
    let (frankfurt, power) = selftest::origin("frankfurt").await?;
    let (ashburn, _task) = selftest::origin("ashburn").await?;
    let http = SocketAddr::from(([127, 0, 0, 1], 0));
    let region = [format!("FRA=50.1,8.7,{frankfurt}"), format!("IAD=38.9,-77.5,{ashburn}")];
    let region = region.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(Failure::new)?;
    let client = ["127.1.0.0/16=52.5,13.4", "127.2.0.0/16=40.7,-74.0"];
    let client = client.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(Failure::new)?;
    let pop = pop(&Options { http, region, client, ..*options })?;
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
