//! What a fit unit writes: predictions of the test rows, a record of every fit, the weights.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use limbic_engine::probe::NamedTensor;
use limbic_proto::rows::Split;
use limbic_proto::unit::{FITS, FitName, FitRecord, PREDICTIONS, WEIGHTS};

use super::Study;
use super::parts::Part;
use crate::execute::{ExecuteError, Output};
use crate::log::seconds;
use crate::tensors::TensorFile;

/// One fit, done or absent.
pub(super) struct Fit {
    pub(super) record: FitRecord,
    /// Probabilities of the test rows, by row of the dataset; none where the fit is absent.
    pub(super) predictions: Vec<(usize, Vec<f32>)>,
    pub(super) weights: Vec<NamedTensor>,
}

impl Fit {
    /// No fit, for a reason.
    pub(super) fn absent(name: FitName, train: usize, validation: usize, reason: String) -> Fit {
        let record = FitRecord {
            name,
            train,
            validation,
            test: 0,
            strength: None,
            validation_log_loss: None,
            iterations: 0,
            converged: false,
            absent: Some(reason),
            mdl: None,
        };
        Fit { record, predictions: Vec::new(), weights: Vec::new() }
    }

    /// Says what came of it.
    pub(super) fn tell(&self, took: Duration) {
        let FitRecord { name, train, strength, validation_log_loss, iterations, converged, absent, .. } = &self.record;
        let (fit, seconds) = (name.tensor(), seconds(took));
        match absent {
            Some(reason) => tracing::info!(fit, %reason, "no fit"),
            None => tracing::info!(fit, train, strength, validation_log_loss, iterations, converged, seconds, "fitted"),
        }
    }

    /// The probabilities `[rows, classes]` of a part, by row of the dataset.
    pub(super) fn by_row(part: &Part, probabilities: &[f32], classes: usize) -> Vec<(usize, Vec<f32>)> {
        part.rows.iter().copied().zip(probabilities.chunks_exact(classes).map(<[f32]>::to_vec)).collect()
    }
}

/// The results of a unit.
pub(super) struct Results {
    classes: usize,
    /// Row of the dataset -> row of the predictions.
    test: BTreeMap<usize, usize>,
    predictions: TensorFile,
    weights: TensorFile,
    records: Vec<FitRecord>,
}

impl Results {
    pub(super) fn new(study: &Study<'_>) -> Results {
        let test = study.rows().iter().enumerate().filter(|(_, row)| row.split == Split::Test);
        Results {
            classes: study.classes().len(),
            test: test.enumerate().map(|(at, (row, _))| (row, at)).collect(),
            predictions: TensorFile::default(),
            weights: TensorFile::default(),
            records: Vec::new(),
        }
    }

    /// Keeps names of the weights' columns beside them.
    pub(super) fn note(&mut self, key: &'static str, names: &[&str]) {
        self.weights.note(key, serde_json::to_string(names).expect("names serialize"));
    }

    /// Adds a fit. An absent one, too, has predictions: all zeros.
    pub(super) fn add(&mut self, fit: Fit) {
        let name = fit.record.name.tensor();
        let mut values = vec![0f32; self.test.len() * self.classes];
        for (row, probabilities) in &fit.predictions {
            if let Some(at) = self.test.get(row) {
                values[at * self.classes..][..self.classes].copy_from_slice(probabilities);
            }
        }
        self.predictions.f32(&name, vec![self.test.len(), self.classes], values);
        for tensor in fit.weights {
            self.weights.f32(format!("{name}.{}", tensor.name), tensor.shape, tensor.data);
        }
        self.records.push(fit.record);
    }

    pub(super) fn output(self) -> Result<Output, ExecuteError> {
        let absent = self.records.iter().filter(|r| r.absent.is_some()).count();
        let unconverged = self.records.iter().filter(|r| r.absent.is_none() && !r.converged).count();
        let counts = [("fits", self.records.len()), ("absent_fits", absent), ("unconverged_fits", unconverged)];
        let records = Bytes::from(serde_json::to_vec_pretty(&self.records).expect("records serialize"));
        let artifacts = vec![(PREDICTIONS, self.predictions.content()?), (FITS, records.into()), (WEIGHTS, self.weights.content()?)];
        Ok(Output { artifacts, tokens: 0, counts: crate::execute::counts(counts) })
    }
}
