//! What a figure says of where and when it was made.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Kernel and CPU, in one line.
#[must_use]
pub fn description() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let model = model.map_or("an unknown CPU", |(_, model)| model);
    format!("Linux {}, {cores} cores of {model}", kernel.trim())
}

/// Today, as ISO 8601 has it, in UTC.
#[must_use]
pub fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    date(seconds / 86_400)
}

/// The date so many days after the first of January 1970, by the Gregorian calendar: years begin in March here, so that
/// the odd day is at their end.
fn date(days: u64) -> String {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    // From the first of March of the year 0.
    let days = days + 719_468;
    let (cycle, of_cycle) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year + year / 4 - year / 100);
    let months = (5 * of_year + 2) / 153;
    let day = of_year - (153 * months + 2) / 5 + 1;
    let (month, later) = if months < 10 { (months + 3, 0) } else { (months - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", cycle * 400 + year + later)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_calendars_do() {
        let dates = [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_777, "2026-11-20")];
        for (days, expected) in dates {
            assert_eq!(date(days), expected);
        }
    }
}
