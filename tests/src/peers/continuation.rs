//! Replies of 64 tokens, read at nine offsets and every layer: while decoding, beside `generate` and a second pass.

use std::cell::RefCell;
use std::time::Instant;

use limbic_engine::{Continuation, Request};
use limbic_proto::axis::ReadOut;
use serde_json::{Value, json};

use super::comparison::{Comparison, Contender, alternate};
use super::stage::{Stage, budget, cores, prompts, spaced};

/// Tokens of every reply.
const TOKENS: usize = 64;
/// Where states are read; 0 is the prompt's last token.
const OFFSETS: [u32; 9] = [0, 1, 2, 4, 8, 16, 32, 48, 64];

/// Greedy replies of both sides.
pub(super) fn continuation(stage: &Stage) -> anyhow::Result<Comparison> {
    let texts: Vec<&str> = stage.rows.iter().map(|row| row.text.as_str()).collect();
    let texts = spaced(&texts, stage.continuation_rows);
    let raw = limbic_proto::spec::Prompt::Template(limbic_proto::spec::TEXT.to_owned());
    let prompts = prompts(&stage.model, &raw, &texts, TOKENS)?;
    let mut request = Request::new(stage.layers(), OFFSETS.map(ReadOut::at).to_vec());
    request.batch_tokens = Some(budget());
    request.continuation = Some(Continuation::Generated { tokens: TOKENS, temperature: 0.0, seeds: Vec::new(), stop_at_eos: false });
    let (ours, theirs) = (RefCell::new(Vec::new()), RefCell::new(Value::Null));
    let mut contenders = vec![Contender::new("Limbic, f32", || {
        let began = Instant::now();
        let found = stage.extract(&prompts, &request)?;
        let seconds = began.elapsed().as_secs_f64();
        ours.replace(found.replies);
        Ok(seconds)
    })];
    let ids = stage.write_ids("continued.json", &prompts)?;
    if let Some(peer) = &stage.peer {
        peer.ask(&json!({"task": "load", "dtype": "float32"}))?;
        let ask = json!({"task": "continuation", "dtype": "float32", "rows": ids, "batch": stage.peer_batch, "tokens": TOKENS, "offsets": OFFSETS});
        let theirs = &theirs;
        let run = move || {
            let answer = peer.ask(&ask)?;
            let seconds = answer["seconds"].as_f64().unwrap_or(f64::NAN);
            theirs.replace(answer);
            Ok(seconds)
        };
        contenders.push(Contender::new("transformers, f32: generate, then a second pass", run));
    }
    let lines = alternate(stage.rounds, contenders)?;
    let (ours, theirs) = (ours.into_inner(), theirs.into_inner());
    let mut facts = Vec::new();
    if stage.peer.is_some() {
        let replies: Vec<Vec<u32>> = serde_json::from_value(theirs["replies"].clone())?;
        let same = ours.iter().zip(&replies).filter(|(a, b)| a == b).count();
        facts.push(("replies that are the same token by token, %", json!(100.0 * same as f64 / ours.len() as f64)));
        facts.push(("seconds of generate in the last round", theirs["generating"].clone()));
        facts.push(("seconds of the second pass in the last round", theirs["reading"].clone()));
    }
    let about = format!(
        "Greedy replies of {TOKENS} tokens to {} prompts, and the states of {} layers at the offsets {OFFSETS:?}, on {} cores. Limbic reads \
         them while decoding, in batches of {} tokens; transformers generates in batches of {} rows sorted by length and reads them in \
         a second pass. Replies don't end early on either side.",
        prompts.len(),
        stage.layers().len(),
        cores(),
        budget(),
        stage.peer_batch
    );
    let work = Some(((prompts.len() * TOKENS) as f64, "reply tokens"));
    Ok(Comparison { name: "continuation", about, unit: "s", work, lines, facts })
}
