//! Judge units: how likely a model finds each label after a question about a reply.

mod kept;
mod verdicts;

use std::collections::BTreeMap;

use limbic_engine::{Labels, Loaded, RowPolicy};
use limbic_proto::key::Digest;
use limbic_proto::unit::{JudgeUnit, RowTokens, SCORES};

use super::passes::{Follower, RowPrompts, Text};
use super::prompt::{calibration, labels, longest};
use super::{ExecuteError, Output};
use crate::inputs::Inputs;
use crate::progress::Progress;
use crate::tensors::TensorFile;
use verdicts::Verdict;
pub(super) use verdicts::Verdicts;

/// Computes the unit's scores. A reply that was given before, in this unit or in another one, here or wherever somebody left its
/// verdict in the store, is not judged again. Of a unit that was asked for again, all are.
///
/// Rows whose reply is empty or white space have no verdict.
pub(super) fn judge(
    spec: &JudgeUnit,
    budget: usize,
    model: &dyn Loaded,
    replies: &[RowTokens],
    inputs: &Inputs,
    verdicts: &mut Verdicts,
    progress: &Progress,
) -> Result<Output, ExecuteError> {
    let labels = labels(model, &spec.prompt, &spec.answers)?;
    let asked = asked(spec, model.device());
    let spoken = || replies.iter().filter(|reply| !reply.reply_text.trim().is_empty());
    let said: BTreeMap<&str, &str> = spoken().rev().map(|reply| (reply.reply_text.as_str(), reply.id.as_str())).collect();
    let kept = inputs.verdicts(asked);
    let own = Digest::of_json(&said.keys().collect::<Vec<_>>()).hex();
    if !kept.anew() {
        let keys: Vec<Digest> = said.keys().map(|text| key(&asked, text)).collect();
        verdicts.fetch(&kept, &own, &keys, labels.len());
    }
    let known = |text: &str| if kept.anew() { None } else { verdicts.get(&key(&asked, text)).cloned() };
    let mut found: BTreeMap<&str, Option<Verdict>> = said.keys().map(|text| (*text, known(text))).collect();
    let new: Vec<Text<'_>> = said.iter().map(|(&text, &id)| Text { id, text }).filter(|new| found[new.text].is_none()).collect();
    let (distinct, judged) = (found.len(), new.len());
    tracing::info!(replies = distinct, known = distinct - judged, "verdicts sought");
    let policy = RowPolicy { too_long: spec.too_long, bad_rows: spec.bad_rows };
    let mut prompts = RowPrompts::new(model, spec.model.dtype, &spec.prompt, new.clone(), longest(&labels), policy)?;
    let calibration = calibration(model, spec.model.dtype, &spec.prompt, &spec.content_free, &labels, progress)?;
    let mut follower = Follower::new(progress, prompts.built.prompts.len());
    let answers = Labels { ids: &labels, batch_tokens: Some(budget), bad_rows: spec.bad_rows };
    let scored = model.score(&prompts.built.prompts, answers, &mut |now| follower.pass(now));
    let scored = scored.map_err(|e| prompts.error(e))?;
    follower.done(prompts.built.prompts.len(), scored.tokens);
    follower.end(0, scored.memory_retries);
    prompts.leave_out(&scored.bad);
    for (at, scores) in scored.rows.into_iter().enumerate().filter(|(at, _)| !prompts.bad.contains(at)) {
        let (text, prompt) = (new[prompts.built.rows[at]].text, &prompts.built.prompts[at]);
        let verdict = Verdict { scores, prompt: prompt.ids.len() as i64, cut: prompt.cut > 0 };
        verdicts.keep(key(&asked, text), verdict.clone());
        found.insert(text, Some(verdict));
    }
    let all: Vec<(Digest, &Verdict)> = found.iter().filter_map(|(text, verdict)| Some((key(&asked, text), verdict.as_ref()?))).collect();
    if all.len() > distinct - judged {
        kept.put(&own, &kept::content(&all, labels.len())?);
    }
    let of = |reply: &RowTokens| found.get(reply.reply_text.as_str())?.as_ref();
    let (rows, none) = (replies.len(), vec![0.0; labels.len()]);
    let mut file = TensorFile::default();
    let scores = replies.iter().flat_map(|reply| of(reply).map_or(&none, |verdict| &verdict.scores).clone()).collect();
    file.f64("log_likelihood", vec![rows, labels.len()], scores);
    if !spec.content_free.is_empty() {
        file.f64("content_free", vec![spec.content_free.len(), labels.len()], calibration.rows.concat());
    }
    file.i64("label_tokens", vec![labels.len()], labels.iter().map(|l| l.len() as i64).collect());
    file.i64("prompt_tokens", vec![rows], replies.iter().map(|reply| of(reply).map_or(0, |verdict| verdict.prompt)).collect());
    let bad: Vec<&str> =
        prompts.bad.iter().map(|at| prompts.built.rows[*at]).chain(prompts.built.bad.iter().copied()).map(|row| new[row].text).collect();
    let count = |which: &dyn Fn(&&RowTokens) -> bool| spoken().filter(which).count() as u64;
    let counts = [
        ("rows", rows as u64),
        ("empty_replies", rows as u64 - count(&|_| true)),
        ("skipped_rows", count(&|reply| of(reply).is_none())),
        ("bad_rows", count(&|reply| bad.contains(&reply.reply_text.as_str()))),
        ("truncated_rows", count(&|reply| of(reply).is_some_and(|verdict| verdict.cut))),
        ("judged_replies", judged as u64),
        ("known_replies", (distinct - judged) as u64),
        ("labels", labels.len() as u64),
        ("memory_retries", scored.memory_retries + calibration.memory_retries),
    ];
    let counts = counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    Ok(Output { artifacts: vec![(SCORES, file.content()?)], tokens: scored.tokens + calibration.tokens, counts, ..Output::default() })
}

/// The digest of what determines verdicts beside the replies.
fn asked(spec: &JudgeUnit, device: &str) -> Digest {
    Digest::of_json(&("verdict", device, spec.version, &spec.model, &spec.prompt, &spec.answers, spec.too_long))
}

fn key(asked: &Digest, text: &str) -> Digest {
    Digest::of_json(&(asked, text))
}
