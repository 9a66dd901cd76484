//! Answers in a content coding that the client likes better (RFC 9110 §8.4, §12.5.3).
//!
//! One representation is stored, as the origin sent it. The first hit that would rather have it compressed gets it as it
//! is, and a thread for blocking work compresses it meanwhile; the bytes lie in the store under a name of their own, come
//! and go like everything else there, and belong to the stored bytes, not to their fields. What is encoded already, says
//! `no-transform`, is no text, or does not get smaller stays as it is. A compressed answer has a weak entity tag, since
//! two codings of one representation are not the same bytes; conditions compare weakly, so a client's tag is found
//! again, and ranges are served from the stored bytes alone.

use core::fmt;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, VARY,
};
use http::{HeaderMap, Method, Response, StatusCode};

use super::answer::{self, Asked};
use super::body::CacheBody;
use super::cache::Shared;
use super::directive::ResponseDirectives;
use super::key::CacheKey;
use super::range::ByteRange;
use super::status::CacheStatus;
use super::stored::Stored;
use super::validation::{self, Precondition};
use super::vary::weight;

/// At most this many representations are compressed at the same time; a hit that comes meanwhile starts none.
pub const MAX_ENCODERS: usize = 4;

/// A content coding that this cache can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Coding {
    /// Brotli (RFC 7932), quality 5.
    Brotli,
    /// Zstandard (RFC 8878), level 3, with a window that every client must support (RFC 9659).
    Zstandard,
    /// gzip (RFC 1952), level 6.
    Gzip,
}

/// What is compressed, and how.
///
/// ```
/// use pop_cache::http::{Coding, Compression, HttpCache};
///
/// let compression = Compression { codings: vec![Coding::Gzip], ..Compression::default() };
/// let cache = HttpCache::builder(64 << 20).compression(compression).build()?;
/// # let _ = cache;
/// # Ok::<(), pop_cache::http::ConfigError>(())
/// ```
///
/// A page that holds a secret and something an attacker chooses gives the secret away by its compressed length (BREACH):
/// let its origin say `no-transform`, or leave this off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The codings to offer; of those that a client likes equally the first is taken. Default Brotli, Zstandard, gzip.
    pub codings: Vec<Coding>,
    /// Shorter bodies stay as they are. Default 1 KiB.
    pub bytes_min: u64,
    /// Longer bodies stay as they are: this bounds the time and the memory of an encoder. Default 4 MiB.
    pub bytes_max: u64,
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            codings: vec![Coding::Brotli, Coding::Zstandard, Coding::Gzip],
            bytes_min: 1024,
            bytes_max: 4 << 20,
        }
    }
}

impl Coding {
    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstandard => "zstd",
            Self::Gzip => "gzip",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Brotli => 1,
            Self::Zstandard => 2,
            Self::Gzip => 4,
        }
    }

    fn encode(self, chunks: &[Bytes], bytes: usize) -> io::Result<Vec<u8>> {
        fn feed<W: Write>(mut encoder: W, chunks: &[Bytes]) -> io::Result<W> {
            chunks.iter().try_for_each(|chunk| encoder.write_all(chunk)).map(|()| encoder)
        }
        let output = Vec::with_capacity(bytes / 2);
        match self {
            Self::Brotli => {
                let encoder = brotli::CompressorWriter::new(output, 16 * 1024, 5, 22);
                Ok(feed(encoder, chunks)?.into_inner())
            }
            Self::Zstandard => {
                let mut encoder = zstd::Encoder::new(output, 3)?;
                // RFC 9659: 8 MiB at most.
                encoder.window_log(23)?;
                feed(encoder, chunks)?.finish()
            }
            Self::Gzip => {
                let encoder = flate2::write::GzEncoder::new(output, flate2::Compression::new(6));
                feed(encoder, chunks)?.finish()
            }
        }
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What is known of the compressed forms of some stored bytes.
#[derive(Debug, Default)]
pub(crate) struct Encodings {
    /// The name under which they lie in the store.
    name: OnceLock<u64>,
    /// A bit for each coding that is being made, or was not worth it.
    settled: AtomicU8,
}

impl Encodings {
    fn key(&self, shared: &Shared, coding: Coding) -> CacheKey {
        let name = self.name.get_or_init(|| shared.new_name());
        // The NUL keeps it apart from every URI, the letters from every slice.
        CacheKey::from_raw(format!("\0{name:x}/{}", coding.as_str()))
    }
}

/// The encoders at work.
#[derive(Debug, Default)]
pub(crate) struct Encoders {
    running: AtomicUsize,
}

/// Whether a stored response may be compressed for those who like that better.
pub(crate) fn is_codable(shared: &Shared, stored: &Stored) -> bool {
    let Some(compression) = &shared.settings.compression else { return false };
    let headers = &stored.headers;
    let length = stored.body.complete().unwrap_or(0);
    stored.status == StatusCode::OK
        && stored.is_whole
        && stored.body.slices().is_none()
        && (compression.bytes_min..=compression.bytes_max).contains(&length)
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && !stored.policy.directives.no_transform
        && !ResponseDirectives::parse(headers).no_transform
        && headers.get(CONTENT_TYPE).is_some_and(|kind| is_text(kind.as_bytes()))
}

/// Whether content of this type is worth compressing: text, in the wide sense.
fn is_text(kind: &[u8]) -> bool {
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    let kind = kind.as_slice();
    // A stream of events must not wait for its end.
    (kind.starts_with(b"text/") && kind != b"text/event-stream")
        || kind.ends_with(b"+json")
        || kind.ends_with(b"+xml")
        || [
            &b"application/json"[..],
            b"application/javascript",
            b"application/x-javascript",
            b"application/xml",
            b"application/wasm",
            b"application/manifest+json",
            b"application/x-ndjson",
            b"font/ttf",
            b"font/otf",
            b"image/bmp",
        ]
        .contains(&kind)
}

/// The coding of `offered` that a request likes best, and better than none at all (RFC 9110 §12.5.3).
pub(crate) fn preferred(request: &HeaderMap, offered: &[Coding]) -> Option<Coding> {
    let weights = Weights::parse(request)?;
    let best = offered
        .iter()
        .rev()
        .map(|&coding| (weights.of(coding.as_str()).unwrap_or(0), coding))
        // Of equals the last counts, which is the first that is offered.
        .max_by_key(|&(weight, _)| weight)?;
    // Identity is acceptable unless it is excluded; a coding that is as welcome is shorter.
    let identity = weights.identity();
    (best.0 > 0 && best.0 >= identity).then_some(best.1)
}

/// `Accept-Encoding`: names in lower case and their weights in thousandths.
struct Weights(Vec<(String, u32)>);

impl Weights {
    /// `None` where the field is absent, or longer than any client makes it.
    fn parse(request: &HeaderMap) -> Option<Self> {
        const MEMBERS_MAX: usize = 32;
        let mut members = Vec::new();
        for line in request.get_all(ACCEPT_ENCODING) {
            for member in line.as_bytes().split(|&byte| byte == b',') {
                let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
                let name = String::from_utf8_lossy(parts.next().unwrap_or_default()).to_ascii_lowercase();
                if name.is_empty() {
                    continue;
                }
                // A weight that cannot be read is no wish.
                let weight = parts.next().map_or(1000, |parameter| weight(parameter).unwrap_or(0));
                members.push((if name == "x-gzip" { "gzip".to_owned() } else { name }, weight));
                if members.len() > MEMBERS_MAX {
                    return None;
                }
            }
        }
        (!members.is_empty()).then_some(Self(members))
    }

    fn named(&self, name: &str) -> Option<u32> {
        self.0.iter().find(|(own, _)| own == name).map(|&(_, weight)| weight)
    }

    fn of(&self, name: &str) -> Option<u32> {
        self.named(name).or_else(|| self.named("*"))
    }

    /// The weight of no coding: if it is not named it is acceptable, but nobody's wish.
    fn identity(&self) -> u32 {
        self.named("identity").unwrap_or(1)
    }
}

/// The compressed bytes for a request, if they are there; if they should be, they will be.
pub(crate) fn find(
    shared: &Arc<Shared>,
    stored: &Arc<Stored>,
    request: &HeaderMap,
) -> Option<(Coding, Bytes)> {
    let compression = shared.settings.compression.as_ref()?;
    let coding = preferred(request, &compression.codings)?;
    if request.contains_key(http::header::RANGE) || asks_for_no_transform(request) {
        return None;
    }
    let encodings = &stored.body.encodings;
    let key = encodings.key(shared, coding);
    if let Some(bytes) = shared.slice(&key) {
        return Some((coding, bytes));
    }
    // Relaxed: the bits guard nothing but the work itself.
    if encodings.settled.fetch_or(coding.bit(), Ordering::Relaxed) & coding.bit() == 0 {
        encode(shared, stored, coding, key);
    }
    None
}

fn asks_for_no_transform(request: &HeaderMap) -> bool {
    request.contains_key(http::header::CACHE_CONTROL) && ResponseDirectives::parse(request).no_transform
}

/// Compresses on a thread for blocking work, unless too many are at it.
fn encode(shared: &Arc<Shared>, stored: &Arc<Stored>, coding: Coding, key: CacheKey) {
    let (shared, stored) = (Arc::clone(shared), Arc::clone(stored));
    // Relaxed: only a count.
    if shared.encoders.running.fetch_add(1, Ordering::Relaxed) >= MAX_ENCODERS {
        shared.encoders.running.fetch_sub(1, Ordering::Relaxed);
        stored.body.encodings.settled.fetch_and(!coding.bit(), Ordering::Relaxed);
        return;
    }
    tokio::task::spawn_blocking(move || {
        let length = stored.body.complete().unwrap_or(0);
        let chunks = stored.body.chunks(ByteRange { first: 0, last: length.saturating_sub(1) });
        let encoded = coding.encode(&chunks, usize::try_from(length).unwrap_or(0));
        // A coding that gains less than a twentieth is not worth its place; nor is one that failed worth another try.
        if let Ok(encoded) = encoded
            && (encoded.len() as u64) < length - length / 20
        {
            shared.store_slice(key, Bytes::from(encoded.into_boxed_slice()), &stored);
            stored.body.encodings.settled.fetch_and(!coding.bit(), Ordering::Relaxed);
        }
        shared.encoders.running.fetch_sub(1, Ordering::Relaxed);
    });
}

/// The answer from a stored response in this coding: as that in its own, but for what the coding changes.
pub(crate) fn answer<B>(
    stored: &Stored,
    asked: Asked<'_>,
    age: Duration,
    status: CacheStatus,
    (coding, bytes): (Coding, Bytes),
) -> Response<CacheBody<B>> {
    let mut headers = stored.answer_headers(age, status.to_value(asked.name));
    encoded_fields(&mut headers, coding, bytes.len());
    let condition =
        validation::precondition(asked.headers, stored.status, &stored.headers, stored.policy.response_time);
    if condition == Precondition::NotModified {
        return answer::not_modified(headers, status);
    }
    let body = if *asked.method == Method::HEAD {
        CacheBody::empty()
    } else {
        CacheBody::chunks(VecDeque::from([bytes]))
    };
    answer::response(stored.status, headers, body, status)
}

/// The fields of a representation with a coding that it did not have (RFC 9110 §8.4, §8.8.1, §12.5.5; RFC 9530).
fn encoded_fields(headers: &mut HeaderMap, coding: Coding, length: usize) {
    const OF_THE_BYTES: [HeaderName; 4] = [
        ACCEPT_RANGES,
        HeaderName::from_static("content-md5"),
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("repr-digest"),
    ];
    for name in OF_THE_BYTES {
        headers.remove(name);
    }
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(tag) = headers.get(ETAG)
        && !tag.as_bytes().starts_with(b"W/")
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        headers.insert(ETAG, weak);
    }
}

/// Says that the answer depends on `Accept-Encoding`, if it does not say so yet.
pub(crate) fn add_vary(headers: &mut HeaderMap) {
    let says_so = headers.get_all(VARY).iter().any(|line| {
        let mut members = line.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        members.any(|member| member.eq_ignore_ascii_case(b"accept-encoding") || member == b"*")
    });
    if !says_so {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(accept: &'static str) -> &'static str {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
        preferred(&headers, &Compression::default().codings).map_or("identity", Coding::as_str)
    }

    #[test]
    fn the_greatest_weight_counts_and_then_our_order() {
        assert_eq!(choice("gzip, deflate, br, zstd"), "br");
        assert_eq!(choice("gzip, zstd"), "zstd");
        assert_eq!(choice("GZIP"), "gzip");
        assert_eq!(choice("x-gzip"), "gzip");
        assert_eq!(choice("gzip;q=1.0, br;q=0.5"), "gzip");
        assert_eq!(choice("br;q=0.001, *;q=0"), "br");
        assert_eq!(choice("*"), "br");
        assert_eq!(choice("br;q=0, *"), "zstd");
        assert_eq!(choice("identity;q=0.5, gzip;q=0.4"), "identity");
        assert_eq!(choice("identity, gzip"), "gzip");
        assert_eq!(choice("identity;q=0, gzip;q=0.1"), "gzip");
    }

    #[test]
    fn what_is_not_accepted_is_not_chosen() {
        for accept in
            ["", "identity", "deflate", "gzip;q=0", "gzip;q=0.000", "gzip;q=2", "gzip;q=x", "*;q=0", ","]
        {
            assert_eq!(choice(accept), "identity", "{accept}");
        }
        assert_eq!(preferred(&HeaderMap::new(), &Compression::default().codings), None);
        let long = format!("gzip{}", ", a".repeat(32));
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::try_from(long).expect("a field value"));
        assert_eq!(preferred(&headers, &Compression::default().codings), None, "the list is bounded");
    }

    #[test]
    fn types_that_are_text() {
        for kind in [
            "text/html; charset=utf-8",
            "TEXT/CSS",
            "application/ld+json",
            "image/svg+xml",
            "application/json",
        ] {
            assert!(is_text(kind.as_bytes()), "{kind}");
        }
        for kind in
            ["image/png", "video/mp4", "text/event-stream", "application/octet-stream", "application/zip", ""]
        {
            assert!(!is_text(kind.as_bytes()), "{kind}");
        }
    }

    #[test]
    fn every_coding_is_undone_by_its_decoder() {
        let chunks: Vec<Bytes> =
            (0..100).map(|number| Bytes::from(format!("line {number}\n").repeat(50))).collect();
        let plain = chunks.concat();
        for coding in Compression::default().codings {
            let encoded = coding.encode(&chunks, plain.len()).expect("memory does not fail");
            assert!(encoded.len() < plain.len() / 5);
            assert_eq!(
                encoded,
                coding.encode(&chunks, plain.len()).expect("memory does not fail"),
                "the same again"
            );
            let mut decoded = Vec::new();
            match coding {
                Coding::Brotli => brotli::BrotliDecompress(&mut &encoded[..], &mut decoded).expect("brotli"),
                Coding::Zstandard => zstd::stream::copy_decode(&encoded[..], &mut decoded).expect("zstd"),
                Coding::Gzip => {
                    let mut decoder = flate2::read::GzDecoder::new(&encoded[..]);
                    io::Read::read_to_end(&mut decoder, &mut decoded).map(drop).expect("gzip");
                }
            }
            assert!(decoded == plain, "{coding}");
        }
    }
}
