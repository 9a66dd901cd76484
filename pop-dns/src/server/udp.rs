//! The datagram workers: a plain thread and a socket each, all sockets on one port (SO_REUSEPORT), so that the kernel
//! spreads the clients and no two workers share anything but the zones. What a handler promises for later becomes a
//! task of the runtime.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

#[cfg(target_os = "linux")]
use super::mmsg::{BatchSocket, ask_for_destination};
#[cfg(not(target_os = "linux"))]
use super::single::{BatchSocket, ask_for_destination};
use super::{Clock, Counters, Handler};
use crate::{Header, Outcome};

/// Answers that a socket waits for at once; a query that would make one more is dropped, as the network might.
pub const LATER_MAX: usize = 32_768;
/// Octets that the kernel may hold for a worker that is busy. The system may allow less.
const RECEIVE_OCTETS: usize = 4 << 20;
/// How long a worker waits before it looks whether to stop, should nobody wake it, and for room to send.
const PATIENCE: Duration = Duration::from_secs(1);

/// A socket for one worker.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    let _ = socket.set_recv_buffer_size(RECEIVE_OCTETS);
    let _ = socket.set_send_buffer_size(RECEIVE_OCTETS);
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    ask_for_destination(&socket, address)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The workers of a server.
pub(super) struct Workers {
    threads: Vec<thread::JoinHandle<()>>,
    /// The sockets once more, with as many permits as answers may be waited for.
    sockets: Vec<(Arc<UdpSocket>, Arc<Semaphore>)>,
    stop: Arc<AtomicBool>,
}

impl Workers {
    /// Starts a thread for each socket. Called within a runtime, which answers that come later run on.
    pub(super) fn start<H: Handler>(
        sockets: Vec<UdpSocket>,
        handler: &Arc<H>,
        counters: &Arc<Counters>,
        clock: Clock,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = Self { threads: Vec::new(), sockets: Vec::new(), stop };
        for socket in sockets {
            let back = Arc::new(socket.try_clone()?);
            let permits = Arc::new(Semaphore::new(LATER_MAX));
            workers.sockets.push((Arc::clone(&back), Arc::clone(&permits)));
            let worker = Worker {
                back,
                permits,
                handler: Arc::clone(handler),
                counters: Arc::clone(counters),
                clock,
                runtime: Handle::current(),
                stop: Arc::clone(&workers.stop),
            };
            let thread = thread::Builder::new().name("dns-udp".into());
            workers.threads.push(thread.spawn(move || worker.serve(socket))?);
        }
        Ok(workers)
    }

    /// Asks all workers to stop and waits for them, and for what they promised.
    pub(super) async fn stop(self) {
        // Release: pairs with the acquiring load of the workers; they need see nothing but the flag.
        self.stop.store(true, Ordering::Release);
        for (socket, _) in &self.sockets {
            // Wakes who waits for a datagram; that the socket is not connected is reported, and no matter.
            let _ = socket2::SockRef::from(&**socket).shutdown(std::net::Shutdown::Read);
        }
        // The threads stop within their patience at the latest, which is too long for a task to block. A worker that
        // panicked has nothing left to stop.
        let join = || self.threads.into_iter().for_each(|thread| drop(thread.join()));
        let _ = tokio::task::spawn_blocking(join).await;
        for (_, permits) in self.sockets {
            // All permits are back when no answer is waited for.
            let _ = permits.acquire_many(LATER_MAX as u32).await;
        }
    }
}

/// One thread's part.
struct Worker<H> {
    /// The socket, for answers that come later.
    back: Arc<UdpSocket>,
    permits: Arc<Semaphore>,
    handler: Arc<H>,
    counters: Arc<Counters>,
    clock: Clock,
    runtime: Handle,
    stop: Arc<AtomicBool>,
}

impl<H: Handler> Worker<H> {
    fn serve(self, socket: UdpSocket) {
        let mut socket = BatchSocket::new(socket);
        let mut later = Vec::new();
        while !self.stop.load(Ordering::Acquire) {
            // An error is an ICMP message about an earlier answer, or that nothing came; the socket is fine.
            let Ok(mut batch) = socket.receive(&mut later) else { continue };
            self.handler.handle_batch(self.clock.now(), &mut batch);
            if later.is_empty() {
                self.counters.count_udp(socket.outcomes());
            } else {
                self.promise(&mut socket, &mut later);
            }
            socket.send();
        }
    }

    /// Lets the runtime wait for the answers that come later.
    #[cold]
    fn promise(&self, received: &mut BatchSocket, later: &mut Vec<(usize, super::Later)>) {
        let mut promised = [false; super::batch::BATCH];
        for (slot, waiting) in later.drain(..) {
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { continue };
            promised[slot] = true;
            let (socket, counters) = (Arc::clone(&self.back), Arc::clone(&self.counters));
            let way = received.way_back(slot);
            self.runtime.spawn(async move {
                let answer = waiting.await;
                let message = answer.as_deref().unwrap_or_default();
                counters.count_udp(std::iter::once((outcome_of(answer.as_deref()), message)));
                if let Some(mut answer) = answer {
                    way.send(&socket, &mut answer);
                }
                drop(permit);
            });
        }
        let settled = received.outcomes().zip(promised).filter(|(_, promised)| !promised);
        self.counters.count_udp(settled.map(|(settled, _)| settled));
    }
}

/// What became of a query whose answer was waited for.
pub(super) fn outcome_of(answer: Option<&[u8]>) -> Outcome {
    match answer.map(Header::parse) {
        Some(Ok(header)) => Outcome::Answered(header.flags.rcode()),
        _ => Outcome::Silent,
    }
}
