//! The record types whose RDATA have more than one field, each as the list of its fields.

use core::fmt;

use super::bitmap::{Bitmap, TypeBitmap};
use super::gateway::{Gateway, KeyGateway, Relay};
use super::kind::{
    Algorithm, Base64, Base64Counted, CertificateType, Domain, Hash, Hex, Ipv4, Kind, OptionalText, Plain,
    Quoted, Rtype, Salt, Seconds, Spaced, Tag, Target, Text, Time, U8, U16, U32, U48, ZoneDigest,
};
use super::reader::Reader;
use super::svcb::{Params, SvcParams};
use super::wks::{Ports, Protocol};
use crate::{Name, ParseError, RecordType};
#[cfg(feature = "alloc")]
use {
    super::text::{Fields, RDataTextError},
    alloc::vec::Vec,
};

macro_rules! records {
    (@static $name:ident $lifetime:lifetime) => { $name<'static> };
    (@static $name:ident) => { $name };
    (@of $value:lifetime $name:ident $lifetime:lifetime) => { $name<$value> };
    (@of $value:lifetime $name:ident) => { $name };
    ($($name:ident $(<$lifetime:lifetime>)?: $doc:literal { $($field:ident: $type:ty = $kind:ty, $what:literal;)* })*) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name$(<$lifetime>)? {
            $(#[doc = $what] pub $field: $type,)*
        }

        impl Kind for records!(@static $name $($lifetime)?) {
            type Value<'v> = records!(@of 'v $name $($lifetime)?);

            #[inline]
            fn read<'m>(reader: &mut Reader<'m>) -> Result<Self::Value<'m>, ParseError> {
                Ok($name { $($field: <$kind>::read(reader)?,)* })
            }

            fn show(value: &Self::Value<'_>, f: &mut Spaced<'_, '_>) -> fmt::Result {
                $(
                    f.gap();
                    <$kind>::show(&value.$field, f)?;
                )*
                Ok(())
            }

            #[cfg(feature = "alloc")]
            fn write(value: &Self::Value<'_>, wire: &mut Vec<u8>) -> Result<(), ParseError> {
                $(<$kind>::write(&value.$field, wire)?;)*
                Ok(())
            }

            #[cfg(feature = "alloc")]
            fn scan(fields: &mut Fields<'_, '_>, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
                $(
                    fields.expect($what);
                    <$kind>::scan(fields, wire)?;
                )*
                Ok(())
            }
        }
    )*};
}

records! {
    Soa<'m>: "The start of a zone of authority (RFC 1035 §3.3.13). Times are in seconds." {
        mname: Name<'m> = Domain, "the primary server";
        rname: Name<'m> = Domain, "the mailbox of the one responsible";
        serial: u32 = U32, "the serial";
        refresh: u32 = Seconds, "the refresh time: how often a secondary looks";
        retry: u32 = Seconds, "the retry time: how soon it tries again";
        expire: u32 = Seconds, "the expiry time: when it gives up";
        minimum: u32 = Seconds, "the minimum time: how long a negative answer may be kept (RFC 2308)";
    }
    Wks<'m>: "A well known service description (RFC 1035 §3.4.2)." {
        address: core::net::Ipv4Addr = Ipv4, "the address";
        protocol: u8 = Protocol, "the protocol";
        ports: &'m [u8] = Ports, "the ports, a bit each";
    }
    Hinfo<'m>: "Host information (RFC 1035 §3.3.2), or the short answer to ANY (RFC 8482)." {
        cpu: &'m [u8] = Text, "the kind of processor";
        os: &'m [u8] = Text, "the operating system";
    }
    Minfo<'m>: "Mailbox information (RFC 1035 §3.3.7)." {
        rmailbx: Name<'m> = Domain, "the mailbox responsible";
        emailbx: Name<'m> = Domain, "the mailbox for errors";
    }
    Mx<'m>: "A mail exchange (RFC 1035 §3.3.9)." {
        preference: u16 = U16, "the preference: lower is tried first";
        exchange: Name<'m> = Domain, "the host";
    }
    Rp<'m>: "A responsible person (RFC 1183 §2.2)." {
        mbox: Name<'m> = Domain, "the mailbox";
        txt: Name<'m> = Domain, "where text about them is";
    }
    Afsdb<'m>: "An AFS cell data base (RFC 1183 §1)." {
        subtype: u16 = U16, "the kind of server";
        host: Name<'m> = Domain, "the host";
    }
    Isdn<'m>: "An ISDN address (RFC 1183 §3.2)." {
        address: &'m [u8] = Text, "the number";
        subaddress: Option<&'m [u8]> = OptionalText, "the subaddress";
    }
    Rt<'m>: "A route through (RFC 1183 §3.3)." {
        preference: u16 = U16, "the preference: lower is tried first";
        host: Name<'m> = Domain, "the intermediate host";
    }
    Key<'m>: "A key (RFC 4034 §2, RFC 2535 §3.1)." {
        flags: u16 = U16, "the flags: 256 a zone key, 1 a secure entry point";
        protocol: u8 = U8, "the protocol: 3 for DNSSEC";
        algorithm: u8 = Algorithm, "the algorithm";
        key: &'m [u8] = Base64, "the public key";
    }
    Px<'m>: "X.400 mail mapping information (RFC 2163)." {
        preference: u16 = U16, "the preference: lower is tried first";
        map822: Name<'m> = Domain, "the RFC 822 part";
        mapx400: Name<'m> = Domain, "the X.400 part";
    }
    Gpos<'m>: "A geographical position in decimal degrees and metres (RFC 1712)." {
        longitude: &'m [u8] = Text, "the longitude";
        latitude: &'m [u8] = Text, "the latitude";
        altitude: &'m [u8] = Text, "the altitude";
    }
    Srv<'m>: "A service (RFC 2782)." {
        priority: u16 = U16, "the priority: lower is tried first";
        weight: u16 = U16, "the weight: the share among equal priorities";
        port: u16 = U16, "the port";
        target: Name<'m> = Domain, "the host";
    }
    Naptr<'m>: "A naming authority pointer (RFC 3403 §4.1)." {
        order: u16 = U16, "the order: lower is processed first";
        preference: u16 = U16, "the preference among equal orders";
        flags: &'m [u8] = Text, "the flags";
        services: &'m [u8] = Text, "the services";
        regexp: &'m [u8] = Text, "the substitution expression";
        replacement: Name<'m> = Domain, "the next name to ask for";
    }
    Kx<'m>: "A key exchanger (RFC 2230)." {
        preference: u16 = U16, "the preference: lower is tried first";
        exchanger: Name<'m> = Domain, "the host";
    }
    Cert<'m>: "A certificate (RFC 4398)." {
        kind: u16 = CertificateType, "the certificate type";
        key_tag: u16 = U16, "the key tag";
        algorithm: u8 = Algorithm, "the algorithm";
        certificate: &'m [u8] = Base64, "the certificate or revocation list";
    }
    Sink<'m>: "A kitchen sink (draft-eastlake-kitchen-sink)." {
        meaning: u8 = U8, "the meaning";
        coding: u8 = U8, "the coding";
        subcoding: u8 = U8, "the subcoding";
        data: &'m [u8] = Base64, "the data";
    }
    Ds<'m>: "A delegation signer (RFC 4034 §5)." {
        key_tag: u16 = U16, "the key tag";
        algorithm: u8 = Algorithm, "the algorithm of the key";
        digest_type: u8 = U8, "the digest type";
        digest: &'m [u8] = Hex, "the digest";
    }
    Sshfp<'m>: "An SSH key fingerprint (RFC 4255)." {
        algorithm: u8 = U8, "the algorithm of the key";
        fingerprint_type: u8 = U8, "the fingerprint type";
        fingerprint: &'m [u8] = Hex, "the fingerprint";
    }
    Ipseckey<'m>: "An IPsec key (RFC 4025)." {
        precedence: u8 = U8, "the precedence: lower is tried first";
        gateway: (u8, Gateway<'m>) = KeyGateway, "the algorithm of the key and the gateway";
        key: &'m [u8] = Base64, "the public key";
    }
    Rrsig<'m>: "A signature over an RRset (RFC 4034 §3), or over a transaction (RFC 2931)." {
        type_covered: RecordType = Rtype, "the type covered";
        algorithm: u8 = Algorithm, "the algorithm";
        labels: u8 = U8, "the labels of the owner, without root and wildcard";
        original_ttl: u32 = U32, "the TTL in the zone";
        expiration: u32 = Time, "the end of its validity";
        inception: u32 = Time, "the beginning of its validity";
        key_tag: u16 = U16, "the key tag";
        signer: Name<'m> = Domain, "the signer's name";
        signature: &'m [u8] = Base64, "the signature";
    }
    Nsec<'m>: "A denial of existence (RFC 4034 §4)." {
        next: Name<'m> = Plain, "the next name in canonical order";
        types: TypeBitmap<'m> = Bitmap, "the types at this name";
    }
    Nsec3<'m>: "A hashed denial of existence (RFC 5155 §3)." {
        algorithm: u8 = U8, "the hash algorithm: 1 is SHA-1";
        flags: u8 = U8, "the flags: 1 is opt-out";
        iterations: u16 = U16, "how often more the hash is taken";
        salt: &'m [u8] = Salt, "the salt";
        next: &'m [u8] = Hash, "the next hash in order";
        types: TypeBitmap<'m> = Bitmap, "the types at this name";
    }
    Nsec3Param<'m>: "The parameters of NSEC3 (RFC 5155 §4)." {
        algorithm: u8 = U8, "the hash algorithm: 1 is SHA-1";
        flags: u8 = U8, "the flags";
        iterations: u16 = U16, "how often more the hash is taken";
        salt: &'m [u8] = Salt, "the salt";
    }
    Tlsa<'m>: "A certificate association (RFC 6698 §2, RFC 8162)." {
        usage: u8 = U8, "the certificate usage";
        selector: u8 = U8, "the selector";
        matching_type: u8 = U8, "the matching type";
        data: &'m [u8] = Hex, "the association data";
    }
    Talink<'m>: "A trust anchor link (draft-wijngaards-dnsop-trust-history)." {
        previous: Name<'m> = Plain, "the previous name";
        next: Name<'m> = Plain, "the next name";
    }
    Csync<'m>: "Child-to-parent synchronisation (RFC 7477)." {
        serial: u32 = U32, "the serial";
        flags: u16 = U16, "the flags: 1 immediate, 2 minimum serial";
        types: TypeBitmap<'m> = Bitmap, "the types to copy";
    }
    Zonemd<'m>: "A digest over a zone (RFC 8976)." {
        serial: u32 = U32, "the serial of the zone";
        scheme: u8 = U8, "the scheme: 1 is SIMPLE";
        algorithm: u8 = U8, "the hash algorithm: 1 is SHA-384, 2 SHA-512";
        digest: &'m [u8] = ZoneDigest, "the digest";
    }
    Svcb<'m>: "A service binding (RFC 9460 §2)." {
        priority: u16 = U16, "the priority: 0 is an alias, else lower is tried first";
        target: Name<'m> = Plain, "the host; the root means the owner";
        params: SvcParams<'m> = Params, "the parameters";
    }
    Dsync<'m>: "An endpoint for delegation synchronisation (RFC 9859 §2)." {
        rtype: RecordType = Rtype, "the type that is announced";
        scheme: u8 = Scheme, "the scheme: 1 is NOTIFY";
        port: u16 = U16, "the port";
        target: Name<'m> = Plain, "the host";
    }
    Nid: "An ILNP node identifier (RFC 6742 §2.1), or a 64-bit locator (§2.3)." {
        preference: u16 = U16, "the preference: lower is tried first";
        value: u64 = super::kind::Groups, "the identifier or locator";
    }
    L32: "A 32-bit ILNP locator (RFC 6742 §2.2)." {
        preference: u16 = U16, "the preference: lower is tried first";
        locator: core::net::Ipv4Addr = Ipv4, "the locator";
    }
    Lp<'m>: "A pointer to ILNP locators (RFC 6742 §2.4)." {
        preference: u16 = U16, "the preference: lower is tried first";
        target: Name<'m> = Plain, "where the locators are";
    }
    Tkey<'m>: "A transaction key (RFC 2930 §2)." {
        algorithm: Name<'m> = Plain, "the algorithm";
        inception: u32 = Time, "the beginning of its validity";
        expiration: u32 = Time, "the end of its validity";
        mode: u16 = U16, "the mode";
        error: u16 = U16, "the error";
        key: &'m [u8] = Base64Counted, "the key data";
        other: &'m [u8] = Base64Counted, "other data";
    }
    Tsig<'m>: "A transaction signature (RFC 8945 §4.2)." {
        algorithm: Name<'m> = Plain, "the algorithm";
        time_signed: u64 = U48, "seconds since 1970";
        fudge: u16 = U16, "the permitted difference in seconds";
        mac: &'m [u8] = Base64Counted, "the message authentication code";
        original_id: u16 = U16, "the identifier of the message when it was signed";
        error: u16 = U16, "the error";
        other: &'m [u8] = Base64Counted, "other data";
    }
    Uri<'m>: "A URI (RFC 7553)." {
        priority: u16 = U16, "the priority: lower is tried first";
        weight: u16 = U16, "the weight: the share among equal priorities";
        target: &'m [u8] = Target, "the URI";
    }
    Caa<'m>: "A certification authority restriction (RFC 8659 §4)." {
        flags: u8 = U8, "the flags: 128 is critical";
        tag: &'m [u8] = Tag, "the tag";
        value: &'m [u8] = Quoted, "the value";
    }
    Doa<'m>: "A digital object architecture record (draft-durand-doa-over-dns)." {
        enterprise: u32 = U32, "the enterprise";
        kind: u32 = U32, "the type";
        location: u8 = U8, "the location";
        media_type: &'m [u8] = Text, "the media type";
        data: &'m [u8] = Base64, "the data";
    }
    Amtrelay<'m>: "An automatic multicast tunnelling relay (RFC 8777 §4)." {
        precedence: u8 = U8, "the precedence: lower is tried first";
        relay: (bool, Gateway<'m>) = Relay, "whether discovery is optional, and the relay";
    }
}

/// The scheme of DSYNC by name or number.
#[derive(Debug)]
enum Scheme {}

impl Kind for Scheme {
    type Value<'m> = u8;

    fn read(reader: &mut Reader<'_>) -> Result<u8, ParseError> {
        reader.u8()
    }

    fn show(value: &u8, f: &mut Spaced<'_, '_>) -> fmt::Result {
        use fmt::Write;
        if *value == 1 { f.write_str("NOTIFY") } else { write!(f, "{value}") }
    }

    #[cfg(feature = "alloc")]
    fn write(value: &u8, wire: &mut Vec<u8>) -> Result<(), ParseError> {
        U8::write(value, wire)
    }

    #[cfg(feature = "alloc")]
    fn scan(fields: &mut Fields<'_, '_>, wire: &mut Vec<u8>) -> Result<(), RDataTextError> {
        if fields.peek().is_some_and(|token| token.octets.eq_ignore_ascii_case(b"NOTIFY")) {
            wire.push(1);
            return fields.token().map(drop);
        }
        U8::scan(fields, wire)
    }
}
