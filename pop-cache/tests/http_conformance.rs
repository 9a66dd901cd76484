//! The conformance tables, played through the layer with a scripted origin and a clock moved by hand.

#![cfg(feature = "tower")]

mod http_support;
#[path = "http/runner.rs"]
mod runner;

use std::time::{Duration, SystemTime};

use http_support::{Edge, read};
use runner::{Case, Observed, Origin, Step};

/// Plays one case against a cache of its own.
async fn play(case: &Case) -> Result<(), String> {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let edge = Edge::new(start, |builder| builder);
    for (number, step) in case.steps.iter().enumerate() {
        let step = runner::at(step, edge.now());
        let seen = exchange(&edge, &step).await;
        runner::judge(&step, &seen)
            .map_err(|why| format!("{} ({}), step {}: {why}", case.name, case.rule, number + 1))?;
        edge.wait(step.wait);
    }
    Ok(())
}

async fn exchange(edge: &Edge, step: &Step) -> Observed {
    let Origin { fails, status, fields, body, conditional } = step.origin.clone();
    edge.script(move |request| {
        if fails {
            return Err("connection reset".into());
        }
        let mut answered = status;
        if let Some((other, name, value)) = &conditional
            && request.headers().get(name.as_str()).is_some_and(|own| own.as_bytes() == value.as_bytes())
        {
            answered = *other;
        }
        let has_body = ![204, 304].contains(&answered) && request.method() != http::Method::HEAD;
        let mut response = http::Response::builder().status(answered);
        for (name, value) in &fields {
            response = response.header(name.as_str(), value.as_str());
        }
        let body = if has_body { body.clone() } else { String::new() };
        Ok(response.body(http_support::chunks(&[&body])).expect("a response"))
    });
    let mut request = http::Request::builder()
        .method(step.method.as_str())
        .uri(format!("http://test.example{}", step.target));
    for (name, value) in &step.fields {
        request = request.header(name.as_str(), value.as_str());
    }
    let before = edge.seen().len();
    let answer = edge.send(request).await;
    let mut seen = Observed { status: 502, ..Observed::default() };
    if let Ok(response) = answer {
        seen.status = response.status().as_u16();
        seen.fields = list(response.headers());
        seen.body = read(response).await.unwrap_or_default();
    }
    edge.settle().await;
    seen.sent =
        edge.seen()[before..].iter().map(|(method, headers)| (method.to_string(), list(headers))).collect();
    seen
}

fn list(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let pair = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    headers.iter().map(pair).collect()
}

#[tokio::test]
async fn every_table_holds() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http");
    let mut failures = Vec::new();
    let mut count = 0;
    let mut names = std::collections::HashSet::new();
    for file in std::fs::read_dir(folder).expect("the folder is there").flatten() {
        if file.path().extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        for case in runner::parse(&std::fs::read_to_string(file.path()).expect("a table")) {
            assert!(!case.rule.is_empty() && !case.steps.is_empty(), "{} says nothing", case.name);
            assert!(names.insert(case.name.clone()), "{} is there twice", case.name);
            count += 1;
            failures.extend(play(&case).await.err());
        }
    }
    assert!(failures.is_empty(), "{} of {count} fail:\n{}", failures.len(), failures.join("\n"));
    assert!(count >= 100, "only {count} cases");
}
