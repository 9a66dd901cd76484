//! HTTP dates (RFC 9110 §5.6.7, RFC 9111 §4.2).

use std::time::{Duration, SystemTime};

use http::HeaderValue;

/// Reads an HTTP-date in any of the three formats a recipient must accept.
///
/// Names are matched without regard to case, as RFC 9111 §4.2 asks of a cache; everything else is read strictly:
/// another zone, another separator, a missing comma or a missing digit gives `None`, and the caller treats the field
/// as invalid. Whether the weekday is the right one does not matter, since the date says the same without it. A
/// two-digit year that would lie more than fifty years after `now` means the past century.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use pop_cache::http::parse_date;
///
/// let date = parse_date(b"Sun, 06 Nov 1994 08:49:37 GMT", SystemTime::UNIX_EPOCH);
/// assert_eq!(date, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)));
/// assert_eq!(parse_date(b"Sun, 06 Nov 1994 08:49:37 CET", SystemTime::UNIX_EPOCH), None);
/// ```
///
/// Constant time, no allocation.
#[must_use]
pub fn parse_date(value: &[u8], now: SystemTime) -> Option<SystemTime> {
    let (weekday, rest) = word(value);
    match *rest {
        // Sun, 06 Nov 1994 08:49:37 GMT
        [b',', b' ', d1, d2, b' ', ref month @ ..] if weekday.len() == 3 => {
            let [m1, m2, m3, b' ', y1, y2, y3, y4, b' ', ref time @ ..] = *month else { return None };
            let year = number(&[y1, y2, y3, y4])?;
            let month = position(&MONTHS, &[m1, m2, m3])?;
            position(&WEEKDAYS, weekday)?;
            moment(year, month, number(&[d1, d2])?, zoned(time)?)
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        [b',', b' ', d1, d2, b'-', m1, m2, m3, b'-', y1, y2, b' ', ref time @ ..] => {
            LONG_WEEKDAYS.iter().position(|name| name.eq_ignore_ascii_case(weekday))?;
            let (month, day) = (position(&MONTHS, &[m1, m2, m3])?, number(&[d1, d2])?);
            let year = century_of(now) + number(&[y1, y2])?;
            let time = zoned(time)?;
            let this_century = moment(year, month, day, time)?;
            if this_century > now + FIFTY_YEARS {
                moment(year - 100, month, day, time)
            } else {
                Some(this_century)
            }
        }
        // Sun Nov  6 08:49:37 1994
        [b' ', m1, m2, m3, b' ', d1, d2, b' ', ref clock @ ..] if weekday.len() == 3 => {
            let (clock, year) = clock.split_at_checked(8)?;
            let [b' ', y1, y2, y3, y4] = *year else { return None };
            position(&WEEKDAYS, weekday)?;
            let day = if d1 == b' ' { number(&[d2])? } else { number(&[d1, d2])? };
            moment(number(&[y1, y2, y3, y4])?, position(&MONTHS, &[m1, m2, m3])?, day, time_of_day(clock)?)
        }
        _ => None,
    }
}

/// The value of a `Date` field for `time`, clamped to the years 1970 to 9999. One allocation.
#[must_use]
pub fn date_field(time: SystemTime) -> HeaderValue {
    let seconds = since(time, SystemTime::UNIX_EPOCH).as_secs().min(LAST_DATE);
    let (days, time) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = civil(days);
    let text = format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        // The first of January 1970 was a Thursday.
        WEEKDAYS[(days as usize + 4) % 7],
        MONTHS[month as usize - 1],
        time / 3600,
        time / 60 % 60,
        time % 60
    );
    HeaderValue::try_from(text).expect("an HTTP-date is visible ASCII")
}

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const LONG_WEEKDAYS: [&[u8]; 7] =
    [b"Sunday", b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const DAY: u64 = 86_400;

/// Fifty years in days of the Julian mean, as RFC 9110 leaves the day to us.
const FIFTY_YEARS: Duration = Duration::from_secs(18_262 * DAY);

/// The last second of the year 9999, beyond which the format has no digits.
const LAST_DATE: u64 = 253_402_300_799;

/// The time from `earlier` to `later`, zero when the clock stepped back.
pub(crate) fn since(later: SystemTime, earlier: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or(Duration::ZERO)
}

/// Splits after the leading letters.
fn word(value: &[u8]) -> (&[u8], &[u8]) {
    let end = value.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(value.len());
    value.split_at(end)
}

/// The place of a three-letter name in its list, from zero.
fn position(names: &[&str], name: &[u8]) -> Option<u64> {
    names.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name)).map(|place| place as u64)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

/// `HH:MM:SS GMT` as seconds of the day.
fn zoned(text: &[u8]) -> Option<u64> {
    let (clock, zone) = text.split_at_checked(8)?;
    zone.eq_ignore_ascii_case(b" GMT").then(|| time_of_day(clock)).flatten()
}

/// `HH:MM:SS`; 60 is a leap second.
fn time_of_day(clock: &[u8]) -> Option<u64> {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = *clock else { return None };
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[m1, m2])?, number(&[s1, s2])?);
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

/// The moment of a proleptic Gregorian date; `month` counts from zero.
fn moment(year: u64, month: u64, day: u64, time: u64) -> Option<SystemTime> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        1 => 28 + u64::from(is_leap),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    };
    if day == 0 || day > length {
        return None;
    }
    // Days since the first of March of the year 0, so that a leap day ends a year (after H. Hinnant's algorithms).
    let (year, month) = if month < 2 { (year.checked_sub(1)?, month + 10) } else { (year, month - 2) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let seconds = days * DAY + time;
    const EPOCH: u64 = 719_468 * DAY;
    if seconds >= EPOCH {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds - EPOCH))
    } else {
        SystemTime::UNIX_EPOCH.checked_sub(Duration::from_secs(EPOCH - seconds))
    }
}

/// Year, month (from one) and day of a number of days since 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The first year of the century of `now`.
fn century_of(now: SystemTime) -> u64 {
    civil(since(now, SystemTime::UNIX_EPOCH).as_secs().min(LAST_DATE) / DAY).0 / 100 * 100
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
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "SUN, 06 nOV 1994 08:49:37 gmt",
            "sunday, 06-NOV-94 08:49:37 Gmt",
            "sun nov  6 08:49:37 1994",
            "Mon, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse_date(text.as_bytes(), now), Some(at(784_111_777)), "{text}");
        }
    }

    #[test]
    fn odd_formats_are_no_dates() {
        let now = at(1_700_000_000);
        for text in [
            "0",
            "-1",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 2050 02:01:18",
            "Thu, 18 Aug 2050 02:01:18 GMT+1",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 2050 24:00:00 GMT",
            "Thu, 31 Apr 2050 00:00:00 GMT",
            "Mon, 29 Feb 2100 00:00:00 GMT",
            "Thu, 00 Aug 2050 00:00:00 GMT",
            "Xyz, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 Abc 2050 02:01:18 GMT",
            "Thu Aug  8 02:01:18 50",
            "Thu Aug 8 02:01:18 2050",
            "",
        ] {
            assert_eq!(parse_date(text.as_bytes(), now), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_the_calendar_round_trips() {
        for days in (0..LAST_DATE / DAY).step_by(13).chain([LAST_DATE / DAY]) {
            let time = at(days * DAY + days % DAY);
            assert_eq!(parse_date(date_field(time).as_bytes(), time), Some(time));
        }
        assert_eq!(date_field(at(951_782_400)), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(
            date_field(SystemTime::UNIX_EPOCH - Duration::from_secs(1)),
            "Thu, 01 Jan 1970 00:00:00 GMT"
        );
    }

    #[test]
    fn dates_before_the_epoch_are_dates() {
        let first = parse_date(b"Sat, 01 Jan 0001 00:00:00 GMT", at(0)).expect("a date");
        assert_eq!(since(at(0), first), Duration::from_secs(62_135_596_800));
    }

    #[test]
    fn two_digit_years_stay_within_fifty_years() {
        let now = at(1_700_000_000);
        let past = parse_date(b"Friday, 01-Jan-99 00:00:00 GMT", now).expect("a date");
        assert!(past < now);
        assert_eq!(date_field(past), "Fri, 01 Jan 1999 00:00:00 GMT");
        let future = parse_date(b"Thursday, 18-Aug-50 02:01:18 GMT", now).expect("a date");
        assert_eq!(date_field(future), "Thu, 18 Aug 2050 02:01:18 GMT");
    }
}
