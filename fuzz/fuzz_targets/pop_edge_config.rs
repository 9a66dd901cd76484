//! Configuration files: whatever they say, the answer is a file or an error that names a place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pop_edge::config::File;

fuzz_target!(|text: &str| {
    if let Err(error) = File::parse(text, "pop.toml") {
        assert!(error.to_string().starts_with("pop.toml"), "{error}");
    }
});
