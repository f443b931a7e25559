//! Test rows in the plane of two principal components, with the density of every class.

use limbic_proto::axis::Layer;
use limbic_proto::rows::Scheme;

use super::super::bench::Bench;
use crate::results::{AffectPlane, Contour, DepthCurve, Place, Results, Scatter, ScatterPoint};
use crate::statistics::density::Density;
use crate::statistics::principal::plane;
use crate::study::Geometry;

/// The shares of a class's peak density at which contours are drawn (as in the study that Limbic grew from).
const SHARES: [f64; 2] = [0.25, 0.5];

/// Points of the grid that densities are computed on, to a side.
const SIDE: usize = 56;

/// States of one layer along the first two components of train.
pub fn states(bench: &Bench<'_>, place: Place, layer: Layer, tensors: &Geometry) -> Option<Scatter> {
    let points: Vec<ScatterPoint> = tensors
        .coordinates
        .chunks_exact(3)
        .enumerate()
        .filter(|(_, c)| c[0].is_finite() && c[1].is_finite())
        .map(|(row, c)| ScatterPoint { row, x: f64::from(c[0]), y: f64::from(c[1]), class: class(bench, row) })
        .collect();
    let share = |i: usize| tensors.explained.get(i).map_or(f64::NAN, |v| f64::from(*v));
    (points.len() > 1).then(|| scatter(bench, place, "states", layer, (share(0), share(1)), points))
}

/// The probe's probabilities at each model's representative layer under its first condition.
pub fn probabilities(bench: &Bench<'_>, results: &Results) -> Vec<Scatter> {
    if matches!(bench.study.scheme, Scheme::Intensity | Scheme::Continuous) || bench.study.classes.len() < 3 {
        return Vec::new();
    }
    let first = |model: usize| results.depth.iter().filter(move |c| c.place.model == model).min_by_key(|c| c.place.condition);
    bench.trained().filter_map(first).filter_map(|curve| of_curve(bench, curve)).collect()
}

/// Where the probe places test rows on valence and arousal, at each model's representative layer under its first condition.
pub fn affect(bench: &Bench<'_>, results: &Results) -> Vec<AffectPlane> {
    let scale = |names: [&str; 2]| bench.study.classes.iter().position(|c| names.contains(&c.to_lowercase().as_str()));
    let (Some(valence), Some(arousal)) = (scale(["valence", "v"]), scale(["arousal", "a"])) else { return Vec::new() };
    if bench.study.scheme != Scheme::Continuous {
        return Vec::new();
    }
    let classes = bench.study.classes.len();
    let one = |curve: &DepthCurve| {
        let best = curve.shown();
        let values = bench.read(*best.predictions.first()?)?;
        let present = bench.ruler.target.present(&values);
        let at = |row: usize, scale: usize| f64::from(values[row * classes + scale]);
        let rows = (0..present.len()).filter(|r| present[*r]);
        let points = rows.map(|row| (row, (at(row, valence), at(row, arousal)))).collect();
        Some(AffectPlane { place: curve.place, layer: best.layer, axes: (valence, arousal), points })
    };
    let first = |model: usize| results.depth.iter().filter(move |c| c.place.model == model).min_by_key(|c| c.place.condition);
    bench.trained().filter_map(first).filter_map(one).collect()
}

fn of_curve(bench: &Bench<'_>, curve: &DepthCurve) -> Option<Scatter> {
    let best = curve.shown();
    let values = bench.read(*best.predictions.first()?)?;
    let classes = bench.study.classes.len();
    let present = bench.ruler.target.present(&values);
    let rows: Vec<usize> = (0..present.len()).filter(|r| present[*r]).collect();
    let columns: Vec<Vec<f64>> =
        rows.iter().map(|row| values[row * classes..][..classes].iter().map(|v| f64::from(*v)).collect()).collect();
    let plane = plane(&columns)?;
    let points = rows.iter().zip(&plane.points).map(|(row, p)| ScatterPoint { row: *row, x: p.0, y: p.1, class: class(bench, *row) });
    Some(scatter(bench, curve.place, "probabilities", best.layer, plane.explained, points.collect()))
}

/// The class that a row is shown as; none where it has no label, or where labels are places on scales.
fn class(bench: &Bench<'_>, row: usize) -> Option<usize> {
    let class = bench.ruler.target.class[row] as usize;
    (bench.study.scheme != Scheme::Continuous && bench.ruler.target.is(row, class)).then_some(class)
}

fn scatter(bench: &Bench<'_>, place: Place, what: &'static str, layer: Layer, explained: (f64, f64), points: Vec<ScatterPoint>) -> Scatter {
    let range = |of: &dyn Fn(&ScatterPoint) -> f64| {
        let (lo, hi) = points.iter().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |r, v| (r.0.min(v), r.1.max(v)));
        let pad = (hi - lo).max(1e-9) * 0.12;
        (lo - pad, hi + pad)
    };
    let (x, y) = (range(&|p| p.x), range(&|p| p.y));
    let mut contours = Vec::new();
    for class in 0..bench.study.classes.len() {
        let ours: Vec<(f64, f64)> = points.iter().filter(|p| p.class == Some(class)).map(|p| (p.x, p.y)).collect();
        let Some(density) = Density::new(&ours, x, y, SIDE) else { continue };
        let peak = density.peak();
        contours.extend(SHARES.map(|share| Contour { class, share, lines: density.contours(peak * share) }));
    }
    Scatter { place, what, layer, explained, points, contours }
}
