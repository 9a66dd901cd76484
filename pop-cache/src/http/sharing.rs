//! The answer for each of those who share one fetch (RFC 9111 §4).

use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, Method, Response, StatusCode};

use super::answer::{self, Asked};
use super::body::CacheBody;
use super::cache::Shared;
use super::decide::seconds;
use super::directive::RequestDirectives;
use super::fields;
use super::flight::{LiveHead, Published};
use super::handle::count;
use super::policy::Policy;
use super::reuse::{OriginFailure, Reuse};
use super::service::Answer;
use super::status::CacheStatus;
use super::stored::Stored;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// The fetch was made for this request.
    Leader,
    /// It was made for another, so it must be reusable (RFC 9111 §4).
    Waiter,
}

/// An answer, or one that lacks its slices yet.
pub(super) enum Made<B> {
    Answer(Answer<B>),
    Slices(Response<CacheBody<B>>, Arc<Stored>),
}

/// The answer for one of those who share a fetch; `None` where it is no answer for this one.
pub(super) fn shared_answer<B>(
    shared: &Shared,
    headers: &HeaderMap,
    published: Published,
    holder: Option<super::live::Reader>,
    mut status: CacheStatus,
    share: Share,
) -> Option<Made<B>> {
    let asked = Asked { method: &Method::GET, headers, name: &shared.name };
    let now = shared.now();
    let directives = RequestDirectives::parse(headers);
    let is_waiter = share == Share::Waiter;
    let is_reusable = |policy: &Policy| {
        !is_waiter || matches!(policy.reuse(shared.rules(), &directives, now, None), Reuse::Fresh { .. })
    };
    match published {
        Published::Pending | Published::Released | Published::Slice(_) => None,
        Published::Failed(error) => Some(Made::Answer(Err(error))),
        Published::Live(head) => {
            if !is_reusable(&head.policy) || (is_waiter && !head.selection.matches(headers)) {
                return None;
            }
            live_status(&head, &mut status, now);
            let mut answer = answer::from_live(&head, asked, now, status)?;
            drop(holder);
            if is_waiter {
                fields::remove_unstorable(answer.headers_mut(), &head.policy.directives);
            }
            Some(Made::Answer(Ok(answer)))
        }
        Published::Kept(stored) => {
            if !is_reusable(&stored.policy) || (is_waiter && !stored.selection.matches(headers)) {
                return None;
            }
            count(&shared.counters.tier_hits);
            let status = CacheStatus {
                ttl: Some(ttl(&stored.policy, now)),
                detail: Some("tier"),
                key: status.key,
                ..CacheStatus::default()
            };
            let response = answer::from_stored(&stored, asked, stored.policy.age(now), status);
            Some(Made::Answer(Ok(response)))
        }
        Published::Validated(stored) | Published::Sliced(stored) => {
            if !is_reusable(&stored.policy) || (is_waiter && !stored.selection.matches(headers)) {
                return None;
            }
            if status.collapsed.is_none() {
                count(&shared.counters.revalidated);
                status.forward_status = Some(StatusCode::NOT_MODIFIED);
            }
            status.ttl = Some(ttl(&stored.policy, now));
            status.stored = true;
            let response = answer::from_stored(&stored, asked, stored.policy.age(now), status);
            Some(if response.body().first_slice().is_some() {
                Made::Slices(response, stored)
            } else {
                Made::Answer(Ok(response))
            })
        }
        Published::StaleOnError(stored, failure) => {
            let kind = match failure {
                Some(_) => OriginFailure::Answered,
                None => OriginFailure::Disconnected,
            };
            let purged_at = stored.purged_at();
            let own = stored.policy.reuse_on_error(kind, shared.rules(), &directives, now, purged_at);
            if is_waiter && (!stored.selection.matches(headers) || own.is_none()) {
                return None;
            }
            count(&shared.counters.stale_hits);
            status.forward_status = failure;
            status.ttl = Some(ttl(&stored.policy, now));
            status.detail = Some("stale-if-error");
            let response = answer::from_stored(&stored, asked, stored.policy.age(now), status);
            Some(Made::Answer(Ok(response)))
        }
    }
}

pub(crate) fn live_status(head: &LiveHead, status: &mut CacheStatus, now: SystemTime) {
    status.ttl = Some(ttl(&head.policy, now));
    status.forward_status = Some(head.status);
    status.stored = true;
}

fn ttl(policy: &Policy, now: SystemTime) -> i64 {
    seconds(policy.freshness().lifetime).saturating_sub(seconds(policy.age(now)))
}
