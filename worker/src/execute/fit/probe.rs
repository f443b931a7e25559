//! One probe on one read-out.

use std::time::Instant;

use limbic_engine::probe::{FitReport, Fitted, LogisticSettings, MlpSettings, ProbeError, Split, logistic, mlp};
use limbic_proto::spec::{LogisticSpec, MlpSpec, ProbeSpec};
use limbic_proto::unit::{FitName, FitRecord};

use super::Study;
use super::parts::{Part, Parts};
use super::results::Fit;
use crate::execute::{Advice, ExecuteError};

/// Fits a probe and predicts the test rows. Too few rows at a read-out are a result, not a failure.
pub(super) fn fit(study: &Study<'_>, parts: &Parts, probe: &ProbeSpec, name: FitName) -> Result<Fit, ExecuteError> {
    let began = Instant::now();
    let fit = tried(study, parts, probe, name)?;
    fit.tell(began.elapsed());
    Ok(fit)
}

fn tried(study: &Study<'_>, parts: &Parts, probe: &ProbeSpec, name: FitName) -> Result<Fit, ExecuteError> {
    let (train, validation) = (parts.train.len(), parts.validation.len());
    if let Some(reason) = absence(study, parts, probe) {
        return Ok(Fit::absent(name, train, validation, reason));
    }
    match fitted(parts, probe, name.seed, study.classes().len()) {
        Ok((fitted, report, probabilities)) => Ok(Fit {
            record: record(name, &report, (train, validation, parts.test.len()), matches!(probe, ProbeSpec::Mlp(_))),
            predictions: Fit::by_row(&parts.test, &probabilities, study.classes().len()),
            weights: fitted.to_tensors(),
        }),
        // With the same seed it would diverge again, and the unit's other fits are worth keeping.
        Err(error @ ProbeError::Diverged { .. }) => Ok(Fit::absent(name, train, validation, error.to_string())),
        Err(error) => Err(failed(study, parts, &name, &error)),
    }
}

fn fitted(parts: &Parts, probe: &ProbeSpec, seed: u64, classes: usize) -> Result<(Fitted, FitReport, Vec<f32>), ProbeError> {
    let split = |part| -> Result<Split<'_>, ProbeError> { split(part, parts.width) };
    let train = split(&parts.train)?;
    let validation = if parts.validation.is_empty() { None } else { Some(split(&parts.validation)?) };
    let (fitted, report) = match probe {
        ProbeSpec::Logistic(spec) => logistic::fit(&train, validation.as_ref(), classes, &settings(spec))?,
        ProbeSpec::Mlp(spec) => mlp::fit(&train, validation.as_ref(), classes, &mlp_settings(spec, seed))?,
        ProbeSpec::Ridge(_) | ProbeSpec::Lda(_) | ProbeSpec::MeanDifference(_) | ProbeSpec::OffsetMlp(_) => {
            return Err(ProbeError::Setting { name: "kind", value: probe.name().to_owned(), need: "this worker doesn't fit it yet" });
        }
    };
    let probabilities = fitted.predict_proba(&parts.test.matrix(parts.width)?)?;
    Ok((fitted, report, probabilities))
}

fn split(part: &Part, width: usize) -> Result<Split<'_>, ProbeError> {
    // Equal weights of 1 are the same as none, and cheaper.
    let weights = part.weights.iter().any(|w| *w != 1.0).then_some(part.weights.as_slice());
    Ok(Split { x: part.matrix(width)?, y: &part.y, weights })
}

pub(super) fn settings(spec: &LogisticSpec) -> LogisticSettings {
    LogisticSettings { strengths: spec.c.clone(), ..LogisticSettings::default() }
}

fn mlp_settings(spec: &MlpSpec, seed: u64) -> MlpSettings {
    MlpSettings {
        hidden: spec.hidden,
        learning_rate: spec.learning_rate,
        warmup: spec.warmup,
        epochs: spec.epochs,
        batch: spec.batch,
        patience: (spec.patience > 0).then_some(spec.patience),
        standardise: spec.standardise,
        seed,
    }
}

pub(super) fn record(name: FitName, report: &FitReport, (train, validation, test): (usize, usize, usize), planned: bool) -> FitRecord {
    let chosen = report.chosen();
    FitRecord {
        name,
        train,
        validation,
        test,
        strength: report.strength,
        validation_log_loss: chosen.and_then(|c| c.validation).map(|v| v.log_loss).filter(|loss| loss.is_finite()),
        iterations: chosen.map_or(0, |c| c.iterations),
        converged: planned || report.converged(),
        absent: None,
        mdl: None,
    }
}

/// Why there can be no such fit.
fn absence(study: &Study<'_>, parts: &Parts, probe: &ProbeSpec) -> Option<String> {
    let total = study.rows().len();
    let reach = parts.train.len() + parts.validation.len() + parts.test.len();
    let of = format!("{reach} of {total} rows reach this read-out");
    let counts = |class: usize| parts.train.y.iter().zip(&parts.train.weights).any(|(y, weight)| *y as usize == class && *weight > 0.0);
    let missing: Vec<&str> =
        study.classes().iter().enumerate().filter(|(class, _)| !counts(*class)).map(|(_, name)| name.as_str()).collect();
    if !missing.is_empty() {
        return Some(format!("no train row of {} ({of})", missing.join(", ")));
    }
    if probe.chooses() && parts.validation.is_empty() {
        return Some(format!("no validation row to choose by ({of})"));
    }
    parts.test.is_empty().then(|| format!("no test row ({of})"))
}

fn failed(study: &Study<'_>, parts: &Parts, name: &FitName, error: &ProbeError) -> ExecuteError {
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
