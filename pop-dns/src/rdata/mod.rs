//! RDATA of every type in use, on the wire and as text.
//!
//! [`RData`] is the sum of all types. Each type is a list of fields, each field has a kind, and each kind says
//! how it is read, written, shown and scanned. So a type has one line a field, and its text and its wire form
//! cannot drift apart.

mod apl;
mod base;
mod bitmap;
mod gateway;
mod kind;
mod loc;
mod names;
mod raw;
mod reader;
mod strings;
mod svc_key;
mod svcb;
#[cfg(feature = "alloc")]
mod text;
mod time;
mod types;
mod wks;

pub use apl::{AddressPrefix, AddressPrefixes};
pub use bitmap::TypeBitmap;
#[cfg(feature = "dnssec")]
pub(crate) use bitmap::write_types;
pub use gateway::{Gateway, Hip, Servers};
pub use loc::Loc;
pub(crate) use names::Layout;
pub use raw::RawRData;
pub use strings::Strings;
pub use svc_key::SvcKey;
pub use svcb::{SvcParams, SvcValue};
#[cfg(feature = "std")]
pub(crate) use text::parse_ttl;
#[cfg(feature = "alloc")]
pub use text::{RDataTextError, Token, parse_rdata};
pub use types::{
    Afsdb, Amtrelay, Caa, Cert, Csync, Doa, Ds, Dsync, Gpos, Hinfo, Ipseckey, Isdn, Key, Kx, L32, Lp, Minfo,
    Mx, Naptr, Nid, Nsec, Nsec3, Nsec3Param, Px, Rp, Rrsig, Rt, Sink, Soa, Srv, Sshfp, Svcb, Talink, Tkey,
    Tlsa, Tsig, Uri, Wks, Zonemd,
};

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use self::kind::{Kind, Spaced};
use self::reader::Reader;
use crate::{Name, ParseError, RecordType};
#[cfg(feature = "alloc")]
use {self::text::Fields, alloc::vec::Vec};

macro_rules! table {
    ($($variant:ident($type:ty) = $code:ident as $kind:ty, $doc:literal;)*) => {
        /// RDATA by type, borrowed from the message.
        ///
        /// What a type's RFC makes malformed is refused when it is read; names behind compression pointers are
        /// checked as they are walked. [`Display`](fmt::Display) shows presentation format.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum RData<'m> {
            $(#[doc = $doc] $variant($type),)*
            /// Any other type; and empty RDATA of whatever type, as updates have them (RFC 2136 §2.4).
            Unknown(RecordType, &'m [u8]),
        }

        impl<'m> RData<'m> {
            /// Reads the RDATA of `rtype` that begin at `start` of `message` and end where it ends.
            ///
            /// # Errors
            /// [`ParseError`] where they do not hold what the type says.
            #[inline]
            pub fn parse(rtype: RecordType, message: &'m [u8], start: usize) -> Result<Self, ParseError> {
                let octets = message.get(start..).ok_or(ParseError::Truncated { offset: message.len() })?;
                if octets.is_empty() {
                    return Ok(Self::Unknown(rtype, octets));
                }
                let mut reader = Reader::new(message, start);
                // Each type makes its result in place: the largest is ten times the smallest, and would be copied.
                match rtype {
                    $(RecordType::$code => {
                        let value = <$kind as Kind>::read(&mut reader)?;
                        reader.finish()?;
                        Ok(Self::$variant(value))
                    })*
                    _ => Ok(Self::Unknown(rtype, octets)),
                }
            }

            /// The type.
            #[must_use]
            pub const fn rtype(&self) -> RecordType {
                match self {
                    $(Self::$variant(_) => RecordType::$code,)*
                    Self::Unknown(rtype, _) => *rtype,
                }
            }

            /// Appends these RDATA in wire format, names uncompressed.
            ///
            /// # Errors
            /// [`ParseError`] where a pointer leads to what is no name; `wire` then holds an unfinished part.
            #[cfg(feature = "alloc")]
            pub fn write_wire(&self, wire: &mut Vec<u8>) -> Result<(), ParseError> {
                match self {
                    $(Self::$variant(value) => <$kind as Kind>::write(value, wire),)*
                    Self::Unknown(_, octets) => {
                        wire.extend_from_slice(octets);
                        Ok(())
                    }
                }
            }
        }

        impl fmt::Display for RData<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(value) => <$kind as Kind>::show(value, &mut Spaced::new(f)),)*
                    Self::Unknown(_, octets) => {
                        write!(f, "\\# {}", octets.len())?;
                        f.write_str(if octets.is_empty() { "" } else { " " })?;
                        base::show_hex(octets, f)
                    }
                }
            }
        }

        /// Scans the fields of `rtype`.
        #[cfg(feature = "alloc")]
        fn scan(rtype: RecordType, fields: &mut Fields<'_, '_>, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
            match rtype {
                $(RecordType::$code => <$kind as Kind>::scan(fields, wire),)*
                _ => Err(RDataTextError::Unsupported(rtype)),
            }
        }

        /// Every type whose RDATA this crate understands; all others have the form of RFC 3597 alone.
        pub const TYPED: &[RecordType] = &[$(RecordType::$code,)*];
    };
}

table! {
    A(Ipv4Addr) = A as kind::Ipv4, "An IPv4 address (RFC 1035 §3.4.1).";
    Ns(Name<'m>) = NS as kind::Domain, "A name server (RFC 1035 §3.3.11).";
    Md(Name<'m>) = MD as kind::Domain, "A mail destination (RFC 1035 §3.3.4).";
    Mf(Name<'m>) = MF as kind::Domain, "A mail forwarder (RFC 1035 §3.3.5).";
    Cname(Name<'m>) = CNAME as kind::Domain, "The canonical name of an alias (RFC 1035 §3.3.1).";
    Soa(Soa<'m>) = SOA as Soa<'static>, "The start of authority.";
    Mb(Name<'m>) = MB as kind::Domain, "A mailbox (RFC 1035 §3.3.3).";
    Mg(Name<'m>) = MG as kind::Domain, "A mail group member (RFC 1035 §3.3.6).";
    Mr(Name<'m>) = MR as kind::Domain, "A mail rename (RFC 1035 §3.3.8).";
    Wks(Wks<'m>) = WKS as Wks<'static>, "A well known service description.";
    Ptr(Name<'m>) = PTR as kind::Domain, "The name pointed to (RFC 1035 §3.3.12).";
    Hinfo(Hinfo<'m>) = HINFO as Hinfo<'static>, "Host information.";
    Minfo(Minfo<'m>) = MINFO as Minfo<'static>, "Mailbox information.";
    Mx(Mx<'m>) = MX as Mx<'static>, "A mail exchange.";
    Txt(Strings<'m>) = TXT as kind::Texts, "Text strings (RFC 1035 §3.3.14).";
    Rp(Rp<'m>) = RP as Rp<'static>, "A responsible person.";
    Afsdb(Afsdb<'m>) = AFSDB as Afsdb<'static>, "An AFS cell data base.";
    X25(&'m [u8]) = X25 as kind::Text, "An X.25 address (RFC 1183 §3.1).";
    Isdn(Isdn<'m>) = ISDN as Isdn<'static>, "An ISDN address.";
    Rt(Rt<'m>) = RT as Rt<'static>, "A route through.";
    Nsap(&'m [u8]) = NSAP as kind::Nsap, "An NSAP address (RFC 1706).";
    NsapPtr(Name<'m>) = NSAP_PTR as kind::Domain, "An NSAP pointer (RFC 1348).";
    Sig(Rrsig<'m>) = SIG as Rrsig<'static>, "A signature over a transaction.";
    Key(Key<'m>) = KEY as Key<'static>, "A key.";
    Px(Px<'m>) = PX as Px<'static>, "X.400 mail mapping information.";
    Gpos(Gpos<'m>) = GPOS as Gpos<'static>, "A geographical position.";
    Aaaa(Ipv6Addr) = AAAA as kind::Ipv6, "An IPv6 address (RFC 3596).";
    Loc(Loc) = LOC as loc::Location, "A location (RFC 1876).";
    Eid(&'m [u8]) = EID as kind::Hex, "An endpoint identifier.";
    Nimloc(&'m [u8]) = NIMLOC as kind::Hex, "A Nimrod locator.";
    Srv(Srv<'m>) = SRV as Srv<'static>, "A service.";
    Atma((u8, &'m [u8])) = ATMA as wks::AtmAddress, "An ATM address: its format, and its octets or digits.";
    Naptr(Naptr<'m>) = NAPTR as Naptr<'static>, "A naming authority pointer.";
    Kx(Kx<'m>) = KX as Kx<'static>, "A key exchanger.";
    Cert(Cert<'m>) = CERT as Cert<'static>, "A certificate.";
    Dname(Name<'m>) = DNAME as kind::Domain, "The name that replaces the owner below it (RFC 6672).";
    Sink(Sink<'m>) = SINK as Sink<'static>, "A kitchen sink.";
    Apl(AddressPrefixes<'m>) = APL as apl::Prefixes, "Address prefixes.";
    Ds(Ds<'m>) = DS as Ds<'static>, "A delegation signer.";
    Sshfp(Sshfp<'m>) = SSHFP as Sshfp<'static>, "An SSH key fingerprint.";
    Ipseckey(Ipseckey<'m>) = IPSECKEY as Ipseckey<'static>, "An IPsec key.";
    Rrsig(Rrsig<'m>) = RRSIG as Rrsig<'static>, "A signature over an RRset.";
    Nsec(Nsec<'m>) = NSEC as Nsec<'static>, "A denial of existence.";
    Dnskey(Key<'m>) = DNSKEY as Key<'static>, "A zone key.";
    Dhcid(&'m [u8]) = DHCID as kind::Base64, "A DHCP identifier (RFC 4701).";
    Nsec3(Nsec3<'m>) = NSEC3 as Nsec3<'static>, "A hashed denial of existence.";
    Nsec3Param(Nsec3Param<'m>) = NSEC3PARAM as Nsec3Param<'static>, "The parameters of NSEC3.";
    Tlsa(Tlsa<'m>) = TLSA as Tlsa<'static>, "A TLS certificate association.";
    Smimea(Tlsa<'m>) = SMIMEA as Tlsa<'static>, "An S/MIME certificate association.";
    Hip(Hip<'m>) = HIP as gateway::HostIdentity, "A host identity.";
    Ninfo(Strings<'m>) = NINFO as kind::Texts, "Zone status information.";
    Rkey(Key<'m>) = RKEY as Key<'static>, "A key for NAPTR encryption.";
    Talink(Talink<'m>) = TALINK as Talink<'static>, "A trust anchor link.";
    Cds(Ds<'m>) = CDS as Ds<'static>, "A child's DS (RFC 7344).";
    Cdnskey(Key<'m>) = CDNSKEY as Key<'static>, "A child's DNSKEY (RFC 7344).";
    Openpgpkey(&'m [u8]) = OPENPGPKEY as kind::Base64, "An OpenPGP key (RFC 7929).";
    Csync(Csync<'m>) = CSYNC as Csync<'static>, "Child-to-parent synchronisation.";
    Zonemd(Zonemd<'m>) = ZONEMD as Zonemd<'static>, "A digest over a zone.";
    Svcb(Svcb<'m>) = SVCB as Svcb<'static>, "A service binding.";
    Https(Svcb<'m>) = HTTPS as Svcb<'static>, "A service binding for HTTP.";
    Dsync(Dsync<'m>) = DSYNC as Dsync<'static>, "An endpoint for delegation synchronisation.";
    Hhit(&'m [u8]) = HHIT as kind::Base64, "A hierarchical host identity tag (RFC 9886).";
    Brid(&'m [u8]) = BRID as kind::Base64, "A broadcast remote identification (RFC 9886).";
    Spf(Strings<'m>) = SPF as kind::Texts, "Sender policy (RFC 7208).";
    Nid(Nid) = NID as Nid, "An ILNP node identifier.";
    L32(L32) = L32 as L32, "A 32-bit ILNP locator.";
    L64(Nid) = L64 as Nid, "A 64-bit ILNP locator.";
    Lp(Lp<'m>) = LP as Lp<'static>, "A pointer to ILNP locators.";
    Eui48([u8; 6]) = EUI48 as kind::Octets6, "A 48-bit identifier (RFC 7043).";
    Eui64([u8; 8]) = EUI64 as kind::Octets8, "A 64-bit identifier (RFC 7043).";
    Tkey(Tkey<'m>) = TKEY as Tkey<'static>, "A transaction key.";
    Tsig(Tsig<'m>) = TSIG as Tsig<'static>, "A transaction signature.";
    Uri(Uri<'m>) = URI as Uri<'static>, "A URI.";
    Caa(Caa<'m>) = CAA as Caa<'static>, "A certification authority restriction.";
    Avc(Strings<'m>) = AVC as kind::Texts, "Application visibility and control.";
    Doa(Doa<'m>) = DOA as Doa<'static>, "A digital object architecture record.";
    Amtrelay(Amtrelay<'m>) = AMTRELAY as Amtrelay<'static>, "A multicast tunnelling relay.";
    Resinfo(Strings<'m>) = RESINFO as kind::Texts, "Resolver information (RFC 9606).";
    Wallet(Strings<'m>) = WALLET as kind::Texts, "A wallet address.";
    Cla(Strings<'m>) = CLA as kind::Texts, "A BP convergence layer adapter.";
    Ipn(u64) = IPN as kind::U64, "A BP node number.";
    Ta(Ds<'m>) = TA as Ds<'static>, "A DNSSEC trust authority.";
    Dlv(Ds<'m>) = DLV as Ds<'static>, "A look-aside validation record (RFC 8749).";
}
