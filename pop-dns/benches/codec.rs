//! The codec alone: queries and answers read to the last label, and written with compression. Beside its peers it stands in
//! `benches/versus`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pop_dns::{Class, EdnsParts, Flags, Message, MessageBuilder, NameBuf, Query, Rcode, RecordType, Section};

/// A referral to thirteen servers, each with its addresses: the form that is compressed most.
fn referral(buffer: Vec<u8>, names: &(NameBuf, NameBuf, Vec<NameBuf>)) -> Vec<u8> {
    let (qname, zone, servers) = names;
    let mut builder = MessageBuilder::with_buffer(buffer, 1232);
    builder.set_header(7, Flags(Flags::QR));
    let written = (|| {
        builder.question(qname.as_wire(), RecordType::A, Class::IN)?;
        for server in servers {
            builder.rrset(Section::Authority, zone.as_wire(), RecordType::NS, 172_800, [server.as_wire()])?;
        }
        for server in servers {
            builder.rrset(
                Section::Additional,
                server.as_wire(),
                RecordType::A,
                172_800,
                [&[192, 0, 2, 1][..]],
            )?;
            builder.rrset(
                Section::Additional,
                server.as_wire(),
                RecordType::AAAA,
                172_800,
                [&[0x20; 16][..]],
            )?;
        }
        builder.edns(&EdnsParts { udp_payload: 1232, ..EdnsParts::default() }, Rcode::NOERROR)
    })();
    written.expect("there is room");
    builder.finish()
}

fn names() -> (NameBuf, NameBuf, Vec<NameBuf>) {
    let name = |text: &str| text.parse().expect("a name");
    let servers = ('a'..='m').map(|letter| name(&format!("{letter}.gtld-servers.net"))).collect();
    (name("www.example.com"), name("com"), servers)
}

/// Octets of all labels, so that none is left out.
fn walk(wire: &[u8]) -> Result<usize, pop_dns::ParseError> {
    let message = Message::parse(wire)?;
    let mut octets = 0;
    for question in message.questions() {
        octets += question?.name.wire_octets()?;
    }
    for record in message.records()? {
        let record = record?;
        octets += record.name.wire_octets()?;
        for name in record.raw_rdata().names() {
            octets += name?.wire_octets()?;
        }
        black_box(record.rdata()?);
    }
    Ok(octets)
}

fn codec(criterion: &mut Criterion) {
    let names = names();
    let wire = referral(Vec::new(), &names);
    let query = MessageBuilder::query(7, &names.0, RecordType::A).finish();

    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Bytes(query.len() as u64));
    group.bench_function("query: parse as a server does", |bencher| {
        bencher.iter(|| Query::parse(black_box(&query)).map(|query| query.qtype));
    });
    group.throughput(Throughput::Bytes(wire.len() as u64));
    group.bench_function("referral: walk to the last label", |bencher| {
        bencher.iter(|| walk(black_box(&wire)));
    });
    let mut buffer = Vec::with_capacity(1232);
    group.bench_function("referral: write with compression", |bencher| {
        bencher.iter(|| buffer = referral(std::mem::take(&mut buffer), black_box(&names)));
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
