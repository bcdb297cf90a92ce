use std::str::FromStr;

use daee_types::Timestamp;

/// When the agent gets a timer event named `schedule`, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    seconds: Marks,
    minutes: Marks,
    hours: Marks,
    days: Marks,
    months: Marks,
    weekdays: Marks,
}

/// Numbers below 64.
type Marks = u64;

const DAY_SECONDS: u64 = 24 * 60 * 60;
/// From one 29 February to the next are eight years at most.
const DAYS_TRIED: u64 = 8 * 366;

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

impl Schedule {
    /// The first time after `t`; `None` if there is none any more.
    pub fn next_after(&self, t: Timestamp) -> Option<Timestamp> {
        let from = t.seconds() + 1;
        let (today, second) = (from / DAY_SECONDS, from % DAY_SECONDS);
        let next = (today..=today + DAYS_TRIED).filter(|day| self.on(*day)).find_map(|day| {
            let from = if day == today { second } else { 0 };
            Some(day * DAY_SECONDS + self.within_day(from)?)
        })?;
        next.checked_mul(1_000).map(Timestamp)
    }

    /// Whether anything happens on a day, counted from 1 January 1970, a Thursday.
    fn on(&self, day: u64) -> bool {
        let (month, day_of_month) = month_and_day(day);
        has(self.months, month) && has(self.days, day_of_month) && has(self.weekdays, (day + 3) % 7)
    }

    /// The first second of a day's that is no earlier than `from`.
    fn within_day(&self, from: u64) -> Option<u64> {
        let (hour, minute, second) = (from / 3600, from / 60 % 60, from % 60);
        let first = |marks, from| (from..60).find(|n| has(marks, *n));
        let within_hour = |minute, second| {
            let now = has(self.minutes, minute).then(|| first(self.seconds, second)).flatten();
            match now {
                Some(second) => Some(minute * 60 + second),
                None => Some(first(self.minutes, minute + 1)? * 60 + first(self.seconds, 0)?),
            }
        };
        let now = has(self.hours, hour).then(|| within_hour(minute, second)).flatten();
        match now {
            Some(seconds) => Some(hour * 3600 + seconds),
            None => Some(first(self.hours, hour + 1)? * 3600 + within_hour(0, 0)?),
        }
    }
}

impl FromStr for Schedule {
    type Err = String;
    /// Five fields as in crontab, or six with seconds first. What crons disagree on is refused: days
    /// of the week as numbers, days of the month together with days of the week, steps from one
    /// number, steps beyond the last, and ranges that go backwards.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            let shown: String = text.chars().take(80).collect();
            format!("{shown:?} is not a schedule: {why}")
        };
        if text.len() > 256 {
            return Err(wrong("it is longer than 256 bytes"));
        }
        let fields: Vec<&str> = text.split([' ', '\t']).filter(|field| !field.is_empty()).collect();
        let (seconds, [minutes, hours, days, months, weekdays]) = match fields[..] {
            [a, b, c, d, e] => ("0", [a, b, c, d, e]),
            [seconds, a, b, c, d, e] => (seconds, [a, b, c, d, e]),
            _ => return Err(wrong("write five cron fields, or six with seconds first")),
        };
        let any = |field| matches!(field, "*" | "?");
        if weekdays.bytes().any(|b| b.is_ascii_digit()) {
            return Err(wrong("write days of the week as MON to SUN"));
        }
        if !any(days) && !any(weekdays) {
            return Err(wrong("name days of the month or of the week, not both"));
        }
        let day = |field| if field == "?" { "*" } else { field };
        let read = |field, of: Field| of.read(field).map_err(|why| wrong(&why));
        let schedule = Self {
            seconds: read(seconds, Field { name: "a second", first: 0, last: 59, words: &[] })?,
            minutes: read(minutes, Field { name: "a minute", first: 0, last: 59, words: &[] })?,
            hours: read(hours, Field { name: "an hour", first: 0, last: 23, words: &[] })?,
            days: read(day(days), Field { name: "a day", first: 1, last: 31, words: &[] })?,
            months: read(months, Field { name: "a month", first: 1, last: 12, words: &MONTHS })?,
            weekdays: read(
                day(weekdays),
                Field { name: "a day of the week", first: 0, last: 6, words: &WEEKDAYS },
            )?,
        };
        match schedule.next_after(Timestamp::default()) {
            Some(_) => Ok(schedule),
            None => Err(wrong("no such day ever comes")),
        }
    }
}

/// What one field may hold.
struct Field {
    name: &'static str,
    first: u64,
    last: u64,
    words: &'static [&'static str],
}

impl Field {
    fn read(&self, field: &str) -> Result<Marks, String> {
        field.split(',').try_fold(0, |marks, part| Ok(marks | self.part(part)?))
    }

    /// `*`, `N`, `N-M`, and the first and last of these with `/STEP`.
    fn part(&self, part: &str) -> Result<Marks, String> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => self.range(from, to)?,
            None if range == "*" => (self.first, self.last),
            None if step.is_some() => {
                return Err(format!(
                    "write */{0} or a range such as 0-30/{0}",
                    step.unwrap_or("5")
                ));
            }
            None => {
                let one = self.number(range)?;
                (one, one)
            }
        };
        let step = match step {
            None => 1,
            Some(step) => plain(step)
                .filter(|step| (1..=self.last).contains(step))
                .ok_or_else(|| format!("{step:?} is not a step from 1 to {}", self.last))?,
        };
        Ok((from..=to).step_by(step as usize).fold(0, |marks, n| marks | 1 << n))
    }

    fn range(&self, from: &str, to: &str) -> Result<(u64, u64), String> {
        let (first, last) = (self.number(from)?, self.number(to)?);
        if first > last {
            return Err(format!("{from}-{to} goes backwards: write it as a list"));
        }
        Ok((first, last))
    }

    fn number(&self, text: &str) -> Result<u64, String> {
        let word = self.words.iter().position(|word| word.eq_ignore_ascii_case(text));
        let number = word.map(|at| at as u64 + self.first).or_else(|| plain(text));
        number.filter(|number| (self.first..=self.last).contains(number)).ok_or_else(|| {
            let (first, last) = match self.words {
                [first, .., last] => ((*first).to_owned(), (*last).to_owned()),
                _ => (self.first.to_string(), self.last.to_string()),
            };
            format!("{text:?} is not {} from {first} to {last}", self.name)
        })
    }
}

fn plain(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit()))
}

fn has(marks: Marks, n: u64) -> bool {
    marks >> n & 1 == 1
}

/// Month and day of the month of a day counted from 1 January 1970.
fn month_and_day(day: u64) -> (u64, u64) {
    // Counted from 1 March, leap days come last: in a year, in a century, in four centuries.
    let of_era = (day + 719_468) % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month + 2) / 5 + 1;
    (if month < 10 { month + 3 } else { month - 9 }, day_of_month)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Datelike, Utc};
    use proptest::prelude::*;

    use super::*;

    fn check(schedule: &str, after: &str, expected: &str) {
        let at = |text: &str| {
            let at = DateTime::parse_from_rfc3339(text).unwrap().timestamp();
            Timestamp::from_seconds(u64::try_from(at).unwrap())
        };
        let next = schedule.parse::<Schedule>().unwrap().next_after(at(after));
        assert_eq!(next, Some(at(expected)), "{schedule} after {after}");
    }

    #[test]
    fn the_next_time_is_the_first_one_after() {
        check("*/5 * * * *", "2026-11-24T20:05:00Z", "2026-11-24T20:10:00Z");
        check("*/5 * * * *", "2026-11-24T20:09:59Z", "2026-11-24T20:10:00Z");
        check("*/20 * * * * *", "2026-11-24T20:09:59Z", "2026-11-24T20:10:00Z");
        check("59 59 23 * * *", "2026-12-31T23:59:59Z", "2027-01-01T23:59:59Z");
        check("0 0 29 2 ?", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z");
        check("0 9 ? * MON-FRI", "2026-11-27T09:00:00Z", "2026-11-30T09:00:00Z");
        check("0 9 * * sat,Sun", "2026-11-29T09:00:00Z", "2026-12-05T09:00:00Z");
        check("30 8-18/2 31 JAN,MAR *", "2026-01-31T18:30:00Z", "2026-03-31T08:30:00Z");
        check("0 0 1 1-12/6 *", "2026-07-01T00:00:00Z", "2027-01-01T00:00:00Z");
    }

    #[test]
    fn what_crons_disagree_on_is_refused_with_what_to_write() {
        for (schedule, why) in [
            ("5/15 * * * *", "write */15 or a range such as 0-30/15"),
            ("*/60 * * * *", "\"60\" is not a step from 1 to 59"),
            ("*/0 * * * *", "\"0\" is not a step from 1 to 59"),
            ("0 22-2 * * *", "22-2 goes backwards: write it as a list"),
            ("0 0 * * SUN-TUE", "SUN-TUE goes backwards: write it as a list"),
            ("0 0 * DEC-FEB *", "DEC-FEB goes backwards: write it as a list"),
            ("0 0 * * 0", "write days of the week as MON to SUN"),
            ("0 0 13 * FRI", "name days of the month or of the week, not both"),
            ("0 24 * * *", "\"24\" is not an hour from 0 to 23"),
            ("0 0 0 * *", "\"0\" is not a day from 1 to 31"),
            ("0 0 * 13 *", "\"13\" is not a month from JAN to DEC"),
            ("0 0 * * MONDAY", "\"MONDAY\" is not a day of the week from MON to SUN"),
            ("0 0 L * *", "\"L\" is not a day from 1 to 31"),
            ("+5 * * * *", "\"+5\" is not a minute from 0 to 59"),
            ("005 * * * *", "\"005\" is not a minute from 0 to 59"),
            (", * * * *", "\"\" is not a minute from 0 to 59"),
            ("? * * * *", "\"?\" is not a minute from 0 to 59"),
            ("0 0 31 2,4,6,9,11 *", "no such day ever comes"),
            ("@daily", "write five cron fields, or six with seconds first"),
        ] {
            let refused = schedule.parse::<Schedule>().unwrap_err();
            assert_eq!(refused, format!("{schedule:?} is not a schedule: {why}"));
        }
    }

    #[test]
    fn the_calendar_holds_for_all_centuries_that_are_told() {
        for day in (0..200_000_u64).chain(2_000_000..2_001_000) {
            let date = DateTime::<Utc>::from_timestamp((day * DAY_SECONDS) as i64, 0).unwrap();
            assert_eq!(month_and_day(day), (date.month().into(), date.day().into()), "{date}");
        }
    }

    #[test]
    fn the_end_of_time_is_no_time() {
        let every = "* * * * * *".parse::<Schedule>().unwrap();
        assert_eq!(every.next_after(Timestamp(u64::MAX)), None);
    }

    proptest! {
        /// A peer that many use, for what both take.
        #[test]
        fn another_cron_finds_the_same_times(
            second in "[0-5]?[0-9]|\\*/[1-9]",
            minute in "[0-5]?[0-9]|\\*|\\*/[1-9]|[0-2][0-9]-[3-5][0-9](/[1-9])?|[0-9],[0-5][0-9]",
            hour in "1?[0-9]|\\*|\\*/[1-9]|[0-9]-1[0-9]",
            days in prop_oneof![
                ("\\*|[1-9]|[12][0-9]|3[01]|\\*/[1-9]|[1-9]-2[0-9]", Just("*".to_owned())),
                (Just("*".to_owned()), "MON|TUE|SAT|SUN|MON-FRI|TUE-THU|MON,WED,SUN"),
            ],
            month in "\\*|[1-9]|1[0-2]|JAN|FEB|SEP-NOV|\\*/[2-5]|MAR,JUN",
            after in 0_u64..4_000_000_000,
        ) {
            let (day, weekday) = days;
            let text = format!("{second} {minute} {hour} {day} {month} {weekday}");
            let Ok(ours) = text.parse::<Schedule>() else { return Ok(()) };
            let theirs: cron::Schedule = text.parse().unwrap();
            let at = DateTime::<Utc>::from_timestamp(after as i64, 0).unwrap();
            let theirs = theirs.after(&at).next().map(|at| at.timestamp() as u64);
            let ours = ours.next_after(Timestamp::from_seconds(after)).map(Timestamp::seconds);
            prop_assert_eq!(ours, theirs, "{} after {}", text, at);
        }
    }
}
