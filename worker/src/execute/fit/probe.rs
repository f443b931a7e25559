//! One probe at one read-out: itself, on shuffled labels, on random directions, with every seed.

use limbic_engine::probe::{
    FitReport, Fitted, LdaSettings, LogisticSettings, Matrix, MlpSettings, ProbeError, RidgeSettings, Split, Standard, Trial, control, lda,
    logistic, mean_difference, mlp, ridge,
};
use limbic_proto::axis::ReadOut;
use limbic_proto::rows::Scheme;
use limbic_proto::spec::{Control, LogisticSpec, MlpSpec, ProbeSpec, RidgeSpec};
use limbic_proto::unit::{FitName, FitUnit, Mdl};
use rayon::prelude::*;

use super::cell::{Cell, failed};
use super::parts::{Answers, Parts, shuffled};
use super::results::{Fit, Sizes, record};
use super::{Study, Tally};
use crate::execute::ExecuteError;

/// A fit to some labels.
struct Variant {
    name: FitName,
    train: Answers,
    validation: Answers,
}

type Solved = Result<(Fitted, FitReport), ProbeError>;

/// The probe's name with every control and seed at a read-out. A probe that draws nothing is fitted once and has the seed 0,
/// whatever the seeds of others are; controls draw from every seed.
pub(super) fn names(spec: &FitUnit, probe: &ProbeSpec, read_out: ReadOut) -> Vec<FitName> {
    let own = if probe.seeded() { spec.seeds.clone() } else { vec![0] };
    let named = |control: Option<Control>, seed: u64| FitName { control, ..FitName::new(probe.name(), Some(read_out), seed) };
    let controls = spec.controls.iter().filter(|control| **control != Control::RandomWeights);
    let controls = controls.flat_map(|control| spec.seeds.iter().map(move |seed| (Some(*control), *seed)));
    own.into_iter().map(|seed| (None, seed)).chain(controls).map(|(control, seed)| named(control, seed)).collect()
}

/// Fits a probe and its controls and predicts the test rows. Too few rows at a read-out are a result, not a failure.
pub(super) fn fits(study: &Study, spec: &FitUnit, cell: &Cell, probe: &ProbeSpec, tally: &Tally<'_>) -> Result<Vec<Fit>, ExecuteError> {
    let names = names(spec, probe, cell.read_out);
    let sizes = (cell.parts.train.len(), cell.parts.validation.len(), cell.parts.test.len());
    let train = Answers::of(study, cell.parts.train.rows.iter().copied());
    let reason = absence(study, &train, sizes, probe).or_else(|| uncalibrated(study, cell, probe));
    if let Some(reason) = reason {
        return Ok(names.into_iter().map(|name| Fit::absent(name, sizes, reason.clone())).collect());
    }
    let (directions, labels): (Vec<FitName>, Vec<FitName>) = names.into_iter().partition(|n| n.control == Some(Control::RandomDirection));
    let variants: Vec<Variant> = labels.into_iter().map(|name| variant(study, &cell.parts, name)).collect();
    // Probes that standardise do so on train, once for all of them.
    let raw = cell.raw.as_ref().filter(|_| matches!(probe, ProbeSpec::Mlp(mlp) if !mlp.standardise));
    let parts = raw.unwrap_or(&cell.parts);
    let solved = match &cell.moments {
        Some(moments) => variants.iter().map(|variant| of_moments(moments, parts, variant, probe)).collect(),
        None => solve(parts, &variants, probe, study.classes().len()),
    };
    let standardizer = cell.standardizer.as_ref().filter(|_| raw.is_none());
    let mut fits = Vec::new();
    for (variant, solved) in variants.iter().zip(solved) {
        let mut fit = finish(study, parts, probe, &variant.name, solved)?;
        fit.record.commonest = train.commonest();
        let own = variant.name.control.is_none();
        if let (true, ProbeSpec::Logistic(LogisticSpec { mdl: true, .. }), Some(strength)) = (own, probe, fit.record.strength) {
            tally.check()?;
            fit.record.mdl = code(spec, parts, variant, strength, study).map_err(|e| failed(study, parts, &variant.name, &e))?;
        }
        fit.fitted = fit.fitted.filter(|_| own).map(|fitted| Fitted { standardizer: standardizer.cloned(), ..fitted });
        fits.push(fit);
    }
    let controls = directions.into_par_iter().map(|name| {
        tally.check()?;
        let parts = projected(study, &cell.parts, name.seed).map_err(|e| failed(study, &cell.parts, &name, &e))?;
        let variant = variant(study, &parts, name.clone());
        let solved = solve(&parts, std::slice::from_ref(&variant), probe, study.classes().len());
        let solved = solved.into_iter().next().expect("one fit for one variant");
        Ok(Fit { fitted: None, ..finish(study, &parts, probe, &name, solved)? })
    });
    fits.extend(controls.collect::<Result<Vec<Fit>, ExecuteError>>()?);
    Ok(fits)
}

/// The labels of a fit.
fn variant(study: &Study, parts: &Parts, name: FitName) -> Variant {
    let answers = |rows: &[usize]| match name.control {
        Some(Control::ShuffledLabels) => Answers::of(study, shuffled(study, rows, name.seed)),
        _ => Answers::of(study, rows.iter().copied()),
    };
    Variant { train: answers(&parts.train.rows), validation: answers(&parts.validation.rows), name }
}

/// States along random directions, as many as there are outputs, standardised again.
fn projected(study: &Study, parts: &Parts, seed: u64) -> Result<Parts, ProbeError> {
    let width = study.classes().len();
    let directions = control::random_directions(parts.width, width, seed);
    let mut out = Parts { width, ..Parts::default() };
    for (from, to) in [(&parts.train, &mut out.train), (&parts.validation, &mut out.validation), (&parts.test, &mut out.test)] {
        to.rows.clone_from(&from.rows);
        to.x = control::projected(&from.matrix(parts.width)?, &directions);
    }
    out.standardise()?;
    Ok(out)
}

/// One fit for each variant, on states that are used as they are.
fn solve(parts: &Parts, variants: &[Variant], probe: &ProbeSpec, outputs: usize) -> Vec<Solved> {
    let chosen = !parts.validation.is_empty();
    let trials: Vec<Trial<'_>> =
        variants.iter().map(|v| Trial { train: v.train.targets(), validation: chosen.then(|| v.validation.targets()) }).collect();
    let views = || -> Result<(Matrix<'_>, Option<Matrix<'_>>), ProbeError> {
        Ok((parts.train.matrix(parts.width)?, if chosen { Some(parts.validation.matrix(parts.width)?) } else { None }))
    };
    let (x, held) = match views() {
        Ok(views) => views,
        Err(error) => return vec![Err(error); variants.len()],
    };
    let alone = |fit: &(dyn Fn(&Split<'_>, Option<&Split<'_>>, u64) -> Solved + Sync)| -> Vec<Solved> {
        let each = trials.par_iter().zip(variants).map(|(trial, variant)| {
            let train = Split { x, targets: trial.train };
            let held = held.zip(trial.validation).map(|(x, targets)| Split { x, targets });
            fit(&train, held.as_ref(), variant.name.seed)
        });
        each.collect()
    };
    let together = |fits: Result<Vec<Solved>, ProbeError>| fits.unwrap_or_else(|error| vec![Err(error); variants.len()]);
    match probe {
        ProbeSpec::Logistic(spec) => together(logistic::fit_all(&x, held.as_ref(), &trials, outputs, &logistic_settings(spec))),
        ProbeSpec::Ridge(spec) => together(ridge::fit_all(&x, held.as_ref(), &trials, outputs, &ridge_settings(spec))),
        ProbeSpec::Lda(spec) => {
            let settings = LdaSettings { shrinkage: spec.shrinkage };
            alone(&|train, held, _| lda::fit_prepared(train, held, outputs, &settings))
        }
        ProbeSpec::MeanDifference(_) => alone(&|train, held, _| mean_difference::fit_prepared(train, held, outputs)),
        ProbeSpec::Mlp(spec) => {
            alone(&|train, held, seed| mlp::fit(train, held, outputs, &MlpSettings { standardise: false, ..mlp_settings(spec, seed) }))
        }
        ProbeSpec::OffsetMlp(_) => unreachable!("offset-aware probes are fitted on all read-outs at once"),
    }
}

/// The fit to the moments of train.
fn of_moments(train: &Standard, parts: &Parts, variant: &Variant, probe: &ProbeSpec) -> Solved {
    let held = if parts.validation.is_empty() { None } else { Some(parts.validation.split(parts.width, &variant.validation)?) };
    match probe {
        ProbeSpec::Ridge(spec) => ridge::fit_moments(train, held.as_ref(), &ridge_settings(spec)),
        ProbeSpec::Lda(spec) => lda::fit_moments(train, held.as_ref(), &LdaSettings { shrinkage: spec.shrinkage }),
        ProbeSpec::MeanDifference(_) => mean_difference::fit_moments(train, held.as_ref()),
        _ => unreachable!("units with other probes on moments were refused"),
    }
}

/// Why there can be no such fit to moments: without validation rows, scores are given their temperature on train's.
fn uncalibrated(study: &Study, cell: &Cell, probe: &ProbeSpec) -> Option<String> {
    let scored = matches!(study.scheme(), Scheme::Single | Scheme::Multi) && !matches!(probe, ProbeSpec::Lda(_));
    let lacking = cell.moments.is_some() && scored && cell.parts.validation.is_empty();
    lacking.then(|| "no validation row to make probabilities of scores by (the states of train rows are not stored)".to_owned())
}

/// Predicts the test rows.
fn finish(study: &Study, parts: &Parts, probe: &ProbeSpec, name: &FitName, solved: Solved) -> Result<Fit, ExecuteError> {
    let sizes = (parts.train.len(), parts.validation.len(), parts.test.len());
    match solved {
        Ok((fitted, report)) => {
            let predictions = fitted.predictions(&parts.test.x, parts.test.len());
            let record = record(name.clone(), &report, sizes, matches!(probe, ProbeSpec::Mlp(_)));
            let validation = name.control.is_none().then(|| fitted.predictions(&parts.validation.x, parts.validation.len()));
            let fit = Fit::done(record, &parts.test, &predictions, study.classes().len(), Some(fitted));
            let answers = || Answers::of(study, parts.validation.rows.iter().copied());
            Ok(match validation {
                Some(validation) => fit.measured(&validation, &answers(), study.classes().len()),
                None => fit,
            })
        }
        // It would end so again, and the unit's other fits are worth keeping.
        Err(error @ (ProbeError::Diverged { .. } | ProbeError::Singular { .. })) => Ok(Fit::absent(name.clone(), sizes, error.to_string())),
        Err(error) => Err(failed(study, parts, name, &error)),
    }
}

/// The description length of train's labels, where rows have one class.
fn code(spec: &FitUnit, parts: &Parts, variant: &Variant, strength: f64, study: &Study) -> Result<Option<Mdl>, ProbeError> {
    if study.scheme() != Scheme::Single {
        return Ok(None);
    }
    let (seed, x) = (spec.seeds.first().copied().unwrap_or(0), parts.train.matrix(parts.width)?);
    let groups: Vec<&str> = parts.train.rows.iter().map(|&row| study.rows()[row].group.as_str()).collect();
    let found = logistic::online_code(&x, &variant.train.targets(), study.classes().len(), &groups, strength, seed)?;
    Ok(Some(Mdl { bits: found.bits, uniform_bits: found.uniform_bits }))
}

pub(super) fn logistic_settings(spec: &LogisticSpec) -> LogisticSettings {
    LogisticSettings { strengths: spec.c.clone(), ..LogisticSettings::default() }
}

pub(super) fn ridge_settings(spec: &RidgeSpec) -> RidgeSettings {
    RidgeSettings { alphas: spec.alpha.clone() }
}

pub(super) fn mlp_settings(spec: &MlpSpec, seed: u64) -> MlpSettings {
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

/// Why there can be no such fit.
pub(super) fn absence(study: &Study, known: &Answers, (train, validation, test): Sizes, probe: &ProbeSpec) -> Option<String> {
    let of = format!("{} of {} rows reach this read-out", train + validation + test, study.rows().len());
    if study.scheme() == Scheme::Single {
        let missing: Vec<&str> =
            study.classes().iter().enumerate().filter(|(class, _)| !known.has(*class)).map(|(_, name)| name.as_str()).collect();
        if !missing.is_empty() {
            return Some(format!("no train row of {} ({of})", missing.join(", ")));
        }
    }
    if train == 0 {
        return Some(format!("no train row ({of})"));
    }
    if probe.chooses() && validation == 0 {
        return Some(format!("no validation row to choose by ({of})"));
    }
    (test == 0).then(|| format!("no test row ({of})"))
}
