//! An authority that also gives its zones away, and hears when those of others change.

use std::net::IpAddr;
use std::sync::Arc;

use super::fetch::unix_time;
use super::{Notifier, Outgoing, soa_numbers};
use crate::forward::Subscribers;
use crate::server::{Batch, Handled, Handler, Swap};
use crate::tsig::{Keyring, Transaction, strip};
use crate::{
    Authority, Flags, HEADER_OCTETS, Header, Message, Opcode, Outcome, Query, Questions, Rcode, RecordType,
    Section, Timestamp, Transport,
};

/// The type and class of a TSIG record, as they stand in a message.
const TSIG_MARK: [u8; 4] = [0, 250, 0, 255];

/// A [`Handler`] around an authority: transfers for those who may have them, notifications for secondaries, and answers
/// signed for those who sign.
///
/// A transfer is given to who signs with a key of the ring and, if blocks were allowed, lives in one of them; without a
/// ring the block is enough. With neither, all transfers are refused.
#[derive(Debug)]
pub struct Transfers {
    swap: Swap,
    keys: Keyring,
    blocks: Vec<(IpAddr, u8)>,
    allowed: Subscribers,
    notifiers: Vec<Notifier>,
}

impl Transfers {
    /// Answers as the authority in `swap` does.
    #[must_use]
    pub fn new(swap: Swap) -> Self {
        let allowed = Subscribers::default();
        Self { swap, keys: Keyring::default(), blocks: Vec::new(), allowed, notifiers: Vec::new() }
    }

    /// Knows these keys. Transfers then have to be signed with one of them.
    #[must_use]
    pub fn keys(mut self, keys: Keyring) -> Self {
        self.keys = keys;
        self
    }

    /// Gives transfers to clients in `block`, address and prefix length.
    #[must_use]
    pub fn allow(mut self, block: (IpAddr, u8)) -> Self {
        self.blocks.push(block);
        self.allowed = Subscribers::new(&self.blocks);
        self
    }

    /// Passes notifications of its primaries on to a secondary.
    #[must_use]
    pub fn notify(mut self, notifier: Notifier) -> Self {
        self.notifiers.push(notifier);
        self
    }

    /// Whether a query is none of those that the authority answers alone. Cheap: two looks at the header, and for those
    /// with additional records one over the message.
    fn is_special(&self, query: &[u8]) -> bool {
        let Ok(header) = Header::parse(query) else { return false };
        header.flags.opcode() == Opcode::NOTIFY
            || !self.keys.is_empty()
                && header.counts[3] > 0
                && query.windows(TSIG_MARK.len()).any(|octets| octets == TSIG_MARK)
    }

    fn special(
        &self,
        query: &[u8],
        client: IpAddr,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Handled {
        let seconds = unix_time();
        let transaction = match Transaction::check_query(&self.keys, query, seconds) {
            Ok(transaction) => transaction,
            Err(rejection) => {
                let rcode = rejection.rcode();
                if !begin_answer(query, rcode, answer) {
                    return Handled::Done(Outcome::Silent);
                }
                rejection.sign(answer, seconds);
                return Handled::Done(Outcome::Answered(rcode));
            }
        };
        let plain = strip(query);
        let plain = plain.as_deref().unwrap_or(query);
        let header = Header::parse(plain).unwrap_or_default();
        if header.flags.opcode() == Opcode::NOTIFY && !header.flags.has(Flags::QR) {
            let outcome = self.notified(plain, client, answer);
            return Handled::Done(sign(transaction, outcome, answer, seconds, usize::MAX));
        }
        if let Some(outgoing) = self.transfer(plain, client, transport, transaction.as_ref(), seconds) {
            return outgoing;
        }
        let mut outcome = match self.swap.handle(plain, client, now, transport, answer) {
            Handled::Done(outcome) => outcome,
            other => return other,
        };
        let limit = match transport {
            Transport::Udp => Query::parse(plain).map_or(512, |query| {
                query.edns.map_or(512, |edns| edns.udp_payload.min(crate::UDP_PAYLOAD_OCTETS).into())
            }),
            _ => usize::from(u16::MAX),
        };
        outcome = sign(transaction, outcome, answer, seconds, limit);
        Handled::Done(outcome)
    }

    /// Answers a transfer query; `None` if it is none.
    fn transfer(
        &self,
        query: &[u8],
        client: IpAddr,
        transport: Transport,
        transaction: Option<&Transaction>,
        now: u64,
    ) -> Option<Handled> {
        let parsed = Query::parse(query).ok()?;
        let whole = parsed.qtype == RecordType::AXFR;
        if !whole && parsed.qtype != RecordType::IXFR || transport == Transport::Udp {
            // By datagram an incremental transfer is answered as any query; the authority refuses it.
            return None;
        }
        let signed = self.keys.is_empty() || transaction.is_some();
        let near = self.blocks.is_empty() || self.allowed.contains(client);
        if !signed || !near || self.keys.is_empty() && self.blocks.is_empty() {
            return None;
        }
        let authority: Arc<Authority> = self.swap.load();
        let zone = authority.zone(&parsed.name.to_name_buf().ok()?)?;
        let has = if whole { None } else { serial(query) };
        let outgoing = Outgoing::new(Arc::clone(zone), &parsed, has, transaction.cloned(), now);
        Some(Handled::Many(Box::new(outgoing)))
    }

    /// RFC 1996: the answer says that the notification came, or that it is none of ours.
    fn notified(&self, query: &[u8], client: IpAddr, answer: &mut Vec<u8>) -> Outcome {
        let question = Message::parse(query).ok().and_then(|message| message.questions().next()?.ok());
        let Some(question) = question else {
            let answered = begin_answer(query, Rcode::FORMERR, answer);
            return if answered { Outcome::Answered(Rcode::FORMERR) } else { Outcome::Silent };
        };
        let ours = |notifier: &&Notifier| notifier.origin().as_name() == question.name;
        let known = self.notifiers.iter().find(ours).is_some_and(|notifier| notifier.notify(client));
        let rcode = if known { Rcode::NOERROR } else { Rcode::REFUSED };
        begin_answer(query, rcode, answer);
        Outcome::Answered(rcode)
    }
}

/// The serial that an IXFR query says its client has.
fn serial(query: &[u8]) -> Option<u32> {
    let record = Message::parse(query).ok()?.section(Section::Authority).ok()?.next()?.ok()?;
    let soa = record.rtype == RecordType::SOA;
    soa.then(|| soa_numbers(record.rdata_octets())).flatten().map(|numbers| numbers[0])
}

/// Where the first question of a message ends; where its header does if there is none that can be read.
fn question_end(message: &[u8]) -> usize {
    let Ok(parsed) = Message::parse(message) else { return message.len().min(HEADER_OCTETS) };
    let mut questions = parsed.questions();
    match questions.next() {
        Some(Ok(_)) => Questions::position(&questions),
        _ => HEADER_OCTETS,
    }
}

/// Header and question of an answer with this code; `false` if the query has no header to answer.
fn begin_answer(query: &[u8], rcode: Rcode, answer: &mut Vec<u8>) -> bool {
    let Ok(header) = Header::parse(query) else { return false };
    if header.flags.has(Flags::QR) {
        return false;
    }
    let end = question_end(query);
    let flags = Flags(header.flags.0 & Flags::RD)
        .with_opcode(header.flags.opcode())
        .with(Flags::QR | Flags::AA)
        .with_rcode(rcode);
    let counts = [u16::from(end > HEADER_OCTETS), 0, 0, 0];
    answer.clear();
    answer.extend_from_slice(&Header { id: header.id, flags, counts }.to_wire());
    answer.extend_from_slice(&query[HEADER_OCTETS..end]);
    true
}

/// Signs an answer, which is cut to its question if the signature would not fit.
fn sign(
    transaction: Option<Transaction>,
    outcome: Outcome,
    answer: &mut Vec<u8>,
    now: u64,
    limit: usize,
) -> Outcome {
    let (Some(mut transaction), Outcome::Answered(_)) = (transaction, outcome) else { return outcome };
    if answer.len() + transaction.key().record_octets() > limit {
        let end = question_end(answer);
        answer.truncate(end);
        if let Ok(mut header) = Header::parse(answer) {
            header.flags = header.flags.with(Flags::TC);
            header.counts = [u16::from(end > HEADER_OCTETS), 0, 0, 0];
            answer[..HEADER_OCTETS].copy_from_slice(&header.to_wire());
        }
    }
    transaction.sign(answer, now);
    outcome
}

impl Handler for Transfers {
    fn handle(
        &self,
        query: &[u8],
        client: IpAddr,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Handled {
        if self.is_special(query) {
            return self.special(query, client, now, transport, answer);
        }
        self.transfer(query, client, transport, None, unix_time())
            .unwrap_or_else(|| self.swap.handle(query, client, now, transport, answer))
    }

    /// The authority answers the batch as it likes best; what it cannot answer alone is answered again.
    fn handle_batch(&self, now: Timestamp, batch: &mut Batch<'_>) {
        self.swap.handle_batch(now, batch);
        for index in 0..batch.len() {
            if batch.is_answerable(index) && self.is_special(batch.query(index)) {
                let (query, client, answer) = batch.get(index);
                let handled = self.special(query, client, now, Transport::Udp, answer);
                batch.settle(index, handled);
            }
        }
    }
}
