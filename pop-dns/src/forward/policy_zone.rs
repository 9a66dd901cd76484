//! Response policy zones (draft-vixie-dnsop-dns-rpz-00): block lists in the form of a zone, as their vendors publish them.

use std::collections::BTreeMap;

use super::lists::{Action, Lists, Reach};
use crate::zone::Zone;
use crate::{NameBuf, RData, RawRData, RecordType};

/// Labels of triggers that look at the answer or at the client, not at the question's name.
const OTHER_TRIGGERS: [&[u8]; 4] = [b"rpz-ip", b"rpz-nsip", b"rpz-nsdname", b"rpz-client-ip"];

type Local = (RecordType, Box<[u8]>);

impl Lists {
    /// Adds the rules of a policy zone whose trigger is the name that is asked for: `CNAME .` for a name that does not exist,
    /// `CNAME *.` for one without records, `rpz-passthru.`, `rpz-drop.`, or records to answer with. `*.name` reaches all below
    /// the name. Returns how many rules were added, and how many records were passed over: triggers of other kinds, and
    /// `rpz-tcp-only.`
    ///
    /// ```
    /// use pop_dns::{forward::{Action, Lists}, zone::Zone};
    ///
    /// let text = b"@ 60 SOA localhost. root 1 1h 1h 1w 60\n@ 60 NS localhost.\nads.example 60 CNAME .\n*.ads.example 60 CNAME .\n";
    /// let mut lists = Lists::default();
    /// assert_eq!(lists.insert_policy_zone(&Zone::parse(text, "rpz.example".parse()?)?), (2, 0));
    /// assert_eq!(lists.action(&"www.ads.example".parse()?), Some(&Action::NxDomain));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn insert_policy_zone(&mut self, zone: &Zone) -> (usize, usize) {
        let apex_octets = zone.origin().as_wire().len();
        let mut local: BTreeMap<(Box<[u8]>, bool), Vec<Local>> = BTreeMap::new();
        let (mut added, mut refused) = (0, 0);
        for record in zone.iter() {
            let Ok(owner) = record.owner.to_name_buf() else { continue };
            let wire = owner.as_wire();
            if wire.len() == apex_octets {
                // SOA and NS of the zone itself.
                continue;
            }
            let mut trigger = wire[..wire.len() - apex_octets].to_vec();
            trigger.push(0);
            let below = trigger.starts_with(b"\x01*");
            let name = if below { &trigger[2..] } else { &trigger };
            let (Ok(name), false) = (NameBuf::from_wire(name), is_other_trigger(&trigger)) else {
                refused += 1;
                continue;
            };
            let reach = if below { Reach::Below } else { Reach::Name };
            match verdict(record.rtype, record.rdata) {
                Verdict::Act(action) => {
                    self.insert(&name, reach, action);
                    added += 1;
                }
                Verdict::Data => {
                    let records = local.entry((name.as_wire().into(), below)).or_default();
                    records.push((record.rtype, record.rdata.into()));
                }
                Verdict::Unknown => refused += 1,
            }
        }
        for ((name, below), records) in local {
            let Ok(name) = NameBuf::from_wire(&name) else { continue };
            self.insert(&name, if below { Reach::Below } else { Reach::Name }, Action::Local(records));
            added += 1;
        }
        (added, refused)
    }
}

enum Verdict {
    Act(Action),
    /// A record to answer with.
    Data,
    Unknown,
}

fn verdict(rtype: RecordType, rdata: &[u8]) -> Verdict {
    let Ok(RData::Cname(target)) = RawRData::new(rtype, rdata).typed() else { return Verdict::Data };
    let mut labels = target.labels().filter_map(Result::ok);
    match (labels.next(), labels.next()) {
        (None, _) => Verdict::Act(Action::NxDomain),
        (Some(b"*"), None) => Verdict::Act(Action::NoData),
        (Some(word), None) if word.eq_ignore_ascii_case(b"rpz-passthru") => Verdict::Act(Action::Allow),
        (Some(word), None) if word.eq_ignore_ascii_case(b"rpz-drop") => Verdict::Act(Action::Drop),
        (Some(word), None) if word.to_ascii_lowercase().starts_with(b"rpz-") => Verdict::Unknown,
        // `CNAME *.garden.example` answers with the name asked for put before: not done here.
        (Some(b"*"), Some(_)) => Verdict::Unknown,
        _ => Verdict::Data,
    }
}

/// Whether the last label says that something else than the question's name is looked at.
fn is_other_trigger(trigger: &[u8]) -> bool {
    let Ok(name) = NameBuf::from_wire(trigger) else { return false };
    name.labels()
        .last()
        .is_some_and(|last| OTHER_TRIGGERS.iter().any(|other| last.eq_ignore_ascii_case(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_rule() {
        let text = b"$TTL 60\n@ SOA localhost. root 1 1h 1h 1w 60\n@ NS localhost.\n\
            gone.example CNAME .\nempty.example CNAME *.\n*.Wild.example CNAME .\ngood.wild.example CNAME rpz-passthru.\n\
            silent.example CNAME rpz-drop.\nwalled.example A 192.0.2.80\nwalled.example AAAA 2001:db8::80\n\
            moved.example CNAME garden.example.\n\
            32.1.2.0.192.rpz-ip CNAME .\nns.example.rpz-nsdname CNAME .\ntcp.example CNAME rpz-tcp-only.\n\
            *.g.example CNAME *.garden.example.\n";
        let zone = Zone::parse(text, "rpz.test".parse().unwrap()).unwrap();
        let mut lists = Lists::default();
        assert_eq!(lists.insert_policy_zone(&zone), (7, 4));
        let garden = NameBuf::from_wire(b"\x06garden\x07example\x00").unwrap();
        for (name, action) in [
            ("gone.example", Some(Action::NxDomain)),
            ("www.gone.example", None),
            ("empty.example", Some(Action::NoData)),
            ("wild.example", None),
            ("a.wild.example", Some(Action::NxDomain)),
            ("good.wild.example", Some(Action::Allow)),
            ("silent.example", Some(Action::Drop)),
            (
                "walled.example",
                Some(Action::addresses(["192.0.2.80", "2001:db8::80"].map(|text| text.parse().unwrap()))),
            ),
            ("moved.example", Some(Action::Local(vec![(RecordType::CNAME, garden.as_wire().into())]))),
            ("tcp.example", None),
            ("a.g.example", None),
        ] {
            assert_eq!(lists.action(&name.parse().unwrap()), action.as_ref(), "{name}");
        }
    }
}
