//! The last token's state at every layer: beside transformers, beside the machine's ceiling, beside a pass per layer.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use limbic_engine::{Extraction, Model, Placement};
use serde_json::{Value, json};

use super::ceiling::{bf16_flops_per_second, flops_per_second};
use super::comparison::{Comparison, Contender, Line, alternate};
use super::stage::{Stage, cores, spaced};

/// Tokens that the naive pattern pads every row to.
const PADDED: usize = 128;
/// How much of the naive pattern is run.
const NAIVE_ROWS: usize = 64;
const NAIVE_LAYERS: usize = 2;

fn ours(stage: &Stage, model: &Model) -> anyhow::Result<f64> {
    let began = Instant::now();
    std::hint::black_box(stage.extract_with(model, &stage.prompts, &stage.request())?);
    Ok(began.elapsed().as_secs_f64())
}

/// In f32 and bf16, beside the peer in both and the ceilings.
pub(super) fn extract(stage: &Stage) -> anyhow::Result<Comparison> {
    let rounded = stage.load(&Placement::cpu_bf16())?;
    let (tokens, flops) = (stage.tokens() as f64, stage.model.architecture().flops_per_token(0) as f64);
    // What rows begin with alike is run once, so there is less to multiply.
    let ran = stage.states()?.tokens as f64;
    let mut contenders = vec![
        Contender::new("Limbic, f32", || ours(stage, &stage.model)),
        Contender::new("ceiling: the same multiplications as large f32 products", || Ok(ran * flops / flops_per_second())),
        Contender::new("Limbic, bf16", || ours(stage, &rounded)),
    ];
    let swift = bf16_flops_per_second().is_some();
    if swift {
        contenders.push(Contender::new("ceiling: the same multiplications as `vdpbf16ps` alone", || {
            Ok(ran * flops / bf16_flops_per_second().context("the processor had AVX512-BF16 before")?)
        }));
    }
    let ids = stage.write_ids("ids.json", &stage.prompts)?;
    let formats = [("float32", "f32"), ("bfloat16", "bf16")];
    let out = |format: &str| stage.path(&format!("{format}.states"));
    if let Some(peer) = &stage.peer {
        for (format, short) in formats {
            peer.ask(&json!({"task": "load", "dtype": format}))?;
            let ask = json!({"task": "extract", "dtype": format, "rows": ids, "batch": stage.peer_batch, "out": out(format)});
            contenders.push(Contender::new(format!("transformers, {short}"), move || peer.seconds(&ask)));
        }
    }
    let lines = alternate(stage.rounds, contenders)?;
    let ceiling = &lines[1];
    let mut facts = vec![
        ("tokens that Limbic runs", json!(ran)),
        ("operations of the matrices a token, MFLOP", json!(flops / 1e6)),
        ("ceiling, GFLOP/s", json!(ran * flops / ceiling.median() / 1e9)),
        ("share of the ceiling, %", json!(100.0 * ceiling.median() / lines[0].median())),
    ];
    if swift {
        let ceiling = &lines[3];
        facts.push(("ceiling of bf16, GFLOP/s", json!(ran * flops / ceiling.median() / 1e9)));
        facts.push(("share of the ceiling of bf16, %", json!(100.0 * ceiling.median() / lines[2].median())));
    }
    let reference = stage.states()?;
    let (most, mean) = difference(reference, &interleaved(&stage.extract_with(&rounded, &stage.prompts, &stage.request())?))?;
    facts.push(("distance of our bf16 from our f32, at most", json!(most)));
    facts.push(("distance of our bf16 from our f32, mean", json!(mean)));
    if stage.peer.is_some() {
        let names = [
            ("distance of transformers f32 from our f32, at most", "distance of transformers f32 from our f32, mean"),
            ("distance of transformers bf16 from our f32, at most", "distance of transformers bf16 from our f32, mean"),
        ];
        for ((format, _), (at_most, mean_name)) in formats.into_iter().zip(names) {
            let (most, mean) = difference(reference, &peers_states(&out(format))?)?;
            facts.extend([(at_most, json!(most)), (mean_name, json!(mean))]);
        }
    }
    facts.push(("a distance is", "that of two states over the length of one".into()));
    let about = format!(
        "The last token's state at {} layers of {} rows, {tokens} tokens, on {} cores. Limbic: the engine in this process with batches of \
         {} tokens. transformers: one pass a batch with output_hidden_states, batches of {} rows sorted by length. Loading and \
         tokenizing are left out on both sides.",
        stage.layers().len(),
        stage.rows.len(),
        cores(),
        super::stage::budget(),
        stage.peer_batch
    );
    Ok(Comparison { name: "extract", about, unit: "s", work: Some((tokens, "tokens")), lines, facts })
}

/// States in the peer's order, `[rows, layers, d]`.
pub(super) fn interleaved(found: &Extraction) -> Vec<f32> {
    let rows = found.states[0].values.len() / found.width;
    (0..rows).flat_map(|row| found.states.iter().flat_map(move |s| &s.values[row * found.width..][..found.width])).copied().collect()
}

/// The peer's states, `[rows, layers, d]`.
pub(super) fn peers_states(path: &Path) -> anyhow::Result<Vec<f32>> {
    Ok(std::fs::read(path)?.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// How far states, `[rows, layers, d]`, are from ours in f32, over the length of ours: at most and in the mean over all rows and
/// layers.
pub(super) fn difference(ours: &Extraction, theirs: &[f32]) -> anyhow::Result<(f64, f64)> {
    let (width, layers, rows) = (ours.width, ours.states.len(), ours.states[0].values.len() / ours.width);
    anyhow::ensure!(theirs.len() == rows * layers * width, "there are {} numbers of states", theirs.len());
    let length = |squares: f64| squares.sqrt().max(f64::MIN_POSITIVE);
    let (mut most, mut sum) = (0f64, 0f64);
    for (layer, states) in ours.states.iter().enumerate() {
        for (row, ours) in states.values.chunks_exact(width).enumerate() {
            let theirs = &theirs[(row * layers + layer) * width..][..width];
            let apart: f64 = ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
            let own: f64 = ours.iter().map(|v| f64::from(*v).powi(2)).sum();
            let off = apart.sqrt() / length(own);
            (most, sum) = (most.max(off), sum + off);
        }
    }
    Ok((most, sum / (rows * layers) as f64))
}

/// Beside a pass per layer.
pub(super) fn naive(stage: &Stage) -> anyhow::Result<Comparison> {
    let mut contenders = vec![Contender::new("Limbic, f32", || ours(stage, &stage.model))];
    let (rows, layers) = (spaced(&stage.prompts, NAIVE_ROWS), spaced(&(0..stage.layers().len()).collect::<Vec<_>>(), NAIVE_LAYERS));
    let ids = stage.write_ids("naive.json", &rows)?;
    let times = (stage.layers().len() * stage.rows.len()) as f64 / (layers.len() * rows.len()) as f64;
    let mut facts: Vec<(&str, Value)> = Vec::new();
    if let Some(peer) = &stage.peer {
        peer.ask(&json!({"task": "load", "dtype": "float32"}))?;
        let ask = json!({"task": "naive", "dtype": "float32", "rows": ids, "batch": stage.peer_batch, "width": PADDED, "layers": layers});
        let run = move || Ok(peer.seconds(&ask)? * times);
        contenders.push(Contender::new(format!("a pass per layer, padded to {PADDED} (extrapolated)"), run));
        let measured = format!("{} layers of {} rows; the rest is extrapolated, {times:.1} times as much", layers.len(), rows.len());
        facts.push(("measured of the pass per layer", measured.into()));
    }
    let lines: Vec<Line> = alternate(stage.rounds, contenders)?;
    let about = format!(
        "The same states by what many published scripts do: transformers in f32, a pass of its own for each of {} layers, every row \
         padded to {PADDED} tokens, batches of {}.",
        stage.layers().len(),
        stage.peer_batch
    );
    Ok(Comparison { name: "naive", about, unit: "s", work: Some((stage.tokens() as f64, "tokens")), lines, facts })
}
