//! What one exchange allows: may the response be stored, and for how long is it of any use (RFC 9111 §3).

use core::fmt;
use core::time::Duration;
use std::time::SystemTime;

use http::header::{AUTHORIZATION, CONTENT_RANGE, ETAG, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};

use super::directive::{Qualified, RequestDirectives, ResponseDirectives};
use super::freshness::{self, Freshness, LifetimeSource};
use super::rules::{ImpliedRevalidation, Rules, SetCookie};
use super::vary::Vary;
use super::{date, targeted};

/// One request and the head of its final response, with the times they were sent and received.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The method of the request.
    pub method: &'a Method,
    /// The request's fields.
    pub request: &'a HeaderMap,
    /// The status of the response.
    pub status: StatusCode,
    /// The response's fields.
    pub response: &'a HeaderMap,
    /// When the request was sent.
    pub request_time: SystemTime,
    /// When the head of the response had arrived.
    pub response_time: SystemTime,
}

/// What a cache needs to know of a stored response, worked out once, when it arrives.
///
/// A hit then costs a subtraction and a comparison: nothing is parsed again, nothing allocated.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) directives: ResponseDirectives,
    pub(crate) is_targeted: bool,
    pub(crate) freshness: Freshness,
    pub(crate) initial_age: Duration,
    #[cfg(feature = "tower")]
    pub(crate) request_time: SystemTime,
    pub(crate) response_time: SystemTime,
    /// The value of `Date`, which tells the most recent of several responses.
    pub(crate) date: SystemTime,
    pub(crate) vary: Vary,
    pub(crate) has_validator: bool,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) stale_if_disconnected: Duration,
    pub(crate) forbids_stale: bool,
}

impl Policy {
    /// Works out the policy of one exchange. Cost: the response's cache fields are parsed once.
    #[must_use]
    pub fn new(rules: &Rules, exchange: &Exchange<'_>) -> Self {
        let headers = exchange.response;
        let targeted = targeted::directives(headers, &rules.targets);
        let is_targeted = targeted.is_some();
        let directives = targeted.unwrap_or_else(|| ResponseDirectives::parse(headers));
        let date = freshness::date_value(headers, exchange.response_time);
        let freshness = freshness::lifetime(rules, exchange.status, headers, &directives, is_targeted, date);
        let initial_age = freshness::corrected_initial_age(
            freshness::age_value(headers),
            date,
            exchange.request_time,
            exchange.response_time,
        );
        let explicit =
            directives.stale_while_revalidate.is_present() || directives.stale_if_error.is_present();
        let yields = rules.s_maxage == ImpliedRevalidation::Yielding && explicit;
        let forbids_stale = if yields {
            directives.must_revalidate
                || directives.proxy_revalidate
                || directives.no_cache == Qualified::Whole
        } else {
            directives.forbids_stale()
        };
        let or_default = |stated: Option<Duration>, default| {
            if forbids_stale { Duration::ZERO } else { stated.unwrap_or(default) }
        };
        Self {
            stale_while_revalidate: or_default(
                directives.stale_while_revalidate.duration(),
                rules.stale_while_revalidate,
            ),
            stale_if_error: or_default(directives.stale_if_error.duration(), rules.stale_if_error),
            stale_if_disconnected: or_default(
                directives.stale_if_error.duration(),
                rules.stale_if_disconnected.max(rules.stale_if_error),
            ),
            is_targeted,
            freshness,
            initial_age,
            #[cfg(feature = "tower")]
            request_time: exchange.request_time,
            response_time: exchange.response_time,
            date,
            vary: Vary::parse(headers),
            has_validator: headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED),
            forbids_stale,
            directives,
        }
    }

    /// The cache directives that count, those of a targeted field if a valid one is there.
    #[must_use]
    pub fn directives(&self) -> &ResponseDirectives {
        &self.directives
    }

    /// Whether those directives come from a targeted field (RFC 9213).
    #[must_use]
    pub fn is_targeted(&self) -> bool {
        self.is_targeted
    }

    /// The freshness lifetime and its source.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// Replaces the lifetime by the operator's.
    pub fn override_lifetime(&mut self, lifetime: Duration) {
        self.freshness = Freshness { lifetime, source: LifetimeSource::Override };
    }

    /// When the response was generated: its `Date`, or the time it arrived. Of several responses that a request selects,
    /// the latest is used (RFC 9111 §4).
    #[must_use]
    pub fn date(&self) -> SystemTime {
        self.date
    }

    /// The fields that select this response (RFC 9111 §4.1).
    #[must_use]
    pub fn vary(&self) -> &Vary {
        &self.vary
    }

    /// The age at `now` (RFC 9111 §4.2.3). A clock that steps back makes no response younger than it arrived.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Duration {
        self.initial_age.saturating_add(date::since(now, self.response_time))
    }

    /// How long from its arrival the response can be of any use: the rest of its lifetime plus the longest
    /// permitted staleness; with a validator at least `keep` longer, for a cheap revalidation.
    #[must_use]
    pub fn useful_for(&self, keep: Duration) -> Duration {
        let fresh = self.freshness.lifetime.saturating_sub(self.initial_age);
        let stale = self.stale_while_revalidate.max(self.stale_if_error).max(self.stale_if_disconnected);
        fresh.saturating_add(if self.has_validator { stale.max(keep) } else { stale })
    }

    /// Whether a shared cache may, and usefully can, store the response (RFC 9111 §3, §3.5).
    ///
    /// Cost: a few look-ups in the two field maps; no allocation.
    pub fn storability(&self, rules: &Rules, exchange: &Exchange<'_>) -> Storability {
        match self.refusal(rules, exchange) {
            Some(refusal) => Storability::Refused(refusal),
            None => Storability::Allowed,
        }
    }

    fn refusal(&self, rules: &Rules, exchange: &Exchange<'_>) -> Option<Refusal> {
        let directives = &self.directives;
        let status = exchange.status;
        let understood = is_understood(status);
        let is_explicit = self.freshness.source.is_explicit();
        let method_is_storable = matches!(*exchange.method, Method::GET | Method::HEAD)
            || (exchange.method == Method::POST && is_explicit && self.freshness.lifetime > Duration::ZERO);
        if !method_is_storable {
            return Some(Refusal::Method);
        }
        if status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Some(Refusal::NotFinal);
        }
        if status == StatusCode::NOT_MODIFIED || status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Some(Refusal::AboutTheRequest);
        }
        if status == StatusCode::PARTIAL_CONTENT && !exchange.response.contains_key(CONTENT_RANGE) {
            return Some(Refusal::PartialWithoutPosition);
        }
        if directives.must_understand && !understood {
            return Some(Refusal::NotUnderstood);
        }
        if directives.no_store && !(directives.must_understand && understood) {
            return Some(Refusal::NoStore);
        }
        if RequestDirectives::parse(exchange.request).no_store {
            return Some(Refusal::RequestNoStore);
        }
        if directives.private == Qualified::Whole {
            return Some(Refusal::Private);
        }
        let permits_authorized =
            directives.public || directives.must_revalidate || directives.s_maxage.is_present();
        if exchange.request.contains_key(AUTHORIZATION) && !permits_authorized {
            return Some(Refusal::Authorization);
        }
        if rules.set_cookie == SetCookie::Refused && exchange.response.contains_key(SET_COOKIE) {
            return Some(Refusal::SetCookie);
        }
        if self.vary == Vary::Any {
            return Some(Refusal::VaryAny);
        }
        if self.vary.is_too_long() {
            return Some(Refusal::VaryTooLong);
        }
        let stated = is_explicit || directives.public || freshness::is_heuristically_cacheable(status);
        if !stated {
            return Some(Refusal::NoFreshness);
        }
        let keeps = if self.has_validator { Duration::MAX } else { Duration::ZERO };
        if self.useful_for(keeps).is_zero()
            || (directives.no_cache == Qualified::Whole && !self.has_validator)
        {
            return Some(Refusal::OfNoUse);
        }
        None
    }
}

/// Statuses whose caching requirements this cache implements, as `must-understand` asks (RFC 9111 §5.2.2.3): the
/// final ones of RFC 9110 §15 that it may store.
fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200..=206 | 300..=303 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 428 | 429 | 431 | 451 | 500..=505 | 511)
}

/// Whether a response may be stored.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Storability {
    /// It may.
    Allowed,
    /// It may not, or it would never be used.
    Refused(Refusal),
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The method is neither GET nor HEAD, nor a POST with explicit freshness.
    Method,
    /// A 1xx response.
    NotFinal,
    /// 304 or 416: an answer to this request's conditions, not a representation.
    AboutTheRequest,
    /// 206 without `Content-Range`, as `multipart/byteranges` is.
    PartialWithoutPosition,
    /// `must-understand` with a status this cache does not know.
    NotUnderstood,
    /// `no-store`.
    NoStore,
    /// `no-store` in the request.
    RequestNoStore,
    /// `private`.
    Private,
    /// The request had `Authorization` and nothing permits sharing the answer (RFC 9111 §3.5).
    Authorization,
    /// The response sets a cookie and the rules refuse that.
    SetCookie,
    /// `Vary: *`.
    VaryAny,
    /// More fields in `Vary` than [`MAX_VARY_FIELDS`](super::MAX_VARY_FIELDS).
    VaryTooLong,
    /// Nothing states or allows a lifetime.
    NoFreshness,
    /// It would be stale at once, cannot be validated, and may not be served stale.
    OfNoUse,
    /// The body is larger than the cache accepts, or ended before its announced end.
    Body,
    /// The operator's policy.
    Policy,
}

impl Refusal {
    /// A word for logs and for the `detail` of `Cache-Status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::NotFinal => "not-final",
            Self::AboutTheRequest => "about-the-request",
            Self::PartialWithoutPosition => "partial-without-position",
            Self::NotUnderstood => "not-understood",
            Self::NoStore => "no-store",
            Self::RequestNoStore => "request-no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::VaryAny => "vary-any",
            Self::VaryTooLong => "vary-too-long",
            Self::NoFreshness => "no-freshness",
            Self::OfNoUse => "of-no-use",
            Self::Body => "body",
            Self::Policy => "policy",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
