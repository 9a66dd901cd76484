//! The scanners that follow HTTP/1 heads and HTTP/2 frames: cuts change nothing, nothing grows.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, octets) = input;
    pop_edge::fuzz::heads(octets, usize::from(cut));
    pop_edge::fuzz::frames(octets, usize::from(cut));
    // Most of what is found at random loses the thread at once; behind a request it goes further.
    let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    pop_edge::fuzz::heads(&[head, octets].concat(), usize::from(cut));
    pop_edge::fuzz::frames(&[&[0; 24], octets].concat(), usize::from(cut));
});
