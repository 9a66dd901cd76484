//! What an operator may choose where the RFCs leave a choice.

use core::time::Duration;

use http::StatusCode;
use http::header::HeaderName;

/// The choices that RFC 9111 and its companions leave to a cache. The defaults are the literal reading.
///
/// ```
/// use core::time::Duration;
/// use pop_cache::http::Rules;
///
/// let rules = Rules { stale_if_error: Duration::from_secs(600), ..Rules::default() };
/// assert_eq!(rules.heuristic_percent, 10);
/// ```
#[derive(Clone, Debug)]
pub struct Rules {
    /// Targeted fields (RFC 9213) this cache obeys, the most specific first. Default: `CDN-Cache-Control`.
    pub targets: Vec<HeaderName>,
    /// Heuristic lifetime as a percentage of the time since `Last-Modified` (RFC 9111 §4.2.2). Default 10, 0 turns
    /// heuristics off.
    pub heuristic_percent: u32,
    /// Bound of a heuristic lifetime. Default one day.
    pub heuristic_max: Duration,
    /// Staleness served when the origin fails and the response says nothing about it (RFC 9111 §4.2.4). Directives
    /// that forbid stale answers forbid this too. Default zero.
    pub stale_if_error: Duration,
    /// Staleness served when no answer of the origin arrives at all, where the response says nothing about errors: a
    /// cache that is disconnected needs no permission (RFC 9111 §4.2.4). Directives that forbid stale answers forbid
    /// this too. At least `stale_if_error` counts. Default zero.
    pub stale_if_disconnected: Duration,
    /// Staleness served while a new answer is fetched, where the response says nothing about it. Default zero.
    pub stale_while_revalidate: Duration,
    /// Whether an explicit `stale-while-revalidate` or `stale-if-error` beside `s-maxage` wins over the
    /// `proxy-revalidate` that `s-maxage` implies. Default [`ImpliedRevalidation::Binding`].
    pub s_maxage: ImpliedRevalidation,
    /// Lifetimes of answers with these statuses that state none themselves (negative caching). Default none.
    pub negative: Vec<(StatusCode, Duration)>,
    /// Whether `Cache-Control` of requests counts. Default [`RequestControl::Honoured`].
    pub request_control: RequestControl,
    /// What to do with responses that set cookies. Default [`SetCookie::AsStated`].
    pub set_cookie: SetCookie,
    /// Whether `No-Vary-Search` counts. Default [`NoVarySearch::Honoured`].
    pub no_vary_search: NoVarySearch,
}

/// Whether clients have a say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestControl {
    /// Request directives are obeyed (RFC 9111 §5.2.1).
    #[default]
    Honoured,
    /// Only `only-if-cached` and `no-store` are; nobody can make the cache go to the origin by asking.
    Ignored,
}

/// The strength of the `proxy-revalidate` that `s-maxage` implies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImpliedRevalidation {
    /// RFC 9111 §5.2.2.10 to the letter: nothing stale is served.
    #[default]
    Binding,
    /// A permission in the same response is the more specific word.
    Yielding,
}

/// Responses with `Set-Cookie`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetCookie {
    /// Stored when the response states its freshness (RFC 9111 §7.3 leaves it to the origin); never by heuristics.
    #[default]
    AsStated,
    /// Never stored.
    Refused,
}

/// `No-Vary-Search`, by which an origin says which query parameters change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoVarySearch {
    /// One response answers all URIs that differ only in what it says does not count.
    #[default]
    Honoured,
    /// The whole query counts.
    Ignored,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            targets: vec![HeaderName::from_static("cdn-cache-control")],
            heuristic_percent: 10,
            heuristic_max: Duration::from_secs(86_400),
            stale_if_error: Duration::ZERO,
            stale_if_disconnected: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            s_maxage: ImpliedRevalidation::default(),
            negative: Vec::new(),
            request_control: RequestControl::default(),
            set_cookie: SetCookie::default(),
            no_vary_search: NoVarySearch::default(),
        }
    }
}
