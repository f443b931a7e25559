//! Scores beside model size.

use limbic_proto::axis::Layer;
use serde::Serialize;

use super::{Estimate, Place};

/// One model under one condition, beside its size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScaleRow {
    /// Whose.
    pub place: Place,
    /// The representative layer.
    pub layer: Layer,
    /// The score there.
    pub best: Estimate,
    /// The last layer that was measured.
    pub last_layer: Layer,
    /// The score there.
    pub last: Estimate,
    /// The score of the model's twin of random weights at the representative layer.
    pub twin: Option<Estimate>,
    /// The zero-shot score by the likelihood of each label, if it was asked.
    pub zero_shot: Option<Estimate>,
    /// That of written answers, over those that name a label, if they were asked for.
    pub zero_shot_json: Option<Estimate>,
}

/// Least-squares slope of the score on log10(parameters): what is gained per tenfold size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trend {
    /// Index into the study's conditions; none for zero-shot and written answers, which have prompts of their own.
    pub condition: Option<usize>,
    /// `best layer`, `last layer`, `zero-shot` or `zero-shot-json`.
    pub what: &'static str,
    /// The family whose models alone it is about; none = all models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// The slope; the interval is over test rows, with the models held fixed.
    pub slope: Estimate,
    /// The interval of the slope over models, by how far they lie from the line (t with models − 2 degrees of freedom): what other
    /// models of these sizes would change. None of fewer than ten test rows.
    pub over_models: Option<(f64, f64)>,
    /// The line's value at one parameter (log10 = 0).
    pub intercept: f64,
    /// How many models.
    pub models: usize,
}

impl Trend {
    /// Whether other test rows would leave the sign of the slope, with these models.
    pub fn over_rows(&self) -> bool {
        self.slope.lo.is_some_and(|lo| lo > 0.0) || self.slope.hi.is_some_and(|hi| hi < 0.0)
    }

    /// Whether other models would leave it too: without that, nothing is said of size in general.
    pub fn sure(&self) -> bool {
        self.over_rows() && self.over_models.is_some_and(|(lo, hi)| lo > 0.0 || hi < 0.0)
    }
}
