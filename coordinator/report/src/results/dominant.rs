//! Who gives nearly all rows the same label.

use serde::Serialize;

use super::{Results, Source, Verdict};
use crate::study::Study;

/// Where more than this share of somebody's calls are of one label, they hardly tell one row from another, and what rests on
/// them says so. It is far from what a few classes of different size make of honest calls, and is not applied where that
/// label is as common among the rows themselves.
pub const DOMINANT: f64 = 0.9;

/// Who calls labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Caller {
    /// A judge, or the probe, of replies.
    Replies(Source),
    /// A baseline that asks the model: `zero-shot`, `zero-shot-json`, …
    Baseline(&'static str),
}

/// A label that makes up more than [`DOMINANT`] of somebody's calls.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dominant {
    /// Whose calls.
    pub caller: Caller,
    /// The model that replied or was asked; index into the study's models.
    pub model: usize,
    /// The condition that it replied under; none of a baseline.
    pub condition: Option<usize>,
    /// The label; index into the study's classes.
    pub class: usize,
    /// Its share of the calls.
    pub share: f64,
    /// How many calls there are.
    pub n: usize,
}

impl Dominant {
    /// The label and its share: `anger, 94.8%`.
    pub fn words(&self, study: &Study) -> String {
        format!("{}, {}", study.classes[self.class], crate::wording::percent(self.share))
    }
}

impl Verdict {
    /// The label that most replies express, and their share; none without a reply.
    pub fn most_expressed(&self) -> Option<(usize, f64)> {
        let classes = self.shift.len();
        let of = |class: usize| self.shift.iter().map(|row| row[class]).sum::<usize>();
        let all: usize = (0..classes).map(of).sum();
        let most = (0..classes).max_by_key(|c| (of(*c), classes - c))?;
        (all > 0).then(|| (most, of(most) as f64 / all as f64))
    }
}

impl Results {
    /// The label that dominates what somebody says of the replies of a model under a condition.
    pub fn dominant(&self, verdict: &Verdict) -> Option<&Dominant> {
        let (model, condition) = (verdict.place.model, Some(verdict.place.condition));
        self.dominant.iter().find(|d| (d.caller, d.model, d.condition) == (Caller::Replies(verdict.source), model, condition))
    }
}
