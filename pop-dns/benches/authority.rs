//! What an answer costs in the authority alone: a query in memory to an answer in memory, no socket.
//!
//! Each group is a claim. `kinds`: what is dearer than a plain answer, and by how much; a geographic answer is compared
//! with a plain one to the very same query, subnet and all. `absent`: NXDOMAIN does not depend on the size of the zone.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use pop_dns::zone::Zone;
use pop_dns::{
    Authority, ClientSubnet, DynamicAnswer, EdnsParts, MessageBuilder, NameBuf, Outcome, Rcode, RecordType,
    Timestamp, Transport,
};

/// Queries of one kind, asked in turn: enough that no branch predictor learns them, few enough to stay in the caches.
const QUERIES: usize = 1024;

fn name(text: &str) -> NameBuf {
    text.parse().expect("a name")
}

/// A zone of so many hosts, and a few names of other kinds.
fn zone(hosts: usize) -> Zone {
    let mut text = String::from(
        "$TTL 300\n@ SOA ns1 hostmaster 1 7200 900 1209600 300\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.53\nns2 A 192.0.2.54\n\
         *.wild A 192.0.2.1\nchild NS ns.child\nns.child A 192.0.2.99\n",
    );
    for host in 0..hosts {
        let [_, b, c, d] = (host as u32).to_be_bytes();
        text += &format!("h{host:06} A 10.{b}.{c}.{d}\na{host:06} CNAME h{host:06}\n");
    }
    Zone::parse(text.as_bytes(), name("bench.example")).expect("the zone above")
}

/// An authority whose name `www` is chosen by the client's block, and answered from a list made beforehand.
fn authority(hosts: usize) -> Authority {
    let answers: Vec<DynamicAnswer> =
        (0..=255).map(|host| DynamicAnswer::addresses([IpAddr::from([192, 0, 2, host])], 30, 24)).collect();
    Authority::new([zone(hosts)]).dynamic(&name("www.bench.example"), move |asked| {
        match asked.client.block.0 {
            IpAddr::V4(address) => answers[usize::from(address.octets()[2])].clone(),
            IpAddr::V6(_) => answers[0].clone(),
        }
    })
}

fn queries(hosts: usize, make: impl Fn(usize) -> String, subnet: bool) -> Vec<Vec<u8>> {
    let query = |number: usize| {
        // Spread over the zone, and in no order.
        let host = number.wrapping_mul(0x9E37_79B9) % hosts;
        let mut builder = MessageBuilder::query(number as u16, &name(&make(host)), RecordType::A);
        let block = IpAddr::from([198, 51, number as u8, 0]);
        let client_subnet = subnet.then(|| ClientSubnet::new(block, 24));
        let parts = EdnsParts { udp_payload: 1232, client_subnet, ..EdnsParts::default() };
        builder.edns(&parts, Rcode::NOERROR).expect("room");
        builder.finish()
    };
    (0..QUERIES).map(query).collect()
}

fn ask(
    criterion: &mut Criterion,
    group: &str,
    what: BenchmarkId,
    authority: &Authority,
    queries: &[Vec<u8>],
) {
    let mut group = criterion.benchmark_group(group);
    let client: IpAddr = "203.0.113.9".parse().expect("an address");
    let mut answer = Vec::with_capacity(1232);
    let mut next = 0;
    group.bench_function(what, |bencher| {
        bencher.iter(|| {
            next = (next + 1) % queries.len();
            let outcome = authority.respond(
                black_box(&queries[next]),
                client,
                Timestamp::ZERO,
                Transport::Udp,
                &mut answer,
            );
            assert!(matches!(outcome, Outcome::Answered(_)));
        });
    });
}

fn kinds(criterion: &mut Criterion) {
    const HOSTS: usize = 10_000;
    let authority = authority(HOSTS);
    type Make = fn(usize) -> String;
    let kinds: [(&str, Make, bool); 7] = [
        ("plain", |host| format!("h{host:06}.bench.example"), false),
        ("plain with a subnet", |host| format!("h{host:06}.bench.example"), true),
        ("geographic", |_| "www.bench.example".into(), true),
        ("absent", |host| format!("x{host:06}.bench.example"), false),
        ("alias", |host| format!("a{host:06}.bench.example"), false),
        ("wildcard", |host| format!("x{host:06}.wild.bench.example"), false),
        ("referral", |host| format!("x{host:06}.child.bench.example"), false),
    ];
    for (what, make, subnet) in kinds {
        let queries = queries(HOSTS, make, subnet);
        ask(criterion, "kinds", BenchmarkId::from_parameter(what), &authority, &queries);
    }
}

fn absent(criterion: &mut Criterion) {
    for names in [1_000, 100_000, 1_000_000] {
        let authority = Authority::new([zone(names / 2)]);
        let queries = queries(names / 2, |host| format!("x{host:06}.bench.example"), false);
        ask(criterion, "absent", BenchmarkId::new("names", names), &authority, &queries);
    }
}

fn load(criterion: &mut Criterion) {
    let mut text =
        String::from("$TTL 300\n@ SOA ns hostmaster 1 7200 900 1209600 300\n@ NS ns\nns A 192.0.2.53\n");
    (0..100_000).for_each(|host| text += &format!("h{host:06} A 10.0.{}.{}\n", host >> 8 & 255, host & 255));
    criterion.benchmark_group("load").sample_size(20).bench_function("100,003 records", |bencher| {
        bencher.iter(|| {
            Zone::parse(black_box(text.as_bytes()), name("bench.example")).expect("a zone").records()
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = kinds, absent, load
}
criterion_main!(benches);
