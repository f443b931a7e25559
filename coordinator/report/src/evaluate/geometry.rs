//! The geometry of states: by layer, across layers, conditions and models, and as planes.

mod planes;

use std::sync::Arc;

use limbic_proto::axis::{Layer, Pooling, ReadOut};
use limbic_proto::rows::Scheme;
use rayon::prelude::*;

use super::bench::Bench;
use crate::results::{Across, GeometryResults, LayerGeometry, Place, PlaceGeometry, Results};
use crate::statistics::linkage;
use crate::statistics::similarity::{Products, cka, cosines, rsa, spearman};
use crate::study::{Geometry, GeometryEntry, ReportError};

/// What is kept of a place while others are looked at: its shown layer.
struct Shown {
    place: Place,
    layer: Layer,
    tensors: Arc<Geometry>,
}

/// Everything about geometry, at each place's first pooling (`last` where it was measured).
pub fn all(bench: &Bench<'_>, results: &Results) -> GeometryResults {
    let mut places: Vec<(Place, ReadOut)> = Vec::new();
    for entry in &bench.study.geometry {
        let place = Place { model: entry.model, condition: entry.condition };
        match places.iter_mut().find(|(known, _)| *known == place) {
            Some((_, read_out)) if entry.read_out.pooling == Pooling::Last => *read_out = entry.read_out,
            Some(_) => {}
            None => places.push((place, entry.read_out)),
        }
    }
    places.sort_unstable();
    // One place at a time: its layers' matrices are the only ones in memory.
    let found: Vec<(PlaceGeometry, Shown)> =
        places.into_iter().filter_map(|(place, read_out)| one(bench, results, place, read_out)).collect();
    let shown: Vec<&Shown> = found.iter().map(|f| &f.1).collect();
    let across = across(bench, &shown);
    let mut scatters = Vec::new();
    for shown in &shown {
        let first = shown.place.condition == shown_condition(&found, shown.place.model);
        if first && bench.study.models[shown.place.model].random_weights.is_none() {
            scatters.extend(planes::states(bench, shown.place, shown.layer, &shown.tensors));
        }
    }
    scatters.extend(planes::probabilities(bench, results));
    GeometryResults { places: found.into_iter().map(|f| f.0).collect(), across, scatters, affect: planes::affect(bench, results) }
}

fn shown_condition(found: &[(PlaceGeometry, Shown)], model: usize) -> usize {
    found.iter().filter(|f| f.1.place.model == model).map(|f| f.1.place.condition).min().unwrap_or(0)
}

fn read(bench: &Bench<'_>, entry: &GeometryEntry) -> Option<Arc<Geometry>> {
    match entry.tensors.read() {
        Ok(tensors) => Some(tensors),
        Err(message) => {
            let place = format!("{}, {}", bench.study.model_name(Some(entry.model)), bench.study.condition_name(Some(entry.condition)));
            bench.fail(ReportError::Read { what: format!("geometry of {place}, layer {}", entry.layer), message });
            None
        }
    }
}

fn one(bench: &Bench<'_>, results: &Results, place: Place, read_out: ReadOut) -> Option<(PlaceGeometry, Shown)> {
    let ours = |e: &&GeometryEntry| (e.model, e.condition, e.read_out) == (place.model, place.condition, read_out);
    let mut entries: Vec<&GeometryEntry> = bench.study.geometry.iter().filter(ours).collect();
    entries.sort_by_key(|e| e.layer);
    let tensors: Option<Vec<Arc<Geometry>>> = entries.iter().map(|e| read(bench, e)).collect();
    let tensors = tensors?;
    let products: Vec<Products> = tensors.iter().map(|t| Products::new(&t.similarity)).collect();
    let classes = bench.study.classes.len();
    let width = |t: &Geometry| t.directions.len() / classes.max(1);
    let alike = |of: &(dyn Fn(usize, usize) -> f64 + Sync)| square(entries.len(), of);
    let layers = entries.iter().zip(&tensors).map(|(entry, t)| LayerGeometry {
        layer: entry.layer,
        // States that are all the same have no scatter; that each is as near to its own class as to others, 0, says nothing of them.
        silhouette: if t.fisher.is_nan() { f64::NAN } else { f64::from(t.silhouette) },
        fisher: f64::from(t.fisher),
        explained: t.explained.iter().map(|v| f64::from(*v)).collect(),
        angles: if bench.study.scheme == Scheme::Continuous { angles(&t.directions, width(t)) } else { Vec::new() },
    });
    let curve = results.depth.iter().find(|c| c.place == place);
    let shown = curve.and_then(|c| entries.iter().position(|e| e.layer == c.shown().layer)).unwrap_or(entries.len() / 2);
    let directions = cosines(&tensors[shown].directions, &tensors[shown].directions, width(&tensors[shown]));
    let distances: Vec<Vec<f64>> = directions.iter().map(|row| row.iter().map(|c| 1.0 - c).collect()).collect();
    let merges = linkage::average(&distances);
    let geometry = PlaceGeometry {
        place,
        pooling: read_out.pooling.as_str(),
        layers: layers.collect(),
        cka: alike(&|a, b| cka(&products[a], &products[b])),
        rsa: alike(&|a, b| rsa(&products[a], &products[b])),
        alignment: alike(&|a, b| alignment(&tensors[a], &tensors[b], classes)),
        shown,
        directions,
        order: linkage::leaves(classes, &merges),
        merges,
    };
    Some((geometry, Shown { place, layer: entries[shown].layer, tensors: tensors[shown].clone() }))
}

/// A symmetric matrix, computed once for each pair.
fn square(n: usize, of: &(dyn Fn(usize, usize) -> f64 + Sync)) -> Vec<Vec<f64>> {
    let upper: Vec<Vec<f64>> = (0..n).into_par_iter().map(|a| (a..n).map(|b| of(a, b)).collect()).collect();
    (0..n).map(|a| (0..n).map(|b| upper[a.min(b)][a.max(b) - a.min(b)]).collect()).collect()
}

/// Mean cosine of the directions of the same class; NaN where the widths differ.
fn alignment(a: &Geometry, b: &Geometry, classes: usize) -> f64 {
    if a.directions.len() != b.directions.len() {
        return f64::NAN;
    }
    let width = a.directions.len() / classes.max(1);
    let of = |class: usize| {
        let slice = |g: &Geometry| g.directions[class * width..][..width].to_vec();
        cosines(&slice(a), &slice(b), width)[0][0]
    };
    crate::statistics::metrics::mean((0..classes).map(of))
}

/// Degrees between every two directions.
fn angles(directions: &[f32], width: usize) -> Vec<f64> {
    let cosines = cosines(directions, directions, width);
    let n = cosines.len();
    (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).map(|(a, b)| cosines[a][b].acos().to_degrees()).collect()
}

/// Every place's shown layer against every other's.
fn across(bench: &Bench<'_>, shown: &[&Shown]) -> Across {
    if shown.len() < 2 {
        return Across::default();
    }
    let products: Vec<Products> = shown.iter().map(|s| Products::new(&s.tensors.similarity)).collect();
    let classes = bench.study.classes.len();
    let within = |a: usize, b: usize| {
        if shown[a].place.model == shown[b].place.model { alignment(&shown[a].tensors, &shown[b].tensors, classes) } else { f64::NAN }
    };
    Across {
        places: shown.iter().map(|s| s.place).collect(),
        cka: square(shown.len(), &|a, b| cka(&products[a], &products[b])),
        rsa: square(shown.len(), &|a, b| rsa(&products[a], &products[b])),
        alignment: square(shown.len(), &within),
        arrangement: arrangement(shown, classes),
    }
}

/// How alike the classes' directions lie to one another at every two places.
fn arrangement(shown: &[&Shown], classes: usize) -> Vec<Vec<f64>> {
    // Of three classes there are three pairs, whose ranks agree too often.
    if classes < 4 {
        return vec![vec![f64::NAN; shown.len()]; shown.len()];
    }
    let all: Vec<Vec<f64>> = shown.iter().map(|s| pairs(&s.tensors.directions, classes)).collect();
    let alike = |a: usize, b: usize| match all[a].iter().chain(&all[b]).all(|cosine| cosine.is_finite()) {
        true => spearman(&all[a], &all[b]),
        false => f64::NAN,
    };
    square(shown.len(), &alike)
}

/// The cosines between the directions `[classes, width]` of every two classes.
fn pairs(directions: &[f32], classes: usize) -> Vec<f64> {
    let cosines = cosines(directions, directions, directions.len() / classes);
    (0..classes).flat_map(|a| cosines[a][a + 1..].to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_lie_to_one_another_alike_whatever_the_width() {
        // Four directions in a plane, and the same ones in another plane of three numbers, longer.
        let angles = [0.0f32, 0.4, 1.3, 2.9];
        let plane: Vec<f32> = angles.iter().flat_map(|a| [a.cos(), a.sin()]).collect();
        let space: Vec<f32> = angles.iter().flat_map(|a| [3.0 * a.sin(), 0.0, 3.0 * a.cos()]).collect();
        let other: Vec<f32> = [0.0f32, 2.9, 1.3, 0.1].iter().flat_map(|a| [a.cos(), a.sin()]).collect();
        let alike = |a: &[f32], b: &[f32]| spearman(&pairs(a, 4), &pairs(b, 4));
        assert!((alike(&plane, &space) - 1.0).abs() < 1e-12);
        assert!(alike(&plane, &other) < 0.5, "{}", alike(&plane, &other));
    }
}
