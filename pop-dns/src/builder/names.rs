//! Writing names: compressed where that is allowed, and none of them twice.

use super::spelled::Spelled;
use super::{Buffer, BuildError, MessageBuilder};
use crate::header::HEADER_OCTETS;
use crate::name::{NAME_OCTETS_MAX, skip_plain};
use crate::rdata::Layout;
use crate::{Name, ParseError, RawRData};

impl<B: Buffer> MessageBuilder<B> {
    /// RDATA with names in them.
    #[inline]
    pub(super) fn write_names(&mut self, rdata: RawRData<'_>, layout: &Layout) -> Result<(), BuildError> {
        let octets = rdata.octets();
        let (message, start) = rdata.place();
        let prefix = layout.prefix(octets).ok_or(ParseError::RData { offset: start })?;
        if prefix > 0 {
            self.append(&octets[..prefix])?;
        }
        let mut at = start + prefix;
        for _ in 0..layout.names {
            at = if layout.compress {
                self.write_name(message, at)?.0
            } else {
                self.write_plain_name(message, at)?
            };
        }
        if at < message.len() { self.append(&message[at..]) } else { Ok(()) }
    }

    /// The name at `start` of `message`, written without compression; the offset behind it.
    fn write_plain_name(&mut self, message: &[u8], start: usize) -> Result<usize, BuildError> {
        if let Ok(end) = skip_plain(message, start) {
            self.append(&message[start..end])?;
            return Ok(end);
        }
        let (name, end) = Name::parse(message, start)?;
        let mut wire = [0; NAME_OCTETS_MAX];
        let octets = name.write_wire(&mut wire)?;
        self.append(&wire[..octets])?;
        Ok(end)
    }

    /// The owner at `start` of `message`, written compressed; the offset behind it.
    #[inline]
    pub(super) fn write_owner(&mut self, message: &[u8], start: usize) -> Result<usize, BuildError> {
        if let Some((target, octets)) = self.last_name.target(message, start) {
            self.append(&(0xC000 | target).to_be_bytes())?;
            return Ok(start + octets);
        }
        let (end, node) = self.write_name(message, start)?;
        if let Some(node) = node {
            self.last_name.remember(&message[start..end], self.compressor.offset(node));
        }
        Ok(end)
    }

    /// The name at `start` of `message`, written compressed against what this message holds: the offset behind it, and
    /// its node if it has one.
    fn write_name(&mut self, message: &[u8], start: usize) -> Result<(usize, Option<u16>), BuildError> {
        let mut name = Spelled::new();
        if !name.scan(message, start)? {
            // A pointer, or something broken.
            return self.write_pointed_name(message, start);
        }
        if self.first_name_waits {
            self.first_name_waits = false;
            let mut first = Spelled::new();
            if first.scan(self.buffer.octets(), HEADER_OCTETS)? {
                self.compressor.insert(&first, first.unknown(), HEADER_OCTETS);
            }
        }
        let found = self.compressor.find(&name, self.buffer.octets());
        let (base, wire) = (self.len(), name.as_wire());
        if found.node == 0 {
            self.append(wire)?;
        } else {
            let kept = name.start(found.label);
            let pointer = 0xC000 | self.compressor.offset(found.node);
            self.room(kept + 2)?;
            if kept > 0 {
                self.buffer.append(&wire[..kept]);
            }
            self.buffer.append(&pointer.to_be_bytes());
        }
        let node = self.compressor.insert(&name, found, base);
        Ok((start + wire.len(), node.filter(|&node| node > 0)))
    }

    /// A name that ends in a pointer is put together first. It has no node: what the caller sees of it is not all of it.
    #[cold]
    fn write_pointed_name(
        &mut self,
        message: &[u8],
        start: usize,
    ) -> Result<(usize, Option<u16>), BuildError> {
        let (name, end) = Name::parse(message, start)?;
        let mut wire = [0; NAME_OCTETS_MAX];
        let octets = name.write_wire(&mut wire)?;
        self.write_name(&wire[..octets], 0)?;
        Ok((end, None))
    }

    /// A name alone, without compression. The first of a message is only noted down.
    pub(super) fn write_question_name(&mut self, wire: &[u8]) -> Result<(), BuildError> {
        let base = self.len();
        let end = if base == HEADER_OCTETS && skip_plain(wire, 0)? == wire.len() {
            self.append(wire)?;
            self.first_name_waits = true;
            self.last_name.remember(wire, HEADER_OCTETS as u16);
            wire.len()
        } else {
            self.write_owner(wire, 0)?
        };
        if end == wire.len() { Ok(()) } else { Err(ParseError::NameTooLong { offset: end }.into()) }
    }
}

/// Octets of the longest name that is remembered.
const REMEMBERED_OCTETS: usize = 64;

/// The owner written last, octet for octet: records of one owner come one after the other.
#[derive(Debug)]
pub(super) struct LastName {
    wire: [u8; REMEMBERED_OCTETS],
    /// 0 for none.
    pub(super) octets: u8,
    target: u16,
}

impl LastName {
    pub(super) const NONE: Self = Self { wire: [0; REMEMBERED_OCTETS], octets: 0, target: 0 };

    /// Where the name at `start` of `message` stands, and its octets, if it is the owner written last. No name is the
    /// beginning of another, so octets alone tell.
    #[inline]
    fn target(&self, message: &[u8], start: usize) -> Option<(u16, usize)> {
        let octets = usize::from(self.octets);
        let there = message.get(start..start + octets)?;
        (octets > 0 && self.wire[..octets] == *there).then_some((self.target, octets))
    }

    #[inline]
    pub(super) fn remember(&mut self, wire: &[u8], target: u16) {
        // The root is shorter than a pointer.
        if let Some(copy) = self.wire.get_mut(..wire.len()).filter(|_| wire.len() > 1) {
            copy.copy_from_slice(wire);
            (self.octets, self.target) = (wire.len() as u8, target);
        }
    }
}
