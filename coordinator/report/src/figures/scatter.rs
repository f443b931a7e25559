//! Test rows in the plane of two principal components, with the density of every class.

use std::collections::BTreeMap;

use super::chart::WIDTH;
use super::data::{self, Data};
use super::palette::{Colour, gradient, heat};
use super::pen::{Align, Pen, Script, Stroke};
use super::{Figure, Key, Panel};
use crate::results::{Results, Scatter, ScatterPoint};
use crate::study::Study;
use crate::wording::layer;

/// Points that a panel shows at most, so that a page stays small; the CSV has them all.
const POINTS: usize = 420;
/// Classes whose contours are drawn at most: more can't be told apart.
const CLASSES: usize = 8;
/// Height of a panel.
const TALL: f64 = 340.0;

/// One panel per model, of `states` or of `probabilities`.
pub fn planes(study: &Study, results: &Results, what: &'static str) -> Option<Figure> {
    let ours: Vec<&Scatter> = results.geometry.scatters.iter().filter(|s| s.what == what).collect();
    if ours.is_empty() {
        return None;
    }
    let mut data = Data::new(&["model", "condition", "layer", "row_id", "class", "pc1", "pc2"]);
    for s in &ours {
        for p in &s.points {
            data.push(vec![
                study.models[s.place.model].name.clone(),
                study.conditions[s.place.condition].name.clone(),
                s.layer.to_string(),
                study.test[p.row].id.clone(),
                p.class.map_or_else(String::new, |c| study.classes[c].clone()),
                data::number(p.x),
                data::number(p.y),
            ]);
        }
    }
    let shown: Vec<usize> =
        (0..study.classes.len()).filter(|c| ours.iter().any(|s| s.points.iter().any(|p| p.class == Some(*c)))).collect();
    let mut keys: Vec<Key> = shown.iter().map(|c| Key::series(study.classes[*c].clone(), "points", Colour::Series(*c))).collect();
    let scale = shown.is_empty() && !study.classes.is_empty() && study.test.iter().all(|r| !r.values.is_empty());
    if scale {
        keys.push(Key { label: format!("{}, low to high", study.classes[0]), mark: "heat", colour: gradient(), series: false });
    }
    let fewer = if ours.iter().any(|s| s.points.len() > POINTS) {
        format!(" About {POINTS} rows of each are drawn; the CSV has all.")
    } else {
        String::new()
    };
    let contours = "Lines enclose where each class lies at least 25% and 50% as thick as at its peak.";
    Some(Figure {
        name: if what == "states" { "geometry-states" } else { "geometry-probabilities" },
        title: if what == "states" { "States of the test rows" } else { "The probe's probabilities of the test rows" }.to_owned(),
        caption: if what == "states" {
            format!(
                "States at the probe's representative layer along the first two principal components of train. {}{fewer}",
                if scale { "" } else { contours }
            )
        } else {
            format!("Principal components of the probe's class probabilities at its representative layer. {contours}{fewer}")
        },
        alt: "Point clouds of test rows, one panel per model, coloured by class.".to_owned(),
        keys,
        panels: ours.iter().map(|s| panel(study, s, scale)).collect(),
        data,
    })
}

fn panel(study: &Study, s: &Scatter, scale: bool) -> Panel {
    let title = format!("{} · {}, layer {}", study.models[s.place.model].name, study.conditions[s.place.condition].name, layer(s.layer));
    let explained = |share: f64| if share.is_finite() { format!(" ({:.0}% of variance)", share * 100.0) } else { String::new() };
    let range = |of: &dyn Fn(&ScatterPoint) -> f64| {
        let (lo, hi) = s.points.iter().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |r, v| (r.0.min(v), r.1.max(v)));
        let pad = (hi - lo).max(1e-9) * 0.05;
        (lo - pad, hi + pad)
    };
    let (x, y) = (range(&|p| p.x), range(&|p| p.y));
    Panel::new(title.clone(), TALL, |pen| {
        let (left, right, top, bottom) = (26.0, WIDTH - 14.0, 30.0, TALL - 26.0);
        let place = |(px, py): (f64, f64)| {
            let (px, py) = (px.clamp(x.0, x.1), py.clamp(y.0, y.1));
            (left + (px - x.0) / (x.1 - x.0) * (right - left), bottom - (py - y.0) / (y.1 - y.0) * (bottom - top))
        };
        frame(pen, &title, (left, right, top, bottom), [explained(s.explained.0), explained(s.explained.1)]);
        let shown = thinned(&s.points);
        let values: Vec<f32> = study.test.iter().filter_map(|r| r.values.first().copied()).collect();
        let (low, high) = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |r, v| (r.0.min(*v), r.1.max(*v)));
        for class in std::iter::once(None).chain((0..study.classes.len()).map(Some)) {
            let draw = || {
                for p in shown.iter().filter(|p| p.class == class) {
                    let colour = match class {
                        Some(class) => Colour::Series(class).hex().to_owned(),
                        None if scale => heat(f64::from((study.test[p.row].values[0] - low) / (high - low).max(1e-6))).0,
                        None => Colour::Muted.hex().to_owned(),
                    };
                    pen.speck(place((p.x, p.y)), &colour);
                    let label = match class {
                        Some(class) => study.classes[class].clone(),
                        None if scale => format!("{} {:.2}", study.classes[0], study.test[p.row].values[0]),
                        None => "no label".to_owned(),
                    };
                    pen.mark(place((p.x, p.y)), format!("{label}: {}", study.test[p.row].id));
                }
            };
            match class {
                Some(class) => pen.series(&study.classes[class], draw),
                None => draw(),
            }
        }
        for c in s.contours.iter().filter(|c| c.class < CLASSES) {
            pen.series(&study.classes[c.class], || {
                let width = if c.share > 0.4 { 2.0 } else { 1.1 };
                for line in &c.lines {
                    let points: Vec<(f64, f64)> = line.iter().map(|p| place(*p)).collect();
                    pen.line(&points, Stroke::solid(Colour::Series(c.class), width));
                }
            });
        }
    })
}

/// As many points as a panel shows, of every class its share and at least one.
fn thinned(points: &[ScatterPoint]) -> Vec<&ScatterPoint> {
    let step = points.len().div_ceil(POINTS).max(1);
    let mut seen: BTreeMap<Option<usize>, usize> = BTreeMap::new();
    let mut kept = |p: &&ScatterPoint| {
        let of_class = seen.entry(p.class).or_default();
        *of_class += 1;
        (*of_class - 1).is_multiple_of(step)
    };
    points.iter().filter(|p| kept(p)).collect()
}

fn frame(pen: &Pen, title: &str, (left, right, top, bottom): (f64, f64, f64, f64), explained: [String; 2]) {
    let script = |align| Script::new(11.0, Colour::Muted, align);
    let title = super::chart::fitted(title, 13.0, WIDTH - 28.0);
    pen.text((14.0, 14.0), &title, Script { bold: true, ..Script::new(13.0, Colour::Ink, Align::Left) });
    pen.line(&[(left, top), (left, bottom), (right, bottom)], Stroke::solid(Colour::Muted, 1.0));
    pen.text((f64::midpoint(left, right), bottom + 14.0), &format!("component 1{}", explained[0]), script(Align::Center));
    let turned = Script { turned: true, ..script(Align::Center) };
    pen.text((12.0, f64::midpoint(top, bottom)), &format!("component 2{}", explained[1]), turned);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rare_class_is_drawn_however_many_rows_there_are() {
        let point = |row: usize| ScatterPoint { row, class: Some(usize::from(row == 1777)), x: row as f64, y: 0.0 };
        let points: Vec<ScatterPoint> = (0..4000).map(point).collect();
        let shown = thinned(&points);
        assert_eq!(shown.iter().filter(|p| p.class == Some(1)).count(), 1);
        assert!((380..=POINTS + 2).contains(&shown.len()), "{}", shown.len());
        assert_eq!(thinned(&points[..POINTS]).len(), POINTS, "few are all drawn");
    }
}
