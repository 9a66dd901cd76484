//! Counters and histograms in the text format that Prometheus reads (version 0.0.4).

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;

use super::Monitor;
use crate::exchange::Source;

/// One label. A backslash, a quote or the end of a line in its value is escaped.
struct Label<'a>(&'static str, &'a str);

impl Display for Label<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{{{}=\"", self.0)?;
        for character in self.1.chars() {
            match character {
                '\\' | '"' => write!(formatter, "\\{character}")?,
                '\n' => formatter.write_str("\\n")?,
                _ => formatter.write_char(character)?,
            }
        }
        formatter.write_str("\"}")
    }
}

/// A page of metrics under construction.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
}

impl Page {
    /// One metric with its help and, by label, its values.
    pub(crate) fn metric<L: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> &mut Self {
        self.head(name, kind, help);
        for (labels, value) in values {
            // A String takes everything.
            let _ = writeln!(self.text, "{name}{labels} {value}");
        }
        self
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Everything a monitor counted.
    pub(crate) fn monitor(&mut self, monitor: &Monitor) -> &mut Self {
        let name = "pop_request_duration_seconds";
        self.head(name, "histogram", "From the head of a request to the end of its answer, by source.");
        for source in Source::ALL {
            let latency = &monitor.sources[source as usize].latency;
            let label = source.as_str();
            let mut count = 0;
            for (bound, below) in latency.cumulative() {
                let seconds = std::time::Duration::from_nanos(bound).as_secs_f64();
                count = below;
                let _ = writeln!(self.text, "{name}_bucket{{source=\"{label}\",le=\"{seconds}\"}} {below}");
            }
            let sum = latency.sum().as_secs_f64();
            let _ = writeln!(self.text, "{name}_bucket{{source=\"{label}\",le=\"+Inf\"}} {count}");
            let _ = writeln!(self.text, "{name}_sum{{source=\"{label}\"}} {sum}");
            let _ = writeln!(self.text, "{name}_count{{source=\"{label}\"}} {count}");
        }
        let classes = monitor.statuses.iter().zip(1..);
        self.metric(
            "pop_responses_total",
            "counter",
            "Answers by class of status.",
            classes.map(|(count, class)| (format!("{{class=\"{class}xx\"}}"), count.load(Ordering::Relaxed))),
        );
        let plain = |counter: &std::sync::atomic::AtomicU64| [("", counter.load(Ordering::Relaxed))];
        self.metric("pop_body_bytes_total", "counter", "Octets of bodies sent.", plain(&monitor.bytes));
        self.metric(
            "pop_broken_responses_total",
            "counter",
            "Answers whose body did not reach its end.",
            plain(&monitor.broken),
        );
        let by_reason = |(reason, count)| (Label("reason", reason), count);
        self.metric(
            "pop_denied_total",
            "counter",
            "Requests refused, by reason.",
            monitor.denied.read().map(by_reason),
        )
        .metric(
            "pop_origin_failures_total",
            "counter",
            "Requests answered with an error because the origin gave no answer, by reason.",
            monitor.failed.read().map(by_reason),
        )
    }

    /// Connections of clients.
    pub(crate) fn connections(&mut self, open: u64, refused: u64) -> &mut Self {
        self.metric("pop_connections", "gauge", "Connections open.", [("", open)]).metric(
            "pop_connections_refused_total",
            "counter",
            "Connections refused before a byte was read.",
            [("", refused)],
        )
    }

    /// What rules applied to.
    pub(crate) fn rules(&mut self, hits: &[(String, u64)]) -> &mut Self {
        let rows = hits.iter().map(|(name, count)| (Label("rule", name), *count));
        self.metric("pop_rule_hits_total", "counter", "Requests that a rule applied to.", rows)
    }

    /// What caches hold and did, all together.
    #[cfg(feature = "cache")]
    pub(crate) fn caches(&mut self, caches: &[pop_cache::http::Handle]) -> &mut Self {
        let stats: Vec<_> = caches.iter().map(pop_cache::http::Handle::stats).collect();
        let sum = |read: fn(&pop_cache::http::HttpStats) -> u64| [("", stats.iter().map(read).sum::<u64>())];
        self.metric("pop_cache_bytes", "gauge", "Bytes stored.", sum(|stats| stats.weight))
            .metric("pop_cache_stored_total", "counter", "Responses stored.", sum(|stats| stats.stored))
            .metric(
                "pop_cache_collapsed_total",
                "counter",
                "Requests that shared another's fetch.",
                sum(|stats| stats.collapsed),
            )
            .metric(
                "pop_cache_revalidated_total",
                "counter",
                "Requests answered after the origin had confirmed what is stored.",
                sum(|stats| stats.revalidated),
            )
            .metric(
                "pop_cache_purged_total",
                "counter",
                "Responses purged or invalidated.",
                sum(|stats| stats.purged),
            )
            .metric(
                "pop_cache_errors_total",
                "counter",
                "Requests that failed because the origin did.",
                sum(|stats| stats.errors),
            )
    }

    /// What DNS answered.
    #[cfg(feature = "dns")]
    pub(crate) fn dns(&mut self, counts: &pop_dns::server::Counts) -> &mut Self {
        let transports = [("{transport=\"udp\"}", counts.udp), ("{transport=\"tcp\"}", counts.tcp)];
        let codes = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "OTHER"];
        self.metric("pop_dns_queries_total", "counter", "Queries by transport.", transports).metric(
            "pop_dns_answers_total",
            "counter",
            "Answers by code.",
            codes.iter().zip(counts.rcodes).map(|(code, count)| (format!("{{rcode=\"{code}\"}}"), count)),
        )
    }

    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.text)
    }
}
