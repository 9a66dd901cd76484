//! Names that are answered here: blocked, allowed in spite of a block, or with records of our own.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ahash::RandomState;

use crate::{NameBuf, RecordType};

/// What is done with a name. As in response policy zones, but decided by the question alone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The name does not exist.
    NxDomain,
    /// The name has no records of the type that is asked for.
    NoData,
    /// REFUSED.
    Refuse,
    /// No answer at all.
    Drop,
    /// It is resolved as if no list named it: an exception from a block above it.
    Allow,
    /// These records, and no others: type, and RDATA in uncompressed wire format.
    Local(Vec<(RecordType, Box<[u8]>)>),
}

impl Action {
    /// A and AAAA records.
    #[must_use]
    pub fn addresses(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let record = |address| match address {
            IpAddr::V4(address) => (RecordType::A, Box::from(address.octets())),
            IpAddr::V6(address) => (RecordType::AAAA, Box::from(address.octets())),
        };
        Self::Local(addresses.into_iter().map(record).collect())
    }
}

/// How far a rule reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This very name.
    Name,
    /// All names below it, and not the name itself, like `*.name` in a policy zone.
    Below,
    /// The name and all below it.
    Subtree,
}

/// Rules by name. The one for the name itself comes first, then the one with most labels. A look costs a probe for each
/// label of the name, but no more than the longest rule has.
///
/// ```
/// use pop_dns::forward::{Action, Lists, Reach};
///
/// let mut lists = Lists::default();
/// lists.insert(&"ads.example".parse()?, Reach::Subtree, Action::NxDomain);
/// lists.insert(&"good.ads.example".parse()?, Reach::Name, Action::Allow);
/// assert_eq!(lists.action(&"x.ADS.example".parse()?), Some(&Action::NxDomain));
/// assert_eq!(lists.action(&"good.ads.example".parse()?), Some(&Action::Allow));
/// assert_eq!(lists.action(&"www.example".parse()?), None);
/// # Ok::<(), pop_dns::NameError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Lists {
    rules: HashMap<Box<[u8]>, Rule, RandomState>,
    /// The last labels of all names that have rules: one look tells most other names from them.
    tops: HashSet<Box<[u8]>, RandomState>,
    /// The root has a rule, so that no name can be told from those that are listed.
    rooted: bool,
    /// Labels of the longest name that has a rule.
    labels_max: usize,
}

#[derive(Clone, Debug, Default)]
struct Rule {
    here: Option<Action>,
    below: Option<Action>,
}

impl Lists {
    /// Sets what is done with a name; the later rule for the same name and reach replaces the earlier.
    pub fn insert(&mut self, name: &NameBuf, reach: Reach, action: Action) {
        let lower = name.to_lower();
        self.labels_max = self.labels_max.max(lower.labels().count());
        self.tops.insert(top(lower.as_wire()).into());
        self.rooted |= lower.as_wire().len() == 1;
        let rule = self.rules.entry(lower.as_wire().into()).or_default();
        if reach != Reach::Name {
            rule.below = Some(action.clone());
        }
        if reach != Reach::Below {
            rule.here = Some(action);
        }
    }

    /// Adds every name of a list in one of the usual forms, to be answered with `action`: one name a line, which
    /// counts with all below it; or the form of a hosts file, an address before the names, which count alone. `#` begins
    /// a comment. Returns how many names were added and how many words were no names.
    pub fn insert_text(&mut self, text: &str, action: &Action) -> (usize, usize) {
        let (mut added, mut refused) = (0, 0);
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace().peekable();
            let hosts = words.next_if(|word| word.parse::<IpAddr>().is_ok()).is_some();
            let reach = if hosts { Reach::Name } else { Reach::Subtree };
            for word in words {
                match word.parse::<NameBuf>() {
                    Ok(name) if name.as_wire().len() > 1 => {
                        self.insert(&name, reach, action.clone());
                        added += 1;
                    }
                    _ => refused += 1,
                }
            }
        }
        (added, refused)
    }

    /// How many names have rules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether no name has a rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What is done with `name`.
    #[must_use]
    pub fn action(&self, name: &NameBuf) -> Option<&Action> {
        self.action_for(name.to_lower().as_wire())
    }

    /// The same for lower-case wire format.
    pub(super) fn action_for(&self, lower: &[u8]) -> Option<&Action> {
        if self.rules.is_empty() || !self.rooted && !self.tops.contains(top(lower)) {
            return None;
        }
        if let Some(action) = self.rules.get(lower).and_then(|rule| rule.here.as_ref()) {
            return Some(action);
        }
        let labels = labels(lower);
        let mut rest = lower;
        for left in (0..labels).rev() {
            rest = &rest[usize::from(rest[0]) + 1..];
            if left <= self.labels_max
                && let Some(action) = self.rules.get(rest).and_then(|rule| rule.below.as_ref())
            {
                return Some(action);
            }
        }
        None
    }
}

/// The last label of a name with the root behind it; the root alone of the root.
fn top(mut wire: &[u8]) -> &[u8] {
    while let Some((&length, rest)) = wire.split_first()
        && let Some(next) = rest.get(usize::from(length)..).filter(|next| next.len() > 1)
    {
        wire = next;
    }
    wire
}

fn labels(mut wire: &[u8]) -> usize {
    let mut labels = 0;
    while let Some(&length) = wire.first().filter(|&&length| length > 0) {
        labels += 1;
        wire = &wire[usize::from(length) + 1..];
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NameBuf {
        text.parse().unwrap()
    }

    #[test]
    fn the_nearest_rule_wins() {
        let mut lists = Lists::default();
        lists.insert(&name("example"), Reach::Below, Action::NxDomain);
        lists.insert(&name("b.example"), Reach::Subtree, Action::Allow);
        lists.insert(&name("c.b.example"), Reach::Name, Action::Drop);
        for (asked, action) in [
            ("example", None),
            ("a.example", Some(Action::NxDomain)),
            ("x.a.example", Some(Action::NxDomain)),
            ("b.example", Some(Action::Allow)),
            ("a.b.example", Some(Action::Allow)),
            ("c.b.example", Some(Action::Drop)),
            ("x.c.b.example", Some(Action::Allow)),
            ("notexample", None),
            (".", None),
        ] {
            assert_eq!(lists.action(&name(asked)), action.as_ref(), "{asked}");
        }
        lists.insert(&NameBuf::root(), Reach::Below, Action::Refuse);
        assert_eq!(lists.action(&name("org")), Some(&Action::Refuse));
    }

    #[test]
    fn lists_in_both_usual_forms() {
        let mut lists = Lists::default();
        let text = "# comment\n0.0.0.0 ads.example # more\nbad.example\n\n:: one.example two..example\n.\n";
        assert_eq!(lists.insert_text(text, &Action::NxDomain), (3, 2));
        assert_eq!(lists.action(&name("ads.example")), Some(&Action::NxDomain));
        assert_eq!(lists.action(&name("x.ads.example")), None, "a hosts file names hosts");
        assert_eq!(lists.action(&name("x.bad.example")), Some(&Action::NxDomain));
    }
}
