//! Baselines and best probes at every level of the labels.

use limbic_proto::rows::Scheme;

use super::bench::Bench;
use super::measure::{Drawn, Ruler};
use super::target::Rollup;
use crate::results::{LevelRow, Line, Results};

/// One row per level and line: the baselines and each model's best probe. Empty where there is one level alone.
pub fn all(bench: &Bench<'_>, results: &Results) -> Vec<LevelRow> {
    if bench.levels.is_empty() {
        return Vec::new();
    }
    let best = results.best.iter().map(super::curves::line);
    let lines: Vec<Line> = results.baselines.iter().cloned().chain(best).collect();
    let mut rows: Vec<LevelRow> = lines
        .iter()
        .map(|line| LevelRow { level: None, classes: bench.study.classes.len(), line: line.clone(), score: line.score, near_misses: None })
        .collect();
    for (rollup, ruler) in &bench.levels {
        rows.extend(lines.iter().filter_map(|line| at(bench, rollup, ruler, line)));
    }
    rows
}

fn at(bench: &Bench<'_>, rollup: &Rollup, ruler: &Ruler<'_>, line: &Line) -> Option<LevelRow> {
    let mut drawn = Vec::new();
    let (mut missed, mut near) = (0_usize, 0_usize);
    for i in &line.predictions {
        let values = bench.read(*i)?;
        let rolled = rollup.values(ruler.target.scheme, &values);
        drawn.push(ruler.headline(&rolled, None)?);
        if ruler.target.scheme == Scheme::Single {
            let calls = bench.ruler.target.predicted(&values).into_iter().zip(ruler.target.predicted(&rolled));
            for (row, (fine, coarse)) in calls.enumerate() {
                let wrong = fine.is_some_and(|c| c != bench.ruler.target.class[row]);
                missed += usize::from(wrong);
                near += usize::from(wrong && coarse == Some(ruler.target.class[row]));
            }
        }
    }
    Some(LevelRow {
        level: Some(rollup.name.clone()),
        classes: rollup.classes.len(),
        line: line.clone(),
        score: Drawn::mean(&drawn)?.estimate(ruler.resamples),
        near_misses: (missed > 0).then(|| near as f64 / missed as f64),
    })
}
