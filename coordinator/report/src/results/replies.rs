//! What replies express, as judges and as the probe see it, against the label of the utterance.

use std::collections::BTreeSet;

use limbic_proto::axis::Context;
use serde::Serialize;

use super::{Estimate, Place, Results, Spread};
use crate::study::Study;

/// Who says what a reply expresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A judging model, by its likelihoods.
    Judge {
        /// Index into the study's models.
        model: usize,
    },
    /// The main probe on the reply's states, its probabilities averaged over the measured offsets; which probe, and in which
    /// context, [`Results::reading`] says.
    Probe,
}

impl Source {
    /// Who speaks of replies under a condition: `calm, judge NAME`.
    pub fn under(self, study: &Study, condition: usize) -> String {
        let who = match self {
            Source::Judge { model } => format!("judge {}", study.models[model].name),
            Source::Probe => "probe".to_owned(),
        };
        format!("{}, {who}", study.conditions[condition].name)
    }
}

/// How the probe reads a reply: the same for all models and conditions of a study, so that they can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// Whether it is the probe of offset 0, used unchanged at the reply's offsets: what it calls a reply is what utterances look
    /// like that are labelled so. Those that are fitted at each offset were fitted to the utterance's label, and read what is
    /// still there of it rather than what the reply expresses.
    pub carried: bool,
    /// The context of the states: with the masked prompt the reply was encoded alone, else its tokens attend to the prompt.
    pub context: Context,
}

impl Reading {
    /// All there are, those that say most of the reply itself first.
    pub const ALL: [Reading; 3] = [
        Reading { carried: true, context: Context::MaskedPrompt },
        Reading { carried: true, context: Context::Full },
        Reading { carried: false, context: Context::Full },
    ];
}

/// Which label each reply expresses, for one source.
#[derive(Debug, Clone, PartialEq)]
pub struct Calls {
    /// Whose replies.
    pub place: Place,
    /// Who says it.
    pub source: Source,
    /// The seed of the replies; none where nothing was drawn.
    pub sampling_seed: Option<u64>,
    /// One per test row; none without a verdict.
    pub calls: Vec<Option<u32>>,
}

/// Verdicts on the replies of one model under one condition; shares are means over sampling seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Whose replies.
    pub place: Place,
    /// Who says it.
    pub source: Source,
    /// The share of replies that express the label of the utterance.
    pub kept: Estimate,
    /// How far it depends on the sampling seed; none with fewer than two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
    /// Per class of the utterance: the share of its replies that express it; none for a class without rows.
    pub recall: Vec<Option<Estimate>>,
    /// Per class: the share of the replies expressing it whose utterance was of it; none for one that is never expressed.
    pub precision: Vec<Option<Estimate>>,
    /// `[class of the utterance][class of the reply]`: replies, of all sampling seeds.
    pub shift: Vec<Vec<usize>>,
}

/// How far a judge agrees with the probe, or with another judge of the same replies, beyond chance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kappa {
    /// Whose replies.
    pub place: Place,
    /// The judge; index into the study's models.
    pub judge: usize,
    /// Whom it agrees with.
    pub with: Source,
    /// Cohen's kappa, on the replies that both have a verdict on; the mean over sampling seeds.
    pub kappa: Estimate,
    /// How far it depends on the sampling seed; none with fewer than two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

impl Results {
    /// Everybody who judged replies, ascending; indices into the study's models.
    pub fn judges(&self) -> Vec<usize> {
        let judge = |v: &Verdict| if let Source::Judge { model } = v.source { Some(model) } else { None };
        self.verdicts.iter().filter_map(judge).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Verdict {
    /// Whether the model that replied is the one that judges.
    pub fn of_itself(&self) -> bool {
        self.source == Source::Judge { model: self.place.model }
    }
}
