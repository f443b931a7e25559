//! What a study has beside probes: baselines, verdicts, runs.

use std::collections::BTreeSet;

use limbic_proto::key::UnitKey;
use limbic_proto::unit::UnitKind;
use limbic_report::{Deferred, Prediction, Run, Verdicts};
use rand::Rng;

use super::{CONDITIONS, MODELS, Size, World};

pub fn baselines(world: &mut World, size: Size) -> Vec<Prediction> {
    let rows = world.truth.len();
    let mut out = Vec::new();
    let mut push =
        |probe: &str, model: Option<usize>, values: Vec<f32>| out.push(Prediction::baseline(probe, model, Deferred::held(values)));
    push("majority", None, [0.1429, 0.1428, 0.1428, 0.1429, 0.1428, 0.1428, 0.143].repeat(rows));
    push("bag-of-words", None, world.probabilities(0, |_| 0.95));
    for (model, (_, _, power)) in MODELS[..size.models].iter().enumerate() {
        push("zero-shot", Some(model), world.probabilities(0, |_| 1.5 * power - 1.35));
        if size.whole {
            push("mean-embedding", Some(model), world.probabilities(0, |_| 0.4 * power));
            push("zero-shot-mean", Some(model), world.probabilities(0, |_| 1.4 * power - 1.35));
            push("zero-shot-calibrated", Some(model), world.probabilities(0, |_| 1.6 * power - 1.35));
        }
    }
    if size.whole {
        for (model, (_, _, power)) in MODELS[..size.models].iter().enumerate() {
            let mut values = world.probabilities(0, |_| 1.3 * power - 1.2);
            let mut unreadable = Vec::new();
            for (row, of_row) in values.chunks_exact_mut(7).enumerate() {
                let best = (0..7).max_by(|a, b| of_row[*a].total_cmp(&of_row[*b])).expect("seven classes");
                let read = world.rng.random::<f64>() < 0.5 + 0.2 * power;
                of_row.iter_mut().enumerate().for_each(|(c, v)| *v = if read { f32::from(u8::from(c == best)) } else { f32::NAN });
                if !read {
                    unreadable.push(row as u32);
                }
            }
            out.push(Prediction { unreadable, ..Prediction::baseline("zero-shot-json", Some(model), Deferred::held(values)) });
        }
    }
    out
}

/// The unit whose replies to all rows are judged.
pub fn read(model: usize, condition: usize) -> UnitKey {
    UnitKey::of(&[model as u8, condition as u8])
}

/// The largest model judges; the emotional prompt drives replies away from the utterance's label.
pub fn verdicts(world: &mut World, size: Size) -> Vec<Verdicts> {
    let judge = size.models - 1;
    let mut out = Vec::new();
    for model in 0..size.models {
        for (condition, (_, _, factor)) in CONDITIONS[..size.conditions].iter().enumerate() {
            let values = world.probabilities(0, |class| 1.3 * factor.powi(3) * if class == 3 { 1.4 } else { 0.9 });
            let replies = BTreeSet::from([read(model, condition)]);
            out.push(Verdicts { judge, model, condition, sampling_seed: None, replies, values });
        }
    }
    out
}

pub fn runs(size: Size) -> Vec<Run> {
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
                    judge: None,
                    sampling_seed: None,
                    title: format!("{} {name} {unit}", kind.as_str()),
                    attempt: format!("a{model}{unit}"),
                    worker: format!("worker-{}", unit % 2),
                    software: "0.1.0".to_owned(),
                    device: if size.whole && kind == UnitKind::Extract { "cuda:0" } else { "cpu" }.to_owned(),
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
