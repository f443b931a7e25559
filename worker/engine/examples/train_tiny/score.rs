//! What a model is worth on rows that it has not seen: loss on raw text and zero-shot accuracy.

use anyhow::Result;
use tokenizers::Tokenizer;

use crate::corpus::{Batch, CLASSES, Document, Row, TIME, Text};
use crate::kernels::log_sum_exp;
use crate::model::Model;

/// Documents scored in one forward pass.
const DOCUMENTS: usize = 48;

/// Nats per token of raw text, the first token of each text left out.
pub(crate) fn raw_loss(model: &Model, tokenizer: &Tokenizer, rows: &[Row]) -> Result<f64> {
    let (mut total, mut count) = (0.0, 0usize);
    each(
        model,
        rows,
        |row| Text::raw(row).encode(tokenizer),
        |logits, target| {
            total += f64::from(log_sum_exp(logits) - logits[target as usize]);
            count += 1;
        },
    )?;
    Ok(total / count as f64)
}

/// Zero-shot classification scored by the likelihood of the seven labels.
#[derive(Default)]
pub(crate) struct ZeroShot {
    hits: [usize; CLASSES.len()],
    counts: [usize; CLASSES.len()],
    parsable: usize,
}

impl ZeroShot {
    /// Asks for the emotion of every row that has one class, at most `limit` of each.
    pub(crate) fn of(model: &Model, tokenizer: &Tokenizer, rows: &[Row], limit: usize) -> Result<Self> {
        let mut taken = [0; CLASSES.len()];
        let mut rows = rows.to_vec();
        rows.retain(|row| {
            row.class.is_some_and(|class| {
                taken[class] += 1;
                taken[class] <= limit
            })
        });
        let labels: Vec<u32> = CLASSES.iter().filter_map(|class| tokenizer.token_to_id(class)).collect();
        let ask = |row: &Row| Ok(Text::question(&row.text, row.class.unwrap_or_default()).encode(tokenizer)?.only_label());
        let mut score = Self::default();
        each(model, &rows, ask, |logits, target| {
            let best = |ids: &mut dyn Iterator<Item = u32>| ids.max_by(|a, b| logits[*a as usize].total_cmp(&logits[*b as usize]));
            let class = labels.iter().position(|label| *label == target).unwrap_or_default();
            score.counts[class] += 1;
            score.hits[class] += usize::from(best(&mut labels.iter().copied()) == Some(target));
            let answer = best(&mut (0..logits.len() as u32));
            score.parsable += usize::from(answer.is_some_and(|answer| labels.contains(&answer)));
        })?;
        Ok(score)
    }

    /// Number of rows.
    pub(crate) fn count(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Share of rows whose own label is the likeliest of the seven.
    pub(crate) fn accuracy(&self) -> f64 {
        self.hits.iter().sum::<usize>() as f64 / self.count() as f64
    }

    /// Mean of the classes' recalls; chance is 1/7.
    pub(crate) fn balanced_accuracy(&self) -> f64 {
        self.recalls().iter().sum::<f64>() / CLASSES.len() as f64
    }

    /// Recall of each class.
    pub(crate) fn recalls(&self) -> [f64; CLASSES.len()] {
        std::array::from_fn(|class| self.hits[class] as f64 / self.counts[class].max(1) as f64)
    }

    /// Share of rows whose likeliest next token, of the whole vocabulary, is a label.
    pub(crate) fn coverage(&self) -> f64 {
        self.parsable as f64 / self.count() as f64
    }
}

/// Calls `visit(logits, target)` for every prediction that counts.
fn each(model: &Model, rows: &[Row], document: impl Fn(&Row) -> Result<Document>, mut visit: impl FnMut(&[f32], u32)) -> Result<()> {
    for rows in rows.chunks(DOCUMENTS) {
        let mut documents = rows.iter().map(&document).collect::<Result<Vec<_>>>()?;
        documents.retain(|document| document.ids.len() <= TIME);
        let batch = Batch::of(&documents);
        let logits = model.logits(&model.states(&batch)?)?.to_vec2::<f32>()?;
        for (logits, target) in logits.iter().zip(&batch.targets) {
            visit(logits, *target);
        }
    }
    Ok(())
}
