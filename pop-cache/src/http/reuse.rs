//! May a stored response answer this request now (RFC 9111 §4, RFC 5861)?

use core::fmt;
use core::time::Duration;
use std::time::SystemTime;

use super::date;
use super::directive::{MaxStale, Qualified, RequestDirectives};
use super::policy::Policy;
use super::rules::{RequestControl, Rules};

/// What a stored response may do for a request.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reuse {
    /// Answer it: fresh for `ttl` more.
    Fresh {
        /// Current age.
        age: Duration,
        /// The rest of the lifetime.
        ttl: Duration,
    },
    /// Answer it though stale.
    Stale {
        /// Current age.
        age: Duration,
        /// Time since the end of the lifetime.
        staleness: Duration,
        /// What permits it.
        allowed_by: StaleAllowance,
    },
    /// Answer it only after successful validation with the origin, or fetch anew.
    Validate(Cause),
}

/// What permits a stale answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StaleAllowance {
    /// The request's `max-stale`.
    MaxStale,
    /// `stale-while-revalidate`: the caller must start a revalidation.
    WhileRevalidate,
    /// `stale-if-error`, or the operator's grace: the origin has failed.
    IfError,
}

/// How an origin failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginFailure {
    /// No answer came.
    Disconnected,
    /// It answered 500, 502, 503 or 504, or what is no answer to what it was asked.
    Answered,
}

/// Why a stored response cannot be used without validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Its lifetime is over by this much.
    Stale(Duration),
    /// The response has `no-cache`.
    NoCache,
    /// The request has `no-cache`.
    RequestNoCache,
    /// The request wants a younger one.
    RequestMaxAge,
    /// The request wants one that stays fresh for longer.
    RequestMinFresh,
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale(by) => write!(formatter, "stale-by-{}s", by.as_secs()),
            Self::NoCache => formatter.write_str("no-cache"),
            Self::RequestNoCache => formatter.write_str("request-no-cache"),
            Self::RequestMaxAge => formatter.write_str("request-max-age"),
            Self::RequestMinFresh => formatter.write_str("request-min-fresh"),
        }
    }
}

impl Policy {
    /// Decides whether the stored response may answer a request with these directives at `now`.
    ///
    /// `purged_at` is the moment of a soft purge: from then on the response is stale, whatever its lifetime.
    /// Constant time, no allocation.
    pub fn reuse(
        &self,
        rules: &Rules,
        request: &RequestDirectives,
        now: SystemTime,
        purged_at: Option<SystemTime>,
    ) -> Reuse {
        let honoured = rules.request_control == RequestControl::Honoured;
        let ignored = RequestDirectives::default();
        let request = if honoured { request } else { &ignored };
        let age = self.age(now);
        let lifetime = self.lifetime(purged_at);
        if self.directives.no_cache == Qualified::Whole {
            return Reuse::Validate(Cause::NoCache);
        }
        if request.no_cache {
            return Reuse::Validate(Cause::RequestNoCache);
        }
        let too_old = request.max_age.duration().is_some_and(|limit| age > limit);
        let ttl = lifetime.saturating_sub(age);
        if ttl > Duration::ZERO {
            return if too_old && request.max_stale == MaxStale::Absent {
                Reuse::Validate(Cause::RequestMaxAge)
            } else if request.min_fresh.duration().is_some_and(|wanted| ttl < wanted) {
                Reuse::Validate(Cause::RequestMinFresh)
            } else {
                Reuse::Fresh { age, ttl }
            };
        }
        let staleness = age.saturating_sub(lifetime);
        match self.stale_allowance(request, staleness, too_old) {
            Some(allowed_by) => Reuse::Stale { age, staleness, allowed_by },
            None => Reuse::Validate(Cause::Stale(staleness)),
        }
    }

    /// As [`reuse`](Self::reuse) for a request without directives, as long as the response is fresh: its age and the rest
    /// of its lifetime. `None` where there is more to think about.
    #[cfg(feature = "tower")]
    #[inline]
    pub(crate) fn fresh(
        &self,
        now: SystemTime,
        purged_at: Option<SystemTime>,
    ) -> Option<(Duration, Duration)> {
        if self.directives.no_cache == Qualified::Whole {
            return None;
        }
        let age = self.age(now);
        let ttl = self.lifetime(purged_at).saturating_sub(age);
        (!ttl.is_zero()).then_some((age, ttl))
    }

    /// Whether the stored response may stand in for an origin that failed (RFC 5861 §4, RFC 9111 §4.2.4). Constant time,
    /// no allocation.
    #[must_use]
    pub fn reuse_on_error(
        &self,
        failure: OriginFailure,
        rules: &Rules,
        request: &RequestDirectives,
        now: SystemTime,
        purged_at: Option<SystemTime>,
    ) -> Option<Reuse> {
        let honoured = rules.request_control == RequestControl::Honoured;
        if self.forbids_stale || (honoured && request.no_cache) {
            return None;
        }
        let age = self.age(now);
        let staleness = age.saturating_sub(self.lifetime(purged_at));
        let asked = if honoured { request.stale_if_error.duration() } else { None };
        let allowed = match failure {
            OriginFailure::Answered => self.stale_if_error,
            OriginFailure::Disconnected => self.stale_if_disconnected,
        };
        let window = allowed.max(asked.unwrap_or(Duration::ZERO));
        (staleness <= window && window > Duration::ZERO).then_some(Reuse::Stale {
            age,
            staleness,
            allowed_by: StaleAllowance::IfError,
        })
    }

    fn lifetime(&self, purged_at: Option<SystemTime>) -> Duration {
        let lifetime = self.freshness.lifetime;
        match purged_at {
            None => lifetime,
            Some(moment) => {
                lifetime.min(self.initial_age.saturating_add(date::since(moment, self.response_time)))
            }
        }
    }

    fn stale_allowance(
        &self,
        request: &RequestDirectives,
        staleness: Duration,
        too_old: bool,
    ) -> Option<StaleAllowance> {
        let wants_more = |wanted: Duration| !staleness.is_zero() || !wanted.is_zero();
        if self.forbids_stale || request.min_fresh.duration().is_some_and(wants_more) {
            return None;
        }
        match request.max_stale {
            MaxStale::Any => return Some(StaleAllowance::MaxStale),
            MaxStale::Within(limit) if staleness <= limit => return Some(StaleAllowance::MaxStale),
            MaxStale::Within(_) | MaxStale::Absent => {}
        }
        (!too_old && staleness < self.stale_while_revalidate).then_some(StaleAllowance::WhileRevalidate)
    }
}
