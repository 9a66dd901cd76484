//! Answers of upstreams, as the client judges them and the forwarder sifts them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    pop_dns::forward::fuzz_answer(octets);
});
