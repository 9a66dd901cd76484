//! What PoPs tell each other over the stream, as octets.
//!
//! ```text
//! notice := version(1) from(8) kind(1) mode(1) rest
//! rest   := nothing                        joined, or everything is purged
//!         | text                           a key, a prefix, a host, a tag
//!         | length(u16) key group          a cache group of the key's origin
//! ```
//!
//! Numbers are big-endian, texts UTF-8. What does not fit is nothing: who cannot read a notice cannot know what it was
//! about, and purges everything.

use bytes::{Buf, BufMut};
use pop_cache::http::{CacheKey, Purge, PurgeMode};

const VERSION: u8 = 1;

/// The longest text of a notice, twice: keys are shorter (16 KiB), and so is every tag that fits into a field.
const TEXT_MAX: usize = 32 << 10;
/// The longest notice. A longer one is not looked at.
pub(super) const NOTICE_MAX: usize = 2 * TEXT_MAX + 16;

/// One notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    /// Which process it is from: a number drawn at its start.
    pub(super) from: u64,
    pub(super) news: News,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Somebody begins to read here.
    Joined,
    Purged(Purge, PurgeMode),
}

impl Notice {
    /// The octets. A purge that does not fit, or of a kind that this version cannot say, is said as one of everything.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(64);
        octets.put_u8(VERSION);
        octets.put_u64(self.from);
        let News::Purged(what, mode) = &self.news else {
            octets.extend_from_slice(&[0, 0]);
            return octets;
        };
        let (kind, key, text) = match what {
            Purge::Key(key) => (2, None, key.as_str()),
            Purge::Prefix(prefix) => (3, None, prefix.as_str()),
            Purge::Host(host) => (4, None, host.as_str()),
            Purge::Tag(tag) => (5, None, tag.as_str()),
            Purge::Group(key, group) => (6, Some(key.as_str()), group.as_str()),
            _ => (1, None, ""),
        };
        let fits = text.len() <= TEXT_MAX && key.is_none_or(|key| key.len() <= TEXT_MAX);
        octets.put_u8(if fits { kind } else { 1 });
        octets.put_u8(u8::from(matches!(mode, PurgeMode::MarkStale)));
        if fits {
            if let Some(key) = key {
                octets.put_u16(u16::try_from(key.len()).unwrap_or(u16::MAX));
                octets.extend_from_slice(key.as_bytes());
            }
            octets.extend_from_slice(text.as_bytes());
        }
        octets
    }

    /// What octets say; `None` if they are no notice of this version.
    pub(super) fn decode(mut octets: &[u8]) -> Option<Self> {
        if octets.len() < 11 || octets.len() > NOTICE_MAX || octets.get_u8() != VERSION {
            return None;
        }
        let (from, kind, mode) = (octets.get_u64(), octets.get_u8(), octets.get_u8());
        let mode = match mode {
            0 => PurgeMode::Remove,
            1 => PurgeMode::MarkStale,
            _ => return None,
        };
        let text = |octets: &[u8]| {
            std::str::from_utf8(octets).ok().filter(|text| text.len() <= TEXT_MAX).map(str::to_owned)
        };
        let what = match kind {
            0 if mode == PurgeMode::Remove && octets.is_empty() => {
                return Some(Self { from, news: News::Joined });
            }
            1 if octets.is_empty() => Purge::All,
            2 => Purge::Key(CacheKey::from_raw(text(octets)?)),
            3 => Purge::Prefix(text(octets)?),
            4 => Purge::Host(text(octets)?),
            5 => Purge::Tag(text(octets)?),
            6 => {
                let length = usize::from((octets.len() >= 2).then(|| octets.get_u16())?);
                let (key, group) = octets.split_at_checked(length)?;
                Purge::Group(CacheKey::from_raw(text(key)?), text(group)?)
            }
            _ => return None,
        };
        Some(Self { from, news: News::Purged(what, mode) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn purge() -> impl Strategy<Value = Purge> {
        let key = || ".{0,40}".prop_map(CacheKey::from_raw);
        prop_oneof![
            Just(Purge::All),
            key().prop_map(Purge::Key),
            ".{0,40}".prop_map(Purge::Prefix),
            ".{0,40}".prop_map(Purge::Host),
            ".{0,40}".prop_map(Purge::Tag),
            (key(), ".{0,40}").prop_map(|(key, group)| Purge::Group(key, group)),
        ]
    }

    proptest! {
        #[test]
        fn what_is_told_is_what_is_heard(what in purge(), from: u64, is_soft: bool) {
            let mode = if is_soft { PurgeMode::MarkStale } else { PurgeMode::Remove };
            let notice = Notice { from, news: News::Purged(what, mode) };
            prop_assert_eq!(Notice::decode(&notice.encode()), Some(notice));
        }

        #[test]
        fn any_octets_are_a_notice_or_none(octets: Vec<u8>, kind in 0_u8..8, mode in 0_u8..3) {
            let mut near = vec![VERSION, 0, 0, 0, 0, 0, 0, 0, 7, kind, mode];
            near.extend_from_slice(&octets);
            for octets in [octets, near] {
                if let Some(notice) = Notice::decode(&octets) {
                    prop_assert_eq!(notice.encode(), octets);
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_everything() {
        let told = |what| Notice { from: 1, news: News::Purged(what, PurgeMode::MarkStale) }.encode();
        let heard = Some(Notice { from: 1, news: News::Purged(Purge::All, PurgeMode::MarkStale) });
        let (fitting, long) = ("x".repeat(TEXT_MAX), "x".repeat(TEXT_MAX + 1));
        assert_eq!(Notice::decode(&told(Purge::Tag(long.clone()))), heard);
        assert_eq!(Notice::decode(&told(Purge::Group(CacheKey::from_raw(long), String::new()))), heard);
        let longest = told(Purge::Group(CacheKey::from_raw(fitting.clone()), fitting));
        assert!(
            longest.len() <= NOTICE_MAX && Notice::decode(&longest).is_some_and(|one| Some(one) != heard)
        );
        assert_eq!(Notice::decode(&vec![VERSION; NOTICE_MAX + 1]), None);
    }
}
