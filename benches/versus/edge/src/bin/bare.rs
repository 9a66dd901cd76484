//! hyper with nothing around it, the yardstick: `bare ADDR fixed` answers a constant; `bare ADDR look-up` finds the
//! answer by host and path in a map, clones its stored fields and writes `Age`.
//! It allocates what hyper allocates and the copy of the fields, no more.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

struct Stored {
    headers: HeaderMap,
    body: Bytes,
    at: SystemTime,
}

fn stored(size: usize) -> Stored {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::DATE, "Tue, 24 Nov 2026 20:00:00 GMT"),
        (header::CONTENT_TYPE, "text/plain"),
        (header::ETAG, "\"abc\""),
        (header::LAST_MODIFIED, "Tue, 24 Nov 2026 10:00:00 GMT"),
        (header::CACHE_CONTROL, "public, max-age=360000"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    // The place of `Age`: a field that is added to a copy makes it grow, which costs a tenth of the request.
    headers.insert(header::AGE, HeaderValue::from_static("0"));
    Stored { headers, body: Bytes::from(vec![b'x'; size]), at: SystemTime::now() }
}

fn look_up(map: &HashMap<String, Stored>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    thread_local! {
        static KEY: RefCell<String> = const { RefCell::new(String::new()) };
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let found = KEY.with_borrow_mut(|key| {
        key.clear();
        for part in ["http://", host, request.uri().path()] {
            key.push_str(part);
        }
        // Every host has the same two pages.
        key.rfind('/').and_then(|slash| map.get(&key[slash..]))
    });
    let Some(found) = found else { return Response::new(Full::default()) };
    let mut response = Response::new(Full::new(found.body.clone()));
    *response.headers_mut() = found.headers.clone();
    let age = found.at.elapsed().map_or(0, |age| age.as_secs());
    if let Some(slot) = response.headers_mut().get_mut(header::AGE) {
        *slot = HeaderValue::from(age);
    }
    response
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:18083".to_owned());
    let is_fixed = arguments.next().as_deref() == Some("fixed");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let map: &'static _ = Box::leak(Box::new(HashMap::from([
        ("/1k".to_owned(), stored(1024)),
        ("/64k".to_owned(), stored(65_536)),
    ])));
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async move {
                loop {
                    let (stream, _) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    let service = service_fn(move |request: Request<Incoming>| {
                        let response = if is_fixed {
                            let size = if request.uri().path() == "/64k" { "/64k" } else { "/1k" };
                            Response::new(Full::new(map[size].body.clone()))
                        } else {
                            look_up(map, &request)
                        };
                        std::future::ready(Ok::<_, Infallible>(response))
                    });
                    tokio::task::spawn_local(async move {
                        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    });
                }
            })
            .await
    })
}
