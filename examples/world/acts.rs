//! The acts of the story. Each does something to the world, looks at what users get, and claims something about it.

use std::error::Error;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use pop_edge::cache::http::{Purge, PurgeMode};
use serde_json::json;
use tokio::task::JoinSet;

use crate::client;
use crate::geography::{CITIES, City, POPS, client_subnet, distance_km};
use crate::network::{HOST, Network};
use crate::origin::Origin;
use crate::random::Random;
use crate::timeline::{Event, Timeline};
use crate::visits::Sent;
use crate::{flood, table};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// How many clients ask for one new page at once.
const CROWD: usize = 50;
/// Longer than the freshness lifetime of the page with prices.
const UNTIL_STALE: Duration = Duration::from_millis(1100);

/// Everything there is.
#[derive(Debug)]
pub struct World {
    pub network: Network,
    pub origin: Origin,
    pub timeline: Timeline,
    pub random: Random,
    pub fast: bool,
}

impl World {
    pub fn introduction(&mut self) {
        self.timeline.act("Six PoPs, one origin far away, clients in twenty cities (simulated WAN)");
        for (index, pop) in POPS.iter().enumerate() {
            let (http, dns) = (self.network.places().http(index), self.network.places().dns()[index]);
            self.timeline.remark(&format!("{} {:<10} http {http}  dns {dns}", pop.iata, pop.city));
        }
        if !self.network.places().own_addresses {
            self.timeline
                .remark("this machine has no 127.0.x.1: one address and a port a PoP stand in for them");
        }
    }

    /// DNS sends every city to its nearest PoP by round trip, which is not always the nearest on the map.
    pub async fn nearest_pop(&mut self) -> Outcome {
        self.timeline.act("1. A name is looked up: the answer is the nearest PoP");
        let sent = self.ask_all(&[]).await?;
        let mut detours = Vec::new();
        for (city, sent) in CITIES.iter().zip(&sent) {
            let by_map = nearest_by_distance(city);
            if by_map != sent.pop {
                detours.push(format!(
                    "{} → {} (the map says {})",
                    city.iata, POPS[sent.pop].iata, POPS[by_map].iata
                ));
            }
        }
        for index in [0, 6, 19] {
            let (city, sent) = (&CITIES[index], &sent[index]);
            let expected = city.ranking(&[])[0];
            self.timeline.event(Event {
                place: city.iata,
                what: "DNS",
                detail: format!(
                    "{}, {} ({}) → {} {}, {} ms away, ttl {} s, scope /{}",
                    city.name,
                    city.country,
                    block(index),
                    POPS[sent.pop].iata,
                    sent.answer.address,
                    city.rtt_millis[sent.pop],
                    sent.answer.ttl,
                    sent.answer.scope
                ),
                claim: ("the nearest by round trip", sent.pop == expected),
                facts: json!({
                    "city": city.name, "subnet": block(index), "pop": POPS[sent.pop].iata,
                    "address": sent.answer.address.to_string(), "scope": sent.answer.scope, "ttl": sent.answer.ttl,
                }),
            });
        }
        let right = CITIES.iter().zip(&sent).filter(|(city, sent)| sent.pop == city.ranking(&[])[0]).count();
        // RFC 7871: a resolver keeps an answer for all of its scope, so that may hold nobody who is sent elsewhere.
        let scoped = sent.iter().enumerate().all(|(index, here)| {
            let covered = |other: &usize| {
                same_block(client_subnet(index).0, client_subnet(*other).0, here.answer.scope)
            };
            (0..CITIES.len()).filter(covered).all(|other| sent[other].pop == here.pop)
        });
        self.timeline.event(Event {
            place: "all",
            what: "DNS",
            detail: format!(
                "{right} of {} cities at their nearest PoP; {}",
                CITIES.len(),
                detours.join(", ")
            ),
            claim: (
                "every city, and no scope covers one that goes elsewhere",
                right == CITIES.len() && scoped,
            ),
            facts: json!({ "cities": CITIES.len(), "nearest": right, "not_by_distance": detours.len() }),
        });
        let why = self.network.selector().explain(client_subnet(7)).to_string();
        self.timeline.remark(&format!("why {}?", CITIES[7].name));
        why.lines().for_each(|line| self.timeline.remark(&format!("  {line}")));
        Ok(())
    }

    /// The first fetch travels to the origin, the second does not.
    pub async fn miss_then_hit(&mut self) -> Outcome {
        self.timeline.act("2. The nearest PoP answers from its cache, or fetches from the origin");
        let (berlin, london) = (0, 1);
        let miss = self.fetch(berlin, 0, "/").await?;
        self.fetched(berlin, "MISS", &miss, "fetched from the origin", !miss.is_hit() && miss.status == 200);
        let hit = self.fetch(berlin, 0, "/").await?;
        let once = self.origin.fetches("/") == 1;
        self.fetched(berlin, "HIT", &hit, "the origin was not asked again", hit.is_hit() && once);
        let hit = self.fetch(london, 0, "/").await?;
        let once = self.origin.fetches("/") == 1;
        self.fetched(london, "HIT", &hit, "one PoP, one fetch for all its cities", hit.is_hit() && once);
        Ok(())
    }

    /// A crowd asks for one page that nobody has yet.
    pub async fn fifty_become_one(&mut self) -> Outcome {
        self.timeline.act("3. Fifty clients want one new page at once");
        let tokyo = 5;
        let seoul = 19;
        let server = self.network.places().http(tokyo);
        let rtt = CITIES[seoul].rtt(tokyo);
        let own = self.network.places().own_addresses;
        let mut crowd = JoinSet::new();
        for member in 0..CROWD {
            let source = own.then(|| client::member(seoul, member));
            crowd.spawn(async move { client::get(source, server, HOST, "/launch", rtt).await });
        }
        let mut good = 0;
        let mut slowest = Duration::ZERO;
        while let Some(fetched) = crowd.join_next().await {
            let fetched = fetched??;
            good += usize::from(fetched.status == 200 && fetched.size_bytes > 32 << 10);
            slowest = slowest.max(fetched.elapsed);
        }
        let fetches = self.origin.fetches("/launch");
        self.timeline.event(Event {
            place: POPS[tokyo].iata,
            what: "COALESCED",
            detail: format!("{good} whole answers, {fetches} fetch, the slowest client waited {} ms", slowest.as_millis()),
            claim: ("50 requests, one fetch", good == CROWD && fetches == 1),
            facts: json!({ "clients": CROWD, "answers": good, "origin_fetches": fetches, "slowest_ms": slowest.as_millis() as u64 }),
        });
        Ok(())
    }

    /// A tag is purged everywhere, and nothing else goes.
    pub async fn purge_by_tag(&mut self) -> Outcome {
        self.timeline.act("4. The news change: purge by tag");
        let (berlin, frankfurt) = (0, 0);
        let before = self.fetch(berlin, frankfurt, "/news").await?;
        let mut purged = 0;
        for (_, handle) in self.network.handles() {
            purged += handle.purge(&Purge::Tag("news".to_owned()), PurgeMode::Remove);
        }
        self.timeline.event(Event {
            place: "all",
            what: "PURGE",
            detail: format!("tag \"news\": {purged} stored response"),
            claim: ("what was tagged has gone", purged == 1),
            facts: json!({ "tag": "news", "purged": purged }),
        });
        let after = self.fetch(berlin, frankfurt, "/news").await?;
        let new = after.status == 200 && !after.is_hit() && after.body != before.body;
        self.fetched(berlin, "MISS", &after, "a new version", new);
        let other = self.fetch(berlin, frankfurt, "/").await?;
        self.fetched(berlin, "HIT", &other, "other pages stayed", other.is_hit());
        Ok(())
    }

    /// A PoP dies; its clients move to their next nearest, nobody else moves, and all come back afterwards.
    pub async fn a_pop_dies(&mut self) -> Outcome {
        let victim = self.random.below(POPS.len());
        let name = POPS[victim].iata;
        self.timeline.act(&format!("5. {name} loses power"));
        let before = self.ask_all(&[]).await?;
        let killed = Instant::now();
        self.network.kill(victim).await;
        self.network.wait_until(|network| !network.is_healthy(victim)).await?;
        let after = self.ask_all(&[victim]).await?;
        let elapsed = killed.elapsed();
        let theirs = |sent: &[Sent]| -> Vec<usize> {
            (0..CITIES.len()).filter(|&city| sent[city].pop == victim).collect()
        };
        let moved: Vec<usize> =
            (0..CITIES.len()).filter(|&city| before[city].pop != after[city].pop).collect();
        let right = CITIES.iter().zip(&after).all(|(city, sent)| sent.pop == city.ranking(&[victim])[0]);
        let list: Vec<String> = moved
            .iter()
            .map(|&city| format!("{} → {}", CITIES[city].iata, POPS[after[city].pop].iata))
            .collect();
        self.timeline.event(Event {
            place: name,
            what: "MOVED",
            detail: format!("{} ms after the cut: {}", elapsed.as_millis(), list.join(", ")),
            claim: ("its clients are at their next nearest, nobody else moved", right && moved == theirs(&before)),
            facts: json!({ "pop": name, "moved": list, "others": CITIES.len() - moved.len(), "ms": elapsed.as_millis() as u64 }),
        });
        if let Some(&city) = moved.first() {
            let fetched = self.fetch(city, after[city].pop, "/").await?;
            self.fetched(city, "SERVED", &fetched, "by the next nearest", fetched.status == 200);
        }
        let origin = self.origin.for_pop(victim);
        self.network.revive(victim, origin).await?;
        let again = self.ask_all(&[]).await?;
        let same = before.iter().zip(&again).all(|(before, again)| before.pop == again.pop);
        self.timeline.event(Event {
            place: name,
            what: "BACK",
            detail: "power is back; after the hold-down DNS says so".to_owned(),
            claim: ("the same clients came back, nobody else moved", same),
            facts: json!({ "pop": name, "same": same }),
        });
        Ok(())
    }

    /// The origin dies; what is stored is served, stale where it must be, as RFC 5861 allows.
    pub async fn the_origin_is_away(&mut self) -> Outcome {
        self.timeline.act("6. The origin goes away");
        let (new_york, ashburn) = (8, 1);
        let fresh = self.fetch(new_york, ashburn, "/prices").await?;
        self.fetched(new_york, "MISS", &fresh, "fresh for a second", fresh.status == 200 && !fresh.is_hit());
        self.origin.stop().await;
        tokio::time::sleep(UNTIL_STALE).await;
        let stale = self.fetch(new_york, ashburn, "/prices").await?;
        let kept = stale.status == 200 && stale.body == fresh.body;
        self.fetched(new_york, "STALE", &stale, "served although the origin is away", kept);
        let unknown = self.fetch(new_york, ashburn, "/never-seen").await?;
        let told = unknown.status == 502 || unknown.status == 504;
        self.fetched(new_york, "ERROR", &unknown, "what nobody has is an honest error", told);
        self.origin.restart().await?;
        let back = self.fetch(new_york, ashburn, "/prices").await?;
        let renewed = back.status == 200 && back.body != fresh.body;
        self.fetched(new_york, "FRESH", &back, "the origin is back", renewed);
        Ok(())
    }

    /// A network of attackers floods a PoP; they are held to their limit, and good clients do not notice.
    pub async fn a_flood(&mut self) -> Outcome {
        self.timeline.act("7. A flood");
        if !self.network.places().own_addresses {
            self.timeline.remark("left out: attackers need addresses of their own, and this machine has one");
            return Ok(());
        }
        let frankfurt = 0;
        let server = self.network.places().http(frankfurt);
        let windows = flood::windows(server, CITIES[0].rtt(frankfurt), self.fast).await?;
        let report = flood::best(&windows).ok_or("no window of the flood ended")?;
        self.timeline.event(Event {
            place: POPS[frankfurt].iata,
            what: "FLOOD",
            detail: format!(
                "{} requests from {} attackers, {} refused with 429; {} passed, their limits allow {}",
                report.sent, report.attackers, report.refused, report.admitted, report.allowance
            ),
            claim: ("attackers are held to their limit", report.admitted <= report.allowance && report.refused > 0),
            facts: json!({
                "sent": report.sent, "refused": report.refused, "admitted": report.admitted, "allowance": report.allowance,
            }),
        });
        let served = windows.iter().all(|window| window.good_failed == 0 && window.good > 0);
        self.timeline.event(Event {
            place: POPS[frankfurt].iata,
            what: "GOOD",
            detail: format!("{} requests of good clients, {} failed", report.good, report.good_failed),
            claim: ("every good client is served", served),
            facts: json!({ "good": report.good, "failed": report.good_failed }),
        });
        let holds = self.fast || report.flooded_p99 <= report.quiet_p99 * 5;
        self.timeline.event(Event {
            place: POPS[frankfurt].iata,
            what: "P99",
            detail: format!(
                "good clients' p99 {:.1} ms in the quiet, {:.1} ms in the flood",
                millis(report.quiet_p99),
                millis(report.flooded_p99)
            ),
            claim: ("p99 within five times the quiet one", holds),
            facts: json!({
                "quiet_p99_ms": millis(report.quiet_p99), "flooded_p99_ms": millis(report.flooded_p99),
                "judged": !self.fast,
            }),
        });
        Ok(())
    }

    /// The table: what a page costs each city with the PoPs, and what without.
    pub async fn with_and_without(&mut self) -> Outcome {
        self.timeline.act("8. With PoPs, and without");
        let sent = self.ask_all(&[]).await?;
        let mut rows = table::Rows::default();
        for round in 0..if self.fast { 1 } else { 3 } {
            let (with, without) = self.round(&sent).await?;
            if round == 0 {
                // Every PoP has the page from now on; the first round warmed them.
                let (with, _) = self.round(&sent).await?;
                rows.take(&with, &without);
            } else {
                rows.take(&with, &without);
            }
        }
        rows.lines(&sent.iter().map(|sent| sent.pop).collect::<Vec<_>>())
            .iter()
            .for_each(|line| self.timeline.remark(line));
        let summary = rows.summary();
        self.timeline.event(Event {
            place: "all",
            what: "TABLE",
            detail: format!(
                "median {:.0} ms with, {:.0} ms without; p90 {:.0} ms with, {:.0} ms without",
                millis(summary.with.0),
                millis(summary.without.0),
                millis(summary.with.1),
                millis(summary.without.1)
            ),
            claim: ("no city is slower with PoPs", self.fast || summary.slower == 0),
            facts: json!({
                "with_p50_ms": millis(summary.with.0), "without_p50_ms": millis(summary.without.0),
                "with_p90_ms": millis(summary.with.1), "without_p90_ms": millis(summary.without.1),
                "slower": summary.slower, "judged": !self.fast,
            }),
        });
        Ok(())
    }
}

/// Whether two addresses agree in their first `length` bits.
fn same_block(one: IpAddr, two: IpAddr, length: u8) -> bool {
    match (one, two) {
        (IpAddr::V4(one), IpAddr::V4(two)) => {
            let differing = one.to_bits() ^ two.to_bits();
            differing.leading_zeros() >= u32::from(length)
        }
        _ => false,
    }
}

fn block(city: usize) -> String {
    let (address, length) = client_subnet(city);
    format!("{address}/{length}")
}

fn nearest_by_distance(city: &City) -> usize {
    let mut nearest = (f64::INFINITY, 0);
    for (index, pop) in POPS.iter().enumerate() {
        let km = distance_km((city.latitude, city.longitude), (pop.latitude, pop.longitude));
        if km < nearest.0 {
            nearest = (km, index);
        }
    }
    nearest.1
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e4).round() / 10.0
}
