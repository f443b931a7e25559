//! What a fit unit writes: predictions of the test rows, a record of every fit, the weights, the geometry.

use std::collections::BTreeMap;

use bytes::Bytes;
use limbic_engine::probe::{FitReport, Fitted, NamedTensor, measure};
use limbic_proto::rows::Split;
use limbic_proto::unit::{FITS, FitName, FitRecord, GEOMETRY, PREDICTIONS, WEIGHTS};

use super::Study;
use super::parts::{Answers, Part};
use crate::execute::{ExecuteError, Output};
use crate::tensors::TensorFile;

/// Rows of a fit: train, validation, test.
pub(super) type Sizes = (usize, usize, usize);

/// One fit, done or absent.
pub(super) struct Fit {
    pub(super) record: FitRecord,
    /// Predictions of the test rows, by row of the dataset; none where the fit is absent.
    pub(super) predictions: Vec<(usize, Vec<f32>)>,
    /// The probe, where it is one that is kept.
    pub(super) fitted: Option<Fitted>,
    /// What is kept beside it.
    pub(super) beside: Vec<NamedTensor>,
}

impl Fit {
    /// A fit with its predictions `[rows, outputs]` of the test rows.
    pub(super) fn done(record: FitRecord, test: &Part, predictions: &[f32], outputs: usize, fitted: Option<Fitted>) -> Fit {
        let predictions = test.rows.iter().copied().zip(predictions.chunks_exact(outputs).map(<[f32]>::to_vec)).collect();
        Fit { record, predictions, fitted, beside: Vec::new() }
    }

    /// The same, with the study's measure of its predictions of the validation rows.
    pub(super) fn measured(mut self, validation: &[f32], answers: &Answers, outputs: usize) -> Fit {
        self.record.validation_score = measure(validation, &answers.targets().labels, outputs);
        self
    }

    /// No fit, for a reason.
    pub(super) fn absent(name: FitName, (train, validation, _): Sizes, reason: String) -> Fit {
        let record = FitRecord {
            name,
            train,
            validation,
            test: 0,
            strength: None,
            validation_log_loss: None,
            validation_score: None,
            commonest: None,
            iterations: 0,
            converged: false,
            absent: Some(reason),
            mdl: None,
        };
        Fit { record, predictions: Vec::new(), fitted: None, beside: Vec::new() }
    }

    /// Says what came of it.
    fn tell(&self) {
        let FitRecord { name, train, strength, validation_log_loss, validation_score, iterations, converged, absent, .. } = &self.record;
        let fit = name.tensor();
        match absent {
            Some(reason) => tracing::info!(fit, %reason, "no fit"),
            None => tracing::info!(fit, train, strength, validation_log_loss, validation_score, iterations, converged, "fitted"),
        }
    }
}

/// The record of a fit; `planned` ones stop by plan and not at an optimum.
pub(super) fn record(name: FitName, report: &FitReport, (train, validation, test): Sizes, planned: bool) -> FitRecord {
    FitRecord {
        name,
        train,
        validation,
        test,
        strength: report.strength,
        validation_log_loss: report.validation.filter(|loss| loss.is_finite()),
        validation_score: None,
        commonest: None,
        iterations: report.chosen().map_or(0, |c| c.iterations),
        converged: planned || report.converged(),
        absent: None,
        mdl: None,
    }
}

/// The results of a unit.
pub(super) struct Results {
    outputs: usize,
    /// Row of the dataset -> row of the predictions.
    test: BTreeMap<usize, usize>,
    predictions: TensorFile,
    weights: TensorFile,
    geometry: Option<TensorFile>,
    records: Vec<FitRecord>,
    /// Fits that an earlier attempt had made.
    resumed: usize,
}

impl Results {
    pub(super) fn new(study: &Study) -> Results {
        Results {
            outputs: study.classes().len(),
            test: test_rows(study),
            predictions: TensorFile::default(),
            weights: TensorFile::default(),
            geometry: None,
            records: Vec::new(),
            resumed: 0,
        }
    }

    /// The same, of which so many fits were there.
    pub(super) fn resuming(self, resumed: usize) -> Results {
        Results { resumed, ..self }
    }

    /// Keeps names of the weights' columns beside them.
    pub(super) fn note(&mut self, key: &'static str, names: &[&str]) {
        self.weights.note(key, serde_json::to_string(names).expect("names serialize"));
    }

    /// Adds a fit. An absent one, too, has predictions: NaN.
    pub(super) fn add(&mut self, fit: Fit) {
        fit.tell();
        let name = fit.record.name.tensor();
        let values = spread(&self.test, &fit.predictions, self.outputs);
        self.predictions.f32(&name, vec![self.test.len(), self.outputs], values);
        for tensor in fit.fitted.iter().flat_map(Fitted::to_tensors).chain(fit.beside) {
            self.weights.f32(format!("{name}.{}", tensor.name), tensor.shape, tensor.data);
        }
        self.records.push(fit.record);
    }

    /// Adds tensors of the geometry.
    pub(super) fn describe(&mut self, tensors: Vec<NamedTensor>) {
        let file = self.geometry.get_or_insert_default();
        tensors.into_iter().for_each(|tensor| file.f32(tensor.name, tensor.shape, tensor.data));
    }

    pub(super) fn output(self) -> Result<Output, ExecuteError> {
        let absent = self.records.iter().filter(|r| r.absent.is_some()).count();
        let unconverged = self.records.iter().filter(|r| r.absent.is_none() && !r.converged).count();
        let fits = self.records.len();
        let counts = [("fits", fits), ("absent_fits", absent), ("unconverged_fits", unconverged), ("resumed_fits", self.resumed)];
        let records = Bytes::from(serde_json::to_vec_pretty(&self.records).expect("records serialize"));
        let mut artifacts = vec![(PREDICTIONS, self.predictions.content()?), (FITS, records.into()), (WEIGHTS, self.weights.content()?)];
        if let Some(geometry) = self.geometry {
            artifacts.push((GEOMETRY, geometry.content()?));
        }
        Ok(Output { artifacts, tokens: 0, counts: crate::execute::counts(counts), ..Output::default() })
    }
}

/// Row of the dataset -> row of the predictions.
pub(super) fn test_rows(study: &Study) -> BTreeMap<usize, usize> {
    let test = study.rows().iter().enumerate().filter(|(_, row)| row.split == Split::Test);
    test.enumerate().map(|(at, (row, _))| (row, at)).collect()
}

/// Predictions `[test rows, outputs]`; NaN where there is none.
pub(super) fn spread(test: &BTreeMap<usize, usize>, predictions: &[(usize, Vec<f32>)], outputs: usize) -> Vec<f32> {
    let mut values = vec![f32::NAN; test.len() * outputs];
    for (row, prediction) in predictions {
        if let Some(at) = test.get(row) {
            values[at * outputs..][..outputs].copy_from_slice(prediction);
        }
    }
    values
}
