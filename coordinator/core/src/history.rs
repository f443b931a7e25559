//! The journal's fold: what a sweep's coordinators decided and learnt, as the next one needs it.

use std::collections::{BTreeMap, BTreeSet};

use limbic_proto::journal::Record;
use limbic_proto::key::UnitKey;
use limbic_proto::status::AttemptCounts;
use serde::{Deserialize, Serialize};

/// What a sweep's journal says, folded.
///
/// The fold is total: every sequence of records has one. It tolerates repetition: an ending (attempt and how it
/// ended) counts once however often it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The epochs that coordinators have claimed.
    pub epochs: BTreeSet<u64>,
    /// When it was led the first time that says so, as records of earlier versions don't: seconds since 1970.
    #[serde(default)]
    pub since: Option<u64>,
    /// No new leases.
    pub paused: bool,
    /// Who paused it last, in their own words; empty where nobody said.
    #[serde(default)]
    pub paused_by: String,
    /// No new leases either, and nothing goes on.
    pub cancelled: bool,
    /// Units that failed for good, with their last error.
    pub quarantined: BTreeMap<UnitKey, String>,
    troubles: BTreeMap<UnitKey, Trouble>,
    failed: BTreeSet<String>,
    lost: BTreeSet<String>,
    voids: BTreeMap<UnitKey, Void>,
    endings: BTreeMap<UnitKey, Vec<Ended>>,
    /// Units that were to be split, with the last such generation.
    #[serde(default)]
    splits: BTreeMap<UnitKey, u32>,
}

/// An attempt that ended badly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The attempt.
    pub attempt: String,
    /// The worker.
    pub worker: String,
    /// What it said when it failed; none if it was lost.
    pub error: Option<String>,
}

/// The last result of a unit that was to be voided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Void {
    /// The generation of the result.
    pub generation: u32,
    /// Why.
    pub reason: String,
}

/// What went wrong with one unit so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Trouble {
    fails: u32,
    losses: u32,
    /// The generations whose result was found corrupt.
    corrupt: BTreeSet<u32>,
    error: Option<String>,
}

impl History {
    /// Folds the records of all journal entries, in order.
    pub fn replay<'a>(records: impl IntoIterator<Item = &'a Record>) -> History {
        let mut history = History::default();
        for record in records {
            history.apply(record);
        }
        history
    }

    /// Folds one more record.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Epoch { epoch, at, .. } => {
                self.epochs.insert(*epoch);
                self.since = self.since.or(Some(*at).filter(|at| *at > 0));
            }
            Record::Fail { unit, attempt, worker, error } => {
                if self.failed.insert(attempt.clone()) {
                    self.end(*unit, attempt, worker, Some(error));
                    let trouble = self.troubles.entry(*unit).or_default();
                    trouble.fails += 1;
                    trouble.error = Some(error.clone());
                }
            }
            Record::Lost { unit, attempt, worker } => {
                if self.lost.insert(attempt.clone()) {
                    self.end(*unit, attempt, worker, None);
                    self.troubles.entry(*unit).or_default().losses += 1;
                }
            }
            Record::Pause { by } => (self.paused, self.paused_by) = (true, by.clone()),
            // Before a cancelled sweep could be resumed, no such record followed a Cancel.
            Record::Resume => (self.paused, self.cancelled) = (false, false),
            Record::Cancel => self.cancelled = true,
            Record::Void { unit, generation, reason, asked } => {
                if !asked {
                    self.troubles.entry(*unit).or_default().corrupt.insert(*generation);
                }
                let void = Void { generation: *generation, reason: reason.clone() };
                if self.voids.get(unit).is_none_or(|known| known.generation < *generation) {
                    self.voids.insert(*unit, void);
                }
            }
            Record::Split { unit, generation } => {
                let last = self.splits.entry(*unit).or_insert(*generation);
                *last = (*last).max(*generation);
            }
            Record::Retry { unit } => {
                self.troubles.remove(unit);
                self.quarantined.remove(unit);
            }
            Record::Quarantine { unit, error } => {
                self.quarantined.insert(*unit, error.clone());
            }
        }
    }

    fn end(&mut self, unit: UnitKey, attempt: &str, worker: &str, error: Option<&String>) {
        let ended = Ended { attempt: attempt.to_owned(), worker: worker.to_owned(), error: error.cloned() };
        self.endings.entry(unit).or_default().push(ended);
    }

    /// The unit's attempts that ended badly, oldest first, those before a retry included.
    pub fn endings(&self, unit: &UnitKey) -> &[Ended] {
        self.endings.get(unit).map(Vec::as_slice).unwrap_or_default()
    }

    /// The largest epoch claimed; 0 if none was.
    pub fn max_epoch(&self) -> u64 {
        self.epochs.last().copied().unwrap_or(0)
    }

    /// Whether a coordinator of an earlier epoch may have left attempts running.
    pub fn led_before(&self, epoch: u64) -> bool {
        self.epochs.first().is_some_and(|first| *first < epoch)
    }

    /// How many attempts at the unit failed.
    pub fn fails(&self, unit: &UnitKey) -> u32 {
        self.troubles.get(unit).map_or(0, |t| t.fails)
    }

    /// How many attempts at the unit were lost.
    pub fn losses(&self, unit: &UnitKey) -> u32 {
        self.troubles.get(unit).map_or(0, |t| t.losses)
    }

    /// How often the unit's result was found corrupt.
    pub fn void_count(&self, unit: &UnitKey) -> u32 {
        self.troubles.get(unit).map_or(0, |t| t.corrupt.len() as u32)
    }

    /// What was to be voided: of each unit the last.
    pub fn voids(&self) -> impl Iterator<Item = (&UnitKey, &Void)> {
        self.voids.iter()
    }

    /// Units that were to be split, with the last such generation.
    pub fn splits(&self) -> impl Iterator<Item = (&UnitKey, &u32)> {
        self.splits.iter()
    }

    /// The unit's last error.
    pub fn last_error(&self, unit: &UnitKey) -> Option<&str> {
        self.troubles.get(unit)?.error.as_deref()
    }

    /// Attempts that failed.
    pub fn failed(&self) -> impl Iterator<Item = &String> {
        self.failed.iter()
    }

    /// Attempts that were lost, of which some may have come back.
    pub fn lost(&self) -> impl Iterator<Item = &String> {
        self.lost.iter()
    }

    /// Attempts whose end the journal knows. Commits are not among them: they speak for themselves.
    pub fn attempts(&self) -> AttemptCounts {
        let (failed, lost) = (self.failed.len() as u64, self.lost.len() as u64);
        AttemptCounts { started: failed + lost, committed: 0, failed, lost, released: 0 }
    }
}

#[cfg(test)]
mod tests {
    use limbic_proto::key::Digest;

    use super::*;

    fn unit(n: u8) -> UnitKey {
        Digest::of(&[n])
    }

    fn fail(n: u8, attempt: &str) -> Record {
        Record::Fail { unit: unit(n), attempt: attempt.into(), worker: "w".into(), error: format!("error of {attempt}") }
    }

    fn lost(n: u8, attempt: &str) -> Record {
        Record::Lost { unit: unit(n), attempt: attempt.into(), worker: "w".into() }
    }

    fn epoch(epoch: u64) -> Record {
        Record::Epoch { epoch, holder: "h".into(), software: "0".into(), at: 100 * (epoch - 1) }
    }

    #[test]
    fn counts_are_per_unit_and_repetition_changes_nothing() {
        let log = [epoch(1), fail(1, "a"), fail(1, "b"), lost(1, "c"), lost(2, "d"), epoch(2)];
        let once = History::replay(&log);
        let twice = History::replay(log.iter().chain(&log));
        assert_eq!(once, twice);
        assert_eq!((once.fails(&unit(1)), once.losses(&unit(1))), (2, 1));
        assert_eq!((once.fails(&unit(2)), once.losses(&unit(2))), (0, 1));
        assert_eq!(once.last_error(&unit(1)), Some("error of b"));
        assert_eq!(once.attempts(), AttemptCounts { started: 4, committed: 0, failed: 2, lost: 2, released: 0 });
        let ended = |attempt: &str| Ended { attempt: attempt.into(), worker: "w".into(), error: Some(format!("error of {attempt}")) };
        assert_eq!(once.endings(&unit(1)), [ended("a"), ended("b"), Ended { error: None, ..ended("c") }]);
        assert_eq!((once.max_epoch(), once.since), (2, Some(100)), "the first journal says nothing of time");
        assert!(once.led_before(2) && !once.led_before(1));
    }

    #[test]
    fn an_attempt_lost_and_then_failed_counts_as_both() {
        let history = History::replay(&[lost(1, "a"), fail(1, "a")]);
        assert_eq!((history.fails(&unit(1)), history.losses(&unit(1))), (1, 1));
    }

    #[test]
    fn the_last_of_pause_cancel_and_resume_holds() {
        let pause = || Record::Pause { by: String::new() };
        let folded = |records: &[Record]| (History::replay(records).paused, History::replay(records).cancelled);
        assert_eq!(folded(&[pause(), Record::Resume, pause()]), (true, false));
        assert_eq!(folded(&[pause(), Record::Cancel]), (true, true));
        assert_eq!(folded(&[pause(), Record::Cancel, Record::Resume]), (false, false));
    }

    #[test]
    fn a_retry_gives_fresh_budgets_and_forgets_no_attempt() {
        let quarantine = Record::Quarantine { unit: unit(1), error: "bad".into() };
        let history = History::replay(&[fail(1, "a"), quarantine.clone(), Record::Retry { unit: unit(1) }, fail(1, "a"), fail(1, "b")]);
        assert_eq!((history.fails(&unit(1)), history.attempts().failed), (1, 2), "`a` is known already");
        assert!(history.quarantined.is_empty());
        assert_eq!(History::replay(&[quarantine]).quarantined[&unit(1)], "bad");
    }

    #[test]
    fn corruption_counts_once_for_each_generation_and_what_was_asked_does_not() {
        let void = |generation, asked| Record::Void { unit: unit(1), generation, reason: format!("of {generation}"), asked };
        let history = History::replay(&[void(0, false), void(0, false), void(1, true), void(2, false), void(1, true)]);
        assert_eq!((history.void_count(&unit(1)), history.void_count(&unit(2))), (2, 0));
        let split = |generation| Record::Split { unit: unit(1), generation };
        assert_eq!(History::replay(&[split(0), split(2), split(1)]).splits().collect::<Vec<_>>(), [(&unit(1), &2)]);
        let last = Void { generation: 2, reason: "of 2".into() };
        assert_eq!(history.voids().collect::<Vec<_>>(), [(&unit(1), &last)]);
    }
}
