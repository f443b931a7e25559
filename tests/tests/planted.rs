//! Hidden states with a planted signal, through the engine's own probes and the report's estimators: where it peaks and how
//! long it lasts is found, and where there is none nothing is.
//!
//! A row's state is its class's direction times the layer's strength, plus noise, for as long as the row's signal lives; then
//! it is noise alone. Lives end at random, by half every half-life, so that the share of rows that any linear probe can get
//! right falls towards chance exactly exponentially, and a probe fitted at an offset looks for the same directions at all.

use std::sync::Arc;

use limbic_engine::probe::{LogisticSettings, Matrix, Split, logistic};
use limbic_proto::axis::{Context, Layer, ReadOut};
use limbic_proto::rows::Scheme;
use limbic_proto::spec::ReportSpec;
use limbic_report::{
    ConditionEntry, DatasetEntry, Deferred, Fit, HalfLife, ModelEntry, Prediction, Progress, Results, Study, TestRow, evaluate,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

const CLASSES: usize = 4;
const WIDTH: usize = 8;
/// Rows of train, validation and test.
const ROWS: [usize; 3] = [600, 200, 400];
const OFFSETS: [u32; 7] = [0, 1, 2, 4, 8, 16, 32];
/// How far apart classes lie at each layer; the third from the end has most.
const STRENGTHS: [f64; 5] = [0.4, 1.2, 2.2, 1.6, 1.0];
const PEAK: usize = 2;
/// How much of a row's noise is the same at every layer and offset.
const OF_ROW: f64 = 0.5;

/// A standard normal draw (Box and Muller 1958).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// The rows of one split.
struct Rows {
    class: Vec<u32>,
    /// Tokens after the prompt at which each row's signal ends.
    life: Vec<f64>,
    /// `[rows, WIDTH]`: what of the noise is a row's own.
    noise: Vec<f64>,
}

impl Rows {
    /// As many rows of each class; every two neighbours of a class are of one group and live equally long.
    fn new(rows: usize, half_life: f64, rng: &mut ChaCha8Rng) -> Rows {
        let mut lives = [0.0; CLASSES];
        let mut life = |row: usize, rng: &mut ChaCha8Rng| {
            if (row / CLASSES).is_multiple_of(2) {
                lives[row % CLASSES] = -half_life * rng.random::<f64>().log2();
            }
            lives[row % CLASSES]
        };
        Rows {
            class: (0..rows).map(|row| (row % CLASSES) as u32).collect(),
            life: (0..rows).map(|row| life(row, rng)).collect(),
            noise: (0..rows * WIDTH).map(|_| normal(rng)).collect(),
        }
    }

    fn group(row: usize) -> usize {
        row % CLASSES + CLASSES * (row / CLASSES / 2)
    }

    /// States `[rows, WIDTH]`.
    fn states(&self, directions: &[f64], strength: f64, offset: u32, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.noise.len());
        for (row, own) in self.noise.chunks(WIDTH).enumerate() {
            let alive = if self.life[row] >= f64::from(offset) { strength } else { 0.0 };
            let direction = &directions[self.class[row] as usize * WIDTH..][..WIDTH];
            let noise = own.iter().map(|own| OF_ROW.sqrt() * own + (1.0 - OF_ROW).sqrt() * normal(rng));
            out.extend(direction.iter().zip(noise).map(|(d, e)| (alive * d + e) as f32));
        }
        out
    }
}

/// Directions `[CLASSES, WIDTH]` at right angles (Gram and Schmidt).
fn directions(rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut all: Vec<Vec<f64>> = Vec::new();
    while all.len() < CLASSES {
        let mut next: Vec<f64> = (0..WIDTH).map(|_| normal(rng)).collect();
        for other in &all {
            let along: f64 = next.iter().zip(other).map(|(a, b)| a * b).sum();
            next.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
        }
        let length = next.iter().map(|v| v * v).sum::<f64>().sqrt();
        all.push(next.into_iter().map(|v| v / length).collect());
    }
    all.concat()
}

/// A probe fitted to train's states, its strength chosen on validation's; what it says of test's, and its validation loss.
fn fitted(rows: &[Rows; 3], states: [Vec<f32>; 3]) -> (Vec<f32>, f64) {
    let matrix = |part: usize| Matrix::new(&states[part], ROWS[part], WIDTH).expect("a whole matrix");
    let split = |part: usize| Split::new(matrix(part), &rows[part].class);
    let settings = LogisticSettings { strengths: vec![0.001, 0.01, 0.1], ..LogisticSettings::default() };
    let (probe, report) = logistic::fit(&split(0), Some(&split(1)), CLASSES, &settings).expect("the input is sound");
    assert!(report.converged());
    (probe.predict(&matrix(2)).expect("states of the same width"), report.validation.expect("there are validation rows"))
}

/// What the report says of probes on such states.
fn results(strengths: &[f64], half_life: f64, seed: u64) -> Results {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let rows = ROWS.map(|n| Rows::new(n, half_life, &mut rng));
    let mut predictions = Vec::new();
    for (layer, strength) in strengths.iter().enumerate() {
        let directions = directions(&mut rng);
        for offset in OFFSETS {
            let states = [0, 1, 2].map(|part: usize| rows[part].states(&directions, *strength, offset, &mut rng));
            let (values, loss) = fitted(&rows, states);
            let fit = Fit {
                train: ROWS[0],
                validation_score: None,
                commonest: None,
                validation_loss: Some(loss),
                strength: None,
                converged: true,
                absent: None,
                mdl: None,
            };
            predictions.push(Prediction {
                layer: Some(Layer::Block(layer as u32)),
                condition: Some(0),
                read_out: Some(ReadOut::at(offset)),
                fit: Some(fit),
                probe: Arc::from("logistic"),
                ..Prediction::baseline("logistic", Some(0), Deferred::held(values))
            });
        }
    }
    let majority = [0.4_f32, 0.2, 0.2, 0.2].repeat(ROWS[2]);
    predictions.push(Prediction::baseline("majority", None, Deferred::held(majority)));
    let row = |(row, class): (usize, &u32)| TestRow {
        id: row.to_string(),
        text: String::new(),
        class: *class,
        group: Rows::group(row).to_string(),
        values: Vec::new(),
    };
    let study = Study {
        sweep: "planted".to_owned(),
        title: "planted".to_owned(),
        scheme: Scheme::Single,
        classes: (0..CLASSES).map(|c| format!("c{c}")).collect(),
        dataset: DatasetEntry::default(),
        progress: Progress::default(),
        test: rows[2].class.iter().enumerate().map(row).collect(),
        models: vec![model(strengths.len())],
        conditions: vec![ConditionEntry { name: "raw".to_owned(), description: "the bare text".to_owned() }],
        predictions,
        verdicts: Vec::new(),
        geometry: Vec::new(),
        runs: Vec::new(),
        options: ReportSpec { resamples: 400, ..ReportSpec::default() },
        notes: Vec::new(),
        quarantined: Vec::new(),
        spec: serde_json::Value::Null,
        software: "limbic".to_owned(),
        seed,
    };
    evaluate(&study).expect("the study is sound")
}

fn model(taps: usize) -> ModelEntry {
    ModelEntry {
        name: "planted".to_owned(),
        source: "synthetic".to_owned(),
        digest: String::new(),
        parameters: 0,
        family: String::new(),
        layers: taps as u32 - 1,
        hidden: WIDTH as u32,
        dtype: "f32".to_owned(),
        random_weights: None,
        twin_of: None,
    }
}

fn half_life(results: &Results) -> HalfLife {
    let curve = results.persistence[0].decay("logistic", Context::Full, None).expect("a curve");
    curve.to_majority().expect("a fit").half_life.clone()
}

#[test]
fn peak_and_half_life_are_found_in_nine_of_ten() {
    for tokens in [4.0, 10.0] {
        let found: Vec<[bool; 3]> = (0..100)
            .into_par_iter()
            .map(|seed| {
                let results = results(&STRENGTHS, tokens, seed);
                let held = match half_life(&results) {
                    HalfLife::Reached { lo, hi, .. } => lo.is_some_and(|lo| lo <= tokens) && hi.is_none_or(|hi| tokens <= hi),
                    _ => false,
                };
                let (peak, layer) = (&results.depth[0].peak, Layer::Block(PEAK as u32));
                // An interval of every layer would hold the peak too.
                [held, peak.from <= layer && layer <= peak.to, peak.from > Layer::Block(0) && peak.to < Layer::Block(4)]
            })
            .collect();
        let share = |at: usize| found.iter().filter(|f| f[at]).count();
        let shares = [0, 1, 2].map(share);
        println!("half-life of {tokens}: held in {} of 100, the peak in {}, told from both ends in {}", shares[0], shares[1], shares[2]);
        assert!(shares.iter().all(|s| *s >= 90), "{shares:?}");
    }
}

#[test]
fn without_a_signal_alarms_are_as_rare_as_said() {
    const STUDIES: u64 = 200;
    let alarms: Vec<[usize; 2]> = (0..STUDIES)
        .into_par_iter()
        .map(|seed| {
            let results = results(&[0.0; 4], 10.0, 1_000 + seed);
            let lasting = usize::from(half_life(&results) != HalfLife::NoSignal);
            let points = &results.depth[0].points;
            [lasting, usize::from(points.iter().any(|p| p.as_good() == Some(false)))]
        })
        .collect();
    let [lasting, worse] = [0, 1].map(|at| alarms.iter().map(|a| a[at]).sum::<usize>() as f64 / STUDIES as f64);
    println!("a half-life of nothing in {:.1} %, a layer called worse than the best in {:.1} %", lasting * 100.0, worse * 100.0);
    // One-sided at 2.5 % and at 5 %, and three standard errors of 200 studies.
    assert!(lasting <= 0.058 && worse <= 0.096, "{lasting} {worse}");
}
