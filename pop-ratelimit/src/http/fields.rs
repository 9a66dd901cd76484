//! The `RateLimit-Policy` and `RateLimit` fields of draft-ietf-httpapi-ratelimit-headers-10, and `Retry-After`.
//!
//! Both are Lists of Structured Fields (RFC 9651): `"default";q=100;w=60` says what is allowed, `"default";r=42;t=30`
//! where a client stands.

use core::fmt;
use core::time::Duration;
use std::borrow::Cow;
use std::string::String;
use std::vec::Vec;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, List, ListEntry, Parser};

use crate::{Decision, Quota};

/// `RateLimit-Policy`.
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// `RateLimit`.
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// Members that are read from a field at most.
pub const POLICIES_MAX: usize = 16;
/// The largest integer of a structured field (RFC 9651, section 3.3.1).
const INTEGER_MAX: u64 = 999_999_999_999_999;

/// What a quota counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuotaUnit {
    /// Requests, which is what a policy without `qu` counts.
    #[default]
    Requests,
    /// Bytes of content.
    ContentBytes,
    /// Requests under way at once.
    ConcurrentRequests,
}

impl QuotaUnit {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::ContentBytes => "content-bytes",
            Self::ConcurrentRequests => "concurrent-requests",
        }
    }
}

/// A member of `RateLimit-Policy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    name: Cow<'static, str>,
    quota: u64,
    window_seconds: Option<u64>,
    unit: QuotaUnit,
}

/// A policy or field that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldError {
    /// A name is empty, longer than 64 bytes, or not printable ASCII.
    Name,
    /// The field is not a List of Structured Fields.
    Syntax,
    /// A member lacks this parameter, or it is no integer from zero on.
    Parameter(&'static str),
    /// There are more than [`POLICIES_MAX`] members.
    TooMany,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => write!(f, "a policy's name is 1 to 64 printable ASCII characters"),
            Self::Syntax => write!(f, "not a list of structured fields"),
            Self::Parameter(name) => write!(f, "parameter {name} is missing or no integer from zero on"),
            Self::TooMany => write!(f, "more than {POLICIES_MAX} members"),
        }
    }
}

impl core::error::Error for FieldError {}

impl Policy {
    /// The policy of a quota: `q` is the burst, `w` the time in which a whole burst comes back, in full seconds.
    ///
    /// # Errors
    /// [`FieldError::Name`] unless the name is 1 to 64 printable ASCII characters.
    pub fn new(name: impl Into<Cow<'static, str>>, quota: Quota) -> Result<Self, FieldError> {
        let name = valid_name(name.into())?;
        let burst = quota.burst_size();
        let nanos = (u128::from(burst) * quota.period().as_nanos()).checked_div(u128::from(quota.tokens()));
        let window = nanos.map(|nanos| nanos.div_ceil(1_000_000_000));
        let window_seconds = window.and_then(|seconds| u64::try_from(seconds).ok()).filter(|_| burst > 0);
        Ok(Self { name, quota: burst.min(INTEGER_MAX), window_seconds, unit: QuotaUnit::Requests })
    }

    /// The same policy counting something else.
    #[must_use]
    pub fn unit(self, unit: QuotaUnit) -> Self {
        Self { unit, ..self }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its quota, `q`.
    #[must_use]
    pub const fn quota(&self) -> u64 {
        self.quota
    }

    /// Its window in seconds, `w`.
    #[must_use]
    pub const fn window_seconds(&self) -> Option<u64> {
        self.window_seconds
    }
}

/// A member of `RateLimit`: where a client stands under a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    name: Cow<'static, str>,
    remaining: u64,
    reset_seconds: Option<u64>,
}

impl Standing {
    /// Where a client stands after a decision. `r` is what remains and `t` the time until the bucket is full again;
    /// for a denial `r` is zero and `t` the time until it would pass.
    ///
    /// # Errors
    /// [`FieldError::Name`] as for a [`Policy`].
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        quota: Quota,
        decision: Decision,
    ) -> Result<Self, FieldError> {
        let name = valid_name(name.into())?;
        let (remaining, reset_seconds) = match decision {
            Decision::Allowed { remaining } => (remaining, full_after_seconds(quota, remaining)),
            Decision::Limited { retry_after } => (0, Some(retry_after_seconds(retry_after))),
            Decision::Never { .. } => (0, None),
        };
        Ok(Self { name, remaining: remaining.min(INTEGER_MAX), reset_seconds })
    }

    /// The policy's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What remains, `r`.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.remaining
    }

    /// When more comes, `t`.
    #[must_use]
    pub const fn reset_seconds(&self) -> Option<u64> {
        self.reset_seconds
    }
}

/// `Retry-After` in whole seconds, rounded up: never too early.
#[must_use]
pub const fn retry_after_seconds(wait: Duration) -> u64 {
    let seconds = wait.as_secs().saturating_add((wait.subsec_nanos() > 0) as u64);
    if seconds < INTEGER_MAX { seconds } else { INTEGER_MAX }
}

fn full_after_seconds(quota: Quota, remaining: u64) -> Option<u64> {
    let missing = quota.burst_size().saturating_sub(remaining);
    let nanos = (u128::from(missing) * quota.period().as_nanos()).checked_div(u128::from(quota.tokens()))?;
    let seconds = u64::try_from(nanos.div_ceil(1_000_000_000)).unwrap_or(INTEGER_MAX);
    Some(seconds.min(INTEGER_MAX))
}

fn valid_name(name: Cow<'static, str>) -> Result<Cow<'static, str>, FieldError> {
    let printable = name.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if printable && (1..=64).contains(&name.len()) { Ok(name) } else { Err(FieldError::Name) }
}

/// The value of `RateLimit-Policy`; `None` for no policies, since the field must not be empty.
#[must_use]
pub fn write_policies(policies: &[Policy]) -> Option<HeaderValue> {
    let members = policies.iter().map(|policy| {
        let mut text = quoted(&policy.name);
        push(&mut text, "q", policy.quota);
        if policy.unit != QuotaUnit::Requests {
            text.push_str(";qu=\"");
            text.push_str(policy.unit.as_str());
            text.push('"');
        }
        if let Some(window) = policy.window_seconds {
            push(&mut text, "w", window);
        }
        text
    });
    join(members)
}

/// The value of `RateLimit`; `None` for no standings.
#[must_use]
pub fn write_standings(standings: &[Standing]) -> Option<HeaderValue> {
    let members = standings.iter().map(|standing| {
        let mut text = quoted(&standing.name);
        push(&mut text, "r", standing.remaining);
        if let Some(reset) = standing.reset_seconds {
            push(&mut text, "t", reset);
        }
        text
    });
    join(members)
}

/// The policies that a response announces; empty without the field. Unknown parameters are passed over.
///
/// # Errors
/// [`FieldError`] if the field, all its lines together, is not what the draft says.
pub fn parse_policies(headers: &HeaderMap) -> Result<Vec<Policy>, FieldError> {
    members(headers, &RATELIMIT_POLICY)?
        .into_iter()
        .map(|(name, parameters)| {
            let quota = integer(&parameters, "q")?.ok_or(FieldError::Parameter("q"))?;
            let unit = match parameters.iter().find(|(key, _)| key == "qu") {
                Some((_, BareItem::String(unit))) if unit.as_str() == "content-bytes" => {
                    QuotaUnit::ContentBytes
                }
                Some((_, BareItem::String(unit))) if unit.as_str() == "concurrent-requests" => {
                    QuotaUnit::ConcurrentRequests
                }
                _ => QuotaUnit::Requests,
            };
            Ok(Policy { name, quota, window_seconds: integer(&parameters, "w")?, unit })
        })
        .collect()
}

/// The standings that a response tells; empty without the field.
///
/// # Errors
/// As [`parse_policies`].
pub fn parse_standings(headers: &HeaderMap) -> Result<Vec<Standing>, FieldError> {
    members(headers, &RATELIMIT)?
        .into_iter()
        .map(|(name, parameters)| {
            let remaining = integer(&parameters, "r")?.ok_or(FieldError::Parameter("r"))?;
            Ok(Standing { name, remaining, reset_seconds: integer(&parameters, "t")? })
        })
        .collect()
}

type Parameters = Vec<(String, BareItem)>;

fn members(
    headers: &HeaderMap,
    field: &HeaderName,
) -> Result<Vec<(Cow<'static, str>, Parameters)>, FieldError> {
    // Several lines are one list (RFC 9651, section 4.2).
    let lines: Vec<&[u8]> = headers.get_all(field).iter().map(HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let joined = lines.join(&b", "[..]);
    let list: List = Parser::new(&joined[..]).parse().map_err(|_| FieldError::Syntax)?;
    if list.len() > POLICIES_MAX {
        return Err(FieldError::TooMany);
    }
    list.into_iter().map(member).collect()
}

fn member(entry: ListEntry) -> Result<(Cow<'static, str>, Parameters), FieldError> {
    let ListEntry::Item(item) = entry else { return Err(FieldError::Syntax) };
    let name = match item.bare_item {
        BareItem::String(name) => String::from(name.as_str()),
        BareItem::Token(name) => String::from(name.as_str()),
        _ => return Err(FieldError::Syntax),
    };
    let parameters = item.params.into_iter().map(|(key, value)| (String::from(key.as_str()), value));
    Ok((valid_name(name.into())?, parameters.collect()))
}

fn integer(parameters: &Parameters, key: &'static str) -> Result<Option<u64>, FieldError> {
    match parameters.iter().find(|(have, _)| have == key) {
        None => Ok(None),
        Some((_, BareItem::Integer(value))) => {
            u64::try_from(i64::from(*value)).map(Some).map_err(|_| FieldError::Parameter(key))
        }
        Some(_) => Err(FieldError::Parameter(key)),
    }
}

fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 32);
    text.push('"');
    for character in name.chars() {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
    text
}

fn push(text: &mut String, key: &str, value: u64) {
    use fmt::Write as _;
    // Writing to a string does not fail.
    let _ = write!(text, ";{key}={}", value.min(INTEGER_MAX));
}

fn join(members: impl Iterator<Item = String>) -> Option<HeaderValue> {
    let members: Vec<String> = members.collect();
    if members.is_empty() {
        return None;
    }
    // Names are printable ASCII, the rest is ours.
    HeaderValue::try_from(members.join(", ")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_draft_s_shape() {
        let minute = Policy::new("per-minute", Quota::per_minute(100)).unwrap();
        let bytes =
            Policy::new("bytes", Quota::per_second(10).burst(25)).unwrap().unit(QuotaUnit::ContentBytes);
        let field = write_policies(&[minute, bytes]).unwrap();
        assert_eq!(field, r#""per-minute";q=100;w=60, "bytes";q=25;qu="content-bytes";w=3"#);

        let quota = Quota::per_second(10).burst(25);
        let allowed = Standing::new("bytes", quota, Decision::Allowed { remaining: 4 }).unwrap();
        let limited = Decision::Limited { retry_after: Duration::from_millis(1001) };
        let limited = Standing::new("a \"b\" \\", quota, limited).unwrap();
        let field = write_standings(&[allowed, limited]).unwrap();
        assert_eq!(field, r#""bytes";r=4;t=3, "a \"b\" \\";r=0;t=2"#);
        assert_eq!(write_standings(&[]), None);
    }

    #[test]
    fn odd_quotas_have_policies() {
        let unlimited = write_policies(&[Policy::new("x", Quota::UNLIMITED).unwrap()]).unwrap();
        assert_eq!(unlimited, "\"x\";q=999999999999999;w=1");
        assert_eq!(write_policies(&[Policy::new("x", Quota::BLOCKED).unwrap()]).unwrap(), "\"x\";q=0");
        let long = "x".repeat(65);
        assert!(Policy::new(String::from(&long[1..]), Quota::BLOCKED).is_ok());
        for name in ["", "ü", "a\nb", &long] {
            assert_eq!(Policy::new(String::from(name), Quota::BLOCKED), Err(FieldError::Name));
        }
    }

    #[test]
    fn what_is_not_the_draft_s_is_refused() {
        let parse = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.append(RATELIMIT_POLICY, text.parse().unwrap());
            parse_policies(&headers)
        };
        assert_eq!(parse("default;q=5").unwrap()[0].quota(), 5);
        assert_eq!(parse("\"a\";w=5"), Err(FieldError::Parameter("q")));
        assert_eq!(parse("\"a\";q=-5"), Err(FieldError::Parameter("q")));
        assert_eq!(parse("\"a\";q=5.0"), Err(FieldError::Parameter("q")));
        assert_eq!(parse("(a b);q=5"), Err(FieldError::Syntax));
        assert_eq!(parse("\"a;q=5"), Err(FieldError::Syntax));
        assert_eq!(parse("5;q=5"), Err(FieldError::Syntax));
        assert_eq!(parse(&["a;q=1"; POLICIES_MAX + 1].join(",")), Err(FieldError::TooMany));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            name in "[ -~]{1,64}", tokens in 1_u64..1_000_000, burst in 0_u64..1_000_000, remaining: u64,
        ) {
            let quota = Quota::per_second(tokens).burst(burst);
            let policies = [Policy::new(name.clone(), quota).unwrap()];
            let standings = [Standing::new(name, quota, Decision::Allowed { remaining }).unwrap()];
            let mut headers = HeaderMap::new();
            headers.append(RATELIMIT_POLICY, write_policies(&policies).unwrap());
            headers.append(RATELIMIT, write_standings(&standings).unwrap());
            prop_assert_eq!(parse_policies(&headers).unwrap(), policies);
            prop_assert_eq!(parse_standings(&headers).unwrap(), standings);
        }

        #[test]
        fn retry_after_is_never_too_early(wait: Duration) {
            prop_assert!(Duration::from_secs(retry_after_seconds(wait)) >= wait.min(Duration::from_secs(INTEGER_MAX)));
        }
    }
}
