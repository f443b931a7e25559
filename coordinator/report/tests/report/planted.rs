//! Synthetic hidden states whose truth is known: a signal of a known depth and decay, or none, and the share of rows that
//! the best possible probe gets right from them.
//!
//! A row of class c has the state `s·e_c + ε` of seven dimensions, ε standard normal; the probe names the largest. That is
//! right with the probability `∫ φ(t - s) Φ(t)⁶ dt`, which is inverted to plant a share of right rows.

use std::sync::{Arc, LazyLock};

use limbic_proto::axis::{Context, Layer, ReadOut};
use limbic_proto::rows::{Scheme, Split};
use limbic_proto::spec::ReportSpec;
use limbic_report::{ConditionEntry, DatasetEntry, Deferred, Fit, ModelEntry, Prediction, Progress, SplitEntry, Study, TestRow};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Classes, and dimensions of a state.
pub const CLASSES: usize = 7;
/// What chance gets right.
pub const CHANCE: f64 = 1.0 / CLASSES as f64;
/// How much of a row's noise is the same at every layer and offset, and how much of that is its group's.
const OF_ROW: f64 = 0.5;
const OF_GROUP: f64 = 0.3;
/// Rows of one group.
const GROUP: usize = 2;

/// Steps of the table below, and the strength of its last entry.
const STEPS: usize = 600;
const STRONGEST: f64 = 6.0;

/// Standard normal draws (Box and Muller 1958).
pub fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Shares of right rows by strength.
static SHARES: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let step = 0.01;
    let density = |t: f64| (-t * t / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let mut below = 0.0;
    let table: Vec<(f64, f64)> = (0..1_500)
        .map(|i| {
            let t = -7.0 + f64::from(i) * step;
            below += density(t - step / 2.0) * step;
            (t, below.powi(CLASSES as i32 - 1))
        })
        .collect();
    let share = |s: f64| table.iter().map(|(t, others)| density(t - s) * others * step).sum();
    (0..=STEPS).map(|i| share(STRONGEST * i as f64 / STEPS as f64)).collect()
});

/// The strength at which so many rows are right.
pub fn strength(share: f64) -> f64 {
    let at = SHARES.partition_point(|s| *s < share).clamp(1, STEPS);
    let (low, high) = (SHARES[at - 1], SHARES[at]);
    STRONGEST * (at as f64 - 1.0 + ((share - low) / (high - low)).clamp(0.0, 1.0)) / STEPS as f64
}

/// What is planted.
#[derive(Debug, Clone)]
pub struct Signal {
    /// Share of right rows at offset 0, per layer.
    pub layers: Vec<f64>,
    /// The offsets.
    pub offsets: Vec<u32>,
    /// Tokens until half of what is above chance is left; beside a control, of what is above the control.
    pub half_life: f64,
    /// What the reply alone carries, if that is measured too.
    pub control: Option<Control>,
    /// How many models, all with the same signal.
    pub models: usize,
    /// Test rows.
    pub rows: usize,
}

/// What a reply carries alone, at the offsets after the prompt: there is none at the prompt's own last token.
#[derive(Debug, Clone, Copy)]
pub struct Control {
    /// Share of right rows that it would have at offset 0.
    pub share: f64,
    /// Tokens until half of what is above chance is left.
    pub half_life: f64,
    /// How much more rows are right with the prompt in the context, at offset 0.
    pub lead: f64,
}

/// What is left of it after so many tokens.
fn left(half_life: f64, offset: u32) -> f64 {
    0.5_f64.powf(f64::from(offset) / half_life)
}

impl Control {
    fn at(&self, offset: u32) -> f64 {
        CHANCE + (self.share - CHANCE) * left(self.half_life, offset)
    }
}

impl Signal {
    /// The share of right rows at a layer and offset.
    pub fn share(&self, layer: usize, offset: u32) -> f64 {
        match &self.control {
            Some(control) if offset > 0 => control.at(offset) + control.lead * left(self.half_life, offset),
            _ => CHANCE + (self.layers[layer] - CHANCE) * left(self.half_life, offset),
        }
    }

    /// A study of such states, beside a baseline on words that say nothing. As many rows are of each class, as in a stratified
    /// split.
    pub fn study(&self, seed: u64) -> Study {
        self.study_of(seed, &(0..self.rows).map(|row| row % CLASSES).collect::<Vec<_>>())
    }

    /// The same of rows whose classes are drawn, as those of a split that nobody stratified.
    pub fn study_of_drawn_rows(&self, seed: u64) -> Study {
        let mut rng = ChaCha8Rng::seed_from_u64(!seed);
        let truth: Vec<usize> = (0..self.rows).map(|_| rng.random_range(0..CLASSES)).collect();
        let counts = (0..CLASSES).map(|class| truth.iter().filter(|c| **c == class).count()).collect();
        let entry = |split, rows, of_class| SplitEntry { split, rows, groups: rows / GROUP, weight: rows as u64, of_class };
        let splits = vec![entry(Split::Train, 100 * CLASSES, vec![100; CLASSES]), entry(Split::Test, self.rows, counts)];
        Study { dataset: DatasetEntry { splits, ..DatasetEntry::default() }, ..self.study_of(seed, &truth) }
    }

    fn study_of(&self, seed: u64, truth: &[usize]) -> Study {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut predictions = Vec::new();
        for model in 0..self.models {
            let noise = self.noise(&mut rng);
            for layer in 0..self.layers.len() {
                for &offset in &self.offsets {
                    let share = self.share(layer, offset);
                    let states = self.states(truth, &noise, strength(share), &mut rng);
                    let loss = 2.0 - share + 0.01 * normal(&mut rng);
                    predictions.push(prediction(model, layer, ReadOut::at(offset), loss, states));
                    if let Some(control) = self.control.filter(|_| offset > 0) {
                        let states = self.states(truth, &noise, strength(control.at(offset)), &mut rng);
                        let read_out = ReadOut { context: Context::MaskedPrompt, ..ReadOut::at(offset) };
                        predictions.push(prediction(model, layer, read_out, 2.0, states));
                    }
                }
            }
        }
        let words = self.states(truth, &self.noise(&mut rng), 0.0, &mut rng);
        predictions.push(Prediction::baseline("bag-of-words", None, Deferred::held(words)));
        let majority = [0.2_f32, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1].repeat(self.rows);
        predictions.push(Prediction::baseline("majority", None, Deferred::held(majority)));
        let test = truth.iter().enumerate().map(|(row, class)| test_row(row, *class as u32, Vec::new())).collect();
        Study { models: (0..self.models).map(|m| model(m, self.layers.len())).collect(), ..bare(Scheme::Single, test, predictions, seed) }
    }

    /// What of every row's noise is the same everywhere in one model.
    fn noise(&self, rng: &mut ChaCha8Rng) -> Vec<[f64; CLASSES]> {
        let mut group = [0.0; CLASSES];
        let of = |row: usize| {
            if row.is_multiple_of(GROUP) {
                group = std::array::from_fn(|_| normal(rng));
            }
            std::array::from_fn(|i| OF_GROUP.sqrt() * group[i] + (1.0 - OF_GROUP).sqrt() * normal(rng))
        };
        (0..self.rows).map(of).collect()
    }

    /// States `[rows, 7]`, as probabilities of what the probe says of them.
    fn states(&self, truth: &[usize], noise: &[[f64; CLASSES]], strength: f64, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut out = Vec::with_capacity(noise.len() * CLASSES);
        for (class, noise) in truth.iter().zip(noise) {
            let state: [f64; CLASSES] = std::array::from_fn(|i| {
                let own = if i == *class { strength } else { 0.0 };
                own + OF_ROW.sqrt() * noise[i] + (1.0 - OF_ROW).sqrt() * normal(rng)
            });
            let total: f64 = state.iter().map(|x| x.exp()).sum();
            out.extend(state.map(|x| (x.exp() / total) as f32));
        }
        out
    }
}

/// What a probe says at one cell of the only condition.
pub fn prediction(model: usize, layer: usize, read_out: ReadOut, loss: f64, values: Vec<f32>) -> Prediction {
    Prediction {
        layer: Some(Layer::Block(layer as u32)),
        condition: Some(0),
        read_out: Some(read_out),
        fit: Some(Fit {
            train: 100,
            validation_score: None,
            commonest: None,
            validation_loss: Some(loss),
            strength: None,
            converged: true,
            absent: None,
            mdl: None,
        }),
        probe: Arc::from("logistic"),
        ..Prediction::baseline("logistic", Some(model), Deferred::held(values))
    }
}

/// A model of so many taps.
pub fn model(at: usize, layers: usize) -> ModelEntry {
    ModelEntry {
        name: format!("model-{at}"),
        source: "synthetic".to_owned(),
        digest: format!("{at:064}"),
        parameters: 10_u64.pow(8 + at as u32),
        family: "llama".to_owned(),
        layers: layers as u32 - 1,
        hidden: CLASSES as u32,
        dtype: "f32".to_owned(),
        random_weights: None,
        twin_of: None,
    }
}

/// A test row; two stand in one group.
pub fn test_row(row: usize, class: u32, values: Vec<f32>) -> TestRow {
    TestRow { id: row.to_string(), text: String::new(), class, group: (row / GROUP).to_string(), values }
}

/// A study of nothing but predictions.
pub fn bare(scheme: Scheme, test: Vec<TestRow>, predictions: Vec<Prediction>, seed: u64) -> Study {
    Study {
        sweep: "planted".to_owned(),
        title: "planted".to_owned(),
        scheme,
        classes: (0..test.first().map_or(CLASSES, |r| if r.values.is_empty() { CLASSES } else { r.values.len() }))
            .map(|c| format!("c{c}"))
            .collect(),
        dataset: DatasetEntry::default(),
        progress: Progress::default(),
        test,
        models: Vec::new(),
        conditions: vec![ConditionEntry { name: "raw".to_owned(), description: "the bare utterance".to_owned() }],
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
    }
}
