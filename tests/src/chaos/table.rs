//! What was done and what was found, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use super::schedule::{Deed, KINDS};
use super::{Options, Place};

/// How often each deed was done.
pub type Deeds = BTreeMap<Deed, usize>;

/// What a run found.
#[derive(Debug)]
pub struct Found {
    /// What replays the deeds.
    pub seed: u64,
    /// Where the store lay.
    pub place: &'static str,
    /// So many workers at a time.
    pub workers: usize,
    /// How often each deed was done.
    pub done: Deeds,
    /// From the first deed to the end of the sweep.
    pub seconds: f64,
    /// Seconds of each drain.
    pub drains: Vec<f64>,
    /// Seconds from each coordinator's start to its first grant.
    pub recoveries: Vec<f64>,
    /// Coordinators that were superseded, and said so.
    pub superseded: u32,
    /// Numbers by name: what was counted.
    pub counts: BTreeMap<&'static str, u64>,
    /// What must be zero.
    pub invariants: BTreeMap<&'static str, u64>,
    /// Share of attempts whose work was not needed, in percent.
    pub wasted: f64,
    /// What must not happen, in words; empty if all is well.
    pub violations: Vec<String>,
    /// What took too long, or was wasted too much; how fast the machine is counts here, too.
    pub late: Vec<String>,
}

/// The largest share of wasted attempts, in percent.
const WASTED: f64 = 15.0;
/// The longest drain, in seconds.
const DRAIN: f64 = 15.0;
/// The longest recovery, in seconds.
const RECOVERY: f64 = 30.0;

fn longest(of: &[f64]) -> f64 {
    of.iter().copied().fold(0.0, f64::max)
}

impl Found {
    pub(super) fn new(options: &Options, done: Deeds, seconds: f64, drains: Vec<f64>, recoveries: Vec<f64>, superseded: u32) -> Found {
        let mut found = Found {
            seed: options.seed,
            place: Place::name(&options.place),
            workers: options.workers,
            done,
            seconds,
            drains,
            recoveries,
            superseded,
            counts: BTreeMap::new(),
            invariants: BTreeMap::new(),
            wasted: 0.0,
            violations: Vec::new(),
            late: Vec::new(),
        };
        for (what, of, limit) in [("drain", &found.drains, DRAIN), ("recovery of a coordinator", &found.recoveries, RECOVERY)] {
            if longest(of) > limit {
                found.late.push(format!("a {what} took {:.1} s, more than {limit} s", longest(of)));
            }
        }
        found
    }

    /// Something that must be zero.
    pub(super) fn invariant(&mut self, name: &'static str, wrong: &[String]) {
        self.invariants.insert(name, wrong.len() as u64);
        self.violations.extend(wrong.iter().take(5).map(|what| format!("{name}: {what}")));
        if wrong.len() > 5 {
            self.violations.push(format!("{name}: and {} more", wrong.len() - 5));
        }
    }

    /// Wasted attempts of those begun.
    pub(super) fn waste(&mut self, begun: usize, wasted: usize) {
        self.counts.extend([("attempts begun", begun as u64), ("attempts wasted", wasted as u64)]);
        self.wasted = 100.0 * wasted as f64 / begun.max(1) as f64;
        if self.wasted > WASTED {
            self.late.push(format!("{:.1} % of the attempts were wasted, more than {WASTED} %", self.wasted));
        }
    }

    /// What the coordinator said at the end.
    pub(super) fn status(&mut self, status: &Value) {
        let units = &status["units"];
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        self.counts.insert("units", number(&units["total"]));
        if units["committed"] != units["total"] {
            self.violations.push(format!("not every unit is committed: {units}; quarantined: {}", status["quarantined"]));
        }
        self.counts.insert("attempts failed", number(&status["attempts"]["failed"]));
        self.counts.insert("attempts lost", number(&status["attempts"]["lost"]));
    }

    /// Compares the tables of two reports byte by byte.
    pub(super) fn compare(&mut self, expected: &Path, actual: &Path) -> std::io::Result<()> {
        let mut different = Vec::new();
        for name in ["results.parquet", "predictions.parquet"] {
            if std::fs::read(expected.join(name))? != std::fs::read(actual.join(name))? {
                different.push(format!("{name} is not that of the undisturbed run"));
            }
        }
        self.invariant("report differs", &different);
        Ok(())
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let done: BTreeMap<&str, usize> = KINDS.iter().map(|kind| (kind.name, self.done.get(&kind.deed).copied().unwrap_or(0))).collect();
        json!({
            "seed": self.seed, "store": self.place, "workers": self.workers, "seconds": self.seconds, "done": done,
            "counts": self.counts, "invariants": self.invariants, "wasted_percent": self.wasted,
            "longest_recovery_seconds": longest(&self.recoveries), "longest_drain_seconds": longest(&self.drains),
            "drains": self.drains.len(), "superseded": self.superseded, "violations": self.violations, "late": self.late,
        })
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "chaos over {} with {} workers for {:.0} s, seed {}", self.place, self.workers, self.seconds, self.seed)?;
        writeln!(f, "\n{:<44}{:>8}", "done", "times")?;
        for kind in KINDS {
            writeln!(f, "  {:<42}{:>8}", kind.name, self.done.get(&kind.deed).copied().unwrap_or(0))?;
        }
        writeln!(f, "\ncounted")?;
        for (name, count) in &self.counts {
            writeln!(f, "  {name:<42}{count:>8}")?;
        }
        writeln!(f, "  {:<42}{:>7.1}%", "wasted attempts", self.wasted)?;
        writeln!(f, "  {:<42}{:>7.1}s", "longest recovery of a coordinator", longest(&self.recoveries))?;
        writeln!(f, "  {:<42}{:>7.1}s", format!("longest of {} drains", self.drains.len()), longest(&self.drains))?;
        writeln!(f, "  {:<42}{:>8}", "superseded coordinators that ended with 75", self.superseded)?;
        writeln!(f, "\nmust be zero")?;
        for (name, count) in &self.invariants {
            writeln!(f, "  {name:<42}{count:>8}")?;
        }
        match self.violations.len() {
            0 => writeln!(f, "\nnothing was lost")?,
            count => {
                writeln!(f, "\n{count} VIOLATIONS (replay the deeds with --seed {})", self.seed)?;
                self.violations.iter().try_for_each(|violation| writeln!(f, "  {violation}"))?;
            }
        }
        self.late.iter().try_for_each(|late| writeln!(f, "  TOO SLOW: {late}"))
    }
}
