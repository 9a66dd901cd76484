//! HTTP dates (RFC 9110 §5.6.7) and ages in seconds.

use std::time::{Duration, SystemTime};

use http::HeaderValue;

/// Reads an HTTP-date in any of the three formats a recipient must accept.
///
/// The format is read strictly: another case, another zone, a missing comma or a wrong weekday gives `None`, and
/// the caller treats the field as invalid. A two-digit year that would lie more than fifty years after `now` means
/// the past century, as RFC 9110 §5.6.7 says.
pub(crate) fn parse(value: &[u8], now: SystemTime) -> Option<SystemTime> {
    let text = std::str::from_utf8(value).ok()?;
    let parsed = httpdate::parse_http_date(text).ok()?;
    if text.as_bytes().get(3) == Some(&b',') || !text.contains('-') {
        return Some(parsed);
    }
    // The obsolete RFC 850 form is the only one with hyphens in it; its century is ours to choose.
    let limit = now + FIFTY_YEARS;
    let century = Duration::from_secs(36_525 * 86_400);
    Some(if parsed > limit { parsed.checked_sub(century).unwrap_or(SystemTime::UNIX_EPOCH) } else { parsed })
}

/// The value of a `Date` field for `time`.
#[must_use]
pub fn date_field(time: SystemTime) -> HeaderValue {
    let time = time.max(SystemTime::UNIX_EPOCH);
    HeaderValue::try_from(httpdate::fmt_http_date(time.min(SystemTime::UNIX_EPOCH + LAST_DATE)))
        .expect("an HTTP-date is visible ASCII")
}

/// Fifty years in days of the Julian mean, as RFC 9110 leaves the day to us.
const FIFTY_YEARS: Duration = Duration::from_secs(18_262 * 86_400);

/// The last second of the year 9999, beyond which the format has no digits.
const LAST_DATE: Duration = Duration::from_secs(253_402_300_799);

/// The time from `earlier` to `later`, zero when the clock stepped back.
pub(crate) fn since(later: SystemTime, earlier: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn all_three_formats_name_the_same_second() {
        let now = at(1_700_000_000);
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse(text.as_bytes(), now), Some(at(784_111_777)), "{text}");
        }
    }

    #[test]
    fn odd_formats_are_no_dates() {
        let now = at(1_700_000_000);
        for text in [
            "0",
            "-1",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "",
        ] {
            assert_eq!(parse(text.as_bytes(), now), None, "{text}");
        }
    }

    #[test]
    fn two_digit_years_stay_within_fifty_years() {
        let now = at(1_700_000_000);
        let past = parse(b"Friday, 01-Jan-99 00:00:00 GMT", now).expect("a date");
        assert!(past < now);
        assert_eq!(date_field(past), "Fri, 01 Jan 1999 00:00:00 GMT");
    }
}
