//! Signature times: seconds since 1970 modulo 2^32, shown as `YYYYMMDDHHmmSS` (RFC 4034 §3.2).

use core::fmt;

const DAY: u64 = 86_400;

/// Shows the moment within the first 2^32 seconds, until 2106; what comes after wraps, as serial numbers do.
pub(super) fn show(seconds: u32, f: &mut impl fmt::Write) -> fmt::Result {
    let seconds = u64::from(seconds);
    let (year, month, day) = civil(seconds / DAY);
    let second = seconds % DAY;
    write!(f, "{year:04}{month:02}{day:02}{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// A date of fourteen digits, or seconds of fewer.
#[cfg(feature = "alloc")]
pub(super) fn parse(text: &str) -> Option<u32> {
    if !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    if text.len() != 14 {
        return text.parse().ok();
    }
    let number = |from: usize, to: usize| text[from..to].parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    if year < 1970 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day);
    // A day that the month does not have comes back as another.
    if civil(days) != (year, month, day) {
        return None;
    }
    // RFC 4034 §3.1.5: serial arithmetic, so the years after 2106 wrap.
    Some((days * DAY + hour * 3600 + minute * 60 + second) as u32)
}

/// Days since 1970-01-01 of a date of the Gregorian calendar; years begin in March, so leap days come last.
#[cfg(feature = "alloc")]
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.saturating_sub(1);
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date so many days after 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

    #[test]
    fn dates_and_seconds_agree() {
        for (text, seconds) in [
            ("19700101000000", 0),
            ("20000229120000", 951_825_600),
            ("20040509183619", 1_084_127_779),
            ("21060207062815", u32::MAX),
        ] {
            assert_eq!(parse(text), Some(seconds));
            let mut shown = String::new();
            show(seconds, &mut shown).unwrap();
            assert_eq!(shown, text);
        }
        for bad in
            ["20010229000000", "20011301000000", "20010100000000", "20010101240000", "x", "19691231235959"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
