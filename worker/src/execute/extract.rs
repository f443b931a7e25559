//! Extract units: hidden states of some rows under one condition.

use bytes::Bytes;
use limbic_engine::{Continuation, Extraction, Loaded, Request, RowPolicy, partners};
use limbic_proto::axis::Context;
use limbic_proto::key::Digest;
use limbic_proto::rows::Row;
use limbic_proto::spec;
use limbic_proto::unit::{ExtractUnit, RowTokens, STATES, TOKENS, Unit};

use super::blocks::{self, Found};
use super::moments::Gathered;
use super::passes::{RowPrompts, Text, words};
use super::{Advice, ExecuteError, Output, UnitRows};
use crate::inputs::Parts;
use crate::machine::part_of_memory;
use crate::progress::Progress;
use crate::tensors::TensorFile;

/// Computes the unit's states and tokens.
pub(super) fn extract(
    spec: &ExtractUnit,
    unit: &Unit,
    model: &dyn Loaded,
    all: &UnitRows,
    parts: &Parts<'_>,
    progress: &Progress,
) -> Result<Output, ExecuteError> {
    let rows = all.slice();
    let asked = spec.continuation.as_ref();
    let reads = |context| spec.read_outs.iter().any(|r| r.context == context);
    let filler = match asked.and_then(|c| c.filler.as_deref().map(|text| (text, c.tokens))) {
        Some((text, tokens)) => filler(model, &spec.prompt, text, tokens)?,
        None => Vec::new(),
    };
    let instead = asked.is_some_and(|c| c.instead().is_some());
    let reply = if instead { 0 } else { asked.and_then(|c| c.tokens).unwrap_or(0) as usize };
    let policy = RowPolicy { too_long: spec.too_long, bad_rows: spec.bad_rows };
    let mut prompts = RowPrompts::new(model, spec.model.dtype, &spec.prompt, Text::of(rows), reply.max(filler.len()), policy)?;
    let request = Request {
        layers: spec.layers.clone(),
        read_outs: spec.read_outs.clone(),
        continuation: asked.map(|c| match instead {
            true => Continuation::Given(vec![filler.clone(); prompts.built.prompts.len()]),
            false => generated(c, spec, &prompts),
        }),
        partners: if reads(Context::ShuffledReply) { partners(&prompts.ids()) } else { Vec::new() },
        filler: if reads(Context::Filler) { filler } else { Vec::new() },
        batch_tokens: Some(unit.hints.token_budget),
        bad_rows: spec.bad_rows,
    };
    let of_prompts = prompts.built.rows.clone();
    let threads = if model.device() == "cpu" { rayon::current_num_threads() } else { usize::MAX };
    let (width, memory) = (model.architecture().hidden, part_of_memory(threads));
    let mut moments = spec.moments.map(|_| Gathered::new(all, &of_prompts, &request, width, memory)).transpose()?;
    let found = blocks::extract(model, &prompts.built.prompts, &request, parts, moments.as_mut(), progress);
    let found = found.map_err(|stopped| stopped.of(&prompts))?;
    prompts.leave_out(&found.whole.bad);
    let words = if instead { Vec::new() } else { words(model, &found.whole.replies)? };
    output(&prompts, rows, &request, found, moments, words)
}

/// The filler's tokens, at most as many as are asked for.
fn filler(model: &dyn Loaded, prompt: &spec::Prompt, text: &str, tokens: Option<u32>) -> Result<Vec<u32>, ExecuteError> {
    let mut ids = model.following(prompt, text).map_err(|e| ExecuteError::Engine {
        what: "tokenizing the filler text".to_owned(),
        message: e.to_string(),
        advice: Advice::Reject,
    })?;
    ids.truncate(tokens.map_or(usize::MAX, |t| t as usize));
    Ok(ids)
}

fn generated(asked: &spec::Continuation, unit: &ExtractUnit, prompts: &RowPrompts<'_>) -> Continuation {
    // Each row's own seed depends on the asked seed, the row and the condition, so not on the unit the row is in.
    let seed = |id: &str| Digest::of_json(&("sample", asked.seed.unwrap_or_default(), id, &unit.prompt)).seed();
    Continuation::Generated {
        tokens: asked.tokens.unwrap_or(0) as usize,
        temperature: asked.temperature,
        seeds: if asked.temperature > 0.0 { prompts.ids().into_iter().map(seed).collect() } else { Vec::new() },
        stop_at_eos: asked.stop_at_eos,
    }
}

fn output(
    prompts: &RowPrompts<'_>,
    rows: &[Row],
    request: &Request,
    found: Found,
    moments: Option<Gathered<'_>>,
    words: Vec<String>,
) -> Result<Output, ExecuteError> {
    let resumed = found.resumed as u64;
    let Extraction { width, states, replies, shuffled, fillers, tokens, memory_retries, .. } = found.whole;
    let mut file = TensorFile::default();
    let names: Vec<String> = states.iter().map(|state| state.read_out.tensor(state.layer)).collect();
    for (name, state) in names.iter().zip(states) {
        match &moments {
            Some(moments) => file.f32(name, vec![moments.held(), width], state.values),
            None => file.f32(name, vec![rows.len(), width], prompts.scatter(state.values, width)),
        }
    }
    if let Some(moments) = moments {
        moments.write(&names, &mut file);
    }
    file.i64("prompt_tokens", vec![rows.len()], prompts.tokens());
    let lengths: Vec<usize> = replies.iter().map(Vec::len).collect();
    let reply_tokens: usize = lengths.iter().sum();
    for (context, lengths) in [(Context::Full, lengths), (Context::ShuffledReply, shuffled), (Context::Filler, fillers)] {
        // The reply's own is there even where nothing is read of it.
        if context == Context::Full || request.read_outs.iter().any(|r| r.context == context) {
            let lengths = lengths.into_iter().map(|n| n as i64).collect();
            file.i64(context.lengths(), vec![rows.len()], prompts.scatter(lengths, 1));
        }
    }
    let prompt_tokens: i64 = prompts.tokens().iter().sum();
    let counts = prompts.counts([
        ("prompt_tokens", prompt_tokens as u64),
        ("reply_tokens", reply_tokens as u64),
        ("memory_retries", memory_retries),
        ("resumed_rows", resumed),
    ]);
    let row_tokens = row_tokens(prompts, rows, replies, words);
    let json = Bytes::from(serde_json::to_vec(&row_tokens).expect("tokens serialize"));
    Ok(Output { artifacts: vec![(STATES, file.content()?), (TOKENS, json.into())], tokens, counts, ..Output::default() })
}

fn row_tokens(prompts: &RowPrompts<'_>, rows: &[Row], mut replies: Vec<Vec<u32>>, mut words: Vec<String>) -> Vec<RowTokens> {
    let skipped = |row: &Row| RowTokens {
        id: row.id.clone(),
        prompt: Vec::new(),
        utterance: (0, 0),
        utterance_bytes: (0, 0),
        reply: Vec::new(),
        reply_text: String::new(),
    };
    let mut out: Vec<RowTokens> = rows.iter().map(skipped).collect();
    for (index, (prompt, row)) in prompts.built.prompts.iter().zip(&prompts.built.rows).enumerate() {
        if prompts.bad.contains(&index) {
            continue;
        }
        // The engine counts characters.
        let at = |chars: usize| prompt.text.char_indices().nth(chars).map_or(prompt.text.len(), |(byte, _)| byte);
        let entry = &mut out[*row];
        entry.prompt.clone_from(&prompt.ids);
        entry.utterance = (prompt.utterance_tokens.start, prompt.utterance_tokens.end);
        entry.utterance_bytes = (at(prompt.utterance_chars.start), at(prompt.utterance_chars.end));
        entry.reply = replies.get_mut(index).map(std::mem::take).unwrap_or_default();
        entry.reply_text = words.get_mut(index).map(std::mem::take).unwrap_or_default();
    }
    out
}
