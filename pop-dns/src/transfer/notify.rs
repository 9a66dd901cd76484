//! Word to a secondary that a zone has changed (RFC 1996).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::TransferError;
use super::fetch::unix_time;
use crate::random::Random;
use crate::tsig::{Key, Transaction};
use crate::zone::Zone;
use crate::{
    Class, Flags, MESSAGE_OCTETS_MAX, Message, MessageBuilder, Opcode, RawRData, Rcode, RecordType, Section,
};

/// Times that it is sent, and how long an answer is awaited at first; each wait is twice the one before (§3.6).
const ATTEMPTS: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Tells `secondary` that it will find this version of the zone here; signed, if there is a key that the two share.
/// Sends up to five times, half a minute in all, until there is an answer.
///
/// ```no_run
/// # async fn example(zone: pop_dns::zone::Zone) -> Result<(), pop_dns::transfer::TransferError> {
/// pop_dns::transfer::notify("192.0.2.53:53".parse().expect("an address"), &zone, None).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`TransferError::Code`] if the secondary does not want to know, [`TransferError::Network`] if it is silent.
pub async fn notify(secondary: SocketAddr, zone: &Zone, key: Option<&Key>) -> Result<(), TransferError> {
    let local: IpAddr = match secondary {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((local, 0)).await?;
    socket.connect(secondary).await?;
    let mut message = message(zone, Random::new().next() as u16);
    let id = [message[0], message[1]];
    let transaction = key.map(|key| Transaction::sign_query(key, &mut message, unix_time()));
    let mut answer = vec![0; MESSAGE_OCTETS_MAX];
    let mut wait = FIRST_WAIT;
    for _ in 0..ATTEMPTS {
        socket.send(&message).await?;
        let deadline = Instant::now() + wait;
        // An error is an ICMP message: the secondary may be starting.
        while let Ok(received) = timeout_at(deadline, socket.recv(&mut answer)).await {
            let Ok(octets) = received else {
                tokio::time::sleep_until(deadline).await;
                break;
            };
            if let Some(rcode) = answered(&answer[..octets], id, transaction.clone()) {
                return if rcode == Rcode::NOERROR { Ok(()) } else { Err(TransferError::Code(rcode)) };
            }
        }
        wait *= 2;
    }
    Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())
}

/// The notification: the zone's name, and its SOA as a hint (§3.7).
fn message(zone: &Zone, id: u16) -> Vec<u8> {
    let mut builder = MessageBuilder::new(MESSAGE_OCTETS_MAX);
    builder.set_header(id, Flags(Flags::AA).with_opcode(Opcode::NOTIFY));
    let soa = zone.soa();
    let rdata = soa.rdata().map(|rdata| RawRData::new(RecordType::SOA, rdata));
    // A question and a SOA fit into any message.
    let _ = builder.question(zone.origin().as_wire(), RecordType::SOA, Class::IN);
    let _ = builder.records(Section::Answer, zone.origin().as_name(), Class::IN, soa.ttl(), rdata);
    builder.finish()
}

/// The code in an answer to our notification; `None` if it is none, or not signed as it has to be.
fn answered(octets: &[u8], id: [u8; 2], transaction: Option<Transaction>) -> Option<Rcode> {
    let header = Message::parse(octets).ok()?.header();
    let ours = octets.get(..2) == Some(&id[..])
        && header.flags.has(Flags::QR)
        && header.flags.opcode() == Opcode::NOTIFY;
    if !ours {
        return None;
    }
    if let Some(mut transaction) = transaction {
        let _ = transaction.check(octets, unix_time()).ok()?;
    }
    Some(header.flags.rcode())
}
