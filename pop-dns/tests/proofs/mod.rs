//! What the signed records of an answer prove.

use pop_dns::{Message, NameBuf, RData, RecordType, Section};

/// NSEC3's hash, by somebody else's SHA-1.
fn nsec3_hash(wanted: &NameBuf, salt: &[u8], iterations: u16) -> Vec<u8> {
    let sha1 = |octets: &[u8]| {
        ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, octets).as_ref().to_vec()
    };
    let first = sha1(&[wanted.to_lower().as_wire(), salt].concat());
    (0..iterations).fold(first, |hash, _| sha1(&[&hash, salt].concat()))
}

/// What the records of an authority section deny.
pub(crate) struct Proofs {
    /// Owner, next, types.
    pub(crate) nsec: Vec<(NameBuf, NameBuf, Vec<RecordType>)>,
    /// Hash of the owner, next hash, types.
    pub(crate) nsec3: Vec<(Vec<u8>, Vec<u8>, Vec<RecordType>)>,
    pub(crate) salt: Vec<u8>,
}

impl Proofs {
    pub(crate) fn of(message: &Message<'_>) -> Self {
        let mut proofs = Self { nsec: Vec::new(), nsec3: Vec::new(), salt: Vec::new() };
        for record in message.section(Section::Authority).unwrap() {
            let record = record.unwrap();
            match record.rdata().unwrap() {
                RData::Nsec(nsec) => proofs.nsec.push((
                    record.name.to_name_buf().unwrap(),
                    nsec.next.to_name_buf().unwrap(),
                    nsec.types.types().collect(),
                )),
                RData::Nsec3(nsec3) => {
                    let label = record.name.labels().next().unwrap().unwrap();
                    proofs.salt = nsec3.salt.to_vec();
                    proofs.nsec3.push((base32(label), nsec3.next.to_vec(), nsec3.types.types().collect()));
                }
                _ => {}
            }
        }
        proofs
    }

    pub(crate) fn types_at(&self, wanted: &NameBuf) -> Option<&[RecordType]> {
        let hash = nsec3_hash(wanted, &self.salt, 0);
        let nsec = self.nsec.iter().find(|proof| proof.0 == *wanted).map(|proof| &proof.2[..]);
        nsec.or_else(|| self.nsec3.iter().find(|proof| proof.0 == hash).map(|proof| &proof.2[..]))
    }

    pub(crate) fn covers(&self, wanted: &NameBuf) -> bool {
        let hash = nsec3_hash(wanted, &self.salt, 0);
        // The last of the chain leads back to the first.
        let by_name = |(owner, next, _): &(NameBuf, NameBuf, _)| {
            owner < wanted && (wanted < next || next <= owner) && !next.is_within(wanted)
        };
        let by_hash = |(owner, next, _): &(Vec<u8>, Vec<u8>, _)| {
            if owner < next { *owner < hash && hash < *next } else { hash > *owner || hash < *next }
        };
        self.nsec.iter().any(by_name) || self.nsec3.iter().any(by_hash)
    }

    /// An empty non-terminal in a zone with NSEC: the record before it leads to something below it.
    pub(crate) fn empty(&self, wanted: &NameBuf) -> bool {
        self.nsec.iter().any(|(owner, next, _)| owner < wanted && next.is_within(wanted))
    }
}

fn base32(label: &[u8]) -> Vec<u8> {
    let digits = label
        .iter()
        .map(|digit| b"0123456789abcdefghijklmnopqrstuv".iter().position(|d| d == digit).unwrap());
    let digits: Vec<u64> = digits.map(|digit| digit as u64).collect();
    let words = digits.chunks(8).map(|chunk| chunk.iter().fold(0_u64, |word, digit| word << 5 | digit));
    words.flat_map(|word| word.to_be_bytes()[3..].to_vec()).collect()
}

/// Every set of the answer section is signed, and so is every set of the authority section but the NS of a referral.
pub(crate) fn check_signatures(message: &Message<'_>) {
    for section in [Section::Answer, Section::Authority] {
        let records: Vec<_> = message.section(section).unwrap().map(Result::unwrap).collect();
        for record in &records {
            let referral = section == Section::Authority && record.rtype == RecordType::NS;
            let made_up = record.rtype == RecordType::CNAME
                && records.iter().any(|other| other.rtype == RecordType::DNAME);
            let signed = records.iter().any(|other| match other.rdata().unwrap() {
                RData::Rrsig(rrsig) => rrsig.type_covered == record.rtype && other.name == record.name,
                _ => false,
            });
            assert!(record.rtype == RecordType::RRSIG || referral || made_up || signed, "{:?}", record.rtype);
        }
    }
}
