//! Times on the clock of a time zone. Between two changes of the clocks the offset is fixed, and the expression
//! is looked up as in UTC; what is skipped or shown twice is decided where one such stretch begins.

use super::{Cron, DAY_MS, HORIZON_DAYS};
use jiff::Timestamp;
use jiff::tz::TimeZone;

const EVERY_HOUR: u64 = (1 << 24) - 1;

/// The time zone of that name in the IANA database.
pub(super) fn find(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

/// A time without a change of the clocks. All in milliseconds; times are since the epoch.
struct Stretch {
    offset: i64,
    /// When the clocks were changed, and the offset before.
    began: Option<(i64, i64)>,
    ends: Option<i64>,
}

impl Stretch {
    /// The one that `at` lies in; `None` outside of the years that the database covers.
    fn of(zone: &TimeZone, at: i64) -> Option<Self> {
        let time = |ms| Timestamp::from_millisecond(ms).ok();
        let offset = |at| i64::from(zone.to_offset(at).seconds()) * 1000;
        // Changes are at whole seconds, so the next millisecond finds those up to `at`.
        let last = zone.preceding(time(at.checked_add(1)?)?).next();
        let last = last.map(|change| change.timestamp().as_millisecond());
        let began = last.and_then(|at| Some((at, offset(time(at.checked_sub(1)?)?))));
        let now = time(at)?;
        let ends = zone.following(now).next().map(|change| change.timestamp().as_millisecond());
        Some(Self { offset: offset(now), began, ends })
    }

    /// The first time of `cron` after `after` that belongs here.
    fn next(&self, cron: &Cron, after: i64) -> Option<i64> {
        let before = self.ends.map_or(i64::MAX, |ends| ends.saturating_add(self.offset));
        let on_the_clock = |after, offset: i64, before| {
            cron.next_on_the_clock(after, before).map(|at| at - offset)
        };
        let mut from = after.saturating_add(self.offset);
        let mut skipped = None;
        if let Some((began, offset)) = self.began.filter(|_| cron.hours != EVERY_HOUR) {
            // Until here the clock showed all times before the change. Where it was set back, it shows some of
            // them for the second time; where it was set forward, those up to the new time were skipped.
            let shown = began.saturating_add(offset) - 1;
            let skipped_from = after.saturating_add(offset).max(shown);
            skipped = on_the_clock(skipped_from, offset, began.saturating_add(self.offset));
            from = from.max(shown);
        }
        let regular = on_the_clock(from, self.offset, before);
        regular.into_iter().chain(skipped).min()
    }
}

pub(super) fn next_after(cron: &Cron, zone: &TimeZone, after_ms: i64) -> Option<i64> {
    let until = after_ms.saturating_add(HORIZON_DAYS * DAY_MS);
    let mut after = after_ms;
    while after < until {
        let stretch = Stretch::of(zone, after.checked_add(1)?)?;
        if let Some(next) = stretch.next(cron, after) {
            return Some(next);
        }
        after = stretch.ends? - 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::Cron;
    use jiff::civil::{DateTime, date};
    use jiff::tz::TimeZone;

    /// The times of an expression from one time on the clock of UTC to another, as the zone's clock shows them.
    fn runs(expression: &str, from: DateTime, to: DateTime) -> Vec<String> {
        let cron = Cron::parse(expression).unwrap();
        let name = expression["CRON_TZ=".len()..].split(' ').next().unwrap();
        let zone = TimeZone::get(name).unwrap();
        let ms = |at: DateTime| at.to_zoned(TimeZone::UTC).unwrap().timestamp().as_millisecond();
        let (mut at, to) = (ms(from) - 1, ms(to));
        let mut shown = Vec::new();
        loop {
            let next = cron.next_after(at).unwrap();
            assert!(next > at, "{expression} at {at}");
            at = next;
            if at >= to {
                return shown;
            }
            let time = jiff::Timestamp::from_millisecond(at).unwrap().to_zoned(zone.clone());
            shown.push(time.strftime("%d %H:%M %:z").to_string());
        }
    }

    #[test]
    fn a_skipped_time_runs_later_by_as_much_and_once() {
        // 31 March 2024: 02:00 becomes 03:00.
        let that_night = |expression: &str| {
            runs(expression, date(2024, 3, 30).at(12, 0, 0, 0), date(2024, 3, 31).at(12, 0, 0, 0))
        };
        assert_eq!(that_night("CRON_TZ=Europe/Berlin 30 2 * * *"), ["31 03:30 +02:00"]);
        assert_eq!(that_night("CRON_TZ=Europe/Berlin 30 2,3 * * *"), ["31 03:30 +02:00"]);
        assert_eq!(
            that_night("CRON_TZ=Europe/Berlin 0 2-4 * * *"),
            ["31 03:00 +02:00", "31 04:00 +02:00"]
        );
        assert_eq!(that_night("CRON_TZ=Europe/Berlin 15 3 * * *"), ["31 03:15 +02:00"]);
        let mixed = that_night("CRON_TZ=Europe/Berlin 10,50 1,2 * * *");
        let expected = ["31 01:10 +01:00", "31 01:50 +01:00", "31 03:10 +02:00", "31 03:50 +02:00"];
        assert_eq!(mixed, expected);
        // Every hour follows the clock.
        let hourly = runs(
            "CRON_TZ=Europe/Berlin 30 * * * *",
            date(2024, 3, 31).at(0, 0, 0, 0),
            date(2024, 3, 31).at(2, 0, 0, 0),
        );
        assert_eq!(hourly, ["31 01:30 +01:00", "31 03:30 +02:00"]);
    }

    #[test]
    fn of_a_time_shown_twice_the_first_counts() {
        // 27 October 2024: 03:00 becomes 02:00.
        let that_night = |expression: &str| {
            runs(expression, date(2024, 10, 26).at(23, 0, 0, 0), date(2024, 10, 27).at(3, 0, 0, 0))
        };
        assert_eq!(that_night("CRON_TZ=Europe/Berlin 30 2 * * *"), ["27 02:30 +02:00"]);
        assert_eq!(that_night("CRON_TZ=Europe/Berlin 0 3 * * *"), ["27 03:00 +01:00"]);
        assert_eq!(
            that_night("CRON_TZ=Europe/Berlin 59 1,2 * * *"),
            ["27 01:59 +02:00", "27 02:59 +02:00"]
        );
        let hourly = that_night("CRON_TZ=Europe/Berlin 30 * * * *");
        let expected = ["27 01:30 +02:00", "27 02:30 +02:00", "27 02:30 +01:00", "27 03:30 +01:00"];
        assert_eq!(hourly, expected);
    }

    #[test]
    fn odd_changes_of_the_clocks_have_their_times() {
        // Half an hour is skipped on Lord Howe Island, midnight in Cairo, and a whole day in Samoa.
        let from = date(2024, 10, 5).at(13, 0, 0, 0);
        let to = date(2024, 10, 5).at(17, 0, 0, 0);
        let lord_howe = runs("CRON_TZ=Australia/Lord_Howe 15 2 * * *", from, to);
        assert_eq!(lord_howe, ["06 02:45 +11:00"]);
        let from = date(2024, 4, 25).at(12, 0, 0, 0);
        let cairo = runs("CRON_TZ=Africa/Cairo @daily", from, date(2024, 4, 26).at(12, 0, 0, 0));
        assert_eq!(cairo, ["26 01:00 +03:00"]);
        let (from, to) = (date(2011, 12, 29).at(12, 0, 0, 0), date(2012, 1, 1).at(0, 0, 0, 0));
        let samoa = runs("CRON_TZ=Pacific/Apia 0 3 * * *", from, to);
        assert_eq!(samoa, ["29 03:00 -10:00", "31 03:00 +14:00", "01 03:00 +14:00"]);
        let skipped_day = runs("CRON_TZ=Pacific/Apia 0 4 30 12 *", from, to);
        assert_eq!(skipped_day, ["31 04:00 +14:00"]);
    }

    #[test]
    fn a_daily_job_runs_once_on_each_day_of_each_zone() {
        let zones = ["Europe/London", "America/New_York", "America/Sao_Paulo", "Asia/Tehran"];
        for zone in zones.into_iter().chain(["Australia/Lord_Howe", "Africa/Casablanca", "UTC"]) {
            for time in ["0 0", "30 0", "30 1", "15 2", "0 3", "30 23"] {
                let expression = format!("CRON_TZ={zone} {time} * * *");
                let from = date(2005, 6, 15).at(12, 0, 0, 0);
                let to = date(2021, 6, 15).at(12, 0, 0, 0);
                let mut days = runs(&expression, from, to);
                assert_eq!(days.len(), 365 * 16 + 4, "{expression}");
                days.iter_mut().for_each(|day| day.truncate(2));
                days.dedup();
                assert_eq!(days.len(), 365 * 16 + 4, "{expression}: one on each day");
            }
            // Every hour, and no hour that passes is left out; these change by whole hours.
            if zone != "Australia/Lord_Howe" && zone != "Asia/Tehran" {
                let hourly = format!("CRON_TZ={zone} 0 * * * *");
                let (from, to) = (date(2016, 1, 1), date(2017, 1, 1));
                let hours = runs(&hourly, from.at(0, 0, 0, 0), to.at(0, 0, 0, 0)).len();
                assert_eq!(hours, 366 * 24, "{hourly}");
            }
        }
    }

    #[test]
    fn the_ends_of_time_have_no_next() {
        let cron = Cron::parse("CRON_TZ=Europe/Berlin 30 2 * * *").unwrap();
        for at in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
            assert_eq!(cron.next_after(at), None, "{at}");
        }
        let rare = Cron::parse("CRON_TZ=America/New_York 30 2 29 2 *").unwrap();
        assert!(rare.next_after(0).is_some());
    }
}
