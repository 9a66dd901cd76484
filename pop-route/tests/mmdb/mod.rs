//! A writer of small MaxMind DB files, after the format's public specification (version 2.0): a tree of records of 24
//! bits, sixteen zero bytes, data, and the metadata behind their marker.

use pop_route::Prefix;

/// A value of the data section.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(&'static str),
    Double(f64),
    U16(u16),
    U32(u32),
    U64(u64),
    Map(Vec<(&'static str, Value)>),
    Array(Vec<Value>),
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        let control = |out: &mut Vec<u8>, kind: u8, size: usize| {
            // Kinds from eight on stand in a byte of their own, and so do sizes from 29 on.
            out.push(if kind < 8 { kind << 5 } else { 0 } | size.min(29) as u8);
            out.extend((kind >= 8).then(|| kind - 7));
            out.extend((size >= 29).then(|| u8::try_from(size - 29).expect("short texts")));
        };
        let write = |out: &mut Vec<u8>, kind: u8, bytes: &[u8]| {
            control(out, kind, bytes.len());
            out.extend(bytes);
        };
        match self {
            Self::Text(text) => write(out, 2, text.as_bytes()),
            Self::Double(number) => write(out, 3, &number.to_be_bytes()),
            Self::U16(number) => write(out, 5, &number.to_be_bytes()),
            Self::U32(number) => write(out, 6, &number.to_be_bytes()),
            Self::U64(number) => write(out, 9, &number.to_be_bytes()),
            Self::Map(pairs) => {
                control(out, 7, pairs.len());
                for (key, value) in pairs {
                    Self::Text(key).write(out);
                    value.write(out);
                }
            }
            Self::Array(values) => {
                control(out, 11, values.len());
                values.iter().for_each(|value| value.write(out));
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Record {
    Empty,
    Node(usize),
    Data(usize),
}

/// The bytes of a database: IPv4 stands below `::/96`, as in all files of both families.
pub(crate) fn database(kind: &'static str, rows: &[(Prefix, Value)]) -> Vec<u8> {
    let (mut nodes, mut data) = (vec![[Record::Empty; 2]], Vec::new());
    for (prefix, value) in rows {
        let (bits, length) = match prefix.address() {
            std::net::IpAddr::V4(address) => (u128::from(address.to_bits()), prefix.length() + 96),
            std::net::IpAddr::V6(address) => (address.to_bits(), prefix.length()),
        };
        insert(&mut nodes, bits, length, Record::Data(data.len()));
        value.write(&mut data);
    }
    let mut bytes = Vec::new();
    for record in nodes.iter().flatten() {
        let number = match *record {
            Record::Empty => nodes.len(),
            Record::Node(node) => node,
            Record::Data(offset) => nodes.len() + 16 + offset,
        };
        bytes.extend(&(number as u32).to_be_bytes()[1..]);
    }
    bytes.extend([0; 16]);
    bytes.extend(data);
    bytes.extend(b"\xab\xcd\xefMaxMind.com");
    let metadata = Value::Map(vec![
        ("node_count", Value::U32(nodes.len() as u32)),
        ("record_size", Value::U16(24)),
        ("ip_version", Value::U16(6)),
        ("database_type", Value::Text(kind)),
        ("languages", Value::Array(vec![Value::Text("en")])),
        ("binary_format_major_version", Value::U16(2)),
        ("binary_format_minor_version", Value::U16(0)),
        ("build_epoch", Value::U64(1_700_000_000)),
        ("description", Value::Map(vec![("en", Value::Text("for a test"))])),
    ]);
    metadata.write(&mut bytes);
    bytes
}

fn insert(nodes: &mut Vec<[Record; 2]>, bits: u128, length: u8, record: Record) {
    let mut node = 0;
    for depth in 0..length {
        let side = (bits >> (127 - depth) & 1) as usize;
        if depth + 1 == length {
            nodes[node][side] = record;
            return;
        }
        node = match nodes[node][side] {
            Record::Node(next) => next,
            Record::Empty => {
                nodes.push([Record::Empty; 2]);
                let next = nodes.len() - 1;
                nodes[node][side] = Record::Node(next);
                next
            }
            Record::Data(_) => panic!("networks of a test do not nest"),
        };
    }
}
