//! A synthetic study with a planted signal: bigger models, middle layers and the raw condition know more; the signal
//! fades over offsets, faster when the prompt is masked, and at a speed that depends on the class.

mod beside;
mod geometry;
mod valued;

use std::sync::Arc;

use limbic_proto::axis::{Context, Layer, ReadOut};
use limbic_proto::rows::{Scheme, Split};
use limbic_proto::spec::{Control, Level, ReportSpec};
use limbic_proto::unit::Mdl;
use limbic_report::{
    ConditionEntry, DatasetEntry, Deferred, Fit, ModelEntry, Prediction, Progress, Quarantined, SplitEntry, Study, TestRow,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use beside::read;
pub use valued::valued;

/// How large a study to make.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub models: usize,
    pub layers: u32,
    pub conditions: usize,
    pub offsets: usize,
    pub rows: usize,
    pub masked: bool,
    pub mlp: bool,
    /// Whether everything else is there too: all contexts, controls, transfers, twins, verdicts, geometry, levels.
    pub whole: bool,
}

/// What the demo page shows.
pub const DEMO: Size = Size { models: 3, layers: 8, conditions: 4, offsets: 9, rows: 420, masked: true, mlp: true, whole: true };

pub const CLASSES: [&str; 7] = ["anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral"];
const MODELS: [(&str, u64, f64); 5] = [
    ("Linden-0.6B", 600_000_000, 1.3),
    ("Linden-1.7B", 1_700_000_000, 1.7),
    ("Linden-4B", 4_000_000_000, 2.2),
    ("Alder-1B", 1_200_000_000, 1.6),
    ("Alder-3B", 3_200_000_000, 2.0),
];
const CONDITIONS: [(&str, &str, f64); 4] = [
    ("raw", "the bare utterance", 1.0),
    ("chat", "chat template, empty system prompt", 0.93),
    ("emotional", "chat template, system: You are very emotional.", 0.7),
    ("calm", "chat template, system: You always remain calm and composed.", 0.88),
];
const OFFSETS: [u32; 9] = [0, 1, 2, 4, 8, 16, 32, 64, 128];
/// Tokens until half of the signal is left, per class.
pub const HALF_LIVES: [f64; 7] = [90.0, 12.0, 70.0, 16.0, 40.0, 10.0, 30.0];

/// Everything random in one study.
struct World {
    truth: Vec<usize>,
    ease: Vec<f64>,
    noise: Vec<[f64; 7]>,
    reply: Vec<u32>,
    rng: ChaCha8Rng,
}

impl World {
    fn normal(rng: &mut ChaCha8Rng) -> f64 {
        (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
    }

    fn new(rows: usize) -> World {
        let mut rng = ChaCha8Rng::seed_from_u64(20_261_123);
        let truth = (0..rows).map(|r| r % 7).collect();
        let ease = (0..rows).map(|_| 1.0 + 0.35 * Self::normal(&mut rng)).collect();
        let noise = (0..rows).map(|_| std::array::from_fn(|_| Self::normal(&mut rng))).collect();
        let reply = (0..rows).map(|_| 20 + (rng.random::<f64>().powi(2) * 400.0) as u32).collect();
        World { truth, ease, noise, reply, rng }
    }

    /// Probabilities `[rows, 7]` from a signal strength per class; rows whose reply is shorter than `offset` are absent.
    fn probabilities(&mut self, offset: u32, strength: impl Fn(usize) -> f64) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.truth.len() * 7);
        for row in 0..self.truth.len() {
            if offset > self.reply[row] {
                out.extend([f32::NAN; 7]);
                continue;
            }
            let logits: [f64; 7] = std::array::from_fn(|class| {
                let signal = if class == self.truth[row] { 1.9 * strength(class) * self.ease[row] } else { 0.0 };
                signal + 0.75 * self.noise[row][class] + 0.6 * Self::normal(&mut self.rng)
            });
            let total: f64 = logits.iter().map(|l| l.exp()).sum();
            out.extend(logits.map(|l| (l.exp() / total) as f32));
        }
        out
    }
}

/// The model of random weights, in whole studies: the twin of the first.
fn entries(size: Size) -> Vec<ModelEntry> {
    let entry = |(i, (name, parameters, _)): (usize, &(&str, u64, f64))| ModelEntry {
        name: (*name).to_owned(),
        source: format!("hf://example/{name}@5f0c2d1"),
        digest: format!("{:064x}", 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(i as u64 + 1)),
        parameters: *parameters,
        family: name.split('-').next().unwrap_or_default().to_lowercase(),
        layers: size.layers,
        hidden: 1024 << i.min(2),
        dtype: "f32".to_owned(),
        random_weights: None,
        twin_of: None,
    };
    let mut models: Vec<ModelEntry> = MODELS[..size.models].iter().enumerate().map(entry).collect();
    if size.whole {
        let twin = ModelEntry { name: "Linden-0.6B-random".to_owned(), random_weights: Some(0), twin_of: Some(0), ..models[0].clone() };
        models.push(twin);
    }
    models
}

/// As many rows in every class, and more to fit on than to test on.
fn dataset(rows: usize) -> DatasetEntry {
    let split = |(split, times): (Split, usize)| SplitEntry {
        split,
        rows: rows * times,
        groups: rows * times / 2,
        weight: (rows * times) as u64,
        of_class: vec![rows * times / 7; 7],
    };
    let splits = [(Split::Train, 8), (Split::Validation, 1), (Split::Test, 1)].map(split).to_vec();
    DatasetEntry { digest: "5ca1ab1e".repeat(8), splits }
}

/// The study; the same size gives the same study.
pub fn study(size: Size) -> Study {
    let mut world = World::new(size.rows);
    let test = (0..size.rows)
        .map(|r| TestRow {
            id: format!("row-{r:04}"),
            text: format!("utterance {r}"),
            class: world.truth[r] as u32,
            group: format!("thread-{:03}", r / 2),
            values: Vec::new(),
        })
        .collect();
    let conditions = CONDITIONS[..size.conditions].iter();
    let conditions = conditions.map(|(name, what, _)| ConditionEntry { name: (*name).to_owned(), description: (*what).to_owned() });
    let valence = ["negative", "negative", "negative", "positive", "negative", "other", "other"];
    let map = CLASSES.iter().zip(valence).map(|(a, b)| ((*a).to_owned(), b.to_owned())).collect();
    let levels = if size.whole { vec![Level { name: "valence".to_owned(), map }] } else { Vec::new() };
    let mut study = Study {
        sweep: "3f9a1c07d2e84b56".to_owned(),
        title: "A planted signal".to_owned(),
        scheme: Scheme::Single,
        classes: CLASSES.map(str::to_owned).to_vec(),
        dataset: dataset(size.rows),
        progress: Progress { cells: 90, cells_done: 90, units: 60, units_done: 60 },
        test,
        models: entries(size),
        conditions: conditions.collect(),
        predictions: predictions(&mut world, size),
        verdicts: if size.whole { beside::verdicts(&mut world, size) } else { Vec::new() },
        geometry: if size.whole { geometry::all(&mut world, size) } else { Vec::new() },
        runs: beside::runs(size),
        options: ReportSpec { levels, ..ReportSpec::default() },
        notes: vec!["This study is synthetic: its signal was planted, no model was run.".to_owned()],
        quarantined: vec![Quarantined {
            unit: "b3c1d4".repeat(10),
            title: "extract Alder-1B raw rows 0..512".to_owned(),
            error: "prompt of 41,200 tokens is longer than the context of 32,768".to_owned(),
        }],
        spec: serde_json::json!({"dataset": {"source": "corpus.jsonl", "label": "emotion"}, "models": [{"name": "Linden-0.6B"}], "layers": "all", "offsets": OFFSETS[..size.offsets], "seeds": [0, 1]}),
        software: "limbic 0.1.0".to_owned(),
        seed: 7,
    };
    study.predictions.sort_by_key(|p| (p.model, p.condition, p.layer));
    study
}

/// How much of the signal a layer has.
fn at_layer(layer: Layer, layers: u32) -> f64 {
    let depth = layer.depth(layers);
    if depth == 0.0 { 0.05 } else { 0.35 + 0.65 * (1.0 - ((depth - 0.65) / 0.65).powi(2)) }
}

/// How much a context keeps of the signal, and how fast it loses it.
fn of_context(context: Context) -> (f64, f64) {
    match context {
        Context::Full => (1.0, 1.0),
        Context::MaskedPrompt => (0.55, 0.4),
        Context::ShuffledReply => (0.5, 0.3),
        Context::Filler => (0.6, 0.25),
    }
}

/// A cell whose predictions are made.
struct Cell {
    model: usize,
    condition: usize,
    layer: Layer,
    /// The strength of the signal there.
    strength: f64,
}

fn predictions(world: &mut World, size: Size) -> Vec<Prediction> {
    let mut out = Vec::new();
    // Labels that say nothing over offsets have draws of their own, so that the others stay what they are.
    let mut apart = World::new(size.rows);
    let powers: Vec<f64> = MODELS[..size.models].iter().map(|m| m.2).chain(size.whole.then_some(0.25)).collect();
    for (model, power) in powers.iter().enumerate() {
        for (condition, (_, _, factor)) in CONDITIONS[..size.conditions].iter().enumerate() {
            for layer in (0..=size.layers).map(Layer::Block).chain([Layer::Final]) {
                let cell = Cell { model, condition, layer, strength: power * factor * at_layer(layer, size.layers) };
                of_cell(world, size, &cell, &mut out);
                for offset in OFFSETS[1..size.offsets].iter().filter(|_| size.whole) {
                    let shuffled = push(&mut apart, &cell, "logistic", ReadOut::at(*offset), 0.0);
                    out.push(Prediction { control: Some(Control::ShuffledLabels), ..shuffled });
                }
            }
        }
    }
    out.extend(beside::baselines(world, size));
    out
}

fn of_cell(world: &mut World, size: Size, cell: &Cell, out: &mut Vec<Prediction>) {
    let contexts: &[Context] = match (size.whole, size.masked) {
        (true, _) => &[Context::MaskedPrompt, Context::ShuffledReply, Context::Filler],
        (false, true) => &[Context::MaskedPrompt],
        (false, false) => &[],
    };
    for offset in OFFSETS[..size.offsets].iter().copied() {
        let home = push(world, cell, "logistic", ReadOut::at(offset), 1.0);
        out.push(home.clone());
        if offset > 0 {
            for context in contexts {
                out.push(push(world, cell, "logistic", ReadOut { context: *context, ..ReadOut::at(offset) }, 1.0));
            }
        }
        if !size.whole {
            continue;
        }
        out.push(push(world, cell, "offset-mlp", ReadOut::at(offset), 0.96));
        if offset > 0 {
            out.push(Prediction { fitted_at: Some(ReadOut::LAST), ..push(world, cell, "logistic", ReadOut::at(offset), 0.8) });
        }
    }
    if size.mlp {
        out.extend([0, 1].map(|seed| Prediction { seed, ..push(world, cell, "mlp", ReadOut::LAST, 1.04) }));
    }
    if size.whole {
        for (control, extra) in [(Control::ShuffledLabels, 0.0), (Control::RandomDirection, 0.35)] {
            out.push(Prediction { control: Some(control), ..push(world, cell, "logistic", ReadOut::LAST, extra) });
        }
        for from in (0..size.conditions).filter(|from| *from != cell.condition) {
            let far = 0.55 + 0.1 * (from as f64 - cell.condition as f64).abs();
            out.push(Prediction { fitted_condition: Some(from), ..push(world, cell, "logistic", ReadOut::LAST, 1.2 - far) });
        }
    }
}

fn push(world: &mut World, cell: &Cell, probe: &str, read_out: ReadOut, extra: f64) -> Prediction {
    let (kept, fade) = of_context(read_out.context);
    let strength = |class: usize| cell.strength * kept * extra * 0.5_f64.powf(f64::from(read_out.offset) / (HALF_LIVES[class] * fade));
    let uniform = 3_360.0 * 7.0_f64.log2();
    Prediction {
        model: Some(cell.model),
        layer: Some(cell.layer),
        condition: Some(cell.condition),
        read_out: Some(read_out),
        probe: Arc::from(probe),
        seed: 0,
        sampling_seed: None,
        control: None,
        fitted_condition: None,
        fitted_at: None,
        fit: Some(Fit {
            train: 100,
            validation_score: None,
            commonest: None,
            validation_loss: Some(2.2 - cell.strength * kept * extra * 0.8),
            strength: (probe == "logistic").then_some(0.1),
            converged: true,
            absent: None,
            mdl: (probe == "logistic").then(|| Mdl { bits: uniform / (1.0 + 0.5 * cell.strength * kept * extra), uniform_bits: uniform }),
        }),
        unreadable: Vec::new(),
        values: Deferred::held(world.probabilities(read_out.offset, strength)),
    }
}
