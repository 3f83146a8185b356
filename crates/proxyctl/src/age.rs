//! Points in time and lengths of time, as people read them.

use std::time::{Duration, SystemTime};

/// Seconds since 1970-01-01 UTC.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.as_ref().map_or(0, Duration::as_secs)
}

/// `2023-11-14T22:13:20.123Z` as seconds since 1970-01-01. Grove writes UTC only; nothing else is understood.
pub(crate) fn unix_seconds(rfc3339: &str) -> Option<u64> {
    let (date, time) = rfc3339.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time.split('.').next()?, ':')?;
    let valid = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
    let days = valid.then(|| days(year, month, day))?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The two largest units of a length of time: `45s`, `3m12s`, `2h05m`, `3d04h`.
pub(crate) fn words(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// Four digits at most, so that no calculation with them can overflow.
fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let number = |part: &str| {
        let digits = (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse().ok()).flatten()
    };
    let parts: Option<Vec<u64>> = text.split(separator).map(number).collect();
    parts?.try_into().ok()
}

/// Days since 1970-01-01: `days_from_civil` of Howard Hinnant's "chrono-compatible low-level date algorithms". Years
/// begin in March inside, so that the leap day is last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_grove_writes_them() {
        assert_eq!(unix_seconds("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(unix_seconds("2000-02-28T23:59:59.000Z"), Some(951_782_399));
        assert_eq!(unix_seconds("2000-03-01T00:00:00Z"), Some(951_868_800));
        assert_eq!(unix_seconds("2023-11-14T22:13:20.123Z"), Some(1_700_000_000));
        assert_eq!(unix_seconds("2100-03-01T00:00:00.000Z"), Some(4_107_542_400));
    }

    #[test]
    fn what_is_no_time_is_not_read() {
        for text in [
            "",
            "yesterday",
            "2023-11-14T22:13:20+01:00",
            "2023-13-14T22:13:20Z",
            "2023-00-14T22:13:20Z",
            "2023-11-00T22:13:20Z",
            "1969-12-31T23:59:59Z",
            "2023-11T22:13:20Z",
            "99999999999999999999-01-01T00:00:00Z",
            "2023-11-14T+2:13:20Z",
        ] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }

    #[test]
    fn lengths_have_two_units() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m00s"),
            (192, "3m12s"),
            (3599, "59m59s"),
            (7500, "2h05m"),
            (86_399, "23h59m"),
            (273_600, "3d04h"),
        ] {
            assert_eq!(words(seconds), expected);
        }
    }
}
