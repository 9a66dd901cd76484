//! What users do, one city or all of them: ask DNS, fetch a page; and the line of the timeline that tells it.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use pop_edge::dns::NameBuf;
use serde_json::json;
use tokio::task::JoinSet;

use crate::acts::World;
use crate::client::{self, Fetched};
use crate::geography::{CITIES, client_subnet};
use crate::network::{HOST, Places};
use crate::resolver::{self, Answer};
use crate::timeline::Event;

/// Where a city is sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub answer: Answer,
    pub pop: usize,
}

impl World {
    /// All cities fetch the start page from their PoP, and straight from the origin.
    pub async fn round(
        &mut self,
        sent: &[Sent],
    ) -> Result<(Vec<Duration>, Vec<Duration>), Box<dyn Error + Send + Sync>> {
        let mut tasks = JoinSet::new();
        for (index, city) in CITIES.iter().enumerate() {
            let source = self.source(index);
            let (pop, rtt) = (self.network.places().http(sent[index].pop), city.rtt(sent[index].pop));
            let (direct, far) = (self.origin.direct(), Duration::from_millis(city.origin_rtt_millis));
            tasks.spawn(async move {
                let with = client::get(source, pop, HOST, "/", rtt).await?;
                let without = client::get(source, direct, HOST, "/", far).await?;
                std::io::Result::Ok((index, with.elapsed, without.elapsed))
            });
        }
        let mut both = (vec![Duration::ZERO; CITIES.len()], vec![Duration::ZERO; CITIES.len()]);
        while let Some(done) = tasks.join_next().await {
            let (index, with, without) = done??;
            (both.0[index], both.1[index]) = (with, without);
        }
        Ok(both)
    }

    /// Every city asks DNS, in a random order, the living name servers first.
    pub async fn ask_all(&mut self, dead: &[usize]) -> Result<Vec<Sent>, Box<dyn Error + Send + Sync>> {
        let name: NameBuf = HOST.parse()?;
        let mut order: Vec<usize> = (0..CITIES.len()).collect();
        self.random.shuffle(&mut order);
        let mut sent: Vec<Option<Sent>> = vec![None; CITIES.len()];
        for index in order {
            let servers: Vec<_> =
                CITIES[index].ranking(dead).into_iter().map(|pop| self.network.places().dns()[pop]).collect();
            let answer = resolver::resolve(&servers, &name, client_subnet(index), self.random.id()).await?;
            let pop = Places::pop_of(answer.address).ok_or("an answer that is no PoP's address")?;
            sent[index] = Some(Sent { answer, pop });
        }
        Ok(sent.into_iter().flatten().collect())
    }

    fn source(&self, city: usize) -> Option<IpAddr> {
        self.network.places().own_addresses.then(|| client::source(city))
    }

    pub async fn fetch(&self, city: usize, pop: usize, path: &str) -> std::io::Result<Fetched> {
        let server = self.network.places().http(pop);
        client::get(self.source(city), server, HOST, path, CITIES[city].rtt(pop)).await
    }

    /// The line of one fetch.
    pub fn fetched(&mut self, city: usize, what: &str, fetched: &Fetched, claim: &str, holds: bool) {
        self.timeline.event(Event {
            place: CITIES[city].iata,
            what,
            detail: format!(
                "{} in {} ms  {}",
                fetched.status.as_u16(),
                fetched.millis(),
                fetched.cache_status
            ),
            claim: (claim, holds),
            facts: json!({
                "status": fetched.status.as_u16(), "ms": fetched.elapsed.as_millis() as u64,
                "cache_status": fetched.cache_status, "bytes": fetched.size_bytes,
            }),
        });
    }
}
