//! The octets of a connection on their way to hyper and back, with an eye on them.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::FrameScanner;
use super::head::{Finding, HeadScanner};
use crate::exchange::Connection;
use crate::interim::Hyper;

/// What a connection waits for, as far as its octets tell. Shared between the I/O and the driver, which run on one
/// task: the atomics are there for `Send` alone.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    phase: AtomicU8,
    /// Octets in and out so far: the driver compares it to see whether anything moves.
    moved: AtomicU64,
    /// Heads that have come to their end.
    heads: AtomicU64,
    blocked: AtomicU8,
}

/// Where the client stands in what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between messages.
    Between,
    /// In the middle of a head.
    Head,
    /// In the middle of a body.
    Body,
}

impl Vitals {
    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Between,
            1 => Phase::Head,
            _ => Phase::Body,
        }
    }

    fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(super) fn heads(&self) -> u64 {
        self.heads.load(Ordering::Relaxed)
    }

    /// Whether the client does not take what we send.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed) != 0
    }

    fn moves(&self, octets: usize) {
        // One writer: a load and a store are enough.
        self.moved.store(self.moved() + octets as u64, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(super) enum Scanner {
    Heads(HeadScanner),
    Frames(FrameScanner),
}

/// A connection that hyper reads and writes.
pub(super) struct Watched<S> {
    stream: S,
    /// What was read before the protocol was known.
    prefix: Bytes,
    scanner: Scanner,
    vitals: Arc<Vitals>,
    connection: Arc<Connection>,
}

impl<S> Watched<S> {
    pub(super) fn new(
        stream: S,
        prefix: Bytes,
        scanner: Scanner,
        vitals: Arc<Vitals>,
        connection: Arc<Connection>,
    ) -> Self {
        Self { stream, prefix, scanner, vitals, connection }
    }

    fn received(&mut self, octets: &[u8]) -> io::Result<()> {
        self.vitals.moves(octets.len());
        let (phase, heads) = match &mut self.scanner {
            Scanner::Heads(scanner) => {
                if scanner.scan(octets) != Finding::Plain {
                    self.connection.ambiguous.store(true, Ordering::Relaxed);
                }
                (scanner.phase(), scanner.heads())
            }
            Scanner::Frames(scanner) => {
                scanner.scan(octets).map_err(|_| io::Error::other("too many control frames"))?;
                (scanner.phase(), scanner.heads())
            }
        };
        self.vitals.set_phase(phase);
        self.vitals.heads.store(heads, Ordering::Relaxed);
        Ok(())
    }

    fn sent(&mut self, octets: usize) {
        self.vitals.moves(octets);
        if let Scanner::Frames(frames) = &mut self.scanner {
            frames.sent(octets);
        }
    }

    fn note(&mut self, written: &Poll<io::Result<usize>>) {
        self.vitals.blocked.store(u8::from(written.is_pending()), Ordering::Relaxed);
        if let Poll::Ready(Ok(octets)) = written {
            self.sent(*octets);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if this.prefix.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        } else {
            let octets = this.prefix.split_to(this.prefix.len().min(buffer.remaining()));
            buffer.put_slice(&octets);
        }
        Poll::Ready(this.received(&buffer.filled()[before..]))
    }
}

/// An answer of at most this many octets goes out as one piece: up to here a copy costs less than what the kernel spends
/// on a list of buffers.
const GATHERED_OCTETS_MAX: usize = 4096;

thread_local! {
    static GATHERED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `write` with the contents of all buffers in a row.
fn gathered<T>(buffers: &[io::IoSlice<'_>], write: impl FnOnce(&[u8]) -> T) -> T {
    let mut octets = GATHERED.take();
    octets.clear();
    for buffer in buffers {
        octets.extend_from_slice(buffer);
    }
    let written = write(&octets);
    GATHERED.set(octets);
    written
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    /// Writes interim responses that wait, where they may go out now.
    #[inline]
    fn poll_interim(&mut self, context: &mut Context<'_>, hyper: Hyper) -> Poll<io::Result<()>> {
        match &self.connection.interim {
            Some(outbox) if outbox.is_active() => self.poll_outbox(context, hyper),
            _ => Poll::Ready(Ok(())),
        }
    }

    #[cold]
    fn poll_outbox(&mut self, context: &mut Context<'_>, hyper: Hyper) -> Poll<io::Result<()>> {
        let connection = Arc::clone(&self.connection);
        let Some(outbox) = &connection.interim else { return Poll::Ready(Ok(())) };
        outbox.poll(hyper, |octets| {
            let written = Pin::new(&mut self.stream).poll_write(context, octets);
            self.note(&written);
            written
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_interim(context, Hyper::Writes))?;
        let written = Pin::new(&mut this.stream).poll_write(context, octets);
        this.note(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_interim(context, Hyper::Writes))?;
        let octets: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let written = if octets <= GATHERED_OCTETS_MAX && buffers.len() > 1 {
            gathered(buffers, |octets| Pin::new(&mut this.stream).poll_write(context, octets))
        } else {
            Pin::new(&mut this.stream).poll_write_vectored(context, buffers)
        };
        this.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_interim(context, Hyper::Flushes))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
