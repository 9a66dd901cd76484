//! A transfer as it comes: messages in, a zone or changes out.

use super::changes::Changes;
use super::{TransferError, is_newer, soa_numbers};
use crate::zone::{Zone, ZoneBuilder};
use crate::{Class, Flags, Message, NameBuf, Rcode, Record, RecordType};

/// What has come so far.
#[derive(Debug)]
#[must_use]
pub enum Progress {
    /// More has to come.
    More,
    /// The server has nothing newer.
    Current,
    /// All of it.
    Done(Received),
}

/// What came.
#[derive(Debug)]
pub enum Received {
    /// The whole zone.
    Zone(Box<Zone>),
    /// What changes in the zone that we have.
    Changes(Box<Changes>),
}

/// A transfer under way. Nothing that it was given counts before its end.
#[derive(Debug)]
pub struct Incoming {
    origin: NameBuf,
    /// The serial of what we have, if changes will do.
    have: Option<u32>,
    /// The serial of what comes.
    serial: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The first record is the new SOA.
    First,
    /// The second tells a whole zone from changes.
    Second(Box<ZoneBuilder>),
    /// Records up to the same SOA once more.
    Whole(Box<ZoneBuilder>),
    /// What a step deletes, up to the SOA that it leads to.
    Deleted(Box<Changes>),
    /// What a step that leads to this serial adds, up to the next step's SOA or the end's.
    Added(Box<Changes>, u32),
    /// All came, or something that is no transfer.
    End(Option<Received>),
}

impl Incoming {
    /// The transfer of zone `origin`; `have` is the serial that was sent with an IXFR query.
    #[must_use]
    pub fn new(origin: &NameBuf, have: Option<u32>) -> Self {
        Self { origin: origin.to_lower(), have, serial: 0, state: State::First }
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// [`TransferError`]; the transfer is to be given up then.
    pub fn push(&mut self, message: &Message<'_>) -> Result<Progress, TransferError> {
        let flags = message.header().flags;
        let edns = message.edns()?;
        let rcode = edns.map_or(flags.rcode(), |edns| edns.rcode(flags.rcode()));
        if !flags.has(Flags::QR) {
            return Err(TransferError::Expected("a response"));
        }
        if rcode != Rcode::NOERROR {
            return Err(TransferError::Code(rcode));
        }
        for question in message.questions() {
            if question?.name != self.origin.as_name() {
                return Err(TransferError::Expected("the zone that was asked for"));
            }
        }
        for record in message.answers()? {
            self.step(&record?)?;
        }
        match &mut self.state {
            State::First => Err(TransferError::Expected("a SOA")),
            // RFC 1995 §4: nothing but a SOA, and not a newer one.
            State::Second(_) if self.have.is_some_and(|have| !is_newer(self.serial, have)) => {
                self.state = State::End(None);
                Ok(Progress::Current)
            }
            State::End(received) => {
                received.take().map(Progress::Done).ok_or(TransferError::Expected("nothing more"))
            }
            _ => Ok(Progress::More),
        }
    }

    fn step(&mut self, record: &Record<'_>) -> Result<(), TransferError> {
        if record.class != Class::IN {
            return Err(TransferError::Expected("class IN"));
        }
        let soa = self.soa(record)?;
        self.state = match (std::mem::replace(&mut self.state, State::End(None)), soa) {
            (State::First, Some(serial)) => {
                self.serial = serial;
                let mut builder = Box::new(ZoneBuilder::new(&self.origin));
                builder.add(record.name, record.ttl, record.raw_rdata())?;
                State::Second(builder)
            }
            (State::First, None) => return Err(TransferError::Expected("a SOA")),
            (State::Second(_), Some(serial)) if Some(serial) == self.have && serial != self.serial => {
                let mut changes = Box::new(Changes::new(serial, self.serial));
                changes.delete(record)?;
                State::Deleted(changes)
            }
            (State::Second(builder) | State::Whole(builder), Some(serial)) => {
                if serial != self.serial {
                    return Err(TransferError::Expected("the serial of the first SOA"));
                }
                State::End(Some(Received::Zone(Box::new(builder.finish()?))))
            }
            (State::Second(mut builder) | State::Whole(mut builder), None) => {
                // RFC 5936 §3.5: what does not belong to the zone is left out.
                if record.name.to_name_buf()?.is_within(&self.origin) {
                    builder.add(record.name, record.ttl, record.raw_rdata())?;
                }
                State::Whole(builder)
            }
            (State::Deleted(mut changes), Some(serial)) => {
                changes.add(record)?;
                State::Added(changes, serial)
            }
            (State::Deleted(mut changes), None) => {
                changes.delete(record)?;
                State::Deleted(changes)
            }
            (State::Added(mut changes, reached), Some(serial)) => {
                if serial != reached {
                    return Err(TransferError::Expected("a step from the serial that was reached"));
                }
                if serial == self.serial {
                    State::End(Some(Received::Changes(changes)))
                } else {
                    changes.delete(record)?;
                    State::Deleted(changes)
                }
            }
            (State::Added(mut changes, reached), None) => {
                changes.add(record)?;
                State::Added(changes, reached)
            }
            (State::End(_), _) => return Err(TransferError::Expected("nothing more")),
        };
        Ok(())
    }

    /// The serial, if the record is the zone's SOA.
    fn soa(&self, record: &Record<'_>) -> Result<Option<u32>, TransferError> {
        if record.rtype != RecordType::SOA {
            return Ok(None);
        }
        if record.name != self.origin.as_name() {
            return Err(TransferError::Expected("no SOA but the zone's own"));
        }
        let numbers = soa_numbers(record.rdata_octets()).ok_or(TransferError::Expected("a whole SOA"))?;
        Ok(Some(numbers[0]))
    }
}
