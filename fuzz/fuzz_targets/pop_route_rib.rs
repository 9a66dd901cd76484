//! Any text as a table of routes, and as the end of a line of one: rows or errors that name their line, and paths
//! within their limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pop_route::{AS_PATH_MAX, routes_of_text};

fn read(text: &str) {
    let lines = text.lines().count();
    for row in routes_of_text(text) {
        match row {
            Ok(row) => assert!(row.route.path_length() <= AS_PATH_MAX),
            Err(error) => assert!(error.line >= 1 && error.line <= lines),
        }
    }
}

fuzz_target!(|text: &str| {
    read(text);
    read(&format!("TABLE_DUMP2|1700000000|B|192.0.2.1|64500|198.51.100.0/24|{text}"));
});
