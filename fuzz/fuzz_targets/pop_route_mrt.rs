//! Any bytes as an MRT table: rows, then at most one error, within the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pop_route::{AS_PATH_MAX, routes_of_mrt};

fuzz_target!(|bytes: &[u8]| {
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
});
