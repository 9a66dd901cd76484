//! What is asked.

use std::net::IpAddr;

use crate::{Class, ClientSubnet, Flags, NameBuf, RecordType, UDP_PAYLOAD_OCTETS};

/// A question, and how it is put. By default: class IN, recursion desired, EDNS, UDP with TCP on truncation.
///
/// ```
/// use pop_dns::{RecordType, client::Request};
///
/// let request = Request::new("www.example.org".parse()?, RecordType::AAAA)
///     .dnssec_ok()
///     .client_subnet(("198.51.100.0".parse()?, 24));
/// assert_eq!(request.qtype(), RecordType::AAAA);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) name: NameBuf,
    pub(super) qtype: RecordType,
    pub(super) qclass: Class,
    pub(super) flags: Flags,
    /// The UDP payload size to offer; `None` is a query without EDNS.
    pub(super) edns: Option<u16>,
    pub(super) dnssec_ok: bool,
    pub(super) client_subnet: Option<ClientSubnet>,
    pub(super) nsid: bool,
    pub(super) cookies: bool,
    pub(super) stream: bool,
}

impl Request {
    /// Asks for the records of one type.
    #[must_use]
    pub const fn new(name: NameBuf, qtype: RecordType) -> Self {
        Self {
            name,
            qtype,
            qclass: Class::IN,
            flags: Flags(Flags::RD),
            edns: Some(UDP_PAYLOAD_OCTETS),
            dnssec_ok: false,
            client_subnet: None,
            nsid: false,
            cookies: true,
            stream: false,
        }
    }

    /// In another class: CH for what a server says about itself.
    #[must_use]
    pub const fn class(mut self, qclass: Class) -> Self {
        self.qclass = qclass;
        self
    }

    /// Without recursion: what the server itself knows.
    #[must_use]
    pub const fn without_recursion(mut self) -> Self {
        self.flags.0 &= !Flags::RD;
        self
    }

    /// With checking disabled: data that fail validation are wanted too (RFC 4035 §3.2.2).
    #[must_use]
    pub const fn checking_disabled(mut self) -> Self {
        self.flags.0 |= Flags::CD;
        self
    }

    /// Asks whether the data are authentic (RFC 6840 §5.7).
    #[must_use]
    pub const fn authentic_data(mut self) -> Self {
        self.flags.0 |= Flags::AD;
        self
    }

    /// DNSSEC records are wanted (RFC 3225).
    #[must_use]
    pub const fn dnssec_ok(mut self) -> Self {
        self.dnssec_ok = true;
        self
    }

    /// On behalf of clients in this block (RFC 7871); host bits are cleared.
    #[must_use]
    pub fn client_subnet(mut self, (address, length): (IpAddr, u8)) -> Self {
        self.client_subnet = Some(ClientSubnet::new(address, length));
        self
    }

    /// Asks for the server's name (RFC 5001).
    #[must_use]
    pub const fn server_id(mut self) -> Self {
        self.nsid = true;
        self
    }

    /// Offers to take UDP answers of so many octets; the default is 1232.
    #[must_use]
    pub const fn udp_payload(mut self, octets: u16) -> Self {
        self.edns = Some(octets);
        self
    }

    /// Without EDNS, hence without cookies, subnet and DNSSEC records.
    #[must_use]
    pub const fn without_edns(mut self) -> Self {
        self.edns = None;
        self
    }

    /// Without cookies (RFC 7873).
    #[must_use]
    pub const fn without_cookies(mut self) -> Self {
        self.cookies = false;
        self
    }

    /// By TCP from the start.
    #[must_use]
    pub const fn over_stream(mut self) -> Self {
        self.stream = true;
        self
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &NameBuf {
        &self.name
    }

    /// The type.
    #[must_use]
    pub const fn qtype(&self) -> RecordType {
        self.qtype
    }
}
