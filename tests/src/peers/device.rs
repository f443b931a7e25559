//! The last token's state at every layer in bf16 on one device: beside transformers on the same, and beside what it multiplies at most.

use std::time::Instant;

use anyhow::Context;
use limbic_engine::{Placement, Request};
use serde_json::json;

use super::ceiling::device_flops_per_second;
use super::comparison::{Comparison, Contender, alternate};
use super::extraction::{difference, interleaved, peers_states};
use super::stage::{Stage, spaced};

/// Rows whose states are compared with those of the processor in f32, which takes long where a model is large.
const REFERENCE: usize = 16;

/// Where `--device` is.
fn placement(device: &str) -> anyhow::Result<Placement> {
    match device.strip_prefix("cuda:").map(str::parse) {
        None if device == "cpu" => Ok(Placement::cpu_bf16()),
        Some(Ok(number)) => Placement::cuda(number).with_context(|| format!("--device {device}")),
        _ => anyhow::bail!("--device {device}: write cpu, or cuda:N such as cuda:0"),
    }
}

/// In bf16, beside the peer and the device's ceiling.
pub(super) fn device(stage: &Stage) -> anyhow::Result<Comparison> {
    let device = stage.device.as_str();
    let placement = placement(device)?;
    let ceiling = device_flops_per_second(device)?;
    let model = stage.load(&placement)?;
    let (tokens, flops) = (stage.tokens() as f64, model.architecture().flops_per_token(0) as f64);
    let request = Request { batch_tokens: Some(stage.device_tokens), ..stage.request() };
    // Nobody's first run is timed: devices compile and allocate then.
    let ran = stage.extract_with(&model, &stage.prompts, &request)?.tokens as f64;
    let mut contenders = vec![Contender::new(format!("Limbic, bf16, {device}"), || {
        let began = Instant::now();
        std::hint::black_box(stage.extract_with(&model, &stage.prompts, &request)?);
        Ok(began.elapsed().as_secs_f64())
    })];
    if ceiling.is_some() {
        contenders.push(Contender::new("ceiling: the same multiplications as large bf16 products", || {
            Ok(ran * flops / device_flops_per_second(device)?.context("it was measured before")?)
        }));
    }
    let ask = |rows: &std::path::Path, out: Option<&std::path::Path>| json!({"task": "extract", "dtype": "bfloat16", "device": device, "rows": rows, "batch": stage.peer_batch, "out": out});
    if let Some(peer) = &stage.peer {
        let ask = ask(&stage.write_ids("ids.json", &stage.prompts)?, None);
        peer.seconds(&ask)?;
        contenders.push(Contender::new(format!("transformers, bf16, {device}"), move || peer.seconds(&ask)));
    }
    let lines = alternate(stage.rounds, contenders)?;
    let mut facts = vec![("tokens that Limbic runs", json!(ran)), ("operations of the matrices a token, MFLOP", json!(flops / 1e6))];
    if ceiling.is_some() {
        facts.push(("ceiling, TFLOP/s", json!(ran * flops / lines[1].median() / 1e12)));
        facts.push(("share of the ceiling, %", json!(100.0 * lines[1].median() / lines[0].median())));
    }
    let some = spaced(&stage.prompts, REFERENCE);
    let reference = stage.extract(&some, &stage.request())?;
    let (most, mean) = difference(&reference, &interleaved(&stage.extract_with(&model, &some, &request)?))?;
    facts.push(("rows compared with f32 on the processor", json!(some.len())));
    facts.push(("distance of ours from that, at most", json!(most)));
    facts.push(("distance of ours from that, mean", json!(mean)));
    // A model that is drawn is another one there.
    if let Some(peer) = stage.peer.as_ref().filter(|_| !stage.blank) {
        let out = stage.path("device.states");
        peer.seconds(&ask(&stage.write_ids("some.json", &some)?, Some(&out)))?;
        let (most, mean) = difference(&reference, &peers_states(&out)?)?;
        facts.push(("distance of transformers from that, at most", json!(most)));
        facts.push(("distance of transformers from that, mean", json!(mean)));
    }
    let about = format!(
        "The last token's state at {} layers of {} rows, {tokens} tokens, in bf16 on {device}, {}. Limbic: batches of {} tokens. \
         transformers: sdpa, one pass a batch with output_hidden_states, batches of {} rows sorted by length. Loading, tokenizing and \
         a first run of each are left out.",
        stage.layers().len(),
        stage.rows.len(),
        if stage.blank { "weights drawn from a seed" } else { "the model's own weights" },
        stage.device_tokens,
        stage.peer_batch
    );
    Ok(Comparison { name: "device", about, unit: "s", work: Some((tokens, "tokens")), lines, facts })
}
