//! What a request's fields say to a cache, read in one pass: a hit looks no field up.

use http::header::{
    CACHE_CONTROL, HOST, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

/// The fields of a request that a cache acts on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts<'a> {
    pub(crate) host: Hosts<'a>,
    /// `Cache-Control` is there.
    pub(crate) has_directives: bool,
    /// `Range`, or a condition that a cache evaluates.
    pub(crate) is_special: bool,
    /// A condition that only an origin can evaluate.
    pub(crate) is_for_origin: bool,
    /// `Upgrade` is there.
    pub(crate) upgrades: bool,
}

/// The `Host` fields of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Hosts<'a> {
    #[default]
    None,
    One(&'a HeaderValue),
    Several,
}

impl<'a> Hosts<'a> {
    /// Those in a field map.
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        headers.get_all(HOST).iter().fold(Self::None, Self::and)
    }

    fn and(self, host: &'a HeaderValue) -> Self {
        match self {
            Self::None => Self::One(host),
            Self::One(_) | Self::Several => Self::Several,
        }
    }
}

impl<'a> Facts<'a> {
    /// Reads the fields. The length of a name rules out most of them at once.
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let mut facts = Self::default();
        for (name, value) in headers {
            match name.as_str().len() {
                4 if is(name, &HOST) => facts.host = facts.host.and(value),
                5 if is(name, &RANGE) => facts.is_special = true,
                7 if is(name, &UPGRADE) => facts.upgrades = true,
                8 if is(name, &IF_MATCH) => facts.is_for_origin = true,
                8 if is(name, &IF_RANGE) => facts.is_special = true,
                13 if is(name, &CACHE_CONTROL) => facts.has_directives = true,
                13 if is(name, &IF_NONE_MATCH) => facts.is_special = true,
                17 if is(name, &IF_MODIFIED_SINCE) => facts.is_special = true,
                19 if is(name, &IF_UNMODIFIED_SINCE) => facts.is_for_origin = true,
                _ => {}
            }
        }
        facts
    }
}

fn is(name: &HeaderName, known: &HeaderName) -> bool {
    name == known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pass_sees_what_look_ups_see() {
        let names = [
            HOST,
            RANGE,
            UPGRADE,
            IF_MATCH,
            IF_RANGE,
            CACHE_CONTROL,
            IF_NONE_MATCH,
            IF_MODIFIED_SINCE,
            IF_UNMODIFIED_SINCE,
        ];
        for chosen in 0..1_usize << names.len() {
            let mut headers = HeaderMap::new();
            headers.insert("accept", HeaderValue::from_static("*/*"));
            for (bit, name) in names.iter().enumerate() {
                if chosen >> bit & 1 == 1 {
                    headers.insert(name, HeaderValue::from_static("x"));
                }
            }
            let facts = Facts::of(&headers);
            let has = |names: &[HeaderName]| names.iter().any(|name| headers.contains_key(name));
            assert_eq!(matches!(facts.host, Hosts::One(_)), has(&[HOST]));
            assert_eq!(facts.has_directives, has(&[CACHE_CONTROL]));
            assert_eq!(facts.is_special, has(&[RANGE, IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE]));
            assert_eq!(facts.is_for_origin, has(&[IF_MATCH, IF_UNMODIFIED_SINCE]));
            assert_eq!(facts.upgrades, has(&[UPGRADE]));
        }
    }

    #[test]
    fn two_hosts_are_several() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static("a"));
        headers.append(HOST, HeaderValue::from_static("a"));
        assert!(matches!(Facts::of(&headers).host, Hosts::Several));
        assert!(matches!(Hosts::of(&headers), Hosts::Several));
    }
}
