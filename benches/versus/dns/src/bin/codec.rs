//! Codecs side by side: parse and walk to the last octet, and build with compression. Rounds interleave the codecs; the
//! table holds medians of the ratios within each round, and allocations beside them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use versus_dns::{Sample, build, samples, walk_domain, walk_hickory, walk_ours, walk_simple};

const ROUNDS: usize = 9;

/// Counts allocations; a plain counter, ordered with nothing.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is the one that `System` asks.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Nanoseconds a call.
fn time(calls: u32, mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        call();
    }
    start.elapsed().as_nanos() as f64 / f64::from(calls)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

type Contender<'a> = (&'static str, Box<dyn FnMut() + 'a>);

fn table(title: &str, samples: &[Sample], contenders: impl for<'a> Fn(&'a Sample) -> Vec<Contender<'a>>) {
    println!(
        "\n{title}: nanoseconds for us, then ours / theirs (median of {ROUNDS} rounds), allocations in parentheses"
    );
    let mut logs: Vec<(&str, f64)> = Vec::new();
    for sample in samples {
        let mut runners = contenders(sample);
        let calls = (4_000_000 / (sample.wire.len() as u32 + 64)).max(500) / 4;
        let mut rounds = vec![Vec::new(); runners.len()];
        for _ in 0..ROUNDS {
            for (index, (_, run)) in runners.iter_mut().enumerate() {
                rounds[index].push(time(calls, run));
            }
        }
        let counts: Vec<u64> = runners
            .iter_mut()
            .map(|(_, run)| {
                let before = ALLOCATIONS.load(Ordering::Relaxed);
                run();
                ALLOCATIONS.load(Ordering::Relaxed) - before
            })
            .collect();
        print!(
            "{:>9} {:>5} B  ours {:>7.1} ({})",
            sample.name,
            sample.wire.len(),
            median(rounds[0].clone()),
            counts[0]
        );
        for index in 1..runners.len() {
            let ratio =
                median(rounds[0].iter().zip(&rounds[index]).map(|(ours, theirs)| ours / theirs).collect());
            print!("  {} {:.3} ({})", runners[index].0, ratio, counts[index]);
            logs.push((runners[index].0, ratio.ln()));
        }
        println!();
    }
    print!("geometric mean");
    let mut names: Vec<&str> = logs.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let of_name: Vec<f64> =
            logs.iter().filter(|(other, _)| *other == name).map(|(_, log)| *log).collect();
        print!("  {name} {:.3}", (of_name.iter().sum::<f64>() / of_name.len() as f64).exp());
    }
    println!();
}

fn domain_build(source: &domain::base::Message<Vec<u8>>, records: &[DomainRecord]) -> usize {
    use domain::base::{MessageBuilder, StaticCompressor};
    let mut target = Vec::with_capacity(512);
    target.clear();
    let mut builder = MessageBuilder::from_target(StaticCompressor::new(target)).expect("room").question();
    builder.push(source.first_question().expect("one")).expect("room");
    let mut builder = builder.answer();
    let mut rest = records.iter().peekable();
    while let Some((_, record)) = rest.next_if(|(section, _)| *section == 0) {
        builder.push(record).expect("room");
    }
    let mut builder = builder.authority();
    while let Some((_, record)) = rest.next_if(|(section, _)| *section == 1) {
        builder.push(record).expect("room");
    }
    let mut builder = builder.additional();
    for (_, record) in rest {
        builder.push(record).expect("room");
    }
    builder
        .opt(|opt| {
            opt.set_udp_payload_size(1232);
            Ok(())
        })
        .expect("room");
    builder.finish().into_target().len()
}

type DomainName = domain::base::Name<Vec<u8>>;
type DomainRecord = (u8, domain::base::Record<DomainName, domain::rdata::AllRecordData<Vec<u8>, DomainName>>);

fn domain_records(message: &domain::base::Message<Vec<u8>>) -> Vec<DomainRecord> {
    use domain::base::ParsedName;
    use domain::base::name::FlattenInto;
    use domain::rdata::AllRecordData;
    let mut records = Vec::new();
    for entry in message.iter() {
        let (record, section) = entry.expect("well-formed");
        let record = record.to_any_record::<AllRecordData<_, ParsedName<_>>>().expect("well-formed");
        if record.rtype() == domain::base::iana::Rtype::OPT {
            continue;
        }
        let section = match section {
            domain::base::message::Section::Answer => 0,
            domain::base::message::Section::Authority => 1,
            _ => 2,
        };
        records.push((section, record.try_flatten_into().expect("room")));
    }
    records
}

/// `codec profile walk|build SAMPLE CALLS`: our codec alone, for a profiler or a counter of instructions.
fn profile(samples: &[Sample], arguments: &[String]) {
    let [what, name, calls] = arguments else { panic!("profile walk|build SAMPLE CALLS") };
    let sample = samples.iter().find(|sample| sample.name == name).expect("a sample of this name");
    let mut buffer = Vec::with_capacity(4096);
    for _ in 0..calls.parse::<u32>().expect("a number of calls") {
        match what.as_str() {
            "walk" => drop(black_box(walk_ours(black_box(&sample.wire)))),
            _ => buffer = black_box(build(&sample.qname, sample.qtype, &sample.records, true, buffer)),
        }
    }
}

fn main() {
    let samples = samples();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("profile", rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return profile(&samples, rest);
    }
    table("parse and walk", &samples, |sample| {
        let wire = &sample.wire[..];
        vec![
            ("ours", Box::new(move || {
                    let _ = black_box(walk_ours(black_box(wire)));
                })),
            ("domain", Box::new(move || {
                    let _ = black_box(walk_domain(black_box(wire)));
                })),
            ("hickory", Box::new(move || {
                    let _ = black_box(walk_hickory(black_box(wire)));
                })),
            ("simple-dns", Box::new(move || {
                    let _ = black_box(walk_simple(black_box(wire)));
                })),
        ]
    });
    table("build with compression", &samples[1..], |sample| {
        let hickory = hickory_proto::op::Message::from_vec(&sample.wire).expect("well-formed");
        let simple = simple_dns::Packet::parse(&sample.wire).expect("well-formed").clone();
        let domain = domain::base::Message::from_octets(sample.wire.clone()).expect("well-formed");
        let domain_records = domain_records(&domain);
        println!(
            "{:>9} octets: ours {}, domain {}, hickory {}, simple-dns {}",
            sample.name,
            sample.wire.len(),
            domain_build(&domain, &domain_records),
            hickory.to_vec().expect("room").len(),
            simple.build_bytes_vec_compressed().expect("room").len(),
        );
        vec![
            (
                "ours",
                Box::new(|| {
                    let buffer = Vec::with_capacity(512);
                    black_box(build(&sample.qname, sample.qtype, &sample.records, true, buffer));
                }),
            ),
            (
                "domain",
                Box::new(move || {
                    black_box(domain_build(&domain, &domain_records));
                }),
            ),
            (
                "hickory",
                Box::new(move || {
                    black_box(hickory.to_vec().expect("room"));
                }),
            ),
            (
                "simple-dns",
                Box::new(move || {
                    black_box(simple.build_bytes_vec_compressed().expect("room"));
                }),
            ),
        ]
    });
}
