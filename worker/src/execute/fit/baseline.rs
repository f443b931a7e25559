//! The baselines that need no model: the class shares of train, and the words alone.

use limbic_engine::probe::{ProbeError, Score, bag_of_words, majority as shares};
use limbic_proto::key::Digest;
use limbic_proto::rows::{Rows, Split};
use limbic_proto::spec::{Baseline, ProbeSpec};
use limbic_proto::unit::{FitName, FitRecord};

use super::Study;
use super::parts::Parts;
use super::probe::{record, settings};
use super::results::{Fit, Results};
use crate::execute::{Advice, ExecuteError};

fn name(study: &Study<'_>, baseline: Baseline) -> FitName {
    FitName { probe: baseline.name().to_owned(), read_out: None, seed: study.spec.seeds.first().copied().unwrap_or(0) }
}

/// All rows by split, without features.
fn parts(study: &Study<'_>) -> Parts {
    let mut parts = Parts::default();
    for (index, row) in study.rows().iter().enumerate() {
        let part = parts.of(row.split);
        part.y.push(row.class);
        part.weights.push(row.weight as f32);
        part.rows.push(index);
    }
    parts
}

fn failed(baseline: Baseline, error: &ProbeError) -> ExecuteError {
    ExecuteError::Engine { what: format!("fitting {}", baseline.name()), message: error.to_string(), advice: Advice::Reject }
}
