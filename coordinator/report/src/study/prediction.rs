//! What one fit (or one baseline) says of the test rows.

use std::sync::Arc;

use limbic_proto::axis::{Layer, ReadOut};
use limbic_proto::spec::Control;
use limbic_proto::unit::{FitRecord, Mdl};

use super::Deferred;

/// What one fit (or one baseline) says of the test rows.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// Index into [`super::Study::models`]; none for baselines on the words.
    pub model: Option<usize>,
    /// The tap; none for baselines and zero-shot.
    pub layer: Option<Layer>,
    /// Index into [`super::Study::conditions`]: whose states are predicted from. None for baselines, and for zero-shot,
    /// which has its own prompt.
    pub condition: Option<usize>,
    /// The read-out; none for baselines and zero-shot.
    pub read_out: Option<ReadOut>,
    /// `logistic`, `mlp`, `majority`, `bag-of-words`, `zero-shot`, …
    pub probe: Arc<str>,
    /// The seed of everything random in the probe.
    pub seed: u64,
    /// The seed of the replies that it depends on; none where nothing was drawn.
    pub sampling_seed: Option<u64>,
    /// The control that it is, if it is one.
    pub control: Option<Control>,
    /// The condition that it was fitted under, where that is another one.
    pub fitted_condition: Option<usize>,
    /// The read-out that it was fitted at, where that is another one.
    pub fitted_at: Option<ReadOut>,
    /// How the fit went, if it was one.
    pub fit: Option<Fit>,
    /// Rows (indices of test rows, ascending) that were answered without a label that could be read; of written answers
    /// alone. Their values are NaN.
    pub unreadable: Vec<u32>,
    /// `[test, classes]`, row-major, meaning as [`limbic_proto::rows::Scheme`] says; a row of NaN = no state at this
    /// read-out (the reply ended before, the prompt was skipped), and so is a row of zeros where values are probabilities of
    /// one class a row.
    pub values: Deferred<Vec<f32>>,
}

/// How a fit went.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Train rows that it was fitted on, each counted once.
    pub train: usize,
    /// The study's measure on validation; none in records of before it was kept.
    pub validation_score: Option<f64>,
    /// Mean loss on validation.
    pub validation_loss: Option<f64>,
    /// Under one class a row the class that most of its train rows were of; none where records don't tell.
    pub commonest: Option<u32>,
    /// The chosen strength or penalty.
    pub strength: Option<f64>,
    /// Whether the optimum was reached.
    pub converged: bool,
    /// Why there is none, if there is none.
    pub absent: Option<Arc<str>>,
    /// The description length of the labels, if it was measured.
    pub mdl: Option<Mdl>,
}

impl Fit {
    /// What the report needs of a record.
    pub fn of(record: &FitRecord) -> Fit {
        Fit {
            train: record.train,
            validation_score: record.validation_score,
            validation_loss: record.validation_log_loss,
            commonest: record.commonest,
            strength: record.strength,
            converged: record.converged,
            absent: record.absent.as_deref().map(Arc::from),
            mdl: record.mdl,
        }
    }
}

impl Prediction {
    /// A baseline's prediction: no place, no fit.
    pub fn baseline(probe: &str, model: Option<usize>, values: Deferred<Vec<f32>>) -> Prediction {
        Prediction {
            model,
            layer: None,
            condition: None,
            read_out: None,
            probe: Arc::from(probe),
            seed: 0,
            sampling_seed: None,
            control: None,
            fitted_condition: None,
            fitted_at: None,
            fit: None,
            unreadable: Vec::new(),
            values,
        }
    }

    /// Whether there is a fit behind it (baselines without a fit always predict).
    pub fn exists(&self) -> bool {
        self.fit.as_ref().is_none_or(|f| f.absent.is_none())
    }

    /// Whether it is the probe itself at its own place: neither a control nor carried over from elsewhere.
    pub fn at_home(&self) -> bool {
        self.control.is_none() && self.fitted_condition.is_none() && self.fitted_at.is_none()
    }
}
