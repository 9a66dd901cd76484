//! An edge in process: the layer, a scripted origin behind it, a clock moved by hand.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body::{Body, Frame};
use pop_cache::http::{BoxError, CacheBody, CacheService, FetchError, Handle, HttpCache, HttpCacheBuilder};
use tower_layer::Layer;
use tower_service::Service;

type Frames = Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> + Send>;

/// The origin's body: frames that come when they come.
pub struct OriginBody {
    frames: Frames,
}

impl std::fmt::Debug for OriginBody {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("OriginBody")
    }
}

impl Body for OriginBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        (self.frames)(cx).map(|frame| frame.map(|frame| frame.map(Frame::data)))
    }
}

/// A body of these chunks.
pub fn chunks(texts: &[&str]) -> OriginBody {
    let mut left: VecDeque<Bytes> = texts
        .iter()
        .filter(|text| !text.is_empty())
        .map(|text| Bytes::copy_from_slice(text.as_bytes()))
        .collect();
    OriginBody { frames: Box::new(move |_| Poll::Ready(left.pop_front().map(Ok))) }
}

/// A body fed through a channel; it ends when the sender goes.
pub fn fed(mut source: tokio::sync::mpsc::UnboundedReceiver<Result<Bytes, BoxError>>) -> OriginBody {
    OriginBody { frames: Box::new(move |context| source.poll_recv(context)) }
}

type Script = Arc<dyn Fn(&Request<String>) -> Result<Response<OriginBody>, BoxError> + Send + Sync>;

/// The inner service.
#[derive(Clone)]
pub struct Scripted {
    state: Arc<State>,
}

struct State {
    script: Mutex<Option<Script>>,
    seen: Mutex<Vec<(Method, HeaderMap)>>,
    targets: Mutex<Vec<String>>,
    delay: Mutex<Option<Arc<tokio::sync::Semaphore>>>,
}

impl Service<Request<String>> for Scripted {
    type Response = Response<OriginBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<OriginBody>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        self.state.seen.lock().unwrap().push((request.method().clone(), request.headers().clone()));
        self.state.targets.lock().unwrap().push(request.uri().to_string());
        let script = self.state.script.lock().unwrap().clone().expect("a script");
        let gate = self.state.delay.lock().unwrap().clone();
        Box::pin(async move {
            if let Some(gate) = gate {
                gate.acquire().await?.forget();
            }
            script(&request)
        })
    }
}

/// A cache in front of a scripted origin.
pub struct Edge {
    pub service: CacheService<Scripted>,
    pub handle: Handle,
    state: Arc<State>,
    clock: Arc<AtomicU64>,
}

impl Edge {
    pub fn new(start: SystemTime, configure: impl FnOnce(HttpCacheBuilder) -> HttpCacheBuilder) -> Self {
        let seconds = start.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let clock = Arc::new(AtomicU64::new(seconds));
        let hand = Arc::clone(&clock);
        let builder = HttpCache::builder(16 << 20)
            .clock(move || SystemTime::UNIX_EPOCH + Duration::from_secs(hand.load(Ordering::SeqCst)));
        let cache = configure(builder).build().expect("settings that work");
        let state = Arc::new(State {
            script: Mutex::new(None),
            seen: Mutex::default(),
            targets: Mutex::default(),
            delay: Mutex::default(),
        });
        let service = cache.layer().layer(Scripted { state: Arc::clone(&state) });
        Self { service, handle: cache.handle(), state, clock }
    }

    pub fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.clock.load(Ordering::SeqCst))
    }

    pub fn wait(&self, time: Duration) {
        self.clock.fetch_add(time.as_secs(), Ordering::SeqCst);
    }

    /// What the origin does from now on.
    pub fn script(
        &self,
        script: impl Fn(&Request<String>) -> Result<Response<OriginBody>, BoxError> + Send + Sync + 'static,
    ) {
        *self.state.script.lock().unwrap() = Some(Arc::new(script));
    }

    /// From now on the origin answers once for each permit.
    pub fn gate(&self) -> Arc<tokio::sync::Semaphore> {
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        *self.state.delay.lock().unwrap() = Some(Arc::clone(&gate));
        gate
    }

    pub fn seen(&self) -> Vec<(Method, HeaderMap)> {
        self.state.seen.lock().unwrap().clone()
    }

    pub fn targets(&self) -> Vec<String> {
        self.state.targets.lock().unwrap().clone()
    }

    pub async fn send(
        &self,
        request: http::request::Builder,
    ) -> Result<Response<CacheBody<OriginBody>>, FetchError> {
        self.service.clone().call(request.body(String::new()).expect("a request")).await
    }

    pub async fn get(&self, path: &str) -> Result<Response<CacheBody<OriginBody>>, FetchError> {
        self.send(Request::builder().uri(format!("http://test.example{path}"))).await
    }

    /// Lets tasks in the background come to rest.
    pub async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

/// A body that has something to say and never ends.
pub fn hanging(text: &'static str) -> OriginBody {
    let mut first = Some(Bytes::from_static(text.as_bytes()));
    OriginBody {
        frames: Box::new(move |_| match first.take() {
            Some(data) => Poll::Ready(Some(Ok(data))),
            None => Poll::Pending,
        }),
    }
}

/// A body that fails after a part of it.
pub fn broken(text: &'static str) -> OriginBody {
    let mut frames =
        VecDeque::from([Ok(Bytes::from_static(text.as_bytes())), Err(BoxError::from("connection reset"))]);
    OriginBody { frames: Box::new(move |_| Poll::Ready(frames.pop_front())) }
}

/// The bytes `first..=last` of a representation in which every byte tells its place.
pub fn pattern(first: u64, last: u64) -> OriginBody {
    let mut at = first;
    OriginBody {
        frames: Box::new(move |_| {
            if at > last {
                return Poll::Ready(None);
            }
            let end = (at + 10_000).min(last + 1);
            let data: Vec<u8> = (at..end).map(pattern_byte).collect();
            at = end;
            Poll::Ready(Some(Ok(Bytes::from(data))))
        }),
    }
}

pub fn pattern_byte(place: u64) -> u8 {
    (place % 251) as u8 ^ (place / 1_000_003) as u8
}

/// Reads a body to its end.
pub async fn read<B>(response: Response<B>) -> Result<Vec<u8>, B::Error>
where
    B: Body<Data = Bytes>,
{
    let mut body = std::pin::pin!(response.into_body());
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

/// The member of `Cache-Status` that this cache added.
pub fn cache_status<B>(response: &Response<B>) -> String {
    let last = response.headers().get_all("cache-status").iter().next_back();
    last.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}
