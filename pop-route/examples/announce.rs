//! What a site should announce, in the language of its BGP speaker.
//!
//! ```text
//! cargo run -p pop-route --example announce -- --for exabgp --as 64500 --prepend 2 192.0.2.0/24
//! ```
//!
//! `exabgp` writes lines for its text API, `bird` a file to include, `gobgp` the arguments of one call a line with tabs
//! between. Programs that decide by themselves use [`pop_route::Announcer`]; this is its last step alone.

use std::net::IpAddr;

use pop_route::{Announcement, Prefix, bird_config, exabgp_lines, gobgp_arguments};

const USAGE: &str = "announce --for exabgp|gobgp|bird --as NUMBER [--next-hop ADDRESS] \
                     [--prepend COUNT | --tag HIGH:LOW | --withdraw] PREFIX...";

struct Wanted {
    speaker: String,
    own_as: u32,
    next_hop: Option<IpAddr>,
    announcement: Announcement,
    prefixes: Vec<Prefix>,
}

fn main() {
    match wanted(std::env::args().skip(1)) {
        Some(wanted) => print!("{}", write(&wanted)),
        None => {
            eprintln!("usage: {USAGE}");
            std::process::exit(2);
        }
    }
}

fn wanted(mut arguments: impl Iterator<Item = String>) -> Option<Wanted> {
    let (mut speaker, mut own_as, mut next_hop) = (None, None, None);
    let (mut announcement, mut prefixes) = (Announcement::Announce, Vec::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--for" => speaker = Some(arguments.next()?),
            "--as" => own_as = Some(arguments.next()?.parse().ok()?),
            "--next-hop" => next_hop = Some(arguments.next()?.parse().ok()?),
            "--prepend" => announcement = Announcement::Prepend(arguments.next()?.parse().ok()?),
            "--tag" => {
                let tag = arguments.next()?;
                let (high, low) = tag.split_once(':')?;
                announcement = Announcement::Tag((high.parse().ok()?, low.parse().ok()?));
            }
            "--withdraw" => announcement = Announcement::Withdraw,
            prefix => prefixes.push(prefix.parse().ok()?),
        }
    }
    let known = |speaker: &String| ["exabgp", "gobgp", "bird"].contains(&speaker.as_str());
    Some(Wanted { speaker: speaker.filter(known)?, own_as: own_as?, next_hop, announcement, prefixes })
}

fn write(wanted: &Wanted) -> String {
    let Wanted { own_as, next_hop, announcement, ref prefixes, .. } = *wanted;
    match wanted.speaker.as_str() {
        "exabgp" => exabgp_lines(prefixes, announcement, own_as, next_hop),
        "gobgp" => gobgp_arguments(prefixes, announcement, own_as, next_hop)
            .iter()
            .map(|call| call.join("\t") + "\n")
            .collect(),
        _ => bird_config(prefixes, announcement, own_as),
    }
}
