//! Whose calls are nearly all of one label: judges' and the probe's of replies, and models' that are asked.

use limbic_proto::rows::Scheme;

use super::bench::Bench;
use crate::results::{Caller, DOMINANT, Dominant, Results};

/// All such labels, but for one that is as common among the test rows themselves.
pub fn all(bench: &Bench<'_>, results: &Results) -> Vec<Dominant> {
    if bench.study.scheme != Scheme::Single {
        return Vec::new();
    }
    let of_replies = results.verdicts.iter().filter_map(|v| {
        let (class, share) = v.most_expressed()?;
        let n = v.shift.iter().flatten().sum();
        Some(Dominant { caller: Caller::Replies(v.source), model: v.place.model, condition: Some(v.place.condition), class, share, n })
    });
    let of_baselines = results.baselines.iter().filter_map(|line| {
        let name = super::BASELINES.into_iter().find(|name| *name == line.probe && name.starts_with("zero-shot"))?;
        let values = bench.read(line.predictions[0])?;
        let mut calls = vec![0_usize; bench.study.classes.len()];
        bench.ruler.target.predicted(&values).into_iter().flatten().for_each(|class| calls[class as usize] += 1);
        let (class, most) = calls.iter().enumerate().rev().max_by_key(|(_, n)| **n)?;
        let n: usize = calls.iter().sum();
        let share = *most as f64 / n.max(1) as f64;
        Some(Dominant { caller: Caller::Baseline(name), model: line.model?, condition: None, class, share, n })
    });
    let truth = &bench.ruler.target.class;
    let of_rows = |class: usize| truth.iter().filter(|c| **c as usize == class).count() as f64 / truth.len() as f64;
    of_replies.chain(of_baselines).filter(|d| d.share > DOMINANT && of_rows(d.class) <= DOMINANT).collect()
}
