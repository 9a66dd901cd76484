//! Collapsing: one fetch for all who ask for the same at the same time (RFC 9111 §4).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;
use bytes::Bytes;
use http::header::RANGE;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::watch;

use super::cache::Shared;
use super::fetch::FetchError;
use super::key::CacheKey;
use super::live::Live;
use super::policy::Policy;
use super::stored::Stored;
use super::vary::{Selection, Vary};

/// What a fetch has come to, for everyone who waits.
#[derive(Clone, Debug)]
pub(crate) enum Published {
    /// Nothing yet.
    Pending,
    /// A response that is being stored; its body is under way.
    Live(Arc<LiveHead>),
    /// The origin confirmed what is stored; here it is, freshened.
    Validated(Arc<Stored>),
    /// The tier below had it.
    Kept(Arc<Stored>),
    /// A response too large for one entry: its slices can be had one by one.
    Sliced(Arc<Stored>),
    /// One slice.
    Slice(Bytes),
    /// The origin failed (with this status, if it answered) and this may stand in.
    StaleOnError(Arc<Stored>, Option<StatusCode>),
    /// The answer is for one client alone: everybody else asks for himself.
    Released,
    /// There is none.
    Failed(FetchError),
}

impl Published {
    /// The fields that select the response, where one is known.
    pub(crate) fn vary(&self) -> Option<&Vary> {
        match self {
            Self::Live(head) => Some(&head.policy.vary),
            Self::Validated(stored)
            | Self::Kept(stored)
            | Self::Sliced(stored)
            | Self::StaleOnError(stored, _) => Some(&stored.policy.vary),
            Self::Pending | Self::Slice(_) | Self::Released | Self::Failed(_) => None,
        }
    }
}

/// The head of a response whose body is under way.
#[derive(Debug)]
pub(crate) struct LiveHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) policy: Policy,
    pub(crate) selection: Selection,
    pub(crate) body: Arc<Live>,
    pub(crate) length: Option<u64>,
}

/// What is fetched: a key, a range of it, and which of the variants the resource is known to have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    key: CacheKey,
    range: Option<HeaderValue>,
    /// A hash of the selecting fields, zero where nothing is known to select.
    variant: u64,
}

impl Target {
    pub(crate) fn of(key: &CacheKey, request: &HeaderMap, variant: u64) -> Self {
        Self { key: key.clone(), range: request.get(RANGE).cloned(), variant }
    }

    /// A whole, whatever range the client asked for.
    pub(crate) fn whole(key: CacheKey, variant: u64) -> Self {
        Self { key, range: None, variant }
    }
}

/// The fetches under way. As many as there are; each holds one request of the inner service.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    map: Mutex<HashMap<Target, watch::Receiver<Published>, RandomState>>,
}

/// What a request that needs a fetch does.
#[derive(Debug)]
pub(crate) enum Role {
    /// It begins the fetch.
    Leader(Flight),
    /// It waits for one that is under way.
    Waiter(watch::Receiver<Published>),
    /// Neither: the fetch it missed has just stored an answer.
    Latecomer,
}

impl Flights {
    /// Joins the fetch of `target`, or begins one unless `is_there` finds that it has just ended.
    pub(crate) fn join(shared: &Arc<Shared>, target: Target, is_there: impl FnOnce() -> bool) -> Role {
        let mut map = shared.flights.map.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = map.get(&target) {
            return Role::Waiter(receiver.clone());
        }
        // A fetch stores before it leaves the map, so under this lock nothing falls between the two.
        if is_there() {
            return Role::Latecomer;
        }
        let (sender, receiver) = watch::channel(Published::Pending);
        map.insert(target.clone(), receiver);
        Role::Leader(Flight { shared: Arc::clone(shared), target, sender })
    }
}

/// A registered fetch; unregistered, and failed if it has not come to anything, when it is dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    shared: Arc<Shared>,
    target: Target,
    sender: watch::Sender<Published>,
}

impl Flight {
    pub(crate) fn publish(&self, published: Published) {
        self.sender.send_replace(published);
    }

    pub(crate) fn follow(&self) -> watch::Receiver<Published> {
        self.sender.subscribe()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.shared.flights.map.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.target);
        self.sender.send_if_modified(|published| {
            let is_pending = matches!(published, Published::Pending);
            if is_pending {
                *published = Published::Failed(FetchError::Abandoned);
            }
            is_pending
        });
    }
}

/// Waits until a fetch has come to something.
pub(crate) async fn outcome(mut receiver: watch::Receiver<Published>) -> Published {
    match receiver.wait_for(|published| !matches!(published, Published::Pending)).await {
        Ok(published) => published.clone(),
        Err(_) => Published::Failed(FetchError::Abandoned),
    }
}
