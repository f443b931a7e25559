//! How classes, layers, conditions and models lie to one another.

use limbic_proto::axis::Layer;

use super::chart::{Axes, Chart, HEIGHT, share_range, ticks};
use super::data::{self, Data};
use super::depth::{layer_axis, layer_place};
use super::heat::{Grid, Tree, key, panels, range};
use super::palette::Colour;
use super::pen::Stroke;
use super::{Figure, Key, Panel};
use crate::results::{PlaceGeometry, Results};
use crate::study::Study;
use crate::wording::{Notation, layer as layer_words};

fn title(study: &Study, p: &PlaceGeometry) -> String {
    let model = &study.models[p.place.model].name;
    if study.conditions.len() > 1 { format!("{model} · {}", study.conditions[p.place.condition].name) } else { model.clone() }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Cosines between the directions of classes, ordered and topped by their tree; one panel per place.
pub fn directions(study: &Study, results: &Results) -> Option<Figure> {
    let mut data = Data::new(&["model", "condition", "layer", "class", "other", "cosine"]);
    let mut grids = Vec::new();
    for p in results.geometry.places.iter().filter(|p| p.directions.len() > 1) {
        let layer = p.layers[p.shown].layer;
        for (a, row) in study.classes.iter().zip(&p.directions) {
            for (b, cosine) in study.classes.iter().zip(row) {
                let names = [&study.models[p.place.model].name, &study.conditions[p.place.condition].name];
                let mut cells: Vec<String> = names.into_iter().cloned().collect();
                cells.extend([layer.to_string(), a.clone(), b.clone(), data::number(*cosine)]);
                data.push(cells);
            }
        }
        let names: Vec<String> = p.order.iter().map(|c| study.classes[*c].clone()).collect();
        grids.push(Grid {
            title: format!("{}, layer {}", title(study, p), layer_words(layer)),
            rows: names.clone(),
            columns: names,
            cells: p.order.iter().map(|a| p.order.iter().map(|b| finite(p.directions[*a][*b])).collect()).collect(),
            turned: true,
            names: ("", "and"),
            tree: Some(Tree { merges: p.merges.clone(), order: p.order.clone() }),
            ..Grid::default()
        });
    }
    let scale = range(&grids, Notation::Real);
    Some(Figure {
        name: "geometry-directions",
        title: "Directions of the classes".to_owned(),
        caption: "Cosine between the directions of every two classes (the mean of a class minus that of all others, in standardised states) at the probe's representative layer. Classes stand in the order of the tree above them: average linkage of 1\u{a0}−\u{a0}cosine.".to_owned(),
        alt: "Heat maps of cosines between class directions with a dendrogram, one per model and condition.".to_owned(),
        keys: vec![key(Notation::Real, scale)],
        panels: panels(&grids, Notation::Real, scale),
        data,
    })
}

/// Values by layer.
type Points = Vec<(Layer, f64)>;

/// Curves over layers, one panel per model and statistic.
struct Curves<'a> {
    model: usize,
    title: String,
    y_label: &'static str,
    /// Name, colour, points.
    series: Vec<(String, Colour, Points)>,
    study: &'a Study,
}

impl Curves<'_> {
    fn panel(&self, notation: &dyn Fn(f64) -> String) -> Option<Panel> {
        let layers: Vec<Layer> = self.series.iter().flat_map(|s| s.2.iter().map(|p| p.0)).collect();
        let blocks = self.study.models[self.model].layers;
        if layers.is_empty() {
            return None;
        }
        let (x, x_ticks) = layer_axis(&layers, blocks);
        let values = self.series.iter().flat_map(|s| s.2.iter().map(|p| p.1));
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |r, v| (r.0.min(v), r.1.max(v)));
        let pad = (high - low).max(1e-3) * 0.08;
        let y = (low - pad, high + pad);
        let axes = Axes {
            title: self.title.clone(),
            x,
            y,
            x_ticks,
            y_ticks: ticks(y, 5, notation),
            x_label: "layer".to_owned(),
            y_label: self.y_label.to_owned(),
        };
        Some(Panel::new(format!("{}: {} to {}", self.title, notation(low), notation(high)), HEIGHT, |pen| {
            let chart = Chart::new(pen, &axes, HEIGHT, 58.0);
            for (name, colour, points) in &self.series {
                pen.series(name, || {
                    let line: Vec<(f64, f64)> = points.iter().map(|(l, v)| (layer_place(*l, blocks), *v)).collect();
                    chart.line(&line, Stroke::solid(*colour, 2.0));
                    for (l, v) in points {
                        chart.mark(layer_place(*l, blocks), *v, format!("{name}, layer {}: {}", layer_words(*l), notation(*v)));
                    }
                });
            }
        }))
    }
}

fn models(study: &Study, results: &Results) -> Vec<usize> {
    let many = |m: &usize| results.geometry.places.iter().any(|p| p.place.model == *m && p.layers.len() > 1);
    (0..study.models.len()).filter(many).collect()
}

/// How far apart the classes lie at each layer: silhouette and Fisher's ratio.
pub fn separation(study: &Study, results: &Results) -> Option<Figure> {
    let mut data = Data::new(&["model", "condition", "layer", "silhouette", "fisher"]);
    for p in &results.geometry.places {
        for l in &p.layers {
            let names = [&study.models[p.place.model].name, &study.conditions[p.place.condition].name];
            let mut row: Vec<String> = names.into_iter().cloned().collect();
            row.extend([l.layer.to_string(), data::number(l.silhouette), data::number(l.fisher)]);
            data.push(row);
        }
    }
    type Of = fn(&crate::results::LayerGeometry) -> f64;
    let statistics: [(&str, Of); 2] = [("silhouette", |l| l.silhouette), ("Fisher's ratio", |l| l.fisher)];
    let mut panels = Vec::new();
    for model in models(study, results) {
        for (y_label, of) in statistics {
            let series = results.geometry.places.iter().filter(|p| p.place.model == model).map(|p| {
                let points = p.layers.iter().filter_map(|l| Some((l.layer, finite(of(l))?))).collect();
                (study.conditions[p.place.condition].name.clone(), Colour::Series(p.place.condition), points)
            });
            let curves =
                Curves { model, title: format!("{} · {y_label}", study.models[model].name), y_label, series: series.collect(), study };
            panels.extend(curves.panel(&|v| Notation::Real.value(v)));
        }
    }
    Some(Figure {
        name: "geometry-separation",
        title: "How far apart the classes lie".to_owned(),
        caption: "Mean silhouette of the test rows' classes, and scatter between classes over scatter within (Fisher's ratio), in standardised states over layers.".to_owned(),
        alt: "Curves over layers, two panels per model, one curve per condition.".to_owned(),
        keys: condition_keys(study, results),
        panels,
        data,
    })
}

fn condition_keys(study: &Study, results: &Results) -> Vec<Key> {
    let shown = (0..study.conditions.len()).filter(|c| results.geometry.places.iter().any(|p| p.place.condition == *c));
    shown.map(|c| Key::series(study.conditions[c].name.clone(), "line", Colour::Series(c))).collect()
}

/// Angles between scales over layers.
pub fn angles(study: &Study, results: &Results) -> Option<Figure> {
    let n = study.classes.len();
    let pairs: Vec<(usize, usize)> = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).collect();
    let name = |(a, b): (usize, usize)| format!("{} and {}", study.classes[a], study.classes[b]);
    let mut data = Data::new(&["model", "condition", "layer", "scale", "other", "degrees"]);
    let mut panels = Vec::new();
    for p in results.geometry.places.iter().filter(|p| p.layers.iter().any(|l| !l.angles.is_empty())) {
        for l in &p.layers {
            for ((a, b), angle) in pairs.iter().zip(&l.angles) {
                let names = [&study.models[p.place.model].name, &study.conditions[p.place.condition].name];
                let mut row: Vec<String> = names.into_iter().cloned().collect();
                row.extend([l.layer.to_string(), study.classes[*a].clone(), study.classes[*b].clone(), data::number(*angle)]);
                data.push(row);
            }
        }
        let series = pairs.iter().enumerate().map(|(i, pair)| {
            let points = p.layers.iter().filter_map(|l| Some((l.layer, finite(*l.angles.get(i)?)?))).collect();
            (name(*pair), Colour::Series(i), points)
        });
        let curves =
            Curves { model: p.place.model, title: title(study, p), y_label: "degrees between directions", series: series.collect(), study };
        panels.extend(curves.panel(&|v| format!("{v:.0}°")));
    }
    Some(Figure {
        name: "geometry-angles",
        title: "Angles between the scales".to_owned(),
        caption: "Degrees between the directions along which the states change with each scale, over layers: 90° = the scales are told apart, 0° = one direction serves both.".to_owned(),
        alt: "Curves of angles over layers, one panel per model and condition, one curve per pair of scales.".to_owned(),
        keys: pairs.iter().enumerate().map(|(i, pair)| Key::series(name(*pair), "line", Colour::Series(i))).collect(),
        panels,
        data,
    })
}

/// How alike layers are: CKA, and RSA in the data; one panel per place.
pub fn layers(study: &Study, results: &Results) -> Option<Figure> {
    let mut data = Data::new(&["model", "condition", "layer", "other", "cka", "rsa", "alignment"]);
    let mut grids = Vec::new();
    for p in results.geometry.places.iter().filter(|p| p.layers.len() > 1) {
        for (a, first) in p.layers.iter().enumerate() {
            for (b, second) in p.layers.iter().enumerate().skip(a) {
                let names = [&study.models[p.place.model].name, &study.conditions[p.place.condition].name];
                let mut row: Vec<String> = names.into_iter().cloned().collect();
                row.extend([first.layer.to_string(), second.layer.to_string()]);
                row.extend([p.cka[a][b], p.rsa[a][b], p.alignment[a][b]].map(data::number));
                data.push(row);
            }
        }
        let names: Vec<String> = p.layers.iter().map(|l| l.layer.to_string()).collect();
        grids.push(Grid {
            title: title(study, p),
            rows: names.iter().rev().cloned().collect(),
            columns: names,
            cells: p.cka.iter().rev().map(|row| row.iter().map(|v| finite(*v)).collect()).collect(),
            x_label: "layer",
            y_label: "layer",
            names: ("layer", "and"),
            ..Grid::default()
        });
    }
    let scale = share_range(grids.iter().flat_map(|g: &Grid| g.cells.iter().flatten().flatten().copied()));
    Some(Figure {
        name: "geometry-layers",
        title: "How alike the layers are".to_owned(),
        caption: "Linear CKA, debiased, between the states of the same test rows at every two layers: 1 = the same up to rotation and scale. The CSV has RSA and the alignment of class directions beside it.".to_owned(),
        alt: "Heat maps of similarity between layers, one per model and condition.".to_owned(),
        keys: vec![key(Notation::Real, scale)],
        panels: panels(&grids, Notation::Real, scale),
        data,
    })
}

/// How alike conditions and models are at their representative layers.
pub fn across(study: &Study, results: &Results) -> Option<Figure> {
    let across = &results.geometry.across;
    if across.places.is_empty() {
        return None;
    }
    let several = study.conditions.len() > 1;
    let name = |p: &crate::results::Place| {
        let model = &study.models[p.model].name;
        if several { format!("{model} · {}", study.conditions[p.condition].name) } else { model.clone() }
    };
    let mut data = Data::new(&["model", "condition", "other_model", "other_condition", "cka", "rsa", "alignment", "arrangement"]);
    for (a, first) in across.places.iter().enumerate() {
        for (b, second) in across.places.iter().enumerate().skip(a) {
            let named = |p: &crate::results::Place| [study.models[p.model].name.clone(), study.conditions[p.condition].name.clone()];
            let mut row: Vec<String> = named(first).into_iter().chain(named(second)).collect();
            row.extend([across.cka[a][b], across.rsa[a][b], across.alignment[a][b], across.arrangement[a][b]].map(data::number));
            data.push(row);
        }
    }
    // Untrained twins would take half of the room.
    let trained = |at: &usize| study.models[across.places[*at].model].random_weights.is_none();
    let drawn: Vec<usize> = (0..across.places.len()).filter(trained).collect();
    let names: Vec<String> = drawn.iter().map(|at| name(&across.places[*at])).collect();
    let grid = |title: &str, of: &[Vec<f64>]| Grid {
        title: title.to_owned(),
        rows: names.clone(),
        columns: names.clone(),
        cells: drawn.iter().map(|a| drawn.iter().map(|b| finite(of[*a][*b])).collect()).collect(),
        turned: true,
        names: ("", "and"),
        ..Grid::default()
    };
    let mut grids = vec![grid("CKA", &across.cka), grid("RSA", &across.rsa)];
    if several {
        grids.push(grid("alignment of class directions", &across.alignment));
    }
    if across.arrangement.iter().flatten().any(|v| v.is_finite()) {
        grids.push(grid("arrangement of class directions", &across.arrangement));
    }
    let scale = range(&grids, Notation::Real);
    Some(Figure {
        name: "geometry-across",
        title: "How alike conditions and models are".to_owned(),
        caption: "States of the same test rows at each model's and condition's representative layer: linear CKA (debiased), RSA (Spearman's correlation of distances between rows), within one model the mean cosine of the directions of the same class (alignment), and whether the directions of classes lie to one another in the same order of cosines (arrangement: Spearman's correlation over pairs of classes). The CSV has the untrained twins, too.".to_owned(),
        alt: "Heat maps of similarity between all pairs of model and condition.".to_owned(),
        keys: vec![key(Notation::Real, scale)],
        panels: panels(&grids, Notation::Real, scale),
        data,
    })
}
