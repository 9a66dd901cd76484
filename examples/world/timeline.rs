//! What the reader sees: one line an event, each with the claim it proves, and a verdict at the end.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use serde_json::{Map, Value, json};

/// How the events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Lines for a person.
    Text,
    /// One JSON object a line.
    Json,
}

/// Writes events to stdout and remembers whether every claim held.
#[derive(Debug)]
pub struct Timeline {
    started: Instant,
    style: Style,
    colour: bool,
    events: u32,
    failed: Vec<String>,
}

/// One thing that happened.
#[derive(Debug)]
pub struct Event<'a> {
    /// The PoP, or the part of the world, where it happened.
    pub place: &'a str,
    /// One word: MISS, HIT, MOVED…
    pub what: &'a str,
    /// The sentence a person reads.
    pub detail: String,
    /// What this event proves, and whether it did.
    pub claim: (&'a str, bool),
    /// The numbers, for machines.
    pub facts: Value,
}

impl Timeline {
    pub fn new(style: Style) -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { started: Instant::now(), style, colour, events: 0, failed: Vec::new() }
    }

    /// A heading: what the next events are about.
    pub fn act(&mut self, title: &str) {
        match self.style {
            Style::Text => self.line(&format!("\n{}", self.paint("1", title))),
            Style::Json => self.line(&json!({ "act": title, "t": self.seconds() }).to_string()),
        }
    }

    /// A sentence between events that claims nothing. Left out of the JSON.
    pub fn remark(&mut self, text: &str) {
        if self.style == Style::Text {
            self.line(&format!("           {text}"));
        }
    }

    pub fn event(&mut self, event: Event<'_>) {
        let Event { place, what, detail, claim: (claim, holds), facts } = event;
        self.events += 1;
        if !holds {
            self.failed.push(format!("{place} {what}: {claim}"));
        }
        let line = match self.style {
            Style::Text => {
                let mark = if holds { self.paint("32", "✓") } else { self.paint("31", "✗") };
                let what = self.paint(if holds { "36" } else { "31" }, &format!("{what:<9}"));
                format!("{:>7.3} s  {place:<6} {what} {detail}  {mark} {claim}", self.seconds())
            }
            Style::Json => {
                let mut object = Map::new();
                object.insert("t".into(), json!(self.seconds()));
                object.insert("place".into(), json!(place));
                object.insert("event".into(), json!(what));
                object.insert("detail".into(), json!(detail));
                object.insert("claim".into(), json!(claim));
                object.insert("holds".into(), json!(holds));
                object.insert("facts".into(), facts);
                Value::Object(object).to_string()
            }
        };
        self.line(&line);
    }

    /// The last line; true if every claim held.
    pub fn verdict(mut self) -> bool {
        let (events, failed) = (self.events, std::mem::take(&mut self.failed));
        match self.style {
            Style::Text if failed.is_empty() => {
                self.line(&format!("\n{events} claims, all of them held, in {:.1} s.", self.seconds()));
            }
            Style::Text => {
                self.line(&format!("\n{events} claims, {} FAILED:", failed.len()));
                failed.iter().for_each(|claim| self.line(&format!("  {claim}")));
            }
            Style::Json => {
                self.line(&json!({ "t": self.seconds(), "claims": events, "failed": failed }).to_string());
            }
        }
        failed.is_empty()
    }

    /// Writes a line as it is (tables, commands to try). A closed stdout is not the demo's problem.
    pub fn line(&self, line: &str) {
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }

    fn seconds(&self) -> f64 {
        (self.started.elapsed().as_secs_f64() * 1e3).round() / 1e3
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
