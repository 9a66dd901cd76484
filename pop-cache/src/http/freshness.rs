//! Lifetime and age of a response (RFC 9111 §4.2).

use core::time::Duration;
use std::time::SystemTime;

use http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, StatusCode};

use super::date;
use super::directive::{Delta, ResponseDirectives, delta_seconds};
use super::rules::Rules;

/// A freshness lifetime and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// How long after its generation the response is fresh.
    pub lifetime: Duration,
    /// What said so.
    pub source: LifetimeSource,
}

/// What determined a freshness lifetime, in the order of RFC 9111 §4.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifetimeSource {
    /// The operator's policy.
    Override,
    /// `s-maxage`.
    SMaxage,
    /// `max-age`.
    MaxAge,
    /// `Expires` minus `Date`.
    Expires,
    /// The operator's lifetime for negative answers.
    Negative,
    /// A percentage of the time since `Last-Modified`.
    Heuristic,
    /// Nothing: the lifetime is zero.
    Nothing,
}

impl LifetimeSource {
    /// Whether the lifetime was stated, by the origin or the operator, and not guessed.
    #[must_use]
    pub fn is_explicit(self) -> bool {
        !matches!(self, Self::Heuristic | Self::Nothing)
    }
}

/// Statuses that may be given a heuristic lifetime (RFC 9110 §15.1). 206 is among them; so is every status when
/// `public` is there (RFC 9111 §4.2.2).
pub(crate) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// The lifetime of a response. `directives` are those of the targeted field if one is valid; then `Expires` does
/// not count either (RFC 9213 §2.2).
pub(crate) fn lifetime(
    rules: &Rules,
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    is_targeted: bool,
    date: SystemTime,
) -> Freshness {
    let stated = |delta: Delta, source| {
        let lifetime = delta.duration().unwrap_or(Duration::ZERO);
        delta.is_present().then_some(Freshness { lifetime, source })
    };
    stated(directives.s_maxage, LifetimeSource::SMaxage)
        .or_else(|| stated(directives.max_age, LifetimeSource::MaxAge))
        .or_else(|| if is_targeted { None } else { expires(headers, date) })
        .or_else(|| negative(rules, status))
        .or_else(|| heuristic(rules, status, headers, directives, date))
        .unwrap_or(Freshness { lifetime: Duration::ZERO, source: LifetimeSource::Nothing })
}

/// The first `Expires` line counts; one that is no date lies in the past (RFC 9111 §5.3).
fn expires(headers: &HeaderMap, date: SystemTime) -> Option<Freshness> {
    let value = headers.get(EXPIRES)?;
    let lifetime =
        date::parse_date(value.as_bytes(), date).map_or(Duration::ZERO, |expires| date::since(expires, date));
    Some(Freshness { lifetime, source: LifetimeSource::Expires })
}

fn negative(rules: &Rules, status: StatusCode) -> Option<Freshness> {
    let &(_, lifetime) = rules.negative.iter().find(|(listed, _)| *listed == status)?;
    Some(Freshness { lifetime, source: LifetimeSource::Negative })
}

fn heuristic(
    rules: &Rules,
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    date: SystemTime,
) -> Option<Freshness> {
    let may_guess = is_heuristically_cacheable(status) || directives.public;
    if !may_guess || headers.contains_key(SET_COOKIE) {
        return None;
    }
    let modified = date::parse_date(headers.get(LAST_MODIFIED)?.as_bytes(), date)?;
    let unchanged = date::since(date, modified);
    let lifetime =
        Duration::from_secs(unchanged.as_secs().saturating_mul(u64::from(rules.heuristic_percent)) / 100);
    Some(Freshness { lifetime: lifetime.min(rules.heuristic_max), source: LifetimeSource::Heuristic })
}

/// The value of `Date`, or the time of reception where it is missing or no date (RFC 9110 §6.6.1).
pub(crate) fn date_value(headers: &HeaderMap, received: SystemTime) -> SystemTime {
    headers.get(DATE).and_then(|value| date::parse_date(value.as_bytes(), received)).unwrap_or(received)
}

/// The value of `Age`: the first member of the list on the first line, zero if that is no number (RFC 9111 §5.1).
pub(crate) fn age_value(headers: &HeaderMap) -> Duration {
    let Some(line) = headers.get(AGE) else { return Duration::ZERO };
    let first = line.as_bytes().split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii();
    // A parameter is not part of the grammar; the number before it still says that the response is old.
    let number = first.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    Duration::from_secs(u64::from(delta_seconds(number).unwrap_or(0)))
}

/// `corrected_initial_age` of RFC 9111 §4.2.3.
pub(crate) fn corrected_initial_age(
    age_value: Duration,
    date_value: SystemTime,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Duration {
    let apparent_age = date::since(response_time, date_value);
    let response_delay = date::since(response_time, request_time);
    let corrected_age_value = age_value.saturating_add(response_delay);
    apparent_age.max(corrected_age_value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn age(lines: &[&'static str]) -> u64 {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AGE, HeaderValue::from_static(line));
        }
        age_value(&headers).as_secs()
    }

    #[test]
    fn the_first_age_counts() {
        assert_eq!(age(&["30"]), 30);
        assert_eq!(age(&["7200, 0"]), 7200);
        assert_eq!(age(&["0, 7200"]), 0);
        assert_eq!(age(&["7200", "0"]), 7200);
        assert_eq!(age(&["7200;a=b"]), 7200);
        assert_eq!(age(&["-7200"]), 0);
        assert_eq!(age(&["7200.0"]), 0);
        assert_eq!(age(&["abc"]), 0);
        assert_eq!(age(&["99999999999"]), 1 << 31);
    }

    #[test]
    fn clocks_that_disagree_never_make_a_response_younger() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let age = |age, date, request, response| {
            corrected_initial_age(Duration::from_secs(age), at(date), at(request), at(response)).as_secs()
        };
        assert_eq!(age(0, 1000, 1000, 1003), 3, "the delay counts in full");
        assert_eq!(age(15, 1010, 1000, 1000), 15, "a fast origin clock gives no negative age");
        assert_eq!(age(5, 900, 1000, 1000), 100, "a slow origin clock ages the response");
        assert_eq!(age(5, 1000, 1000, 990), 5, "our clock stepped back");
    }
}
