//! Any text as each of the tables of clients: read whole, and then its ranges lead to what their rows say; or an error
//! that names its line, and nothing.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use pop_route::{AtlasError, ClientAtlas};

type Table = fn(&mut ClientAtlas, &str) -> Result<usize, AtlasError>;

fn read(table: Table, text: &str) {
    let mut atlas = ClientAtlas::new();
    let read = table(&mut atlas, text);
    let facts = atlas.facts();
    let Ok(rows) = read else {
        assert!(facts.is_empty(), "half of a table");
        return;
    };
    assert_eq!(rows == 0, facts.is_empty());
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        let end = |field: &str| field.trim().trim_matches('"').parse::<IpAddr>().expect("it was read before");
        let fields: Vec<&str> = line.split(',').collect();
        for address in [end(fields[0]), end(fields[1])] {
            assert!(facts.longest(address).is_some(), "{address} of {line:?}");
        }
    }
}

fuzz_target!(|text: &str| {
    for (table, value) in [
        (ClientAtlas::countries as Table, "DE"),
        (ClientAtlas::asns as Table, "64496"),
        (ClientAtlas::locations as Table, "50.0,8.6"),
    ] {
        read(table, text);
        read(table, &format!("192.0.2.0,192.0.2.99,{text}"));
        read(table, &format!("192.0.2.0,192.0.2.99,{value}\n{text},{value}"));
    }
});
