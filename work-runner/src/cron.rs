//! Cron expressions: five fields, in UTC or in a time zone, as a function from one time to the next.

#[cfg(feature = "time-zones")]
mod zone;

use std::fmt;

/// A parsed cron expression: minute, hour, day of month, month, day of week, in UTC unless it begins with a
/// time zone.
///
/// Each field is `*`, a number, a range `a-b`, a step `*/n` or `a-b/n`, or a list of these; months
/// and days of the week also by their first three letters; Sunday is 0 or 7. When both days are
/// restricted, either of them matches. `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly`
/// stand for what they say.
///
/// # Time zones
///
/// With the feature `time-zones` an expression may begin with `CRON_TZ=` and the name of a time zone of the
/// IANA database: `CRON_TZ=Europe/Berlin 30 2 * * *`. The database of the system is used, or the one that was
/// built in where the system has none. Where clocks are changed:
///
/// - An expression that leaves out some hour of the day runs once for each of its times on the clock. A time that the clocks skip
///   runs later by as much as they skip (02:30 becomes 03:30), and once with the time it then falls on. Of a
///   time that they show twice, the first counts.
/// - An expression for every hour, such as with `*`, follows the clock: what is skipped does not run, and what is shown twice
///   runs twice.
///
#[cfg_attr(feature = "time-zones", doc = "```")]
#[cfg_attr(not(feature = "time-zones"), doc = "```ignore")]
/// use lastout_work_runner::cron::Cron;
///
/// // The clocks of Berlin went from 02:00 to 03:00 on 31 March 2024, which is 01:00 UTC.
/// let one_am = 1_711_846_800_000 - 3_600_000;
/// let cron = Cron::parse("CRON_TZ=Europe/Berlin 30 2 * * *")?;
/// assert_eq!(cron.next_after(one_am), Some(1_711_846_800_000 + 1_800_000)); // 03:30
/// # Ok::<(), lastout_work_runner::cron::CronError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
    #[cfg(feature = "time-zones")]
    zone: Option<jiff::tz::TimeZone>,
}

/// An expression that does not parse, that never comes true, or whose time zone is not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronError {
    expression: String,
    what: &'static str,
}

/// What precedes the name of a time zone.
const ZONE: &str = "CRON_TZ=";
#[cfg(feature = "time-zones")]
const UNKNOWN_ZONE: &str = "its time zone is not known";
#[cfg(not(feature = "time-zones"))]
const UNKNOWN_ZONE: &str = "its time zone needs the feature time-zones";

impl CronError {
    /// The expression may be fine where its time zone is known.
    pub(crate) fn is_about_the_zone(&self) -> bool {
        self.what == UNKNOWN_ZONE
    }
}

impl fmt::Display for CronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parse the cron expression {:?}: {}", self.expression, self.what)
    }
}

impl std::error::Error for CronError {}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const DAY_MS: i64 = 86_400_000;
/// Within this many days every expression that can come true does (29 February skips a century).
const HORIZON_DAYS: i64 = 366 * 9;
/// A million years around the epoch, in milliseconds.
const MOST_MS: i64 = 1_000_000 * 366 * DAY_MS;

impl Cron {
    /// Parses an expression.
    ///
    /// # Errors
    ///
    /// [`CronError`] when a field does not parse or is out of range, when no date matches, as
    /// for 31 February, or when the time zone is not known.
    pub fn parse(expression: &str) -> Result<Self, CronError> {
        let fail = |what| CronError { expression: expression.to_owned(), what };
        let (zone, fields) = match expression.trim().strip_prefix(ZONE) {
            Some(rest) => match rest.split_once(|c: char| c.is_ascii_whitespace()) {
                Some((zone, fields)) => (Some(zone), fields.trim()),
                None => return Err(fail("it must have five fields")),
            },
            None => (None, expression.trim()),
        };
        let expanded = match fields {
            "@hourly" => "0 * * * *",
            "@daily" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" => "0 0 1 1 *",
            other => other,
        };
        let fields: Vec<_> = expanded.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(fail("it must have five fields"));
        };
        let weekdays =
            field(weekday, 0, 7, &WEEKDAYS, 0).ok_or_else(|| fail("the day of the week"))?;
        let cron = Self {
            minutes: field(minute, 0, 59, &[], 0).ok_or_else(|| fail("the minute"))?,
            hours: field(hour, 0, 23, &[], 0).ok_or_else(|| fail("the hour"))?,
            days: field(day, 1, 31, &[], 0).ok_or_else(|| fail("the day of the month"))?,
            months: field(month, 1, 12, &MONTHS, 1).ok_or_else(|| fail("the month"))?,
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
            #[cfg(feature = "time-zones")]
            zone: match zone {
                Some(name) => Some(zone::find(name).ok_or_else(|| fail(UNKNOWN_ZONE))?),
                None => None,
            },
        };
        #[cfg(not(feature = "time-zones"))]
        if zone.is_some() {
            return Err(fail(UNKNOWN_ZONE));
        }
        if cron.next_after(0).is_none() {
            return Err(fail("no date matches it"));
        }
        Ok(cron)
    }

    /// The first matching time after `after_ms`, both in milliseconds since the epoch; `None` more than a
    /// million years away from it, and with a time zone outside of the years -9999 to 9999.
    pub fn next_after(&self, after_ms: i64) -> Option<i64> {
        #[cfg(feature = "time-zones")]
        if let Some(zone) = &self.zone {
            return zone::next_after(self, zone, after_ms);
        }
        self.next_on_the_clock(after_ms, i64::MAX)
    }

    /// The first matching time after `after_ms` and before `before_ms`, where no clocks are changed.
    fn next_on_the_clock(&self, after_ms: i64, before_ms: i64) -> Option<i64> {
        // Beyond these the calendar below would overflow; no store keeps such a time.
        if !(-MOST_MS..MOST_MS).contains(&after_ms) {
            return None;
        }
        let first_day = after_ms.div_euclid(DAY_MS);
        for day in first_day..first_day + HORIZON_DAYS {
            if day * DAY_MS >= before_ms {
                return None;
            }
            if !self.matches_day(day) {
                continue;
            }
            for hour in bits(self.hours) {
                for minute in bits(self.minutes) {
                    let at = day * DAY_MS + (hour * 60 + minute) * 60_000;
                    if at > after_ms {
                        return Some(at).filter(|at| *at < before_ms);
                    }
                }
            }
        }
        None
    }

    fn matches_day(&self, day: i64) -> bool {
        let (month, of_month) = civil(day);
        // The epoch was a Thursday.
        let weekday = (day + 4).rem_euclid(7);
        let by_month = self.days >> of_month & 1 == 1;
        let by_week = self.weekdays >> weekday & 1 == 1;
        let day = if self.either_day { by_month || by_week } else { by_month && by_week };
        day && self.months >> month & 1 == 1
    }
}

fn bits(set: u64) -> impl Iterator<Item = i64> {
    (0..64).filter(move |bit| set >> bit & 1 == 1)
}

/// The values of one field, as bits; `None` when it does not parse.
fn field(text: &str, least: u32, most: u32, names: &[&str], first_name: u32) -> Option<u64> {
    let value = |word: &str| -> Option<u32> {
        let lower = word.to_ascii_lowercase();
        let named = names.iter().position(|name| *name == lower);
        let value = match named {
            Some(at) => at as u32 + first_name,
            None => word.parse().ok()?,
        };
        (least..=most).contains(&value).then_some(value)
    };
    let mut set = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((from, to)) => (value(from)?, value(to)?),
            None if part.contains('/') => (value(range)?, most),
            None => (value(range)?, value(range)?),
        };
        if from > to {
            return None;
        }
        (from..=to).step_by(step).for_each(|value| set |= 1 << value);
    }
    Some(set)
}

/// Month and day of month of a day since the epoch, in the proleptic Gregorian calendar.
fn civil(day: i64) -> (u32, u32) {
    // Eras of 400 years that begin on 1 March, so that the leap day comes last.
    let day = day + 719_468;
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (month as u32, of_month as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    /// 2024-02-28 00:00 UTC, a Wednesday before a leap day.
    const FEB_28: i64 = 19_781 * DAY_MS;

    fn next(expression: &str, after: i64) -> i64 {
        Cron::parse(expression).unwrap().next_after(after).unwrap()
    }

    #[test]
    fn the_next_time_is_strictly_later() {
        assert_eq!(next("* * * * *", FEB_28), FEB_28 + 60_000);
        assert_eq!(next("*/15 * * * *", FEB_28 - 1), FEB_28);
        assert_eq!(next("30 9-17/4 * * mon-fri", FEB_28), FEB_28 + 9 * HOUR + HOUR / 2);
        assert_eq!(next("0 0 29 2 *", FEB_28), FEB_28 + DAY_MS);
        assert_eq!(next("0 0 29 feb *", FEB_28 + DAY_MS), FEB_28 + DAY_MS + 1461 * DAY_MS);
        assert_eq!(next("@daily", FEB_28), FEB_28 + DAY_MS);
    }

    #[test]
    fn two_restricted_days_match_either() {
        // The 1st or a Sunday: 1 March 2024 is a Friday, 3 March a Sunday.
        assert_eq!(next("0 0 1 * sun", FEB_28), FEB_28 + 2 * DAY_MS);
        assert_eq!(next("0 0 1 * 7", FEB_28 + 2 * DAY_MS), FEB_28 + 4 * DAY_MS);
    }

    #[test]
    fn the_ends_of_time_have_no_next() {
        let cron = Cron::parse("* * * * *").unwrap();
        for at in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX, MOST_MS] {
            assert_eq!(cron.next_after(at), None, "{at}");
        }
        assert!(cron.next_after(MOST_MS - 1).is_some() && cron.next_after(-MOST_MS).is_some());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "* * 0 * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "x * * * *",
            "0 0 31 2 *",
            "CRON_TZ=Europe/Berlin",
            "CRON_TZ= 0 0 * * *",
            "CRON_TZ=Europe/Berlin * * * *",
            "CRON_TZ=../etc/passwd 0 0 * * *",
            "CRON_TZ=Nowhere/Atlantis 0 0 * * *",
        ] {
            assert!(Cron::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_calendar_counts_every_day() {
        let mut expected = (1, 1);
        for day in 0..365 * 3 {
            assert_eq!(civil(day), expected, "day {day}");
            let year_1972 = (730..1096).contains(&day);
            let length = match expected.0 {
                2 => 28 + u32::from(year_1972),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match expected {
                (12, 31) => (1, 1),
                (month, of_month) if of_month == length => (month + 1, 1),
                (month, of_month) => (month, of_month + 1),
            };
        }
    }
}
