//! The messages on which codecs are compared, and how each codec walks and writes them.

use pop_dns::{
    Class, EdnsParts, Flags, Message, MessageBuilder, NameBuf, RecordType, Section, Token, parse_rdata,
};

/// A record ready to be written: section, owner, type, TTL and uncompressed RDATA.
pub type Source = (Section, NameBuf, RecordType, u32, Vec<u8>);

/// A message with the records it was made from.
pub struct Sample {
    pub name: &'static str,
    pub qname: NameBuf,
    pub qtype: RecordType,
    pub records: Vec<Source>,
    pub wire: Vec<u8>,
}

fn name(text: &str) -> NameBuf {
    text.parse().expect("a name of the corpus")
}

/// One record from text: owner, type and RDATA with a blank between tokens.
pub fn record(section: Section, text: &str) -> Source {
    let mut tokens = text.split_whitespace();
    let owner = name(tokens.next().expect("an owner"));
    let rtype = RecordType::from_text(tokens.next().expect("a type")).expect("a known type");
    let tokens = tokens.map(|token| {
        let quoted = token.starts_with('"');
        Token { octets: token.trim_matches('"').as_bytes(), quoted }
    });
    let mut rdata = Vec::new();
    parse_rdata(rtype, tokens, &NameBuf::root(), &mut rdata).expect("RDATA of the corpus");
    (section, owner, rtype, 3600, rdata)
}

/// Writes a response as pop-dns does.
pub fn build(qname: &NameBuf, qtype: RecordType, records: &[Source], edns: bool, buffer: Vec<u8>) -> Vec<u8> {
    let mut builder = MessageBuilder::with_buffer(buffer, 65_535);
    builder.set_header(4711, Flags(Flags::QR | Flags::RD | Flags::RA));
    builder.question(qname.as_wire(), qtype, Class::IN).expect("room");
    for (section, owner, rtype, ttl, rdata) in records {
        builder.rrset(*section, owner.as_wire(), *rtype, *ttl, [&rdata[..]]).expect("room");
    }
    if edns {
        builder
            .edns(&EdnsParts { udp_payload: 1232, ..EdnsParts::default() }, pop_dns::Rcode::NOERROR)
            .expect("room");
    }
    builder.finish()
}

fn sample(title: &'static str, qname: &str, qtype: &str, lines: &[(Section, String)]) -> Sample {
    let (qname, qtype) = (name(qname), RecordType::from_text(qtype).expect("a type"));
    let records: Vec<Source> = lines.iter().map(|(section, line)| record(*section, line)).collect();
    let wire = build(&qname, qtype, &records, true, Vec::new());
    Sample { name: title, qname, qtype, records, wire }
}

/// Six messages: a query, a short answer, a chain of aliases, a root referral, a negative answer, a page of mixed records.
pub fn samples() -> Vec<Sample> {
    use Section::{Additional, Answer, Authority};
    let mut referral = Vec::new();
    for server in 'a'..='m' {
        referral.push((Authority, format!("com. NS {server}.gtld-servers.net.")));
    }
    for (index, server) in ('a'..='m').enumerate() {
        referral.push((Additional, format!("{server}.gtld-servers.net. A 192.5.6.{}", index + 1)));
        referral.push((Additional, format!("{server}.gtld-servers.net. AAAA 2001:503:a83e::2:{index}")));
    }
    let mut page = Vec::new();
    for host in 0..8 {
        page.push((Answer, format!("example.org. MX {host}0 mx{host}.mail.example.org.")));
        page.push((Answer, format!("_sip._tcp.example.org. SRV 0 5 506{host} sip{host}.example.org.")));
        page.push((
            Answer,
            format!("example.org. TXT \"v=spf1\" \"include:_spf{host}.example.org\" \"-all\""),
        ));
        page.push((Additional, format!("mx{host}.mail.example.org. A 192.0.2.{host}")));
    }
    page.sort_by_key(|(section, _)| *section);
    vec![
        sample("query", "www.example.org", "A", &[]),
        sample("answer", "www.example.org", "A", &[(Answer, "www.example.org. A 192.0.2.1".into())]),
        sample(
            "aliases",
            "www.shop.example.org",
            "AAAA",
            &[
                (Answer, "www.shop.example.org. CNAME shop.example.org.edgekey.example.net.".into()),
                (Answer, "shop.example.org.edgekey.example.net. CNAME e4711.dscb.akamai.example.net.".into()),
                (Answer, "e4711.dscb.akamai.example.net. AAAA 2001:db8::1".into()),
                (Answer, "e4711.dscb.akamai.example.net. AAAA 2001:db8::2".into()),
            ],
        ),
        sample("referral", "www.example.com", "A", &referral),
        sample(
            "negative",
            "no.such.name.example.org",
            "A",
            &[(
                Authority,
                "example.org. SOA ns1.example.org. hostmaster.example.org. 2026010100 7200 900 1209600 300"
                    .into(),
            )],
        ),
        sample("page", "example.org", "ANY", &page),
    ]
}

/// Adds up what a walk meets, so that no step of it can be left out: every label and string by its length and its
/// last octet, so that finding them is what is measured and not adding octets up.
#[derive(Default)]
pub struct Sum(pub u64);

impl Sum {
    #[inline]
    pub fn octets(&mut self, octets: &[u8]) {
        let last = octets.last().map_or(0, |&octet| u64::from(octet));
        self.0 = self.0.wrapping_add(octets.len() as u64).wrapping_add(last);
    }

    #[inline]
    pub fn number(&mut self, number: u64) {
        self.0 = self.0.wrapping_add(number);
    }
}

/// Every label of every name and every octet of the RDATA by pop-dns; the sum of them.
pub fn walk_ours(wire: &[u8]) -> Result<u64, pop_dns::ParseError> {
    use pop_dns::RData;
    #[inline]
    fn name(sum: &mut Sum, name: pop_dns::Name<'_>) -> Result<(), pop_dns::ParseError> {
        for label in name.labels() {
            sum.octets(label?);
        }
        Ok(())
    }
    let message = Message::parse(wire)?;
    let mut sum = Sum::default();
    for question in message.questions() {
        let question = question?;
        name(&mut sum, question.name)?;
        sum.number(question.qtype.0.into());
    }
    for record in message.records()? {
        let record = record?;
        name(&mut sum, record.name)?;
        sum.number(record.ttl.into());
        match record.rdata()? {
            RData::A(address) => sum.octets(&address.octets()),
            RData::Aaaa(address) => sum.octets(&address.octets()),
            RData::Ns(target) | RData::Cname(target) | RData::Ptr(target) => name(&mut sum, target)?,
            RData::Mx(mx) => {
                sum.number(mx.preference.into());
                name(&mut sum, mx.exchange)?;
            }
            RData::Srv(srv) => {
                sum.number(srv.port.into());
                name(&mut sum, srv.target)?;
            }
            RData::Soa(soa) => {
                name(&mut sum, soa.mname)?;
                name(&mut sum, soa.rname)?;
                sum.number(soa.serial.into());
                sum.number(soa.minimum.into());
            }
            RData::Txt(strings) => strings.for_each(|string| sum.octets(string)),
            RData::Unknown(RecordType::OPT, octets) => sum.octets(octets),
            other => drop(std::hint::black_box(other)),
        }
    }
    Ok(sum.0)
}

/// The same by domain's `base`.
pub fn walk_domain(wire: &[u8]) -> Option<u64> {
    use domain::base::name::ToLabelIter;
    use domain::base::{Message, ParsedName};
    use domain::rdata::AllRecordData;
    fn name(sum: &mut Sum, name: &ParsedName<&[u8]>) {
        for label in name.iter_labels() {
            sum.octets(label.as_slice());
        }
    }
    let message = Message::from_octets(wire).ok()?;
    let mut sum = Sum::default();
    for question in message.question() {
        let question = question.ok()?;
        name(&mut sum, question.qname());
        sum.number(question.qtype().to_int().into());
    }
    for record in message.iter() {
        let (record, _) = record.ok()?;
        let record = record.to_any_record::<AllRecordData<_, ParsedName<_>>>().ok()?;
        name(&mut sum, record.owner());
        sum.number(record.ttl().as_secs().into());
        match record.data() {
            AllRecordData::A(a) => sum.octets(&a.addr().octets()),
            AllRecordData::Aaaa(aaaa) => sum.octets(&aaaa.addr().octets()),
            AllRecordData::Ns(ns) => name(&mut sum, ns.nsdname()),
            AllRecordData::Cname(cname) => name(&mut sum, cname.cname()),
            AllRecordData::Ptr(ptr) => name(&mut sum, ptr.ptrdname()),
            AllRecordData::Mx(mx) => {
                sum.number(mx.preference().into());
                name(&mut sum, mx.exchange());
            }
            AllRecordData::Srv(srv) => {
                sum.number(srv.port().into());
                name(&mut sum, srv.target());
            }
            AllRecordData::Soa(soa) => {
                name(&mut sum, soa.mname());
                name(&mut sum, soa.rname());
                sum.number(u32::from(soa.serial()).into());
                sum.number(soa.minimum().as_secs().into());
            }
            AllRecordData::Txt(txt) => txt.iter().for_each(|string| sum.octets(string)),
            AllRecordData::Opt(opt) => {
                std::hint::black_box(opt.is_empty());
            }
            other => drop(std::hint::black_box(other.clone())),
        }
    }
    Some(sum.0)
}

/// The same by hickory-proto, which makes everything its own first.
pub fn walk_hickory(wire: &[u8]) -> Option<u64> {
    use hickory_proto::op::Message;
    use hickory_proto::rr::{Name, RData};
    fn name(sum: &mut Sum, name: &Name) {
        name.iter().for_each(|label| sum.octets(label));
    }
    let message = Message::from_vec(wire).ok()?;
    let mut sum = Sum::default();
    for query in &message.queries {
        name(&mut sum, &query.name);
        sum.number(u16::from(query.query_type).into());
    }
    for record in message.all_sections() {
        name(&mut sum, &record.name);
        sum.number(record.ttl.into());
        match &record.data {
            RData::A(a) => sum.octets(&a.0.octets()),
            RData::AAAA(aaaa) => sum.octets(&aaaa.0.octets()),
            RData::NS(target) => name(&mut sum, &target.0),
            RData::CNAME(target) => name(&mut sum, &target.0),
            RData::PTR(target) => name(&mut sum, &target.0),
            RData::MX(mx) => {
                sum.number(mx.preference.into());
                name(&mut sum, &mx.exchange);
            }
            RData::SRV(srv) => {
                sum.number(srv.port.into());
                name(&mut sum, &srv.target);
            }
            RData::SOA(soa) => {
                name(&mut sum, &soa.mname);
                name(&mut sum, &soa.rname);
                sum.number(soa.serial.into());
                sum.number(soa.minimum.into());
            }
            RData::TXT(txt) => txt.txt_data.iter().for_each(|string| sum.octets(string)),
            other => drop(std::hint::black_box(other.clone())),
        }
    }
    // The OPT record does not stand among the sections: its TTL is counted in by the others.
    Some(sum.0 + message.edns.as_ref().map_or(0, |edns| u64::from(edns.flags().dnssec_ok) << 15))
}

/// The same by simple-dns; the strings of TXT have no accessor and are left out there, in its favour.
pub fn walk_simple(wire: &[u8]) -> Option<u64> {
    use simple_dns::rdata::RData;
    use simple_dns::{Name, Packet};
    fn name(sum: &mut Sum, name: &Name<'_>) {
        name.as_bytes().for_each(|label| sum.octets(label));
    }
    let packet = Packet::parse(wire).ok()?;
    let mut sum = Sum::default();
    for question in &packet.questions {
        name(&mut sum, &question.qname);
        sum.number(u16::from(question.qtype).into());
    }
    for record in packet.answers.iter().chain(&packet.name_servers).chain(&packet.additional_records) {
        name(&mut sum, &record.name);
        sum.number(record.ttl.into());
        match &record.rdata {
            RData::A(a) => sum.octets(&a.address.to_be_bytes()),
            RData::AAAA(aaaa) => sum.octets(&aaaa.address.to_be_bytes()),
            RData::NS(target) => name(&mut sum, &target.0),
            RData::CNAME(target) => name(&mut sum, &target.0),
            RData::PTR(target) => name(&mut sum, &target.0),
            RData::MX(mx) => {
                sum.number(mx.preference.into());
                name(&mut sum, &mx.exchange);
            }
            RData::SRV(srv) => {
                sum.number(srv.port.into());
                name(&mut sum, &srv.target);
            }
            RData::SOA(soa) => {
                name(&mut sum, &soa.mname);
                name(&mut sum, &soa.rname);
                sum.number(soa.serial.into());
                sum.number(soa.minimum.into());
            }
            other => drop(std::hint::black_box(other.clone())),
        }
    }
    Some(sum.0)
}
