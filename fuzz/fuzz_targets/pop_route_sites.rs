//! Any text as a map of sites, and as what else is said of a site: a map that exists is valid, an error names its line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pop_route::SiteMap;

fn read(text: &str) {
    let lines = text.lines().count().max(1) + 1;
    match SiteMap::from_toml(text) {
        Ok(map) => assert!(map.iter().all(|(id, site)| map.find(site.name()) == Some(id))),
        Err(error) => assert!(error.line() >= 1 && error.line() <= lines, "{error}"),
    }
}

fuzz_target!(|text: &str| {
    read(text);
    read(&format!("[[site]]\nname = 'A'\nlatitude = 50.0\nlongitude = 8.6\n{text}"));
});
