//! A stored response and the resource it belongs to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use http::header::{AGE, CONTENT_LENGTH, HeaderValue};
use http::{HeaderMap, StatusCode};

use super::contents::StoredBody;
use super::policy::Policy;
use super::status::{CACHE_STATUS, CacheStatus};
use super::vary::{Selection, Vary};
use super::{date, fields};

/// One stored response: everything a hit needs, worked out when it was stored.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) status: StatusCode,
    /// The fields of the answer, `Age` and `Cache-Status` already in their slots, so that a hit's copy never grows.
    pub(crate) headers: HeaderMap,
    pub(crate) policy: Policy,
    pub(crate) selection: Selection,
    pub(crate) body: Arc<StoredBody>,
    pub(crate) tags: Arc<[Box<str>]>,
    /// Whether every byte is there.
    pub(crate) is_whole: bool,
    /// Whether it may be compressed for those who like that better, so that its answers depend on `Accept-Encoding`.
    #[cfg(feature = "compression")]
    pub(crate) is_codable: bool,
    /// The fields of a plain hit as they are in this second.
    rendered: RwLock<Option<Rendered>>,
    /// Nanoseconds since the epoch at which it was softly purged, zero for never.
    purged_at: AtomicU64,
    weight: u64,
}

/// Fields with everything that changes by the second.
#[derive(Debug)]
struct Rendered {
    age: u64,
    ttl: u64,
    headers: HeaderMap,
}

impl Stored {
    pub(crate) fn new(
        status: StatusCode,
        mut headers: HeaderMap,
        policy: Policy,
        selection: Selection,
        body: Arc<StoredBody>,
        tags: Arc<[Box<str>]>,
    ) -> Self {
        headers.remove(AGE);
        headers.remove(CONTENT_LENGTH);
        if let Some(length) = body.complete().filter(|_| status != StatusCode::NO_CONTENT) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        headers.insert(AGE, HeaderValue::from_static("0"));
        if !headers.contains_key(CACHE_STATUS) {
            headers.insert(CACHE_STATUS, OWN_SLOT);
        }
        let weight = size_of::<Self>() as u64
            + body.weight()
            // The fields are there twice: as stored, and as the latest hit had them.
            + (2 * fields::weight_of_fields(&headers) + selection.weight()) as u64
            + tags.iter().map(|tag| tag.len() + size_of::<Box<str>>()).sum::<usize>() as u64;
        let is_whole = body.is_whole();
        Self {
            status,
            headers,
            policy,
            selection,
            body,
            tags,
            is_whole,
            #[cfg(feature = "compression")]
            is_codable: false,
            rendered: RwLock::new(None),
            purged_at: AtomicU64::new(0),
            weight,
        }
    }

    /// A copy of the fields with this age and this member of `Cache-Status`.
    pub(crate) fn answer_headers(&self, age: Duration, member: HeaderValue) -> HeaderMap {
        let mut headers = self.headers.clone();
        #[cfg(feature = "compression")]
        if self.is_codable {
            super::compression::add_vary(&mut headers);
        }
        if let Some(slot) = headers.get_mut(AGE) {
            *slot = HeaderValue::from(age.as_secs());
        }
        match headers.get_mut(CACHE_STATUS) {
            Some(slot) if slot.as_bytes() == OWN_SLOT.as_bytes() => *slot = member,
            _ => {
                headers.append(CACHE_STATUS, member);
            }
        }
        headers
    }

    /// A copy of the fields for a plain hit: `Age` and `Cache-Status` are written once a second, whoever comes first.
    pub(crate) fn hit_headers(&self, age: u64, ttl: u64, name: &str) -> HeaderMap {
        if let Ok(rendered) = self.rendered.try_read()
            && let Some(rendered) = &*rendered
            && (rendered.age, rendered.ttl) == (age, ttl)
        {
            return rendered.headers.clone();
        }
        let status =
            CacheStatus { ttl: Some(i64::try_from(ttl).unwrap_or(i64::MAX)), ..CacheStatus::default() };
        let headers = self.answer_headers(Duration::from_secs(age), status.to_value(name));
        if let Ok(mut rendered) = self.rendered.try_write() {
            *rendered = Some(Rendered { age, ttl, headers: headers.clone() });
        }
        headers
    }

    /// The fields as they were stored, to be updated by a 304.
    pub(crate) fn original_headers(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.remove(AGE);
        if headers.get(CACHE_STATUS).is_some_and(|slot| slot.as_bytes() == OWN_SLOT.as_bytes()) {
            headers.remove(CACHE_STATUS);
        }
        headers
    }

    pub(crate) fn purged_at(&self) -> Option<SystemTime> {
        // Only a moment, no other data hangs on it.
        match self.purged_at.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)),
        }
    }

    /// Marks it stale from `now` on; says whether it was not before.
    pub(crate) fn purge_softly(&self, now: SystemTime) -> bool {
        let nanos =
            u64::try_from(date::since(now, SystemTime::UNIX_EPOCH).as_nanos()).unwrap_or(u64::MAX).max(1);
        self.purged_at.compare_exchange(0, nanos, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }
}

/// What stands in the slot of `Cache-Status` until an answer is made; no cache sends an empty string item.
const OWN_SLOT: HeaderValue = HeaderValue::from_static("\"\"");

/// All stored responses of one key, the newest first.
#[derive(Debug, Default)]
pub(crate) struct Resource {
    pub(crate) variants: Vec<Arc<Stored>>,
}

impl Resource {
    /// The response that a request selects (RFC 9111 §4.1): of those that match the most recent by `Date`, and one
    /// that varies before one that forgot to say that it does.
    pub(crate) fn select(&self, request: &HeaderMap) -> Option<&Arc<Stored>> {
        let rank = |stored: &Stored| (stored.policy.vary != Vary::Nothing, stored.policy.date());
        let mut matching = self.variants.iter().filter(|stored| stored.selection.matches(request));
        let first = matching.next()?;
        Some(matching.fold(first, |best, next| if rank(next) > rank(best) { next } else { best }))
    }

    /// This resource with one more response, which replaces those with the same secondary key; the oldest go where
    /// there are more than `most`.
    pub(crate) fn with(&self, stored: Arc<Stored>, most: usize) -> Self {
        let others = self.variants.iter().filter(|other| other.selection != stored.selection).cloned();
        let variants = std::iter::once(Arc::clone(&stored)).chain(others).take(most.max(1)).collect();
        Self { variants }
    }

    /// Forgets the oldest responses until the rest takes at most `bytes`, or only the newest is left.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let mut sum = 0;
        let kept = self.variants.iter().take_while(|stored| {
            sum += stored.weight();
            sum <= bytes
        });
        let kept = kept.count().max(1);
        self.variants.truncate(kept);
    }

    pub(crate) fn weight(&self, key_bytes: usize) -> u64 {
        /// The entry of the index, the `Arc` and the list around the responses.
        const RESOURCE_BYTES: u64 = 160;
        RESOURCE_BYTES
            + key_bytes as u64
            + self.variants.iter().map(|stored| stored.weight() + 16).sum::<u64>()
    }

    pub(crate) fn useful_for(&self, now: SystemTime, keep: Duration) -> Duration {
        let rest = |stored: &Arc<Stored>| {
            let gone = date::since(now, stored.policy.response_time);
            stored.policy.useful_for(keep).saturating_sub(gone)
        };
        self.variants.iter().map(rest).max().unwrap_or(Duration::ZERO)
    }
}
