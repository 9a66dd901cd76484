//! Stored responses as bytes, for a [`Tier`](super::Tier), and back.
//!
//! ```text
//! record   := magic(8) count(u16) response* checksum(u64 over everything before)
//! response := status(u16) request_time(u64) response_time(u64) fields fields body
//! fields   := count(u16) { name_length(u16) name value_length(u32) value }     the response's; the request's that select
//! body     := length(u64) bytes
//! ```
//!
//! Numbers are big-endian, times nanoseconds since 1970. Whatever does not fit the form, or the check sum, is nothing.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};

use super::cache::Shared;
use super::contents::StoredBody;
use super::date;
use super::key::CacheKey;
use super::policy::{Exchange, Policy};
use super::range::ByteRange;
use super::stored::{Resource, Stored};
use super::tier::Record;

const MAGIC: &[u8; 8] = b"popcach1";

/// A record of what a resource holds whole; `None` if that is nothing, or nothing that lasts.
pub(crate) fn encode(shared: &Shared, resource: &Resource, now: SystemTime) -> Option<Record> {
    let whole: Vec<&Arc<Stored>> =
        resource.variants.iter().filter(|stored| stored.is_whole && stored.purged_at().is_none()).collect();
    let useful = resource.useful_for(now, shared.keep());
    if whole.is_empty() || useful.is_zero() {
        return None;
    }
    let size: u64 = whole.iter().map(|stored| stored.weight()).sum();
    let mut bytes = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
    bytes.put_slice(MAGIC);
    bytes.put_u16(u16::try_from(whole.len()).ok()?);
    for stored in &whole {
        bytes.put_u16(stored.status.as_u16());
        bytes.put_u64(nanos(stored.policy.request_time));
        bytes.put_u64(nanos(stored.policy.response_time));
        let mut response = stored.original_headers();
        // The age it had when it arrived; `original_headers` leaves that out, since a 304 starts a new one.
        response.insert(http::header::AGE, HeaderValue::from(stored.policy.initial_age.as_secs()));
        put_fields(&mut bytes, response.iter())?;
        put_fields(&mut bytes, stored.selection.to_request().iter())?;
        let length = stored.body.complete()?;
        bytes.put_u64(length);
        if length > 0 {
            for block in stored.body.chunks(ByteRange { first: 0, last: length - 1 }) {
                bytes.put_slice(&block);
            }
        }
    }
    let sum = checksum(&bytes);
    bytes.put_u64(sum);
    let tags = whole.iter().flat_map(|stored| stored.tags.iter().map(ToString::to_string)).collect();
    Some(Record { bytes: bytes.freeze(), expires: now + useful, tags })
}

/// What a record says; `None` if it is none, or torn.
pub(crate) fn decode(shared: &Shared, key: &CacheKey, record: &Bytes) -> Option<Vec<Stored>> {
    let end = record.len().checked_sub(8)?;
    let (mut rest, mut sum) = (record.slice(..end), record.slice(end..));
    if sum.get_u64() != checksum(&rest) || rest.len() < 10 || rest.split_to(8) != MAGIC[..] {
        return None;
    }
    let count = rest.get_u16();
    let responses: Option<Vec<Stored>> = (0..count).map(|_| response(shared, key, &mut rest)).collect();
    responses.filter(|_| rest.is_empty())
}

fn response(shared: &Shared, key: &CacheKey, rest: &mut Bytes) -> Option<Stored> {
    if rest.len() < 18 {
        return None;
    }
    let status = StatusCode::from_u16(rest.get_u16()).ok()?;
    let (request_time, response_time) = (time(rest.get_u64()), time(rest.get_u64()));
    let (mut headers, request) = (fields(rest)?, fields(rest)?);
    let length = usize::try_from((rest.len() >= 8).then(|| rest.get_u64())?).ok()?;
    if rest.len() < length {
        return None;
    }
    let body = StoredBody::whole(vec![Bytes::copy_from_slice(&rest.split_to(length))]);
    let exchange = Exchange {
        method: &Method::GET,
        request: &request,
        status,
        response: &headers,
        request_time,
        response_time,
    };
    let mut policy = Policy::new(shared.rules(), &exchange);
    if let Some(lifetime) = shared.lifetime(key, &exchange) {
        policy.override_lifetime(lifetime);
    }
    let tags = shared.tags_of(key, &exchange);
    let selection = policy.vary.selection(&request, &headers);
    headers.remove(http::header::AGE);
    Some(shared.stored(status, headers, policy, selection, Arc::new(body), tags))
}

fn put_fields<'a>(
    bytes: &mut BytesMut,
    fields: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) -> Option<()> {
    let fields: Vec<_> = fields.collect();
    bytes.put_u16(u16::try_from(fields.len()).ok()?);
    for (name, value) in fields {
        bytes.put_u16(u16::try_from(name.as_str().len()).ok()?);
        bytes.put_slice(name.as_str().as_bytes());
        bytes.put_u32(u32::try_from(value.len()).ok()?);
        bytes.put_slice(value.as_bytes());
    }
    Some(())
}

fn fields(rest: &mut Bytes) -> Option<HeaderMap> {
    let count = (rest.len() >= 2).then(|| rest.get_u16())?;
    let mut map = HeaderMap::new();
    for _ in 0..count {
        let length = usize::from((rest.len() >= 2).then(|| rest.get_u16())?);
        let name = (rest.len() >= length).then(|| rest.split_to(length))?;
        let length = usize::try_from((rest.len() >= 4).then(|| rest.get_u32())?).ok()?;
        let value = (rest.len() >= length).then(|| rest.split_to(length))?;
        // Copied, so that a field does not hold the whole record.
        map.try_append(HeaderName::from_bytes(&name).ok()?, HeaderValue::from_bytes(&value).ok()?).ok()?;
    }
    Some(map)
}

fn nanos(time: SystemTime) -> u64 {
    u64::try_from(date::since(time, SystemTime::UNIX_EPOCH).as_nanos()).unwrap_or(u64::MAX)
}

fn time(nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)
}

/// A sum against torn and damaged records, not against forgers: multiply and rotate over words.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut words = bytes.chunks_exact(8);
    let mut sum = bytes.len() as u64 ^ FACTOR;
    for word in words.by_ref() {
        let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        sum = (sum ^ word).wrapping_mul(FACTOR).rotate_left(29);
    }
    let mut last = [0_u8; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    sum = (sum ^ u64::from_le_bytes(last)).wrapping_mul(FACTOR);
    sum ^ sum >> 32
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn every_flipped_bit_and_every_lost_byte_changes_the_sum() {
        let bytes: Vec<u8> = (0..100).collect();
        let sum = checksum(&bytes);
        for bit in 0..800 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(&other), sum);
        }
        for length in 0..100 {
            assert_ne!(checksum(&bytes[..length]), sum);
        }
    }
}
