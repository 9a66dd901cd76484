//! Any bytes as an MRT table, and as a record of one behind a table of peers: rows, then at most one error, within the
//! file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pop_route::{AS_PATH_MAX, routes_of_mrt};

/// TABLE_DUMP_V2, and the kinds of its records.
const TABLE: u16 = 13;
const PEERS: u16 = 1;
const RIBS: [u16; 4] = [PEERS, 2, 4, 6];

fn record(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(TABLE.to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    bytes.extend((body.len() as u32).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn read(bytes: &[u8]) {
    let mut failed = false;
    for row in routes_of_mrt(bytes) {
        assert!(!failed);
        match row {
            Ok(row) => assert!(row.route.path_length() <= AS_PATH_MAX),
            Err(error) => {
                assert!(error.offset <= bytes.len());
                failed = true;
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    let Some((&kind, body)) = bytes.split_first() else { return };
    // One peer, IPv4, two bytes of number.
    let peers = [0, 0, 0, 0, 0, 0, 0, 1, 0, 10, 0, 0, 1, 192, 0, 2, 1, 0xfd, 0xe8];
    read(&[record(PEERS, &peers), record(RIBS[usize::from(kind) % RIBS.len()], body)].concat());
});
