//! The story that `--selftest` plays.

use std::net::{IpAddr, SocketAddr};

use crate::cli::Failure;
use crate::cli::selftest::{self, Claims, get, is_status, raw};
use crate::{Options, pop};

/// Good clients are served, and everything else meets what it deserves.
pub(crate) async fn play(options: &Options) -> Result<(), Failure> {
    let (origin, _task) = selftest::origin("origin").await?;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let deny = vec!["127.66.0.0/16".parse().map_err(Failure::config)?];
    let (certificates, trusted) = selftest::certificates("localhost")?;
    let options =
        Options { http: any, https: any, origin: Some(format!("http://{origin}")), deny, ..options.clone() };
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
