//! One client on a stream: queries as they come, answers as they are ready (RFC 7766 §6.2.1.1), over TCP or TLS.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::udp::outcome_of;
use super::{Clock, Counters, Handled, Handler, Many, since};
use crate::{Frame, Outcome, Rcode, Transport, first_frame, frame_length};

/// How long a connection may take for its next whole query, and for taking our answers.
pub const IDLE: Duration = Duration::from_secs(10);
/// Answers that one connection may be waiting for; until one of them is sent, nothing more is read from it.
pub const PIPELINED_MAX: usize = 128;
/// Octets for which there is room while a connection idles: a query and no more.
const IDLE_OCTETS: usize = 128;
/// Octets for which there is room once that was not enough.
const READ_OCTETS: usize = 4096;
/// Octets of an answer of many messages that are gathered before they are written.
const WRITE_OCTETS: usize = 1 << 16;

/// Who is served, and with what.
pub(super) struct Serving<'s, H> {
    pub(super) handler: &'s H,
    pub(super) counters: &'s Counters,
    pub(super) started: Clock,
    pub(super) client: IpAddr,
    pub(super) transport: Transport,
}

/// Answers everything that comes on `stream`, until the client leaves, idles, breaks the rules, or `stopped` fires.
pub(super) async fn serve<S, H>(
    mut stream: S,
    serving: Serving<'_, H>,
    stopped: &mut watch::Receiver<()>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let mut connection = Connection::default();
    let mut deadline = Instant::now() + IDLE;
    let mut reading = true;
    loop {
        let progress = connection.answer_all(&serving);
        match progress {
            Progress::Nothing => {}
            Progress::Some | Progress::Many(_) => deadline = Instant::now() + IDLE,
            // What is no query ends the conversation, once what was asked before it is answered.
            Progress::End => reading = false,
        }
        if !connection.out.is_empty() {
            // Lengths and messages in one write (RFC 7766 §8).
            timeout(IDLE, stream.write_all(&connection.out)).await??;
            timeout(IDLE, stream.flush()).await??;
            connection.out = Vec::new();
            deadline = Instant::now() + IDLE;
        }
        if let Progress::Many(messages) = progress {
            send_all(&mut stream, messages).await?;
            deadline = Instant::now() + IDLE;
            // What came behind the query that is answered now has not been looked at.
            continue;
        }
        if !reading && connection.waiting.is_empty() {
            return stream.shutdown().await;
        }
        let may_read = reading && connection.waiting.len() < PIPELINED_MAX;
        tokio::select! {
            Some(answer) = connection.waiting.join_next(), if !connection.waiting.is_empty() => {
                let answer = answer.ok().flatten();
                let message = answer.as_deref().unwrap_or_default();
                serving.counters.count_stream(serving.transport, outcome_of(answer.as_deref()), message);
                if let Some(answer) = answer {
                    append(&mut connection.out, &answer)?;
                }
            }
            read = timeout_at(deadline, read_some(&mut stream, &mut connection.buffer)), if may_read => match read {
                Ok(octets) => reading = octets? > 0,
                // A client that waits for us is not idle.
                Err(_) if !connection.waiting.is_empty() => deadline = Instant::now() + IDLE,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            },
            _ = stopped.changed(), if reading => reading = false,
        }
    }
}

/// Appends what is there to `buffer`. Nothing is lost if this is dropped before it is done.
async fn read_some(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<usize> {
    // Whoever sends more than a query at a time is read faster.
    buffer.reserve(if buffer.is_empty() { IDLE_OCTETS } else { READ_OCTETS });
    stream.read_buf(buffer).await
}

/// Sends the messages of one answer, as fast as the client takes them.
async fn send_all(stream: &mut (impl AsyncWrite + Unpin), messages: Many) -> io::Result<()> {
    let mut out = Vec::new();
    for message in messages {
        append(&mut out, &message)?;
        if out.len() >= WRITE_OCTETS {
            timeout(IDLE, stream.write_all(&out)).await??;
            out.clear();
        }
    }
    timeout(IDLE, stream.write_all(&out)).await??;
    timeout(IDLE, stream.flush()).await?
}

/// What looking at the buffer led to.
enum Progress {
    Nothing,
    Some,
    /// Some, and then a query whose answer has many messages.
    Many(Many),
    End,
}

/// What one connection holds. All of it is empty while the client is idle.
#[derive(Default)]
struct Connection {
    /// Octets that are not yet whole messages: at most one message and a read. Its memory goes when it is empty.
    buffer: Vec<u8>,
    /// Framed answers to send.
    out: Vec<u8>,
    waiting: JoinSet<Option<Vec<u8>>>,
}

impl Connection {
    /// Answers the whole messages in the buffer, as many as may wait at once.
    fn answer_all<H: Handler>(&mut self, serving: &Serving<'_, H>) -> Progress {
        let mut taken = 0;
        let mut answer = Vec::new();
        let mut progress = Progress::Nothing;
        while self.waiting.len() < PIPELINED_MAX
            && let Frame::Complete { message, consumed } = first_frame(&self.buffer[taken..])
        {
            taken += consumed;
            progress = Progress::Some;
            let now = since(serving.started);
            let handled =
                serving.handler.handle(message, serving.client, now, serving.transport, &mut answer);
            match handled {
                Handled::Done(outcome) => {
                    serving.counters.count_stream(serving.transport, outcome, message);
                    if outcome == Outcome::Silent || append(&mut self.out, &answer).is_err() {
                        progress = Progress::End;
                        break;
                    }
                }
                Handled::Later(later) => drop(self.waiting.spawn(later)),
                Handled::Many(messages) => {
                    let noerror = Outcome::Answered(Rcode::NOERROR);
                    serving.counters.count_stream(serving.transport, noerror, message);
                    progress = Progress::Many(messages);
                    break;
                }
            }
        }
        if taken == self.buffer.len() {
            self.buffer = Vec::new();
        } else {
            self.buffer.drain(..taken);
        }
        progress
    }
}

fn append(out: &mut Vec<u8>, answer: &[u8]) -> io::Result<()> {
    let length = frame_length(answer.len()).ok_or(io::ErrorKind::InvalidData)?;
    out.extend_from_slice(&length);
    out.extend_from_slice(answer);
    Ok(())
}

/// Serves `stream` within `lifetime`, however it ends: reset, deadline, garbage; nobody else notices.
/// `place` is kept for as long. One function and not a wrapper around another future: a future that is handed to an
/// async function is held twice.
pub(super) async fn serve_for<P, S, H>(
    (place, lifetime): (P, Duration),
    stream: S,
    handler: Arc<H>,
    counters: Arc<Counters>,
    started: Clock,
    (client, transport): (IpAddr, Transport),
    mut stopped: watch::Receiver<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let serving = Serving { handler: &*handler, counters: &counters, started, client, transport };
    let _ = timeout(lifetime, serve(stream, serving, &mut stopped)).await;
    drop(place);
}
