//! Two sweeps side by side: rows of dots.

use super::conditions::{Dot, Rows, rows_range};
use super::data::{self, Data};
use super::palette::Colour;
use super::{Figure, Key};
use crate::compare::{Shared, Versus};
use crate::wording::Notation;

/// One panel per model, one row per baseline or probe that both sweeps measured; none where they measure different things.
pub fn versus(versus: &Versus<'_>) -> Option<Figure> {
    let measure = &versus.results[0].measure;
    if measure.name != versus.results[1].measure.name {
        return None;
    }
    let notation = Notation::of(measure);
    let mut data =
        Data::new(&["model", "condition", "probe", "a", "a_lo", "a_hi", "a_n", "b", "b_lo", "b_hi", "b_n", "difference", "lo", "hi", "n"]);
    let mut all: Vec<Rows> = Vec::new();
    for shared in versus.shared.iter().filter(|s| s.family == "lines") {
        let mut cells = vec![shared.model.clone().unwrap_or_default(), shared.condition.clone().unwrap_or_default(), shared.probe.clone()];
        cells.extend(shared.scores.iter().flat_map(|e| data::estimate(Some(*e))));
        cells.extend(data::estimate(shared.paired.as_ref().map(|p| p.difference)));
        data.push(cells);
        let title = shared.model.clone().unwrap_or_else(|| "on the words".to_owned());
        let at = all.iter().position(|r| r.title == title).unwrap_or_else(|| {
            all.push(Rows { title, rows: Vec::new(), levels: Vec::new() });
            all.len() - 1
        });
        let label = shared.condition.as_ref().map_or_else(|| shared.probe.clone(), |c| format!("{}, {c}", shared.probe));
        let dots = [0, 1].map(|i| dot(shared, i, notation));
        all[at].rows.push((label, dots.to_vec()));
    }
    let x = rows_range(notation, &all);
    let figure = Figure {
        name: "compare",
        title: "A and B".to_owned(),
        caption: format!(
            "Test {} in both sweeps, each with its bootstrap interval.{}",
            measure.words,
            if versus.paired { " Where intervals overlap a paired difference may still be there: the table says." } else { "" }
        ),
        alt: format!("Dots with whiskers: {} of every baseline and probe in both sweeps, one panel per model.", measure.words),
        keys: ["A", "B"].iter().enumerate().map(|(i, l)| Key::series(*l, "points", Colour::Series(i))).collect(),
        panels: all.iter().map(|r| r.panel(notation, x, &format!("test {}", measure.words))).collect(),
        data,
    };
    (!figure.panels.is_empty()).then_some(figure)
}

fn dot(shared: &Shared, side: usize, notation: Notation) -> Dot {
    let (letter, estimate) = (["A", "B"][side], shared.scores[side]);
    Dot {
        series: letter.to_owned(),
        colour: Colour::Series(side),
        estimate,
        spread: None,
        words: format!("{letter}, {}: {}", shared.words(), notation.estimate(estimate)),
    }
}
