//! RateLimit fields and forwarding fields of any bytes: no panic, and what is read can be written and read again.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use pop_ratelimit::http::{
    ForwardingField, RATELIMIT, RATELIMIT_POLICY, TrustedProxies, parse_policies, parse_standings, write_policies,
    write_standings,
};

fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|&byte| byte == b'\n').take(8) {
        let Ok(value) = HeaderValue::from_bytes(line) else { continue };
        for name in [RATELIMIT, RATELIMIT_POLICY, http::header::FORWARDED] {
            headers.append(name, value.clone());
        }
        headers.append("x-forwarded-for", value);
    }
    if let Ok(policies) = parse_policies(&headers)
        && let Some(written) = write_policies(&policies)
    {
        let mut again = HeaderMap::new();
        again.insert(RATELIMIT_POLICY, written);
        assert_eq!(parse_policies(&again).as_ref(), Ok(&policies));
    }
    if let Ok(standings) = parse_standings(&headers)
        && let Some(written) = write_standings(&standings)
    {
        let mut again = HeaderMap::new();
        again.insert(RATELIMIT, written);
        assert_eq!(parse_standings(&again).as_ref(), Ok(&standings));
    }
    let peer = [10, 0, 0, 1].into();
    for field in [ForwardingField::Forwarded, ForwardingField::XForwardedFor] {
        let own = TrustedProxies::new(field, [([10, 0, 0, 0].into(), 8)]).expect("a network");
        let _ = own.client(peer, &headers);
        // Nobody else's peer is ever believed.
        let stranger = [192, 0, 2, 1].into();
        assert_eq!(own.client(stranger, &headers), stranger);
    }
});
