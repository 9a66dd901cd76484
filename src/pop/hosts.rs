//! The host table: which site is a request for?

use std::borrow::Cow;
use std::collections::HashMap;

use ahash::RandomState;

use crate::config::Pattern;

/// Sites by host and path. Immutable: a reload makes a new one.
#[derive(Debug)]
pub(super) struct HostTable<S> {
    /// By name; of each, the sites with the longest path prefix first.
    exact: HashMap<Box<str>, Vec<Entry>, RandomState>,
    /// By the name below which any name matches.
    below: HashMap<Box<str>, Vec<Entry>, RandomState>,
    sites: Vec<S>,
}

#[derive(Debug)]
struct Entry {
    path_prefix: Box<str>,
    site: usize,
}

/// A table has two sites for the same host and path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Twice;

impl<S> Default for HostTable<S> {
    fn default() -> Self {
        Self { exact: HashMap::default(), below: HashMap::default(), sites: Vec::new() }
    }
}

impl<S> HostTable<S> {
    /// Whether there is no site at all.
    pub(super) fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// Adds a site.
    pub(super) fn add(&mut self, pattern: &Pattern, path_prefix: &str, site: S) -> Result<(), Twice> {
        let entries = match pattern {
            Pattern::Exact(name) => self.exact.entry(name.as_str().into()).or_default(),
            Pattern::Below(name) => self.below.entry(name.as_str().into()).or_default(),
        };
        let place = entries.partition_point(|entry| entry.path_prefix.len() > path_prefix.len());
        if entries[place..].iter().any(|entry| *entry.path_prefix == *path_prefix) {
            return Err(Twice);
        }
        entries.insert(place, Entry { path_prefix: path_prefix.into(), site: self.sites.len() });
        self.sites.push(site);
        Ok(())
    }

    /// The site for a canonical host and a path; `path` is asked only where a host has path prefixes. One look-up for
    /// an exact name, one more for each label of others.
    pub(super) fn find<'p>(&self, host: &str, path: impl Fn() -> Cow<'p, str>) -> Option<Found> {
        let mut is_whole_host = true;
        let mut choose = |entries: &Vec<Entry>| {
            is_whole_host &= matches!(&entries[..], [only] if only.path_prefix.is_empty());
            if is_whole_host {
                return Some(entries[0].site);
            }
            let path = path();
            entries.iter().find(|entry| path.starts_with(&*entry.path_prefix)).map(|entry| entry.site)
        };
        let mut site = self.exact.get(host).and_then(&mut choose);
        let mut rest = if self.below.is_empty() { "" } else { host };
        while site.is_none() && !rest.is_empty() {
            rest = rest.split_once('.').map_or("", |(_, rest)| rest);
            site = self.below.get(rest).and_then(&mut choose);
        }
        site.map(|site| Found { site, is_whole_host })
    }

    /// A site that was found in this table.
    pub(super) fn site(&self, site: usize) -> &S {
        &self.sites[site]
    }
}

/// A site that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) site: usize,
    /// Whether any path of the host has this site.
    pub(super) is_whole_host: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_wins() {
        let mut table = HostTable::default();
        for (pattern, prefix) in [
            ("*", ""),
            ("*.example.org", ""),
            ("*.b.example.org", ""),
            ("www.example.org", ""),
            ("www.example.org", "/api/"),
            ("www.example.org", "/api/v2/"),
            ("only.example.org", "/x"),
        ] {
            let name = format!("{pattern}{prefix}");
            table.add(&Pattern::parse(pattern).expect("a pattern"), prefix, name).expect("once");
        }
        let check = |host, path: &'static str, expected: &str| {
            let found = table.find(host, || path.into()).expect("found");
            assert_eq!(table.site(found.site), expected, "{host}{path}");
            let is_whole_host = ["/", "/api/", "/api/v2/x", "/x"].iter().all(|other| {
                table.find(host, || (*other).into()).is_some_and(|other| other.site == found.site)
            });
            assert_eq!(found.is_whole_host, is_whole_host, "{host}{path}");
        };
        check("www.example.org", "/", "www.example.org");
        check("www.example.org", "/api", "www.example.org");
        check("www.example.org", "/api/v1", "www.example.org/api/");
        check("www.example.org", "/api/v2/x", "www.example.org/api/v2/");
        check("a.example.org", "/", "*.example.org");
        check("a.b.example.org", "/", "*.b.example.org");
        check("b.example.org", "/", "*.example.org");
        check("example.org", "/", "*");
        check("only.example.org", "/y", "*.example.org");
        assert_eq!(table.add(&Pattern::parse("*").expect("a pattern"), "", String::new()), Err(Twice));
    }

    #[test]
    fn names_from_the_network_are_hashed_by_a_secret() {
        let (one, other) = (HostTable::<()>::default(), HostTable::<()>::default());
        let hash = |table: &HostTable<()>| table.exact.hasher().hash_one("www.example.org");
        // By chance they are the same once in 2^64 runs.
        assert_ne!(hash(&one), hash(&other), "nobody can choose names that collide");
    }
}
