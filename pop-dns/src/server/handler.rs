//! What answers, at once or later.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use super::{Batch, Respond};
use crate::{Outcome, Timestamp, Transport};

/// An answer that has to be waited for; `None` is silence.
pub type Later = Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>;

/// The messages of one answer. Each is made when there is room to send it.
pub type Many = Box<dyn Iterator<Item = Vec<u8>> + Send>;

/// What a handler made of a query.
#[must_use = "an answer that nobody sends helps nobody"]
pub enum Handled {
    /// It is answered, or never will be; the buffer holds what [`Outcome`] says.
    Done(Outcome),
    /// The answer will come from somewhere else. The server goes on with other queries.
    Later(Later),
    /// The answer has many messages, one after the other, as transfers have. On a stream only: by datagram it is
    /// silence.
    Many(Many),
}

impl fmt::Debug for Handled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(outcome) => f.debug_tuple("Done").field(outcome).finish(),
            Self::Later(_) => f.write_str("Later"),
            Self::Many(_) => f.write_str("Many"),
        }
    }
}

/// Answers queries, at once or later. Everything that can [`Respond`] is a handler whose answers never have to be
/// waited for.
pub trait Handler: Send + Sync + 'static {
    /// Answers `query` from `client` into `answer`, which is emptied first, or promises to. Called on the serving
    /// threads, so it must not wait itself.
    fn handle(
        &self,
        query: &[u8],
        client: IpAddr,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Handled;

    /// Handles datagrams that came together, one after the other unless the handler knows better. `now` counts from
    /// 1970.
    fn handle_batch(&self, now: Timestamp, batch: &mut Batch<'_>) {
        for index in 0..batch.len() {
            if batch.is_answerable(index) {
                let (query, client, answer) = batch.get(index);
                let handled = self.handle(query, client, now, Transport::Udp, answer);
                batch.settle(index, handled);
            }
        }
    }
}

impl<R: Respond> Handler for R {
    #[inline]
    fn handle(
        &self,
        query: &[u8],
        client: IpAddr,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Handled {
        if matches!(transport, Transport::Tcp | Transport::Tls)
            && let Some(messages) = self.respond_many(query, client, now)
        {
            return Handled::Many(messages);
        }
        Handled::Done(self.respond(query, client, now, transport, answer))
    }

    #[inline]
    fn handle_batch(&self, now: Timestamp, batch: &mut Batch<'_>) {
        self.respond_batch(now, batch);
    }
}
