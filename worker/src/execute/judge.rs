//! Judge units: how likely a model finds each label after a question about a reply.

use std::collections::{BTreeMap, HashMap, VecDeque};

use limbic_engine::{Loaded, RowPolicy};
use limbic_proto::key::Digest;
use limbic_proto::unit::{JudgeUnit, RowTokens, SCORES};

use super::passes::{RowPrompts, Text, follow};
use super::prompt::{labels, longest};
use super::{ExecuteError, Output};
use crate::progress::Progress;
use crate::tensors::TensorFile;

/// What a judge says of one reply.
#[derive(Debug, Clone, PartialEq)]
struct Verdict {
    /// The log-likelihood of every label.
    scores: Vec<f64>,
    /// The tokens of the question.
    prompt: i64,
    /// Whether the question was cut to fit the context.
    cut: bool,
}

/// Verdicts by the digest of what determines them: judge, question, answers, policy and reply. The oldest go first.
#[derive(Debug)]
pub(super) struct Verdicts {
    known: HashMap<Digest, Verdict>,
    order: VecDeque<Digest>,
    capacity: usize,
}

impl Default for Verdicts {
    /// Room for 65,536 verdicts: some ten megabytes.
    fn default() -> Verdicts {
        Verdicts { known: HashMap::new(), order: VecDeque::new(), capacity: 1 << 16 }
    }
}

impl Verdicts {
    fn keep(&mut self, key: Digest, verdict: Verdict) {
        if self.known.insert(key, verdict).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > self.capacity {
            self.order.pop_front().map(|oldest| self.known.remove(&oldest));
        }
    }
}

/// Computes the unit's scores. A reply that was given before, in this unit or in an earlier one, is not judged again.
///
/// Rows whose reply is empty or white space have no verdict.
pub(super) fn judge(
    spec: &JudgeUnit,
    model: &dyn Loaded,
    replies: &[RowTokens],
    verdicts: &mut Verdicts,
    progress: &Progress,
) -> Result<Output, ExecuteError> {
    let labels = labels(model, &spec.answers)?;
    let asked = Digest::of_json(&("verdict", spec.version, &spec.model, &spec.prompt, &spec.answers, spec.too_long));
    let spoken = || replies.iter().filter(|reply| !reply.reply_text.trim().is_empty());
    let mut found: BTreeMap<&str, Option<Verdict>> = BTreeMap::new();
    let mut new: Vec<Text<'_>> = Vec::new();
    for reply in spoken() {
        let text = reply.reply_text.as_str();
        found.entry(text).or_insert_with(|| {
            let known = verdicts.known.get(&key(&asked, text)).cloned();
            new.extend(known.is_none().then_some(Text { id: &reply.id, text }));
            known
        });
    }
    let (distinct, judged) = (found.len(), new.len());
    let policy = RowPolicy { too_long: spec.too_long, bad_rows: spec.bad_rows };
    let mut prompts = RowPrompts::new(model, spec.model.dtype, &spec.prompt, new.clone(), longest(&labels), policy)?;
    let scored = model.score(&prompts.built.prompts, &labels, spec.bad_rows, &mut follow(progress)).map_err(|e| prompts.error(e))?;
    prompts.leave_out(&scored.bad);
    for (at, scores) in scored.rows.into_iter().enumerate().filter(|(at, _)| !prompts.bad.contains(at)) {
        let (text, prompt) = (new[prompts.built.rows[at]].text, &prompts.built.prompts[at]);
        let verdict = Verdict { scores, prompt: prompt.ids.len() as i64, cut: prompt.cut > 0 };
        verdicts.keep(key(&asked, text), verdict.clone());
        found.insert(text, Some(verdict));
    }
    let of = |reply: &RowTokens| found.get(reply.reply_text.as_str())?.as_ref();
    let (rows, none) = (replies.len(), vec![0.0; labels.len()]);
    let mut file = TensorFile::default();
    let scores = replies.iter().flat_map(|reply| of(reply).map_or(&none, |verdict| &verdict.scores).clone()).collect();
    file.f64("log_likelihood", vec![rows, labels.len()], scores);
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
        ("memory_retries", scored.memory_retries),
    ];
    let counts = counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    Ok(Output { artifacts: vec![(SCORES, file.content()?)], tokens: scored.tokens, counts })
}

fn key(asked: &Digest, text: &str) -> Digest {
    Digest::of_json(&(asked, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_verdicts_go_first() {
        let mut verdicts = Verdicts { capacity: 2, ..Verdicts::default() };
        let verdict = |n: i64| Verdict { scores: vec![-1.0], prompt: n, cut: false };
        let keys = ["a", "b", "c"].map(|text| key(&Digest::of(b"asked"), text));
        for (n, key) in [(0, keys[0]), (1, keys[1]), (2, keys[0]), (3, keys[2])] {
            verdicts.keep(key, verdict(n));
        }
        assert_eq!((verdicts.known.get(&keys[0]), verdicts.known.len(), verdicts.order.len()), (None, 2, 2));
        assert_eq!(verdicts.known[&keys[1]], verdict(1));
    }
}
