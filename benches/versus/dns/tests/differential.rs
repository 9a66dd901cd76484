//! Our codec beside hickory-proto, domain and dnspython: messages with a record of every type, and thousands of mutants of
//! each. Where one accepts what another refuses, or reads it otherwise, [`REASONS`] has to say why.
//!
//! `SHOW=1 cargo test --test differential -- --nocapture` lists all differences by class.

mod reasons;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use pop_dns::{
    Class, EdnsParts, Flags, Message, MessageBuilder, NameBuf, RawRData, Rcode, RecordType, Section, Token,
    option, parse_rdata,
};
use reasons::REASONS;

/// Mutants of each message.
const MUTANTS: usize = 400;

/// Type, text: the examples of the round-trip tests.
const EXAMPLES: &str = include_str!("../../../../pop-dns/tests/data/rdata.txt");

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let quoted = rest.starts_with('"');
        let (mut inside, mut end) = (quoted, usize::from(quoted));
        let octets = rest.as_bytes();
        while end < octets.len() {
            match octets[end] {
                b'\\' => end += 1,
                b'"' if quoted => break,
                b'"' => inside = !inside,
                b' ' if !inside => break,
                _ => {}
            }
            end += 1;
        }
        tokens.push(Token { octets: &octets[usize::from(quoted)..end], quoted });
        rest = rest[end + usize::from(quoted)..].trim_start();
    }
    tokens
}

/// A response with one record of each example, EDNS and two options behind it.
fn corpus() -> Vec<Vec<u8>> {
    let owner: NameBuf = "www.example.com".parse().expect("a name");
    let origin: NameBuf = "example.com".parse().expect("a name");
    let lines = EXAMPLES.lines().filter(|line| !line.starts_with('#') && !line.ends_with("\t!"));
    lines
        .map(|line| {
            let mut fields = line.split('\t');
            let rtype = fields.next().and_then(RecordType::from_text).expect("a type");
            let mut rdata = Vec::new();
            parse_rdata(rtype, tokens(fields.next().expect("text")), &origin, &mut rdata)
                .expect("well-formed");
            let mut builder = MessageBuilder::new(65_535);
            builder.set_header(4711, Flags(Flags::QR | Flags::RD | Flags::RA));
            builder.question(owner.as_wire(), rtype, Class::IN).expect("room");
            let last = matches!(rtype, RecordType::TSIG | RecordType::SIG);
            let record = |builder: &mut MessageBuilder| {
                let (section, class) =
                    if last { (Section::Additional, Class::ANY) } else { (Section::Answer, Class::IN) };
                let class = if rtype == RecordType::SIG { Class::IN } else { class };
                let ttl = if last { 0 } else { 3600 };
                let rdata = [RawRData::new(rtype, &rdata)];
                builder.records(section, owner.as_name(), class, ttl, rdata).expect("room");
            };
            if !last {
                record(&mut builder);
            }
            let options = [(option::NSID, &b"fra1"[..]), (option::EXTENDED_ERROR, b"\x00\x0fblocked")];
            let edns = EdnsParts { udp_payload: 1232, options: &options, ..EdnsParts::default() };
            builder.edns(&edns, Rcode::NOERROR).expect("room");
            if last {
                record(&mut builder);
            }
            builder.finish()
        })
        .collect()
}

/// A generator of its own, so that every run sees the same mutants (xorshift64*; Vigna, 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }
}

/// One to three changes behind the identifier: bits, octets that mean something, octets cut out or put in, an end.
fn mutate(wire: &[u8], random: &mut Random) -> Vec<u8> {
    let mut wire = wire.to_vec();
    for _ in 0..=random.below(3) {
        let at = 2 + random.below(wire.len().max(14) - 2);
        let Some(octet) = wire.get_mut(at) else { continue };
        match random.below(8) {
            0..=2 => *octet ^= 1 << random.below(8),
            3 => *octet = [0, 1, 0x3F, 0x40, 0x80, 0xC0, 0xFF, 12][random.below(8)],
            4 => *octet = octet.wrapping_add(1),
            5 => drop(wire.remove(at)),
            6 => wire.insert(at, random.below(256) as u8),
            _ => wire.truncate(at.max(12)),
        }
    }
    wire
}

/// What a codec reads: owner, type, class, TTL and uncompressed RDATA of each record.
type Read = Vec<(NameBuf, RecordType, u16, u32, Vec<u8>)>;

fn ours(wire: &[u8]) -> Result<Read, String> {
    let read = || {
        let message = Message::parse(wire)?;
        message.check()?;
        message.edns()?;
        let mut read = Vec::new();
        for record in message.records()? {
            let record = record?;
            let mut rdata = Vec::new();
            record.raw_rdata().write_uncompressed(&mut rdata)?;
            read.push((record.name.to_name_buf()?, record.rtype, record.class.0, record.ttl, rdata));
        }
        Ok(read)
    };
    read().map_err(|error: pop_dns::ParseError| format!("{error:?}"))
}

/// What it writes again is what it has read; but it keeps EDNS and signatures apart, and writes its own.
fn hickory(wire: &[u8]) -> Result<Option<Read>, String> {
    let message = hickory_proto::op::Message::from_vec(wire).map_err(|error| error.to_string())?;
    // Not everything that it reads it can write.
    Ok(message.to_vec().ok().and_then(|again| ours(&again).ok()))
}

/// The records that every codec keeps among the records.
fn plain(read: &Read) -> Vec<&(NameBuf, RecordType, u16, u32, Vec<u8>)> {
    let apart = [RecordType::OPT, RecordType::TSIG, RecordType::SIG];
    read.iter().filter(|record| !apart.contains(&record.1)).collect()
}

fn domain(wire: &[u8]) -> Result<Option<Read>, String> {
    use domain::base::rdata::ComposeRecordData;
    use domain::base::{Message, ParsedName, ToName};
    use domain::rdata::AllRecordData;
    let message = Message::from_octets(wire).map_err(|error| error.to_string())?;
    for question in message.question() {
        question.map_err(|error| error.to_string())?;
    }
    let mut read = Vec::new();
    for record in message.iter() {
        let (record, _) = record.map_err(|error| error.to_string())?;
        let record =
            record.to_any_record::<AllRecordData<_, ParsedName<_>>>().map_err(|error| error.to_string())?;
        let mut rdata = Vec::new();
        record.data().compose_rdata(&mut rdata).map_err(|error| error.to_string())?;
        let owner: domain::base::Name<Vec<u8>> = record.owner().to_name();
        let owner = NameBuf::from_wire(owner.as_slice()).map_err(|error| error.to_string())?;
        let class = record.class().to_int();
        read.push((owner, RecordType(record.rtype().to_int()), class, record.ttl().as_secs(), rdata));
    }
    Ok(Some(read))
}

/// What dnspython says of each message; `None` where release 2.8 is not installed.
fn dnspython(messages: &[Vec<u8>]) -> Option<Vec<Result<Option<Read>, String>>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential.py");
    let mut python =
        Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let mut input = python.stdin.take()?;
    let text: String = messages
        .iter()
        .map(|wire| {
            wire.iter().map(|octet| format!("{octet:02x}")).chain(["\n".to_owned()]).collect::<String>()
        })
        .collect();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = python.wait_with_output().ok()?;
    let written = writer.join().expect("it does not panic");
    if output.status.code() == Some(77) {
        return None;
    }
    written.expect("it reads all");
    let verdicts = String::from_utf8(output.stdout).expect("text");
    let verdicts = verdicts.lines().map(|line| if line == "ok" { Ok(None) } else { Err(line.to_owned()) });
    Some(verdicts.collect())
}

/// The type of the record that we cannot read, or else of the first that is no OPT; with its class if that is not IN.
fn rtype(wire: &[u8]) -> String {
    let Ok(message) = Message::parse(wire) else { return "-".into() };
    let Ok(records) = message.records() else { return "question".into() };
    let (mut first, mut broken) = (None, None);
    for record in records {
        let Ok(record) = record else { return "frame".into() };
        let names = record.raw_rdata().names().all(|name| name.is_ok_and(|name| name.wire_octets().is_ok()));
        if record.rdata().is_err() || !names {
            broken = broken.or(Some(record));
        } else if record.rtype != RecordType::OPT {
            first = first.or(Some(record));
        }
    }
    match broken.or(first) {
        Some(record) if record.class == Class::IN || record.rtype == RecordType::TSIG => {
            record.rtype.to_string()
        }
        Some(record) => format!("{}/{}", record.rtype, record.class),
        None => "-".into(),
    }
}

#[derive(Default)]
struct Differences(BTreeMap<(String, String, String, String), (usize, Vec<u8>)>);

impl Differences {
    fn compare(
        &mut self,
        peer: &str,
        wire: &[u8],
        ours: &Result<Read, String>,
        theirs: Result<Option<Read>, String>,
    ) {
        let (who, why) = match (ours, theirs) {
            (Err(_), Err(_)) => return,
            (Ok(ours), Ok(theirs)) => match theirs {
                Some(theirs) if plain(&theirs) != plain(ours) => ("both", "read otherwise".to_owned()),
                _ => return,
            },
            (Ok(_), Err(error)) => ("we", error),
            (Err(error), Ok(_)) => ("they", error.clone()),
        };
        // Numbers say where, not what.
        let why = why.replace(|c: char| c.is_ascii_digit(), "#");
        let class = (peer.to_owned(), who.to_owned(), rtype(wire), why);
        let entry = self.0.entry(class).or_insert_with(|| (0, wire.to_vec()));
        entry.0 += 1;
    }

    /// Prints what has no reason, and says how many classes that are.
    fn unexplained(&self) -> usize {
        let mut count = 0;
        for ((peer, who, rtype, why), (times, wire)) in &self.0 {
            let reason = REASONS.iter().find(|(of, accepts, only, says, _)| {
                let base = rtype.split('/').next().unwrap_or_default();
                let typed = match *only {
                    "*" => true,
                    "/" => rtype.contains('/'),
                    list => list.split_whitespace().any(|one| one == base),
                };
                of == peer && accepts == who && typed && why.contains(says)
            });
            if reason.is_none() {
                count += 1;
            }
            if reason.is_none() || std::env::var_os("SHOW").is_some() {
                let hex: String = wire.iter().map(|octet| format!("{octet:02x}")).collect();
                let reason = reason.map_or("NO REASON", |(_, _, _, _, reason)| reason);
                println!("{peer}: {who} accept {rtype} ({times}): {why}\n    {reason}\n    {hex}");
            }
        }
        count
    }
}

#[test]
fn peers_accept_what_we_accept_or_there_is_a_reason() {
    let mut random = Random(0x0DD5_EED5_0F0D_D5EE);
    let mut messages = corpus();
    for index in 0..messages.len() {
        for _ in 0..MUTANTS {
            let mutant = mutate(&messages[index], &mut random);
            messages.push(mutant);
        }
    }
    let mut differences = Differences::default();
    let python = dnspython(&messages);
    if python.is_none() {
        println!("skipped: dnspython 2.8 (PyPI)");
    }
    let mut python = python.map(Vec::into_iter);
    let mut accepted = 0;
    for wire in &messages {
        let read = ours(wire);
        accepted += usize::from(read.is_ok());
        differences.compare("hickory", wire, &read, hickory(wire));
        differences.compare("domain", wire, &read, domain(wire));
        if let Some(theirs) = python.as_mut().and_then(Iterator::next) {
            differences.compare("dnspython", wire, &read, theirs);
        }
    }
    let unexplained = differences.unexplained();
    println!(
        "{} messages, we accept {accepted}; {} classes of difference",
        messages.len(),
        differences.0.len()
    );
    assert_eq!(unexplained, 0, "classes of difference without a reason");
}
