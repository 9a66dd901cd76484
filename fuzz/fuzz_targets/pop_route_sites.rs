//! Any text as a map of sites, and as a table of clients: a map that exists is valid, an error names its line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pop_route::{ClientAtlas, SiteMap};

fuzz_target!(|text: &str| {
    let lines = text.lines().count().max(1) + 1;
    match SiteMap::from_toml(text) {
        Ok(map) => assert!(map.iter().all(|(id, site)| map.find(site.name()) == Some(id))),
        Err(error) => assert!(error.line() >= 1 && error.line() <= lines, "{error}"),
    }
    let mut atlas = ClientAtlas::new();
    if let Ok(rows) = atlas.countries(text) {
        assert!(rows == 0 || !atlas.facts().is_empty());
    }
});
