//! One read-out on its way to its fits, and probes that are carried on from the last prompt token.

use limbic_engine::probe::{Fitted, Moments, ProbeError, Standard, Standardizer};
use limbic_proto::axis::ReadOut;
use limbic_proto::spec::ProbeSpec;
use limbic_proto::unit::{FitName, FitRecord, FitUnit};

use super::Study;
use super::parts::{Part, Parts};
use super::results::Fit;
use crate::execute::{Advice, ExecuteError};

/// The states of one read-out.
pub(super) struct Cell {
    pub(super) read_out: ReadOut,
    /// Standardised on train.
    pub(super) parts: Parts,
    /// The moments of train where its states are not there, standardised alike.
    pub(super) moments: Option<Standard>,
    /// None where train is empty.
    pub(super) standardizer: Option<Standardizer>,
    /// As they are, where a probe wants them so.
    pub(super) raw: Option<Parts>,
}

impl Cell {
    /// Standardises states, and predicts from them with the probes that are carried on.
    pub(super) fn new(
        study: &Study,
        spec: &FitUnit,
        read_out: ReadOut,
        (mut parts, moments): (Parts, Option<Moments>),
        carried: &[Carried],
    ) -> Result<(Cell, Vec<Fit>), ExecuteError> {
        let what = |probe: &str| FitName::new(probe, Some(read_out), 0);
        let test = (&parts.test, parts.width);
        let carried = carried.iter().filter(|_| read_out.offset > 0).map(|carried| carried.at(read_out, test, study.classes().len()));
        let carried = carried.collect::<Result<Vec<Fit>, _>>().map_err(|e| failed(study, &parts, &what("a probe"), &e))?;
        let wanted = |probe: &ProbeSpec| matches!(probe, ProbeSpec::Mlp(mlp) if !mlp.standardise);
        let raw = spec.probes.iter().any(wanted).then(|| parts.clone());
        let (standardizer, moments) = match (parts.train.is_empty(), moments) {
            (true, _) => (None, None),
            (false, None) => (Some(parts.standardise().map_err(|e| failed(study, &parts, &what("a standardiser"), &e))?), None),
            (false, Some(moments)) => {
                if moments.rows() != parts.train.len() {
                    let message = format!("moments of {} rows, where {} of train have a state", moments.rows(), parts.train.len());
                    return Err(study.mismatch("the states", message));
                }
                let standard = moments.standard(study.scheme());
                let standard = standard.and_then(|(own, moments)| parts.standardise_held(&own).map(|()| (Some(own), Some(moments))));
                standard.map_err(|e| failed(study, &parts, &what("a standardiser"), &e))?
            }
        };
        Ok((Cell { read_out, parts, moments, standardizer, raw }, carried))
    }
}

/// A probe that was fitted at the last prompt token.
pub(super) struct Carried {
    record: FitRecord,
    /// None where there is no such probe.
    fitted: Option<Fitted>,
}

impl Carried {
    /// The probe of a fit, if it is one that is carried on.
    pub(super) fn of(spec: &FitUnit, fit: &Fit) -> Option<Carried> {
        let name = &fit.record.name;
        let carried = spec.transfer && name.read_out == Some(ReadOut::LAST) && name.control.is_none();
        carried.then(|| Carried { record: fit.record.clone(), fitted: fit.fitted.clone() })
    }

    fn at(&self, read_out: ReadOut, (test, width): (&Part, usize), outputs: usize) -> Result<Fit, ProbeError> {
        let name = FitName { read_out: Some(read_out), fitted_at: Some(ReadOut::LAST), ..self.record.name.clone() };
        let sizes = (self.record.train, self.record.validation, test.len());
        let Some(fitted) = &self.fitted else {
            let reason = self.record.absent.clone().unwrap_or_else(|| "its probe is absent".to_owned());
            return Ok(Fit::absent(name, sizes, reason));
        };
        if test.is_empty() {
            return Ok(Fit::absent(name, sizes, "no test row reaches this read-out".to_owned()));
        }
        let predictions = fitted.predict(&test.matrix(width)?)?;
        let record = FitRecord { name, test: test.len(), mdl: None, ..self.record.clone() };
        Ok(Fit::done(record, test, &predictions, outputs, None))
    }
}

/// An error of the engine with the row that it is about.
pub(super) fn failed(study: &Study, parts: &Parts, name: &FitName, error: &ProbeError) -> ExecuteError {
    let id = match error {
        ProbeError::NonFinite { split, row, .. } => {
            let part = match *split {
                "train" => &parts.train,
                "validation" => &parts.validation,
                _ => &parts.test,
            };
            part.rows.get(*row).map_or(String::new(), |row| format!(" (id `{}`)", study.rows()[*row].id))
        }
        _ => String::new(),
    };
    ExecuteError::Engine { what: format!("fitting {}", name.tensor()), message: format!("{error}{id}"), advice: Advice::Reject }
}
