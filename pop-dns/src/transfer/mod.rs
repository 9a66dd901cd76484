//! Zones from one server to another: AXFR (RFC 5936), IXFR (RFC 1995), NOTIFY (RFC 1996), signed by TSIG.
//!
//! The protocol is pure: [`Incoming`] takes messages and makes a zone, [`Authority::transfer`](crate::Authority::transfer)
//! takes a zone and makes messages, [`Timers`] say when to look again. [`Secondary`] is the shell around the one side;
//! [`notify`] tells it that there is something new.

mod changes;
mod error;
mod fetch;
mod incoming;
mod notify;
mod secondary;
mod timers;

pub use changes::{CHANGES_MAX, Changes};
pub use error::TransferError;
pub use incoming::{Incoming, Progress, Received};
pub use notify::notify;
pub use secondary::{Event, Notifier, Secondary};
pub use timers::Timers;

/// Whether serial `one` is newer than `two` (RFC 1982).
const fn is_newer(one: u32, two: u32) -> bool {
    (one.wrapping_sub(two) as i32) > 0
}

/// The five numbers at the end of a SOA's RDATA: serial, refresh, retry, expire, minimum.
fn soa_numbers(rdata: &[u8]) -> Option<[u32; 5]> {
    let (numbers, _) = rdata.last_chunk::<20>()?.as_chunks::<4>();
    let mut found = [0; 5];
    found.iter_mut().zip(numbers).for_each(|(to, from)| *to = u32::from_be_bytes(*from));
    Some(found)
}
