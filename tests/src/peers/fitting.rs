//! A logistic probe at every layer, on states that both sides are given.

use std::time::Instant;

use limbic_engine::probe::{Fitted, Labels, LogisticSettings, Matrix, Standardizer, Targets, Trial, control, logistic};
use rayon::prelude::*;
use serde_json::json;

use super::comparison::{Comparison, Contender, alternate};
use super::stage::{Stage, cores};

/// scikit-learn's default strength.
const STRENGTH: f64 = 1.0;
/// The strengths of the path: from the least that sweeps try to the most.
const PATH: [f64; 9] = [1e-4, 5e-4, 3e-3, 2e-2, 1e-1, 6e-1, 3.0, 2e1, 1e2];
/// Seeds of the control.
const SEEDS: u64 = 5;

/// One layer's rows of train and validation.
struct Cell {
    train: Vec<f32>,
    validation: Vec<f32>,
    width: usize,
}

/// The labels of a fit.
struct Answers {
    train: Vec<u32>,
    validation: Vec<u32>,
}

/// Fits at one strength, and a path of strengths with a control, beside scikit-learn's fit at one strength.
pub(super) fn fit(stage: &Stage) -> anyhow::Result<Comparison> {
    let (states, labels) = (stage.states()?, stage.labels());
    let (train, validation) = (stage.split("train")?, stage.split("validation")?);
    let of = |values: &[f32], rows: &[usize]| -> Vec<f32> {
        rows.iter().flat_map(|row| &values[row * states.width..][..states.width]).copied().collect()
    };
    let cell = |values: &Vec<f32>| Cell { train: of(values, &train), validation: of(values, &validation), width: states.width };
    let cells: Vec<Cell> = states.states.iter().map(|s| cell(&s.values)).collect();
    let answers = |seed: Option<u64>| {
        let given = |rows: &[usize]| -> Vec<u32> {
            let from = match seed {
                // Every row is a group of its own.
                Some(seed) => control::shuffled_labels(rows, seed).into_iter().map(|at| rows[at]).collect(),
                None => rows.to_vec(),
            };
            from.into_iter().map(|row| labels[row]).collect()
        };
        Answers { train: given(&train), validation: given(&validation) }
    };
    let (own, controls): (Answers, Vec<Answers>) = (answers(None), (0..SEEDS).map(|seed| answers(Some(seed))).collect());
    let classes = stage.classes.len();
    let one = LogisticSettings::fixed(STRENGTH);
    let path = LogisticSettings { strengths: PATH.to_vec(), ..LogisticSettings::default() };
    let all: Vec<&Answers> = std::iter::once(&own).chain(&controls).collect();
    let (made, on_path) = (std::cell::Cell::new(0usize), std::cell::Cell::new(0usize));
    let timed = |answers: &[&Answers], settings: &LogisticSettings| {
        let began = Instant::now();
        let found = std::hint::black_box(fits(&cells, answers, classes, settings)?);
        let took = began.elapsed().as_secs_f64();
        made.set(found.iter().map(|fit| fit.tried).sum());
        Ok(took)
    };
    let probes = cells.len();
    let file = stage.path("all.states");
    let bytes: Vec<u8> = states.states.iter().flat_map(|s| s.values.iter().flat_map(|v| v.to_le_bytes())).collect();
    std::fs::write(&file, bytes)?;
    let ask = json!({
        "task": "fit", "states": file, "layers": probes, "width": states.width, "labels": labels, "train": train, "strength": STRENGTH,
        "jobs": 1,
    });
    let mut side_by_side = ask.clone();
    side_by_side["jobs"] = cores().into();
    let theirs = std::cell::RefCell::new(None);
    let mut contenders = vec![
        Contender::new(format!("Limbic, {probes} probes at C = 1"), || timed(&[&own], &one)),
        Contender::new(format!("Limbic, with {} strengths and shuffled labels under {SEEDS} seeds", PATH.len()), || {
            let took = timed(&all, &path)?;
            on_path.set(made.get());
            Ok(took)
        }),
    ];
    if let Some(peer) = &stage.peer {
        let run = || {
            let answer = peer.ask(&ask)?;
            let seconds = answer["seconds"].as_f64().unwrap_or(f64::NAN);
            theirs.replace(Some(answer));
            Ok(seconds)
        };
        contenders.push(Contender::new(format!("scikit-learn, {probes} probes at C = 1"), run));
        contenders.push(Contender::new("the same, layers side by side", move || peer.seconds(&side_by_side)));
    }
    let lines = alternate(stage.rounds, contenders)?;
    let whole = probes * PATH.len() * all.len();
    let mut facts = vec![
        ("fits of the second line", json!(on_path.get())),
        (
            "fits of it that were left out, for weaker penalties than such as validation had turned against twice",
            json!(whole - on_path.get()),
        ),
    ];
    if let Some(answer) = theirs.into_inner() {
        let ours: Vec<f64> =
            fits(&cells, &[&own], classes, &one)?.iter().zip(&cells).map(|(fit, cell)| objective(fit, cell, &own)).collect();
        let theirs: Vec<f64> = serde_json::from_value(answer["objectives"].clone())?;
        let relative = ours.iter().zip(&theirs).map(|(ours, theirs)| (ours - theirs) / theirs);
        let (least, most) = relative.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), r| (least.min(r), most.max(r)));
        facts.push(("our objective over scikit-learn's, less 1: least", json!(least)));
        facts.push(("our objective over scikit-learn's, less 1: most", json!(most)));
    }
    let about = format!(
        "{probes} multinomial logistic probes on standardised states of {} training rows, {} columns and {classes} classes, on {} cores. \
         Limbic: the solver that fit units call, layers side by side. scikit-learn: StandardScaler and LogisticRegression (L-BFGS, at most \
         1000 iterations), one layer after another with all threads, and by joblib in a process for each core. Standardising counts on both sides. Both objectives are C * (sum of log-losses) + |W|^2 / 2, evaluated \
         in f64 where the fits ended.",
        train.len(),
        states.width,
        cores()
    );
    Ok(Comparison { name: "fit", about, unit: "s", work: None, lines, facts })
}

/// What came of one layer's fits.
struct Fit {
    /// The first of them.
    fitted: Fitted,
    standardizer: Standardizer,
    /// Strengths that were fitted, of all of them together.
    tried: usize,
}

/// All fits at all layers.
fn fits(cells: &[Cell], answers: &[&Answers], classes: usize, settings: &LogisticSettings) -> anyhow::Result<Vec<Fit>> {
    let chosen = settings.strengths.len() > 1;
    let layer = |cell: &Cell| {
        let matrix = |x| -> Result<Matrix<'_>, _> { Matrix::new(x, <[f32]>::len(x) / cell.width, cell.width) };
        let standardizer = Standardizer::fit(&matrix(&cell.train)?)?;
        let (train, validation) = (standardizer.apply(&matrix(&cell.train)?)?, standardizer.apply(&matrix(&cell.validation)?)?);
        let mut trials = Vec::new();
        for answers in answers {
            // One strength needs no choice.
            trials.push(Trial { train: targets(&answers.train), validation: chosen.then(|| targets(&answers.validation)) });
        }
        let held = matrix(&validation)?;
        let held = chosen.then_some(&held);
        let (mut all, mut tried) = (Vec::new(), 0);
        for fit in logistic::fit_all(&matrix(&train)?, held, &trials, classes, settings)? {
            let (fitted, report) = fit?;
            all.push(fitted);
            tried += report.path.len();
        }
        Ok(Fit { fitted: all.swap_remove(0), standardizer, tried })
    };
    cells.par_iter().map(layer).collect()
}

fn targets(labels: &[u32]) -> Targets<'_> {
    Targets::from(Labels::Single(labels))
}

/// `C * sum of log-losses + |W|^2 / 2` of a fit, from its predictions; of two classes as scikit-learn has it, with the one
/// difference of both weight vectors.
fn objective(Fit { fitted, standardizer, .. }: &Fit, cell: &Cell, answers: &Answers) -> f64 {
    let (rows, classes) = (answers.train.len(), fitted.outputs);
    let matrix = Matrix::new(&cell.train, rows, cell.width).expect("train has these rows");
    let x = standardizer.apply(&matrix).expect("it was fitted on these columns");
    let (weight, bias) = (&fitted.layers[0].weight, &fitted.layers[0].bias);
    let score = |row: &[f32], class: usize| {
        let weight = &weight[class * cell.width..][..cell.width];
        row.iter().zip(weight).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>() + f64::from(bias[class])
    };
    let loss = |(row, label): (&[f32], &u32)| {
        let scores: Vec<f64> = (0..classes).map(|class| score(row, class)).collect();
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        top + scores.iter().map(|s| (s - top).exp()).sum::<f64>().ln() - scores[*label as usize]
    };
    let losses: f64 = x.chunks_exact(cell.width).zip(&answers.train).map(loss).sum();
    let square = |w: f64| w * w;
    let norm: f64 = match classes {
        2 => (0..cell.width).map(|at| square(f64::from(weight[cell.width + at]) - f64::from(weight[at]))).sum(),
        _ => weight.iter().map(|w| square(f64::from(*w))).sum(),
    };
    STRENGTH * losses + norm / 2.0
}
