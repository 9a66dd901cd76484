//! One transfer over TCP.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Incoming, Progress, Received, TransferError};
use crate::random::Random;
use crate::tsig::{Key, Transaction};
use crate::zone::Zone;
use crate::{
    Class, Flags, Message, MessageBuilder, NameBuf, ParseError, RawRData, RecordType, Section, frame_length,
};

/// How long the primary may take for connecting, and for each message.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages of one transfer: at 16 KiB each, 16 GiB.
const MESSAGES_MAX: usize = 1 << 20;

/// Seconds since 1970.
pub(super) fn unix_time() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Asks `primary` for zone `origin`: for what changed since `zone` if there is one, else for all of it. `None` if there
/// is nothing newer.
pub(super) async fn fetch(
    primary: SocketAddr,
    origin: &NameBuf,
    zone: Option<&Zone>,
    key: Option<&Key>,
    random: &Random,
) -> Result<Option<Received>, TransferError> {
    let mut query = query(origin, zone, random);
    let id = [query[0], query[1]];
    let mut transaction = key.map(|key| Transaction::sign_query(key, &mut query, unix_time()));
    let mut stream = within(TcpStream::connect(primary)).await?;
    stream.set_nodelay(true)?;
    let length = frame_length(query.len()).ok_or(TransferError::Expected("a query that fits a message"))?;
    within(stream.write_all(&[&length[..], &query].concat())).await?;
    let mut incoming = Incoming::new(origin, zone.map(Zone::serial));
    let mut octets = Vec::new();
    for _ in 0..MESSAGES_MAX {
        within(read_message(&mut stream, &mut octets)).await?;
        if octets.get(..2) != Some(&id) {
            return Err(TransferError::Expected("the identifier of the query"));
        }
        if let Some(transaction) = &mut transaction {
            let _ = transaction.check(&octets, unix_time())?;
        }
        let progress = incoming.push(&Message::parse(&octets)?)?;
        if let (Progress::Current | Progress::Done(_), Some(transaction)) = (&progress, &transaction) {
            transaction.finish()?;
        }
        match progress {
            Progress::More => {}
            Progress::Current => return Ok(None),
            Progress::Done(received) => return Ok(Some(received)),
        }
    }
    Err(TransferError::Malformed(ParseError::TooLong { octets: usize::MAX }))
}

fn query(origin: &NameBuf, zone: Option<&Zone>, random: &Random) -> Vec<u8> {
    let qtype = if zone.is_some() { RecordType::IXFR } else { RecordType::AXFR };
    let mut builder = MessageBuilder::new(usize::from(u16::MAX));
    builder.set_header(random.next() as u16, Flags::default());
    // A question and a SOA fit into any message.
    let _ = builder.question(origin.as_wire(), qtype, Class::IN);
    if let Some(zone) = zone {
        let soa = zone.soa();
        let rdata = soa.rdata().map(|rdata| RawRData::new(RecordType::SOA, rdata));
        let _ = builder.records(Section::Authority, origin.as_name(), Class::IN, soa.ttl(), rdata);
    }
    builder.finish()
}

async fn read_message(stream: &mut TcpStream, octets: &mut Vec<u8>) -> std::io::Result<()> {
    let length = usize::from(stream.read_u16().await?);
    octets.resize(length, 0);
    stream.read_exact(octets).await.map(drop)
}

async fn within<T>(step: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    timeout(PATIENCE, step).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}
