//! The OPT record of a message that is written.

use crate::edns::option;
use crate::{ClientSubnet, Rcode, RecordType};

/// Octets of an OPT record without options: root, type, payload size, code and flags, length.
const OPT_OCTETS: usize = 11;

/// The EDNS part of a message to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdnsParts<'a> {
    /// The largest UDP response that we take, in octets.
    pub udp_payload: u16,
    /// DNSSEC records are wanted.
    pub dnssec_ok: bool,
    /// Compact answers are understood: the CO bit (RFC 9824 §5).
    pub compact_ok: bool,
    /// The client subnet.
    pub client_subnet: Option<ClientSubnet>,
    /// Other options: code and contents.
    pub options: &'a [(u16, &'a [u8])],
}

impl EdnsParts<'_> {
    /// Octets of the OPT record.
    pub(crate) fn octets(&self) -> usize {
        let mut contents = [0; 20];
        let subnet = self.client_subnet.map_or(0, |subnet| 4 + subnet.write(&mut contents));
        OPT_OCTETS + subnet + self.options.iter().map(|(_, contents)| 4 + contents.len()).sum::<usize>()
    }

    /// Hands the OPT record to `put`, piece by piece.
    pub(crate) fn write<E>(
        &self,
        rcode: Rcode,
        mut put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let [payload, length] = [self.udp_payload, (self.octets() - OPT_OCTETS) as u16].map(u16::to_be_bytes);
        let mut opt = [0; OPT_OCTETS];
        opt[2] = RecordType::OPT.0 as u8;
        opt[3..5].copy_from_slice(&payload);
        opt[5] = (rcode.0 >> 4) as u8;
        opt[7] = u8::from(self.dnssec_ok) << 7 | u8::from(self.compact_ok) << 6;
        opt[9..].copy_from_slice(&length);
        put(&opt)?;
        let mut subnet = [0; 20];
        let subnet_octets = self.client_subnet.map(|told| told.write(&mut subnet));
        let subnet = subnet_octets.map(|octets| (option::CLIENT_SUBNET, &subnet[..octets]));
        subnet.iter().chain(self.options).try_for_each(|(code, contents)| {
            let [c0, c1] = code.to_be_bytes();
            let [l0, l1] = (contents.len() as u16).to_be_bytes();
            put(&[c0, c1, l0, l1])?;
            put(contents)
        })
    }
}
