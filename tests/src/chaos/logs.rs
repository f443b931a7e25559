//! What the processes' logs say: which attempts were granted, begun and committed, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

/// The logs of all processes, read.
#[derive(Debug, Default)]
pub struct Logs {
    /// Attempt -> (first digits of the unit's key, when it was granted in microseconds since 1970).
    pub granted: BTreeMap<String, (String, i64)>,
    /// Attempts whose computation began, and their unit's first digits.
    pub begun: BTreeMap<String, (String, i64)>,
    /// Attempts that the worker says it committed, and their unit's first digits.
    pub committed: BTreeMap<String, String>,
    /// Attempts that failed.
    pub failed: BTreeSet<String>,
    /// Lines that say ERROR or panicked, but for a process's last words.
    pub errors: Vec<String>,
}

/// Microseconds since 1970 of a time such as `2026-11-24T02:47:16.123456Z`.
fn micros(text: &str) -> Option<i64> {
    let (date, time) = text.trim_end_matches('Z').split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (time.next()?.parse::<i64>().ok()?, time.next()?.parse::<i64>().ok()?);
    let seconds: f64 = time.next()?.parse().ok()?;
    // Days since 1970 of the civil date, with years that begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400) * 365 + year.rem_euclid(400) / 4 - year.rem_euclid(400) / 100 + of_year;
    let days = era * 146_097 + of_era - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60_000_000 + (seconds * 1e6) as i64)
}

impl Logs {
    /// Reads every log of a folder.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn read(folder: &Path) -> std::io::Result<Logs> {
        let mut logs = Logs::default();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            for line in String::from_utf8_lossy(&std::fs::read(&path)?).lines() {
                logs.line(line, &path.file_name().unwrap_or_default().to_string_lossy());
            }
        }
        Ok(logs)
    }

    fn line(&mut self, line: &str, file: &str) {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            if line.contains("panicked") {
                self.errors.push(format!("{file}: {line}"));
            }
            return;
        };
        // What a worker says of an attempt names it in the span.
        let field = |name: &str| event.get(name).or_else(|| event.get("span")?.get(name)).and_then(Value::as_str);
        // Why a process ends is its exit code's matter: a superseded coordinator says so, and one that is started while the
        // store is away.
        let farewell = event["target"] == "limbic";
        if event["level"] == "ERROR" && !farewell {
            self.errors.push(format!("{file}: {line}"));
        }
        let at = field("timestamp").and_then(micros).unwrap_or(0);
        let (Some(message), Some(unit), Some(attempt)) = (field("message"), field("unit"), field("attempt")) else { return };
        let (unit, attempt) = (unit.to_owned(), attempt.to_owned());
        match message {
            "granted" => drop(self.granted.insert(attempt, (unit, at))),
            "begun" => drop(self.begun.insert(attempt, (unit, at))),
            "attempt ended" => match field("outcome") {
                Some("committed") if event["mine"] == true => drop(self.committed.insert(attempt, unit)),
                Some("failed") => drop(self.failed.insert(format!("{attempt} of unit {unit}"))),
                _ => {}
            },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(micros("1970-01-01T00:00:00.000000Z"), Some(0));
        assert_eq!(micros("2000-03-01T00:00:01.5Z"), Some(951_868_801_500_000));
        assert_eq!(micros("2026-11-24T02:47:16.000001Z"), Some(1_795_488_436_000_001));
    }
}
