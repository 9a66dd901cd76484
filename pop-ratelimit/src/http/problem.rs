//! The body of a denial: a problem of RFC 9457, of the type that the RateLimit draft defines.

use std::string::String;

/// The media type of the body.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The JSON text that names the violated policy.
///
/// ```
/// let body = pop_ratelimit::http::quota_exceeded("default");
/// assert!(body.ends_with(r#""status":429,"violated-policies":["default"]}"#));
/// ```
#[must_use]
pub fn quota_exceeded(policy: &str) -> String {
    let mut body = String::from(concat!(
        r#"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","#,
        r#""title":"Too many requests for the assigned quota","status":429,"violated-policies":[""#
    ));
    for character in policy.chars() {
        match character {
            '"' | '\\' => body.extend(['\\', character]),
            // Policy names have no control characters; should one come along, it must not break the JSON.
            character if character.is_control() => body.push(' '),
            character => body.push(character),
        }
    }
    body.push_str("\"]}");
    body
}
