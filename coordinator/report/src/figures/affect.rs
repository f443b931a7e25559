//! Test rows on the axes of valence and arousal: where they are labelled to be, and where each model's probe puts them.

use super::chart::{Axes, Chart, WIDTH, ticks};
use super::data::{self, Data};
use super::palette::Colour;
use super::pen::Stroke;
use super::{Figure, Key, Panel};
use crate::results::{AffectPlane, Results};
use crate::study::Study;
use crate::wording::layer;

/// Points that a panel shows at most; the CSV has them all.
const POINTS: usize = 420;
/// Height of a panel.
const TALL: f64 = 340.0;
/// The quarters of the plane around the labels' medians, by whether a row's valence and arousal are above.
const QUARTERS: [(bool, bool, &str); 4] = [
    (true, true, "pleasant, aroused"),
    (true, false, "pleasant, calm"),
    (false, true, "unpleasant, aroused"),
    (false, false, "unpleasant, calm"),
];

/// A row on both axes.
type Placed = (usize, (f64, f64));

/// One panel of what is labelled, then one per model.
pub fn affect(study: &Study, results: &Results) -> Option<Figure> {
    let planes = &results.geometry.affect;
    let (valence, arousal) = planes.first()?.axes;
    let label = |row: usize| {
        let values = &study.test[row].values;
        (f64::from(values[valence]), f64::from(values[arousal]))
    };
    let given: Vec<Placed> = (0..study.test.len()).map(|row| (row, label(row))).collect();
    let median = |of: &dyn Fn(&Placed) -> f64| {
        let mut all: Vec<f64> = given.iter().map(of).collect();
        crate::statistics::resamples::quantile(&mut all, 0.5)
    };
    let middle = (median(&|p| p.1.0), median(&|p| p.1.1));
    let quarter = |row: usize| {
        let (v, a) = label(row);
        QUARTERS.iter().position(|q| (q.0, q.1) == (v > middle.0, a > middle.1)).expect("the quarters are all there are")
    };
    let mut data = Data::new(&["model", "condition", "layer", "row_id", "valence", "arousal", "predicted_valence", "predicted_arousal"]);
    for p in planes {
        for (row, at) in &p.points {
            let (v, a) = label(*row);
            let names = [&study.models[p.place.model].name, &study.conditions[p.place.condition].name];
            let mut cells: Vec<String> = names.into_iter().cloned().collect();
            cells.extend([p.layer.to_string(), study.test[*row].id.clone()]);
            cells.extend([v, a, at.0, at.1].map(data::number));
            data.push(cells);
        }
    }
    let title = |p: &AffectPlane| {
        format!("{} · {}, layer {}", study.models[p.place.model].name, study.conditions[p.place.condition].name, layer(p.layer))
    };
    let all: Vec<(String, &[Placed])> = std::iter::once(("as labelled".to_owned(), given.as_slice()))
        .chain(planes.iter().map(|p| (title(p), p.points.as_slice())))
        .collect();
    let range = |of: &dyn Fn(&Placed) -> f64| {
        let (lo, hi) = all.iter().flat_map(|a| a.1).map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |r, v| (r.0.min(v), r.1.max(v)));
        let pad = (hi - lo).max(1e-6) * 0.04;
        (lo - pad, hi + pad)
    };
    let (x, y) = (range(&|p| p.1.0), range(&|p| p.1.1));
    let panels = all.iter().map(|(title, points)| panel(study, title, points, (x, y), middle, &quarter)).collect();
    let fewer =
        if study.test.len() > POINTS { format!(" At most {POINTS} rows of each are drawn; the CSV has all.") } else { String::new() };
    Some(Figure {
        name: "geometry-affect",
        title: "Valence and arousal".to_owned(),
        caption: format!(
            "Test rows as labelled, and as each model's probe places them at its representative layer, on the same axes. Colours are quarters of the labels' plane around its medians (lines), rings the means of each quarter: the nearer they are to one another, the less of the labels is predicted.{fewer}"
        ),
        alt: "Point clouds on the axes of valence and arousal, the first as labelled, then one per model, coloured by the quarter of the label.".to_owned(),
        keys: QUARTERS.iter().enumerate().map(|(i, q)| Key::series(q.2, "points", Colour::Series(i))).collect(),
        panels,
        data,
    })
}

fn panel(
    study: &Study,
    title: &str,
    points: &[Placed],
    (x, y): ((f64, f64), (f64, f64)),
    middle: (f64, f64),
    quarter: &dyn Fn(usize) -> usize,
) -> Panel {
    let number = |v: f64| format!("{v:.1}").replace('-', "−");
    let axes = Axes {
        title: super::chart::fitted(title, 13.0, WIDTH - 28.0),
        x,
        y,
        x_ticks: ticks(x, 5, number),
        y_ticks: ticks(y, 5, number),
        x_label: "valence".to_owned(),
        y_label: "arousal".to_owned(),
    };
    Panel::new(title, TALL, |pen| {
        let chart = Chart::new(pen, &axes, TALL, 54.0);
        chart.level(middle.1, Stroke::dotted(Colour::Muted, 1.2));
        chart.line(&[(middle.0, y.0), (middle.0, y.1)], Stroke::dotted(Colour::Muted, 1.2));
        let step = points.len().div_ceil(POINTS).max(1);
        for (i, (.., name)) in QUARTERS.iter().enumerate() {
            let ours: Vec<&Placed> = points.iter().filter(|p| quarter(p.0) == i).collect();
            pen.series(name, || {
                for (row, at) in points.iter().step_by(step).filter(|p| quarter(p.0) == i) {
                    pen.speck((chart.x(at.0), chart.y(at.1)), Colour::Series(i).hex());
                    chart.mark(at.0, at.1, format!("{}: valence {}, arousal {}", study.test[*row].id, number(at.0), number(at.1)));
                }
                if !ours.is_empty() {
                    let mean = |of: &dyn Fn(&Placed) -> f64| ours.iter().map(|p| of(p)).sum::<f64>() / ours.len() as f64;
                    let (v, a) = (mean(&|p| p.1.0), mean(&|p| p.1.1));
                    chart.ring(v, a, 7.0, Colour::Series(i));
                    chart.mark(v, a, format!("mean of {name}: valence {v:.2}, arousal {a:.2}"));
                }
            });
        }
    })
}
