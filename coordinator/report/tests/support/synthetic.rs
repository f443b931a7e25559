//! A synthetic study with a planted signal: bigger models, middle layers and the raw condition know more; the signal
//! fades over offsets, faster when the prompt is masked, and at a speed that depends on the class.

use limbic_proto::axis::{Context, Layer, Pooling, ReadOut};
use limbic_proto::spec::ReportSpec;
use limbic_proto::unit::{FitName, FitRecord, UnitKind};
use limbic_report::{ConditionEntry, ModelEntry, Prediction, Quarantined, Run, Study, TestRow};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

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
}

/// What the demo page shows.
pub const DEMO: Size = Size { models: 3, layers: 8, conditions: 4, offsets: 9, rows: 420, masked: true, mlp: true };

const CLASSES: [&str; 7] = ["anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral"];
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
                out.extend([0.0; 7]);
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

/// The study; the same size gives the same study.
pub fn study(size: Size) -> Study {
    let mut world = World::new(size.rows);
    let test = (0..size.rows)
        .map(|r| TestRow {
            id: format!("row-{r:04}"),
            text: format!("utterance {r}"),
            class: world.truth[r] as u32,
            group: format!("thread-{:03}", r / 2),
        })
        .collect();
    let models = MODELS[..size.models].iter().enumerate().map(|(i, (name, parameters, _))| ModelEntry {
        name: (*name).to_owned(),
        source: format!("hf://example/{name}@5f0c2d1"),
        digest: format!("{:064x}", 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(i as u64 + 1)),
        parameters: *parameters,
        layers: size.layers,
        hidden: 1024 << i.min(2),
        dtype: "f32".to_owned(),
    });
    let conditions = CONDITIONS[..size.conditions].iter();
    let conditions = conditions.map(|(name, what, _)| ConditionEntry { name: (*name).to_owned(), description: (*what).to_owned() });
    let mut study = Study {
        sweep: "3f9a1c07d2e84b56".to_owned(),
        title: "A planted signal".to_owned(),
        classes: CLASSES.map(str::to_owned).to_vec(),
        test,
        models: models.collect(),
        conditions: conditions.collect(),
        predictions: predictions(&mut world, size),
        runs: runs(size),
        options: ReportSpec::default(),
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

fn predictions(world: &mut World, size: Size) -> Vec<Prediction> {
    let mut out = Vec::new();
    for (model, (_, _, power)) in MODELS[..size.models].iter().enumerate() {
        for (condition, (_, _, factor)) in CONDITIONS[..size.conditions].iter().enumerate() {
            for layer in (0..=size.layers).map(Layer::Block).chain([Layer::Final]) {
                let depth = layer.depth(size.layers);
                let at_layer = if depth == 0.0 { 0.05 } else { 0.35 + 0.65 * (1.0 - ((depth - 0.65) / 0.65).powi(2)) };
                let mut push = |world: &mut World, probe: &str, read_out: ReadOut, seed: u64, extra: f64| {
                    let kept = if read_out.context == Context::Full { 1.0 } else { 0.55 };
                    let fade = if read_out.context == Context::Full { 1.0 } else { 0.4 };
                    let strength = |class: usize| {
                        power * factor * at_layer * kept * extra * 0.5_f64.powf(f64::from(read_out.offset) / (HALF_LIVES[class] * fade))
                    };
                    let probabilities = world.probabilities(read_out.offset, strength);
                    let validation_log_loss = Some(2.2 - power * factor * at_layer * kept * extra * 0.8);
                    let fit = FitRecord {
                        name: FitName::new(probe, Some(read_out), seed),
                        train: 3_360,
                        validation: 420,
                        test: size.rows,
                        strength: (probe == "logistic").then_some(0.1),
                        validation_log_loss,
                        iterations: 57,
                        converged: true,
                        absent: None,
                        mdl: None,
                    };
                    out.push(Prediction {
                        model: Some(model),
                        layer: Some(layer),
                        condition: Some(condition),
                        read_out: Some(read_out),
                        probe: probe.to_owned(),
                        seed,
                        fit: Some(fit),
                        probabilities,
                    });
                };
                for offset in OFFSETS[..size.offsets].iter().copied() {
                    push(world, "logistic", ReadOut::at(offset), 0, 1.0);
                    if size.masked && offset > 0 {
                        push(world, "logistic", ReadOut { offset, pooling: Pooling::Last, context: Context::MaskedPrompt }, 0, 1.0);
                    }
                }
                if size.mlp {
                    push(world, "mlp", ReadOut::LAST, 0, 1.04);
                    push(world, "mlp", ReadOut::LAST, 1, 1.04);
                }
            }
        }
    }
    let plain = |probe: &str, model: Option<usize>, probabilities: Vec<f32>| Prediction {
        model,
        layer: None,
        condition: None,
        read_out: None,
        probe: probe.to_owned(),
        seed: 0,
        fit: None,
        probabilities,
    };
    out.push(plain("majority", None, [0.1429, 0.1428, 0.1428, 0.1429, 0.1428, 0.1428, 0.143].repeat(size.rows)));
    out.push(plain("bag-of-words", None, world.probabilities(0, |_| 0.95)));
    for (model, (_, _, power)) in MODELS[..size.models].iter().enumerate() {
        out.push(plain("zero-shot", Some(model), world.probabilities(0, |_| 1.5 * power - 1.35)));
    }
    out
}

fn runs(size: Size) -> Vec<Run> {
    let mut runs = Vec::new();
    for (model, (name, parameters, _)) in MODELS[..size.models].iter().enumerate() {
        for (kind, units, seconds, tokens, bytes) in [
            (UnitKind::Extract, 8, 94.0, 1_900_000, 310_000_000),
            (UnitKind::Fit, 10, 21.0, 0, 2_400_000),
            (UnitKind::Prompt, 2, 33.0, 240_000, 90_000),
        ] {
            for unit in 0..units {
                runs.push(Run {
                    unit: format!("{model:02x}{unit:02x}{:060x}", kind as u64 + 1),
                    kind,
                    model: Some(model),
                    condition: (kind != UnitKind::Prompt).then_some(0),
                    title: format!("{} {name} {unit}", kind.as_str()),
                    attempt: format!("a{model}{unit}"),
                    worker: format!("worker-{}", unit % 2),
                    device: "cpu".to_owned(),
                    seconds: seconds * (*parameters as f64 / 1e9).sqrt() * (1.0 + 0.02 * f64::from(unit)),
                    tokens,
                    bytes,
                    counts: [("rows".to_owned(), 512)].into(),
                });
            }
        }
    }
    runs
}
