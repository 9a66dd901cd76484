//! What a response to an unsafe request makes invalid (RFC 9111 §4.4).

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, StatusCode, Uri};

/// Whether a successful answer to this method invalidates the target: every method that is not known to be safe
/// (RFC 9110 §9.2.1), unknown ones included.
#[must_use]
pub fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
        && method.as_str() != "QUERY"
}

/// Whether the answer changes anything: 2xx and 3xx do.
#[must_use]
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    is_unsafe(method) && (status.is_success() || status.is_redirection())
}

/// The URIs in `Location` and `Content-Location`, resolved against `target` (an absolute URI), of the same origin:
/// another origin has no say (RFC 9111 §4.4). At most two.
pub fn related_uris(target: &Uri, response: &HeaderMap) -> impl Iterator<Item = Uri> {
    [LOCATION, CONTENT_LOCATION].into_iter().filter_map(move |name| {
        let reference = response.get(name)?.to_str().ok()?;
        let resolved = resolve(target, reference)?;
        let same_origin = resolved.scheme() == target.scheme()
            && match (resolved.authority(), target.authority()) {
                (Some(one), Some(other)) => one.as_str().eq_ignore_ascii_case(other.as_str()),
                _ => false,
            };
        same_origin.then_some(resolved)
    })
}

/// Resolves a URI reference against an absolute base (RFC 3986 §5.2), without a fragment. Dot segments stay: the
/// cache key removes them.
fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next().unwrap_or_default();
    let (scheme, authority) = (base.scheme_str()?, base.authority()?.as_str());
    let path = base.path();
    let absolute = if let Some(rest) = reference.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if reference.starts_with('/') {
        format!("{scheme}://{authority}{reference}")
    } else if reference.is_empty() {
        return Some(base.clone());
    } else if reference.starts_with('?') {
        format!("{scheme}://{authority}{path}{reference}")
    } else if has_scheme(reference) {
        reference.to_owned()
    } else {
        let folder = &path[..path.rfind('/').map_or(0, |slash| slash + 1)];
        format!("{scheme}://{authority}{folder}{reference}")
    };
    absolute.parse().ok()
}

fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn unknown_methods_are_unsafe() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "get"] {
            assert!(is_unsafe(&Method::from_bytes(method.as_bytes()).expect("a token")), "{method}");
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"] {
            assert!(!is_unsafe(&Method::from_bytes(method.as_bytes()).expect("a token")), "{method}");
        }
    }

    #[test]
    fn references_are_resolved() {
        let base: Uri = "https://a.example/b/c?d".parse().expect("a URI");
        let check = |reference, expected: &str| {
            assert_eq!(resolve(&base, reference).map(|uri| uri.to_string()).as_deref(), Some(expected));
        };
        check("", "https://a.example/b/c?d");
        check("x", "https://a.example/b/x");
        check("/x", "https://a.example/x");
        check("?x", "https://a.example/b/c?x");
        check("//other.example/x", "https://other.example/x");
        check("http://other.example/x#y", "http://other.example/x");
        assert_eq!(
            resolve(&base, "x:y/z").and_then(|uri| uri.authority().cloned()),
            None,
            "a URI of its own scheme"
        );
    }

    #[test]
    fn other_origins_have_no_say() {
        let base: Uri = "https://a.example/b".parse().expect("a URI");
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static("https://A.example/new"));
        headers.insert(CONTENT_LOCATION, HeaderValue::from_static("https://evil.example/new"));
        let related: Vec<_> = related_uris(&base, &headers).map(|uri| uri.path().to_owned()).collect();
        assert_eq!(related, ["/new"]);
    }
}
