//! Reads and plays the conformance tables in this folder.
//!
//! A table is plain text. `#` begins a comment. A case is a line `case NAME`, a line `rule SOURCE` with the section
//! it comes from, and steps. A step begins with `> METHOD TARGET`; the lines after it say
//! - `> Name: value`: a field of the client's request;
//! - `< STATUS` and `< Name: value`: what the origin answers if it is asked, `< reset` that it fails,
//!   `< if STATUS Name: value` another status where the request it sees has that field (for 304);
//! - `<< text`: the origin's body (the default is the name of the case);
//! - `= origin`, `= cache`, `= validated`: whether the origin was asked, and whether with a condition;
//! - `= STATUS`, `= Name: value`, `= no Name`, `== text`: what the client gets;
//! - `^ METHOD`, `^ Name: value`, `^ no Name`: what the origin got;
//! - `wait SECONDS`: time that passes after the step.
//!
//! `{now}`, `{now+5}` and `{now-5}` are HTTP-dates around the moment of the request.

#![allow(unreachable_pub, missing_docs, reason = "shared by path between test programs")]

use std::time::{Duration, SystemTime};

/// One case of a table.
#[derive(Debug, Default)]
pub struct Case {
    pub name: String,
    pub rule: String,
    pub steps: Vec<Step>,
}

/// One exchange and what must come of it.
#[derive(Debug, Default, Clone)]
pub struct Step {
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub origin: Origin,
    pub expectations: Vec<Expectation>,
    pub wait: Duration,
}

/// What the origin does if it is asked.
#[derive(Debug, Default, Clone)]
pub struct Origin {
    pub fails: bool,
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: String,
    /// Another status where the request has this field.
    pub conditional: Option<(u16, String, String)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Expectation {
    FromOrigin,
    FromCache,
    Validated,
    Status(u16),
    Field(String, String),
    NoField(String),
    Body(String),
    SentMethod(String),
    SentField(String, String),
    SentNoField(String),
}

/// What happened.
#[derive(Debug, Default)]
pub struct Observed {
    /// The client's status; 502 stands for no answer at all.
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The requests that reached the origin.
    pub sent: Vec<(String, Vec<(String, String)>)>,
}

fn split(field: &str) -> (String, String) {
    let (name, value) = field.split_once(':').expect("a field has a colon");
    (name.trim().to_owned(), value.trim().to_owned())
}

/// Reads a table; a line that is none of the above panics, with its number.
pub fn parse(table: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in table.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("case ") {
            cases.push(Case { name: name.to_owned(), ..Case::default() });
            continue;
        }
        let case = cases.last_mut().unwrap_or_else(|| panic!("line {}: no case yet", number + 1));
        if let Some(rule) = line.strip_prefix("rule ") {
            case.rule = rule.to_owned();
            continue;
        }
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        let is_field = rest.contains(':') && rest.split(':').next().is_some_and(|name| !name.contains(' '));
        if mark == ">" && !is_field {
            let (method, target) = rest.split_once(' ').expect("method and target");
            let (method, target) = (method.to_owned(), target.to_owned());
            let origin = Origin { status: 200, body: case.name.clone(), ..Origin::default() };
            case.steps.push(Step { method, target, origin, ..Step::default() });
            continue;
        }
        let step = case.steps.last_mut().unwrap_or_else(|| panic!("line {}: no step yet", number + 1));
        let expect = |step: &mut Step, expectation| step.expectations.push(expectation);
        match (mark, rest) {
            (">", field) => step.fields.push(split(field)),
            ("<", "reset") => step.origin.fails = true,
            ("<", rest) if rest.starts_with("if ") => {
                let (status, field) = rest[3..].split_once(' ').expect("status and field");
                let (name, value) = split(field);
                step.origin.conditional = Some((status.parse().expect("a status"), name, value));
            }
            ("<", field) if is_field => step.origin.fields.push(split(field)),
            ("<", status) => step.origin.status = status.parse().expect("a status"),
            ("<<", text) => step.origin.body = text.to_owned(),
            ("=", "origin") => expect(step, Expectation::FromOrigin),
            ("=", "cache") => expect(step, Expectation::FromCache),
            ("=", "validated") => expect(step, Expectation::Validated),
            ("=", rest) if rest.starts_with("no ") => {
                expect(step, Expectation::NoField(rest[3..].to_owned()));
            }
            ("=", field) if is_field => {
                let (name, value) = split(field);
                expect(step, Expectation::Field(name, value));
            }
            ("=", status) => expect(step, Expectation::Status(status.parse().expect("a status"))),
            ("==", text) => expect(step, Expectation::Body(text.to_owned())),
            ("^", rest) if rest.starts_with("no ") => {
                expect(step, Expectation::SentNoField(rest[3..].to_owned()));
            }
            ("^", field) if is_field => {
                let (name, value) = split(field);
                expect(step, Expectation::SentField(name, value));
            }
            ("^", method) => expect(step, Expectation::SentMethod(method.to_owned())),
            ("wait", seconds) => step.wait = Duration::from_secs(seconds.parse().expect("seconds")),
            _ => panic!("line {}: {line}", number + 1),
        }
    }
    cases
}

/// The step with its dates filled in.
pub fn at(step: &Step, now: SystemTime) -> Step {
    let mut step = step.clone();
    let fill = |fields: &mut Vec<(String, String)>| {
        for (_, value) in fields {
            *value = dates(value, now);
        }
    };
    fill(&mut step.fields);
    fill(&mut step.origin.fields);
    if let Some((_, _, value)) = &mut step.origin.conditional {
        *value = dates(value, now);
    }
    for expectation in &mut step.expectations {
        if let Expectation::Field(_, value) | Expectation::SentField(_, value) = expectation {
            *value = dates(value, now);
        }
    }
    step
}

fn dates(value: &str, now: SystemTime) -> String {
    let Some(start) = value.find("{now") else { return value.to_owned() };
    let end = start + value[start..].find('}').expect("a closing brace");
    let offset = &value[start + 4..end];
    let time = match offset.split_at_checked(1) {
        Some(("+", seconds)) => now + Duration::from_secs(seconds.parse().expect("seconds")),
        Some(("-", seconds)) => now - Duration::from_secs(seconds.parse().expect("seconds")),
        _ => now,
    };
    let date = pop_cache::http::date_field(time);
    format!("{}{}{}", &value[..start], date.to_str().expect("ASCII"), &value[end + 1..])
}

fn value<'a>(fields: &'a [(String, String)], name: &str) -> Option<Vec<&'a str>> {
    let values: Vec<_> = fields
        .iter()
        .filter(|(own, _)| own.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
        .collect();
    (!values.is_empty()).then_some(values)
}

/// Compares what happened with what must; the message says what differs.
pub fn judge(step: &Step, seen: &Observed) -> Result<(), String> {
    let conditions = ["if-none-match", "if-modified-since"];
    let is_conditional = seen
        .sent
        .last()
        .is_some_and(|(_, fields)| conditions.iter().any(|name| value(fields, name).is_some()));
    for expectation in &step.expectations {
        let last = seen.sent.last().map(|(_, fields)| fields.as_slice()).unwrap_or_default();
        let holds = match expectation {
            Expectation::FromOrigin => !seen.sent.is_empty(),
            Expectation::FromCache => seen.sent.is_empty(),
            Expectation::Validated => is_conditional,
            Expectation::Status(status) => seen.status == *status,
            Expectation::Field(name, text) => {
                value(&seen.fields, name).is_some_and(|values| values.join(", ") == *text)
            }
            Expectation::NoField(name) => value(&seen.fields, name).is_none(),
            Expectation::Body(text) => seen.body == text.as_bytes(),
            Expectation::SentMethod(method) => seen.sent.last().is_some_and(|(sent, _)| sent == method),
            Expectation::SentField(name, text) => {
                value(last, name).is_some_and(|values| values.join(", ") == *text)
            }
            Expectation::SentNoField(name) => !seen.sent.is_empty() && value(last, name).is_none(),
        };
        if !holds {
            return Err(format!("{expectation:?} does not hold: {seen:?}"));
        }
    }
    Ok(())
}
