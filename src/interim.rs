//! Interim responses (1xx) on their way from an origin to an HTTP/1.1 client (RFC 9110 §15.2, RFC 8297).
//!
//! hyper's server sends one response to a request. What comes before it is therefore written beside hyper, by the I/O
//! that hyper writes to, at moments when no octet of hyper's can lie before or around it:
//!
//! ```text
//! begin ─▶ open ─ the I/O is flushed: hyper has nothing left to write ─▶ clear ─ what waits is written
//!                 hyper writes (100 Continue, or what was left) ─▶ what waits first, then no longer clear
//! seal  ─▶ the final response is about to be encoded: what waits goes out before its first octet,
//!          or nowhere if it was not clear
//! ```

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker, ready};

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, StatusCode, Version};

use crate::exchange::Connection;

/// At most this many interim responses to one request are passed on.
const HEADS_MAX: u32 = 16;
/// At most this many octets of them wait for a client that does not read; one that does not fit is left out.
const OCTETS_MAX: usize = 16 * 1024;

/// What is to be written beside hyper on one connection.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Whether the lock has to be taken before hyper's octets are: an exchange is open, or something waits.
    is_active: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The exchange that may put something in, counted from 1.
    exchange: u64,
    is_open: bool,
    /// Whether hyper has nothing left to write, and so no octet of a response to this exchange went out.
    is_clear: bool,
    heads: u32,
    waiting: Vec<u8>,
    /// How much of what waits is out: the rest has to follow.
    written: usize,
    waker: Option<Waker>,
}

/// What hyper does with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hyper {
    /// It has nothing left to write.
    Flushes,
    /// It is about to write.
    Writes,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No step can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether [`poll`](Self::poll) has to be called. Set and read on the task
    /// of the connection, so a relaxed load sees it.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Relaxed)
    }

    fn begin(&self) -> u64 {
        let mut state = self.lock();
        debug_assert!(!state.is_open, "HTTP/1 exchanges of a connection follow one another");
        let exchange = state.exchange + 1;
        *state = State { exchange, is_open: true, ..State::default() };
        self.is_active.store(true, Ordering::Relaxed);
        exchange
    }

    /// The final response to `exchange` is about to be encoded.
    fn seal(&self, exchange: u64) {
        let mut state = self.lock();
        if state.exchange != exchange || !state.is_open {
            return;
        }
        state.is_open = false;
        state.waker = None;
        if !state.is_clear && state.written == 0 {
            state.waiting.clear();
        }
        self.is_active.store(!state.waiting.is_empty(), Ordering::Relaxed);
    }

    fn put(&self, exchange: u64, status: StatusCode, headers: &HeaderMap) {
        let mut state = self.lock();
        if state.exchange != exchange || !state.is_open || state.heads == HEADS_MAX {
            return;
        }
        let before = state.waiting.len();
        write_head(&mut state.waiting, status, headers);
        if state.waiting.len() > OCTETS_MAX {
            state.waiting.truncate(before);
            return;
        }
        state.heads += 1;
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Writes what waits, if it may be written now. Until it is ready hyper must not write.
    pub(crate) fn poll(
        &self,
        hyper: Hyper,
        write: impl FnMut(&[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        state.is_clear |= hyper == Hyper::Flushes;
        if state.is_clear {
            ready!(self.write_out(&mut state, write))?;
            state.is_clear = hyper == Hyper::Flushes;
        }
        Poll::Ready(Ok(()))
    }

    fn write_out(
        &self,
        state: &mut State,
        mut write: impl FnMut(&[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<()>> {
        while state.written < state.waiting.len() {
            match ready!(write(&state.waiting[state.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                octets => state.written += octets,
            }
        }
        state.waiting.clear();
        state.written = 0;
        self.is_active.store(state.is_open, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

/// The place of one exchange in the outbox of its connection; gives it up when it is dropped, which has to be before
/// the final response is.
#[derive(Debug)]
pub(crate) struct Place {
    connection: Arc<Connection>,
    exchange: u64,
}

impl Place {
    /// A place for a request, if its client understands interim responses and the connection can carry them: HTTP/1.1
    /// on a listener of ours. hyper has no way yet to send them on HTTP/2.
    pub(crate) fn take(connection: &Arc<Connection>, version: Version) -> Option<Self> {
        let outbox = connection.interim.as_ref().filter(|_| version == Version::HTTP_11)?;
        Some(Self { exchange: outbox.begin(), connection: Arc::clone(connection) })
    }

    pub(crate) fn sender(&self) -> Interim {
        Interim { connection: Arc::clone(&self.connection), exchange: self.exchange }
    }

    /// Wakes this task, which drives the connection, when something is put in.
    pub(crate) fn notify(&self, waker: &Waker) {
        let Some(outbox) = &self.connection.interim else { return };
        let mut state = outbox.lock();
        if !state.waker.as_ref().is_some_and(|own| own.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        // Put in between the last flush and now.
        if state.waiting.len() > state.written {
            waker.wake_by_ref();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(outbox) = &self.connection.interim {
            outbox.seal(self.exchange);
        }
    }
}

/// Passes interim responses on to a client. In the extensions of requests that leave the cache.
#[derive(Clone, Debug)]
pub(crate) struct Interim {
    connection: Arc<Connection>,
    exchange: u64,
}

impl Interim {
    /// An interim response of the origin. 100 is the answer to our own expectation, and hyper's to the client's; 101 is
    /// no interim response.
    pub(crate) fn pass_on(&self, status: StatusCode, headers: &HeaderMap) {
        if let Some(outbox) = &self.connection.interim
            && status.is_informational()
            && status.as_u16() > 101
        {
            outbox.put(self.exchange, status, headers);
        }
    }
}

/// Fields of a hop, and of content that an interim response does not have.
const LEFT_OUT: [HeaderName; 6] =
    [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER, UPGRADE, HeaderName::from_static("keep-alive")];

fn write_head(octets: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    let listed: Vec<&str> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .collect();
    octets.extend_from_slice(b"HTTP/1.1 ");
    octets.extend_from_slice(status.as_str().as_bytes());
    octets.push(b' ');
    octets.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    octets.extend_from_slice(b"\r\n");
    for (name, value) in headers {
        if LEFT_OUT.contains(name) || listed.iter().any(|listed| listed.eq_ignore_ascii_case(name.as_str())) {
            continue;
        }
        octets.extend_from_slice(name.as_str().as_bytes());
        octets.extend_from_slice(b": ");
        octets.extend_from_slice(value.as_bytes());
        octets.extend_from_slice(b"\r\n");
    }
    octets.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// Takes at most so many octets at a time, then is full.
    struct Pipe {
        out: Vec<u8>,
        room: usize,
    }

    impl Pipe {
        fn write(&mut self, octets: &[u8]) -> Poll<io::Result<usize>> {
            let taken = octets.len().min(self.room);
            if taken == 0 {
                return Poll::Pending;
            }
            self.room -= taken;
            self.out.extend_from_slice(&octets[..taken]);
            Poll::Ready(Ok(taken))
        }
    }

    fn hint(link: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::header::LINK, HeaderValue::from_static(link))])
    }

    const EARLY: StatusCode = StatusCode::EARLY_HINTS;

    #[test]
    fn heads_have_no_fields_of_the_hop() {
        let mut headers = hint("</a.css>; rel=preload");
        headers.append(CONNECTION, HeaderValue::from_static("x-hop, close"));
        headers.append("x-hop", HeaderValue::from_static("1"));
        headers.append(CONTENT_LENGTH, HeaderValue::from_static("5"));
        let mut octets = Vec::new();
        write_head(&mut octets, EARLY, &headers);
        assert_eq!(octets, b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n");
    }

    #[test]
    fn nothing_is_written_around_octets_of_hyper() {
        let outbox = Outbox::default();
        let mut pipe = Pipe { out: Vec::new(), room: usize::MAX };
        let exchange = outbox.begin();
        outbox.put(exchange, EARLY, &hint("a"));
        // The response before is still being written: what waits does not come before its rest.
        assert!(outbox.poll(Hyper::Writes, |octets| pipe.write(octets)).is_ready());
        assert!(pipe.out.is_empty());
        assert!(outbox.poll(Hyper::Flushes, |octets| pipe.write(octets)).is_ready());
        let first = pipe.out.len();
        assert!(pipe.out.starts_with(b"HTTP/1.1 103 "));
        // Put in after the flush, and the final response comes at once: before its first octet.
        outbox.put(exchange, EARLY, &hint("b"));
        outbox.seal(exchange);
        assert!(outbox.is_active());
        assert!(outbox.poll(Hyper::Writes, |octets| pipe.write(octets)).is_ready());
        assert!(pipe.out[first..].starts_with(b"HTTP/1.1 103 "));
        assert!(!outbox.is_active());
        // Too late, or of an exchange that is over.
        outbox.put(exchange, EARLY, &hint("c"));
        let next = outbox.begin();
        outbox.put(exchange, EARLY, &hint("d"));
        let before = pipe.out.len();
        assert!(outbox.poll(Hyper::Flushes, |octets| pipe.write(octets)).is_ready());
        assert_eq!(pipe.out.len(), before);
        // Never flushed since the exchange began: better no hint than one in the middle of something.
        outbox.seal(next);
        let last = outbox.begin();
        outbox.put(last, EARLY, &hint("e"));
        outbox.seal(last);
        assert!(!outbox.is_active());
    }

    #[test]
    fn what_is_begun_is_finished_before_hyper_writes() {
        let outbox = Outbox::default();
        let mut pipe = Pipe { out: Vec::new(), room: 7 };
        let exchange = outbox.begin();
        outbox.put(exchange, EARLY, &hint("a"));
        assert!(outbox.poll(Hyper::Flushes, |octets| pipe.write(octets)).is_pending());
        outbox.seal(exchange);
        assert!(outbox.poll(Hyper::Writes, |octets| pipe.write(octets)).is_pending(), "hyper has to wait");
        pipe.room = usize::MAX;
        assert!(outbox.poll(Hyper::Writes, |octets| pipe.write(octets)).is_ready());
        assert_eq!(pipe.out, b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n");
    }

    #[test]
    fn what_waits_is_bounded() {
        let outbox = Outbox::default();
        let mut pipe = Pipe { out: Vec::new(), room: usize::MAX };
        let exchange = outbox.begin();
        for _ in 0..100 {
            outbox.put(exchange, EARLY, &hint("a"));
        }
        assert!(outbox.poll(Hyper::Flushes, |octets| pipe.write(octets)).is_ready());
        assert_eq!(pipe.out.windows(4).filter(|four| four == b"\r\n\r\n").count(), HEADS_MAX as usize);
        let large = HeaderMap::from_iter([(
            http::header::LINK,
            HeaderValue::from_bytes(&[b'a'; 9000]).expect("a value"),
        )]);
        outbox.seal(exchange);
        let exchange = outbox.begin();
        outbox.put(exchange, EARLY, &large);
        outbox.put(exchange, EARLY, &large);
        assert!(outbox.lock().waiting.len() <= OCTETS_MAX);
    }
}
