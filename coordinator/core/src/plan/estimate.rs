//! What units cost, estimated before anything runs: tokens, floating-point operations, bytes stored.
//!
//! They say how large a sweep is and how far it has come; sweeps share workers by them, and `limbic run` chooses by them how many
//! workers it starts. No result depends on them. Without exact
//! counts a text has a token per four bytes. A unit's rows are taken at their mean length.

use std::collections::{BTreeMap, BTreeSet};

use limbic_proto::axis::Context;
use limbic_proto::rows::{Row, Rows, Split};
use limbic_proto::spec::{Baseline, MlpSpec, ProbeSpec, Prompt, TEXT};
use limbic_proto::unit::{Asking, ExtractUnit, FitUnit, JudgeUnit, PromptUnit, TransferUnit, UnitKind, similarity_rows};

use super::{ModelFacts, Place, PlannedUnit};

/// Iterations that a logistic fit takes for one strength, as a rule.
const ITERATIONS: f64 = 60.0;
/// Tokens that a chat template adds around the messages, as a rule.
const CHAT_TOKENS: usize = 12;
/// Tokens of one answer, as a rule.
const ANSWER_TOKENS: usize = 2;
/// Fits of the online code, in fits on the whole of train: its portions double up to the whole.
const PORTIONS: f64 = 2.0;

/// What a sweep costs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Estimate {
    /// Cells.
    pub cells: u64,
    /// Rows of the dataset.
    pub rows: u64,
    /// Tokens through models.
    pub tokens: u64,
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes of all artifacts.
    pub bytes_stored: u64,
    /// Those of them that are hidden states, or the moments in their place, which can be computed again.
    pub state_bytes: u64,
    /// The same by kind of unit.
    pub units: BTreeMap<UnitKind, UnitsEstimate>,
    /// The same by model, in the plan's order.
    pub models: Vec<ModelEstimate>,
    /// What needs no model: the baselines on the words.
    pub words: UnitsEstimate,
}

/// What some units cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct UnitsEstimate {
    /// How many there are.
    pub units: u64,
    /// Tokens through models.
    pub tokens: u64,
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes of their artifacts.
    pub bytes_stored: u64,
}

/// What one model costs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ModelEstimate {
    /// Units that run it: states, zero-shot answers, and what it judges.
    pub passes: UnitsEstimate,
    /// Units on its states: probes, and their transfer.
    pub fits: UnitsEstimate,
}

impl UnitsEstimate {
    fn add(&mut self, planned: &PlannedUnit) {
        self.units += 1;
        self.tokens += planned.tokens;
        self.flops += planned.unit.hints.flops;
        self.bytes_stored += planned.bytes;
    }
}

impl Estimate {
    /// Of some units, of a sweep over so many rows and models.
    pub(super) fn of<'a>(cells: u64, rows: u64, models: usize, units: impl Iterator<Item = &'a PlannedUnit>) -> Estimate {
        let mut estimate = Estimate { cells, rows, ..Estimate::default() };
        estimate.models.resize_with(models, ModelEstimate::default);
        for planned in units {
            (estimate.tokens, estimate.flops) = (estimate.tokens + planned.tokens, estimate.flops + planned.unit.hints.flops);
            (estimate.bytes_stored, estimate.state_bytes) =
                (estimate.bytes_stored + planned.bytes, estimate.state_bytes + planned.state_bytes);
            estimate.units.entry(planned.unit.spec.kind()).or_default().add(planned);
            let part = match (&planned.place, planned.place.model()) {
                // A judge's work is its own, whoever replied.
                (Place::Judge { judge, .. }, _) => &mut estimate.models[*judge].passes,
                (_, None) => &mut estimate.words,
                (Place::Fit { .. } | Place::Transfer { .. } | Place::Baseline { .. }, Some(model)) => &mut estimate.models[model].fits,
                (_, Some(model)) => &mut estimate.models[model].passes,
            };
            part.add(planned);
        }
        estimate
    }

    /// All kinds of units together.
    pub fn all(&self) -> UnitsEstimate {
        let units = self.units.values().map(|of| of.units).sum();
        UnitsEstimate { units, tokens: self.tokens, flops: self.flops, bytes_stored: self.bytes_stored }
    }
}

/// What one unit costs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Cost {
    pub tokens: u64,
    pub flops: f64,
    pub bytes: u64,
    /// Those of the bytes that are hidden states, or the moments in their place.
    pub state_bytes: u64,
}

/// The dataset's sizes.
pub(super) struct Costs {
    guessed: Vec<u32>,
    classes: usize,
    train: usize,
    repeated: usize,
    test: usize,
    /// How many of the rows before each one are not in train.
    held: Vec<usize>,
}

impl Costs {
    pub fn new(rows: &Rows) -> Costs {
        let of = |split| rows.rows.iter().filter(move |r| r.split == split);
        let held = |before: &mut usize, row: &Row| {
            *before += usize::from(row.split != Split::Train);
            Some(*before)
        };
        Costs {
            guessed: rows.rows.iter().map(|r| r.text.len().div_ceil(4).max(1) as u32).collect(),
            classes: rows.classes.len(),
            train: of(Split::Train).count(),
            repeated: of(Split::Train).map(|r| r.weight as usize).sum(),
            test: of(Split::Test).count(),
            held: std::iter::once(0).chain(rows.rows.iter().scan(0, held)).collect(),
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.guessed.len() as u64
    }

    /// Bytes of the hidden states of some rows, or of what is stored in their place.
    fn states(&self, model: &ModelFacts, unit: &ExtractUnit, rows: (usize, usize)) -> u64 {
        let each = match unit.moments {
            None => (rows.1 - rows.0) as u64 * model.architecture.bytes_per_state(),
            Some(_) => {
                let (held, d, k) = (self.held[rows.1] - self.held[rows.0], model.architecture.hidden as u64, self.classes as u64);
                held as u64 * model.architecture.bytes_per_state() + 8 * (d * (d + 1) / 2 + (3 + k) * d + 2 + 2 * k)
            }
        };
        (unit.layers.len() * unit.read_outs.len()) as u64 * each
    }

    /// The mean number of tokens of some texts, at least 1.
    fn mean(&self, rows: (usize, usize)) -> usize {
        let counts = &self.guessed[rows.0..rows.1];
        let sum: u64 = counts.iter().map(|n| u64::from(*n)).sum();
        (sum.div_ceil(counts.len().max(1) as u64) as usize).max(1)
    }

    pub fn extract(&self, model: &ModelFacts, unit: &ExtractUnit, rows: (usize, usize)) -> Cost {
        let count = rows.1 - rows.0;
        let architecture = &model.architecture;
        let prompt = self.mean(rows) + around(&unit.prompt);
        let reply = unit.continuation.as_ref().and_then(|c| c.tokens).unwrap_or(0) as usize;
        let generated = unit.continuation.as_ref().is_some_and(|c| c.instead().is_none());
        // Every control runs the tokens of a reply once more; the prompt before them is not run again.
        let contexts: BTreeSet<Context> = unit.read_outs.iter().map(|r| r.context).filter(|c| *c != Context::Full).collect();
        let masked = contexts.len() * reply;
        let layers = architecture.layers as u32;
        let deepest = if generated { layers } else { unit.layers.iter().map(|l| l.blocks(layers)).max().unwrap_or(0) };
        let share = f64::from(deepest) / f64::from(layers.max(1));
        // Embedding a token copies its vector.
        let copied = ((prompt + reply + masked) * architecture.hidden) as f64;
        let row = share * (pass(model, prompt + reply) + pass(model, masked)) + copied + if generated { head(model, reply) } else { 0.0 };
        let state_bytes = self.states(model, unit, rows);
        Cost {
            tokens: (count * (prompt + reply + masked)) as u64,
            flops: count as f64 * row,
            bytes: state_bytes + (count * 4 * (prompt + reply)) as u64,
            state_bytes,
        }
    }

    pub fn prompt(&self, model: &ModelFacts, unit: &PromptUnit, rows: (usize, usize)) -> Cost {
        let count = rows.1 - rows.0;
        let prompt = self.mean(rows) + around(&unit.prompt);
        let answers = match unit.asking {
            Asking::Likelihood => unit.answers.len() * ANSWER_TOKENS,
            Asking::Answer { tokens } => tokens as usize,
        };
        // A written answer is stored in words, likelihoods as one number for each.
        let bytes = match unit.asking {
            Asking::Likelihood => 8 * (unit.answers.len() + 1),
            Asking::Answer { tokens } => 4 * tokens as usize,
        };
        Cost {
            tokens: (count * (prompt + answers)) as u64,
            flops: count as f64 * (pass(model, prompt + answers) + head(model, answers)),
            bytes: (count * bytes) as u64,
            ..Cost::default()
        }
    }

    /// A judge's verdicts on replies of at most so many tokens.
    pub fn judge(&self, judge: &ModelFacts, unit: &JudgeUnit, reply: u32, rows: (usize, usize)) -> Cost {
        let answers = unit.answers.len() * ANSWER_TOKENS;
        let tokens = reply as usize + around(&unit.prompt) + answers;
        let count = rows.1 - rows.0;
        let bytes = (8 * count * (unit.answers.len() + 1)) as u64;
        let flops = count as f64 * (pass(judge, tokens) + head(judge, answers));
        Cost { tokens: (count * tokens) as u64, flops, bytes, ..Cost::default() }
    }

    /// So many probes at each read-out of each fit unit.
    pub fn transfer(&self, unit: &TransferUnit, probes: usize, hidden: usize) -> Cost {
        let predictions = (unit.fits.len() * unit.read_outs.len() * probes * self.test * self.classes) as f64;
        Cost { flops: predictions * 2.0 * hidden as f64, bytes: (4.0 * predictions) as u64, ..Cost::default() }
    }

    pub fn fit(&self, unit: &FitUnit, hidden: usize) -> Cost {
        let (d, k) = (hidden as f64, self.classes as f64);
        let mut cost = Cost::default();
        let mlp = |p: &MlpSpec, d: f64| {
            let weights = (d + k) * p.hidden as f64;
            (p.epochs as f64 * 6.0 * self.repeated as f64 * weights, weights, unit.seeds.len())
        };
        // The Gram matrix, and factoring it.
        let gram = self.train as f64 * d * d + d * d * d / 3.0;
        for probe in &unit.probes {
            let (flops, weights, times) = match probe {
                ProbeSpec::Logistic(p) => {
                    let strengths = p.c.len() as f64 + if p.mdl { PORTIONS } else { 0.0 };
                    (ITERATIONS * strengths * 4.0 * self.train as f64 * d * k, d * k, 1)
                }
                ProbeSpec::Mlp(p) => mlp(p, d),
                ProbeSpec::OffsetMlp(p) => mlp(&p.mlp, d + p.embedding as f64),
                ProbeSpec::Ridge(p) => (gram + p.alpha.len() as f64 * (d * d * d / 3.0), d * k, 1),
                ProbeSpec::Lda(_) => (gram, d * k, 1),
                ProbeSpec::MeanDifference(_) => (4.0 * self.train as f64 * d, d * k, 1),
            };
            // A control draws anew for every seed, whatever its probe does.
            let fits = ((times + unit.controls.len() * unit.seeds.len()) * unit.read_outs.len()) as f64;
            cost.flops += fits * flops;
            let predictions = (self.test * self.classes) as f64;
            cost.bytes += (fits * 4.0 * (weights + 2.0 * d + predictions)) as u64;
            if unit.transfer {
                // Predictions of the probes of offset 0 at every further read-out.
                let further = (times * (unit.read_outs.len() - 1)) as f64;
                cost.flops += further * 2.0 * d * predictions;
                cost.bytes += (further * 4.0 * predictions) as u64;
            }
        }
        if unit.geometry {
            let at_zero = unit.read_outs.iter().filter(|read_out| read_out.offset == 0).count() as f64;
            let compared = similarity_rows(self.test).len() as f64;
            cost.flops += at_zero * (gram + compared * compared * d + (self.test * self.test) as f64 * d);
            cost.bytes += (at_zero * 4.0 * (3.0 * self.test as f64 + k * d + compared * compared)) as u64;
        }
        cost
    }

    pub fn baseline(&self, baseline: Baseline) -> Cost {
        let words: f64 = self.guessed.iter().map(|n| f64::from(*n)).sum();
        let flops = if baseline == Baseline::BagOfWords { ITERATIONS * 4.0 * words * self.classes as f64 } else { self.train as f64 };
        Cost { flops, bytes: (4 * self.test * self.classes) as u64, ..Cost::default() }
    }
}

/// Operations of the LM head on so many tokens.
fn head(model: &ModelFacts, tokens: usize) -> f64 {
    2.0 * (model.architecture.vocab * model.architecture.hidden * tokens) as f64
}

/// Operations of one row of `tokens` through all blocks.
fn pass(model: &ModelFacts, tokens: usize) -> f64 {
    tokens as f64 * model.architecture.flops_per_token(tokens.div_ceil(2)) as f64
}

/// Tokens of a prompt around the utterance.
fn around(prompt: &Prompt) -> usize {
    let bytes = |text: &str| text.len().saturating_sub(TEXT.len()).div_ceil(4);
    match prompt {
        Prompt::Template(template) => bytes(template),
        Prompt::Chat(chat) => {
            let turns: usize = chat.turns.iter().map(|turn| (turn.user.len() + turn.assistant.len()).div_ceil(4) + CHAT_TOKENS).sum();
            CHAT_TOKENS + turns + bytes(&chat.user) + chat.system.as_deref().map_or(0, |s| s.len().div_ceil(4))
        }
    }
}
