//! Any text: a prefix or an error, and a prefix survives the way to text and back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pop_route::Prefix;

fuzz_target!(|text: &str| {
    if let Ok(prefix) = text.parse::<Prefix>() {
        assert_eq!(prefix.to_string().parse(), Ok(prefix));
        assert!(prefix.contains(prefix.address()));
        assert_eq!(Prefix::new(prefix.address(), prefix.length()), Ok(prefix));
    }
});
