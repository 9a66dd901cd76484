//! Connections that are kept and shared: queries go out as they come, answers come back in any order (RFC 7766).

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::endpoint::{Endpoint, Way};
use super::exchange::{Exchange, Verdict};
use crate::random::Random;
use crate::{Frame, first_frame, frame_length};

/// Connections that are kept.
const CONNECTIONS_MAX: usize = 256;
/// Queries that wait on one connection for their answers.
const WAITING_MAX: usize = 1024;
/// Queries that wait to be sent on one connection.
const QUEUED_MAX: usize = 256;
/// How long a connection is kept without a word from the server (RFC 7766 §6.2.3 wants seconds).
const IDLE: Duration = Duration::from_secs(10);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(4);
/// Octets read at a time.
const READ_OCTETS: usize = 4096;

/// A stream of any kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A query, and who waits for its answer.
struct Job {
    exchange: Exchange,
    reply: oneshot::Sender<io::Result<Answered>>,
}

/// The server sent by stream, under the identifier of a query, what is no answer to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no answer to the query")
    }
}

impl std::error::Error for NoAnswer {}

/// An answer, and the exchange it belongs to.
pub(super) type Answered = (Exchange, Verdict, Vec<u8>);

/// The connections that are open, each with the way to hand it queries.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Kept>>);

type Kept = (Endpoint, mpsc::Sender<Job>);

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pool(..)")
    }
}

impl Pool {
    /// Sends what `exchange` makes on the connection to `endpoint` and waits for its answer, for ever if need be. A
    /// connection that was kept and turns out closed is replaced once.
    pub(super) async fn ask(
        &self,
        endpoint: &Endpoint,
        random: &Arc<Random>,
        exchange: impl Fn() -> Exchange,
    ) -> io::Result<Answered> {
        loop {
            let (jobs, kept) = self.connection(endpoint, random);
            let (reply, answer) = oneshot::channel();
            let sent = jobs.send(Job { exchange: exchange(), reply }).await.is_ok();
            let closed = || io::Error::from(io::ErrorKind::ConnectionAborted);
            match if sent { answer.await.map_err(|_| closed()) } else { Err(closed()) } {
                Ok(answered) => return answered,
                Err(_) if kept => self.forget(&jobs),
                Err(error) => return Err(error),
            }
        }
    }

    /// A connection to `endpoint`, and whether it was there before.
    fn connection(&self, endpoint: &Endpoint, random: &Arc<Random>) -> (mpsc::Sender<Job>, bool) {
        let mut connections = self.0.lock().expect("no holder of this lock panics");
        connections.retain(|(_, jobs)| !jobs.is_closed());
        if let Some((_, jobs)) = connections.iter().find(|(known, _)| known == endpoint) {
            return (jobs.clone(), true);
        }
        let (jobs, queue) = mpsc::channel(QUEUED_MAX);
        tokio::spawn(connect_and_run(endpoint.clone(), queue, Arc::clone(random)));
        if connections.len() < CONNECTIONS_MAX {
            connections.push((endpoint.clone(), jobs.clone()));
        }
        (jobs, false)
    }

    fn forget(&self, jobs: &mpsc::Sender<Job>) {
        let mut connections = self.0.lock().expect("no holder of this lock panics");
        connections.retain(|(_, known)| !known.same_channel(jobs));
    }
}

async fn connect_and_run(endpoint: Endpoint, mut queue: mpsc::Receiver<Job>, random: Arc<Random>) {
    let connected = timeout(CONNECT, connect(&endpoint)).await;
    match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => {
            // However it ends, those who wait learn that their channel is gone, and may ask again.
            let _ = Connection::new(stream, random).run(&mut queue).await;
        }
        Err(error) => {
            queue.close();
            while let Some(job) = queue.recv().await {
                let _ = job.reply.send(Err(io::Error::new(error.kind(), error.to_string())));
            }
        }
    }
}

async fn connect(endpoint: &Endpoint) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(endpoint.address()).await?;
    stream.set_nodelay(true)?;
    match endpoint.way() {
        Way::Udp | Way::Tcp => Ok(Box::new(stream)),
        #[cfg(feature = "tls")]
        Way::Tls(name, config) => {
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
            Ok(Box::new(connector.connect(name.clone(), stream).await?))
        }
        #[cfg(all(feature = "doh", feature = "tls"))]
        Way::Https(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

struct Connection {
    stream: Box<dyn Stream>,
    random: Arc<Random>,
    waiting: HashMap<u16, Job>,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

impl Connection {
    fn new(stream: Box<dyn Stream>, random: Arc<Random>) -> Self {
        Self { stream, random, waiting: HashMap::new(), buffer: Vec::new(), out: Vec::new() }
    }

    /// Serves the queue until the server closes, breaks the rules, or is silent for [`IDLE`].
    async fn run(&mut self, queue: &mut mpsc::Receiver<Job>) -> io::Result<()> {
        let mut deadline = Instant::now() + IDLE;
        let mut open = true;
        while open || !self.waiting.is_empty() {
            if !self.out.is_empty() {
                timeout(IDLE, self.stream.write_all(&self.out)).await??;
                timeout(IDLE, self.stream.flush()).await??;
                self.out.clear();
            }
            let may_send = open && self.waiting.len() < WAITING_MAX;
            self.buffer.reserve(READ_OCTETS);
            tokio::select! {
                job = queue.recv(), if may_send => match job {
                    Some(job) => {
                        if self.waiting.is_empty() {
                            deadline = Instant::now() + IDLE;
                        }
                        self.send(job)?;
                    }
                    None => open = false,
                },
                read = timeout_at(deadline, self.stream.read_buf(&mut self.buffer)) => {
                    if read?? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    deadline = Instant::now() + IDLE;
                    self.receive()?;
                }
            }
            if self.waiting.len() >= WAITING_MAX {
                self.waiting.retain(|_, job| !job.reply.is_closed());
            }
        }
        self.stream.shutdown().await
    }

    fn send(&mut self, mut job: Job) -> io::Result<()> {
        if job.reply.is_closed() {
            return Ok(());
        }
        // Far fewer wait than there are identifiers, so a free one is found soon.
        while self.waiting.contains_key(&job.exchange.id()) {
            job.exchange.set_id(self.random.next() as u16);
        }
        let wire = job.exchange.wire();
        self.out.extend_from_slice(&frame_length(wire.len()).ok_or(io::ErrorKind::InvalidInput)?);
        self.out.extend_from_slice(wire);
        self.waiting.insert(job.exchange.id(), job);
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut taken = 0;
        while let Frame::Complete { message, consumed } = first_frame(&self.buffer[taken..]) {
            taken += consumed;
            let id = message.first_chunk().map(|id| u16::from_be_bytes(*id));
            // An answer for which nobody waits any more is no offence.
            let Some(job) = id.and_then(|id| self.waiting.remove(&id)) else { continue };
            match job.exchange.judge(message) {
                Verdict::Ignored => {
                    let no_answer = || io::Error::new(io::ErrorKind::InvalidData, NoAnswer);
                    let _ = job.reply.send(Err(no_answer()));
                    return Err(no_answer());
                }
                verdict => {
                    let _ = job.reply.send(Ok((job.exchange, verdict, message.to_vec())));
                }
            }
        }
        self.buffer.drain(..taken);
        Ok(())
    }
}
