//! Names that never leave this network: special-use names and the reverse zones of private addresses.

use super::lists::{Action, Lists, Reach};
use crate::NameBuf;

/// Does not exist, with all below it: RFC 6761 §6.4 and §6.2, RFC 7686 §2, RFC 9476 §3, RFC 6762 §12, RFC 6303 §4,
/// RFC 7793. And `home.arpa` (RFC 8375 §4) is a home's own affair.
const ABSENT: &[&str] = &[
    "invalid",
    "test",
    "onion",
    "alt",
    "local",
    "home.arpa",
    "10.in-addr.arpa",
    "168.192.in-addr.arpa",
    "0.in-addr.arpa",
    "127.in-addr.arpa",
    "254.169.in-addr.arpa",
    "2.0.192.in-addr.arpa",
    "100.51.198.in-addr.arpa",
    "113.0.203.in-addr.arpa",
    "255.255.255.255.in-addr.arpa",
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
];

/// The rules for all of them.
pub(super) fn lists() -> Lists {
    let mut lists = Lists::default();
    let mut absent = |name: &str| {
        let name: NameBuf = name.parse().expect("the table holds names");
        lists.insert(&name, Reach::Subtree, Action::NxDomain);
    };
    ABSENT.iter().for_each(|name| absent(name));
    (16..32).for_each(|octet| absent(&format!("{octet}.172.in-addr.arpa")));
    // RFC 6598 §4: 100.64.0.0/10.
    (64..128).for_each(|octet| absent(&format!("{octet}.100.in-addr.arpa")));
    // RFC 6761 §6.3.
    let loopback = Action::addresses(["127.0.0.1", "::1"].map(|text| text.parse().expect("an address")));
    lists.insert(&"localhost".parse().expect("a name"), Reach::Subtree, loopback);
    // RFC 9462 §6.4: whoever looks for our encrypted service finds none under this name.
    lists.insert(&"resolver.arpa".parse().expect("a name"), Reach::Subtree, Action::NoData);
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_names_stay_here_and_public_ones_do_not() {
        let lists = lists();
        for (name, special) in [
            ("1.0.0.10.in-addr.arpa", true),
            ("1.0.15.172.in-addr.arpa", false),
            ("1.0.16.172.in-addr.arpa", true),
            ("1.0.31.172.in-addr.arpa", true),
            ("1.0.32.172.in-addr.arpa", false),
            ("8.8.8.8.in-addr.arpa", false),
            ("db.localhost", true),
            ("x.onion", true),
            ("example.org", false),
        ] {
            assert_eq!(lists.action(&name.parse().unwrap()).is_some(), special, "{name}");
        }
    }
}
