//! The watch list `docs/advisories.toml` against the lock file and the day.

use std::fmt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use toml::{Table, Value};

use crate::failure::Failure;

const LIST: &str = "docs/advisories.toml";
/// How long what somebody read stays read.
const DAYS_MAX: i64 = 30;
/// Families of which every member must be on the list: what strangers' modules and peers go through.
const WATCHED: &[&str] = &["wasmer", "cranelift-", "libp2p-gossipsub", "yamux"];

/// Judges the lock file by the list, as of today or of another day (`2026-11-24`).
pub fn run(repo: &Path, day: Option<&str>) -> Result<(), Failure> {
    let read = |file: &str| {
        std::fs::read_to_string(repo.join(file))
            .map_err(|error| Failure::new(format!("{file}: {error}"), "git status"))
    };
    let day = match day {
        Some(text) => Day::parse(text)
            .ok_or_else(|| Failure::new(format!("`{text}` is no day"), "write it as 2026-11-24"))?,
        None => today(),
    };
    let found = findings(&read(LIST)?, &read("Cargo.lock")?, day);
    let found = found.map_err(|why| Failure::new(format!("{LIST}: {why}"), "mend the list"))?;
    match found.first() {
        None => {
            println!("watch list ok");
            Ok(())
        }
        Some(Finding { fix, .. }) => {
            let what: Vec<_> = found.iter().map(|finding| finding.what.as_str()).collect();
            Err(Failure::new(what.join("\n  "), fix.as_str()))
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the list is out of date by the calendar")]
fn today() -> Day {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Day((since.as_secs() / 86_400).cast_signed())
}

/// What is wrong, and what to do.
#[derive(Debug)]
struct Finding {
    what: String,
    fix: String,
}

struct Entry {
    name: String,
    page: String,
    min: Version,
    checked: Day,
    except: Vec<Version>,
}

impl Entry {
    fn read(table: &Table) -> Result<Self, String> {
        let text = |key: &str| {
            let value = table.get(key).and_then(Value::as_str);
            value.map(str::to_owned).ok_or_else(|| format!("an entry has no text `{key}`"))
        };
        let name = text("name")?;
        let version = |text: &str| {
            Version::parse(text).ok_or_else(|| format!("{name}: `{text}` is no version"))
        };
        let checked = table.get("checked").and_then(Value::as_datetime).and_then(|at| at.date);
        let checked = checked
            .and_then(|date| Day::of(date.year.into(), date.month.into(), date.day.into()))
            .ok_or_else(|| format!("{name}: `checked` is no day"))?;
        let page = text("page")?;
        if !page.starts_with("https://") {
            return Err(format!("{name}: `page` is no address"));
        }
        if table.get("ids").and_then(Value::as_array).is_none() {
            return Err(format!("{name}: `ids` is no list"));
        }
        let mut except = Vec::new();
        for one in table.get("except").and_then(Value::as_array).into_iter().flatten() {
            let word = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
            if word("why").len() < 20 {
                return Err(format!("{name}: an exception does not say why"));
            }
            except.push(version(word("version"))?);
        }
        let min = version(&text("min")?)?;
        Ok(Self { page, min, checked, except, name })
    }

    fn names(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(family) => name.starts_with(family),
            None => name == self.name,
        }
    }
}

fn findings(list: &str, lock: &str, day: Day) -> Result<Vec<Finding>, String> {
    let list: Table = list.parse().map_err(|error| format!("{error}"))?;
    let entries = list.get("crate").and_then(Value::as_array).ok_or("it has no entries")?;
    let entries = entries
        .iter()
        .map(|entry| Entry::read(entry.as_table().ok_or("an entry is no table")?))
        .collect::<Result<Vec<_>, _>>()?;
    let mut found = Vec::new();
    for entry in &entries {
        let (name, age) = (&entry.name, day.0 - entry.checked.0);
        if !(0..=DAYS_MAX).contains(&age) {
            let what = match age {
                ..0 => format!("{name} was checked {} days from now", -age),
                _ => format!("nobody has looked at the advisories of {name} for {age} days"),
            };
            let fix = format!(
                "read {}, raise `min` in {LIST} where it is due, renew `checked`",
                entry.page
            );
            found.push(Finding { what, fix });
        }
    }
    for (name, version) in locked(lock)? {
        let mut watched = entries.iter().filter(|entry| entry.names(&name)).peekable();
        if watched.peek().is_none() && WATCHED.iter().any(|family| name.starts_with(family)) {
            let fix = format!("add it to {LIST} with the page of its advisories");
            found.push(Finding { what: format!("{name} is on no list"), fix });
        }
        for entry in watched {
            if version < entry.min && !entry.except.contains(&version) {
                let min = &entry.min;
                let what =
                    format!("{name} {version} has known holes, {min} has not: {}", entry.page);
                let fix = format!(
                    "cargo update -p {name} --precise {min}, or say in {LIST} what stands against it"
                );
                found.push(Finding { what, fix });
            }
        }
    }
    Ok(found)
}

/// Names and versions of the registry's crates.
fn locked(lock: &str) -> Result<Vec<(String, Version)>, String> {
    let lock: Table = lock.parse().map_err(|error| format!("Cargo.lock: {error}"))?;
    let packages = lock.get("package").and_then(Value::as_array).ok_or("Cargo.lock is empty")?;
    let mut found = Vec::new();
    for package in packages.iter().filter(|package| package.get("source").is_some()) {
        let text = |key: &str| package.get(key).and_then(Value::as_str).unwrap_or_default();
        let version = Version::parse(text("version"));
        found.push((text("name").to_owned(), version.ok_or("Cargo.lock has a strange version")?));
    }
    Ok(found)
}

/// Three numbers; what stands behind them orders nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version([u64; 3]);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let numbers = text.split(['-', '+']).next()?;
        let numbers: Vec<u64> =
            numbers.split('.').map(|n| n.parse().ok()).collect::<Option<_>>()?;
        Some(Self(numbers.try_into().ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// Days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Day(i64);

impl Day {
    /// As `2026-11-24`.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('-').map(|number| number.parse().ok());
        let day = (numbers.next()??, numbers.next()??, numbers.next()??);
        if numbers.next().is_some() { None } else { Self::of(day.0, day.1, day.2) }
    }

    /// Of a day in the Gregorian calendar.
    fn of(year: i64, month: i64, day: i64) -> Option<Self> {
        let fits =
            (1970..3000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        // Years that begin in March end with the day that leaps.
        let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
        let leaps = year / 4 - year / 100 + year / 400;
        fits.then(|| Self(year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
        [[package]]
        name = "wasmer-vm"
        version = "7.4.2"
        source = "registry"
        [[package]]
        name = "memmap2"
        version = "0.6.2"
        source = "registry"
        [[package]]
        name = "ours"
        version = "0.1.0"
    "#;

    fn entry(name: &str, min: &str) -> String {
        format!(
            "[[crate]]\nname = \"{name}\"\npage = \"https://example.com/{name}\"\nmin = \"{min}\"\n\
             ids = []\nchecked = 2026-11-24\n"
        )
    }

    fn check(list: &str, day: &str, expected: &[&str]) {
        let found = findings(list, LOCK, Day::parse(day).unwrap()).unwrap();
        let shown: Vec<_> = found.iter().map(|f| format!("{} / {}", f.what, f.fix)).collect();
        assert_eq!(found.len(), expected.len(), "{shown:#?}");
        for (shown, expected) in shown.iter().zip(expected) {
            assert!(shown.contains(expected), "{shown}");
        }
    }

    #[test]
    fn a_version_below_its_least_good_one_is_found_with_its_fix() {
        check(&entry("wasmer*", "7.4.2"), "2026-11-24", &[]);
        let fix = "cargo update -p wasmer-vm --precise 7.4.3";
        check(&entry("wasmer*", "7.4.3"), "2026-11-24", &[fix]);
        check(&entry("wasmer*", "7.10.0"), "2026-11-24", &["wasmer-vm 7.4.2 has known holes"]);
        check(&entry("wasmer*", "4.3.2"), "2026-11-24", &[]);
    }

    #[test]
    fn a_version_that_stays_is_named_with_what_stands_against_its_hole() {
        let both = |except: &str| entry("wasmer*", "4.3.2") + &entry("memmap2", "0.9.11") + except;
        let except = |version: &str, why: &str| {
            both(&format!("[[crate.except]]\nversion = \"{version}\"\nwhy = \"{why}\"\n"))
        };
        check(&both(""), "2026-11-24", &["memmap2 0.6.2 has known holes"]);
        let why = "nobody calls what is unsound in it";
        check(&except("0.6.2", why), "2026-11-24", &[]);
        check(&except("0.6.1", why), "2026-11-24", &["memmap2 0.6.2"]);
        assert!(findings(&except("0.6.2", "later"), LOCK, Day(0)).is_err());
    }

    #[test]
    fn a_list_that_nobody_has_read_for_30_days_is_found_with_the_page_to_read() {
        let list = entry("wasmer*", "7.4.2");
        check(&list, "2026-12-24", &[]);
        check(&list, "2026-12-25", &["for 31 days / read https://example.com/wasmer*"]);
        check(&list, "2027-11-24", &["for 365 days"]);
        // Nor is it read ahead of time.
        check(&list, "2026-11-23", &["1 days from now"]);
    }

    #[test]
    fn what_must_be_watched_is_on_the_list() {
        check(&entry("memmap2", "0.6.2"), "2026-11-24", &["wasmer-vm is on no list"]);
    }

    #[test]
    fn an_entry_that_says_nothing_is_refused() {
        let good = entry("wasmer*", "7.4.2");
        let refused = |from: &str, to: &str| {
            assert!(findings(&good.replace(from, to), LOCK, Day(0)).is_err(), "{to}");
        };
        refused("7.4.2", "7.4");
        refused("7.4.2", "");
        refused("2026-11-24", "\"yesterday\"");
        refused("2026-11-24", "2026");
        refused("https://", "");
        refused("ids", "id");
        refused("[[crate]]", "[[crates]]");
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        let days = |text: &str| Day::parse(text).map(|day| day.0);
        assert_eq!(days("1970-01-01"), Some(0));
        assert_eq!(days("2000-02-29"), Some(11_016));
        assert_eq!(days("2000-03-01"), Some(11_017));
        assert_eq!(days("2026-11-24"), Some(20_781));
        assert_eq!(days("2026-13-01"), None);
        assert_eq!(days("2026-11-24-1"), None);
    }

    /// The list itself, on the day of its newest entry: what holds then fails later by the calendar alone.
    #[test]
    fn the_list_is_well_formed_and_holds_for_the_lock_file() {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let read = |file: &str| std::fs::read_to_string(repo.join(file)).unwrap();
        let list = read(LIST);
        let days = list.lines().filter_map(|line| Day::parse(line.strip_prefix("checked = ")?));
        let newest = days.max_by_key(|day| day.0).unwrap();
        let found = findings(&list, &read("Cargo.lock"), newest).unwrap();
        let wrong: Vec<_> = found.iter().filter(|f| !f.what.starts_with("nobody has")).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
