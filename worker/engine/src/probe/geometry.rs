//! How classes lie in the states of one read-out: principal components, class directions, similarities, separation.

use limbic_proto::unit::some_rows;

use super::eigen::{leading, moment_products};
use super::error::ProbeError;
use super::labels::Labels;
use super::matrix::{Matrix, Split};
use super::mean_difference::Sides;
use super::moments;
use super::product::{Strided, product};

/// What is described of one read-out. Features must be standardised on train.
#[derive(Debug, Clone, PartialEq)]
pub struct Geometry {
    /// Test rows along the first three principal components of train, row-major `[n, 3]`; NaN of components there aren't.
    pub coordinates: Vec<f32>,
    /// The share of train's variance along each of the first ten components (fewer if there are fewer).
    pub explained: Vec<f32>,
    /// For each class the mean of its training rows less that of all others, or the slope of the states on the value,
    /// row-major `[outputs, d]`; NaN where train tells nothing of it.
    pub directions: Vec<f32>,
    /// Mean silhouette of the classes (Rousseeuw 1987) and Fisher's ratio, over test rows; NaN where rows have no single
    /// class, or fewer than two classes occur.
    pub separation: [f32; 2],
}

/// Principal components that are measured, and those along which rows are shown.
const COMPONENTS: usize = 10;
const SHOWN: usize = 3;

/// Test rows whose silhouettes are measured, at most: they take each row's distance from each other.
const SILHOUETTES: usize = 1000;

impl Geometry {
    /// Describes states with labels; row weights of train count.
    ///
    /// # Errors
    /// Bad input.
    pub fn of(train: &Split<'_>, test: &Split<'_>, outputs: usize) -> Result<Geometry, ProbeError> {
        train.check("train", outputs)?;
        test.check("test", outputs)?;
        let weight = |row: usize| train.targets.weight(row);
        let centre = moments::means(&train.x, weight);
        let (values, vectors, total) = components(&train.x, &centre, weight);
        let mut coordinates = vec![f32::NAN; test.x.rows() * SHOWN];
        for (row, shown) in coordinates.chunks_exact_mut(SHOWN).enumerate() {
            for (place, vector) in shown.iter_mut().zip(&vectors) {
                let along = test.x.row(row).iter().zip(&centre).zip(vector).map(|((&v, c), d)| (f64::from(v) - c) * d);
                *place = along.sum::<f64>() as f32;
            }
        }
        let share = |v: &f64| if total > 0.0 { (v.max(0.0) / total) as f32 } else { f32::NAN };
        Ok(Geometry {
            coordinates,
            explained: values.iter().map(share).collect(),
            directions: directions(train, outputs),
            separation: separation(test, outputs),
        })
    }
}

/// The leading eigenvalues and vectors of train's covariance, and its trace.
fn components(x: &Matrix<'_>, centre: &[f64], weight: impl Fn(usize) -> f64) -> (Vec<f64>, Vec<Vec<f64>>, f64) {
    let (n, d) = (x.rows(), x.columns());
    let all: f64 = (0..n).map(&weight).sum();
    let block = |from: usize| -> Vec<f64> {
        let rows = from..(from + 512).min(n);
        rows.flat_map(|row| x.row(row).iter().zip(centre).map(|(&v, c)| f64::from(v) - c)).collect()
    };
    let blocks: Vec<usize> = (0..n).step_by(512).collect();
    let apply = |vectors: &[f64]| {
        let mut out = vec![0f64; vectors.len()];
        for &from in &blocks {
            let part = moment_products(&block(from), d, vectors, |row| weight(from + row) / all);
            out.iter_mut().zip(part).for_each(|(o, p)| *o += p);
        }
        out
    };
    let (values, vectors) = leading(d, COMPONENTS.min(n.saturating_sub(1)).max(1), apply);
    let square = |row: usize| weight(row) / all * x.row(row).iter().zip(centre).map(|(&v, c)| (f64::from(v) - c).powi(2)).sum::<f64>();
    let total = (0..n).map(square).sum();
    (values, vectors, total)
}

fn directions(train: &Split<'_>, outputs: usize) -> Vec<f32> {
    let d = train.x.columns();
    match train.targets.labels {
        Labels::Single(_) | Labels::Multi(_) => {
            let sides = Sides::of(train, outputs);
            let direction = |(with, without): &(super::mean_difference::Side, super::mean_difference::Side)| -> Vec<f32> {
                match with.mean().zip(without.mean()) {
                    Some((with, without)) => with.iter().zip(&without).map(|(a, b)| (a - b) as f32).collect(),
                    None => vec![f32::NAN; d],
                }
            };
            sides.iter().flat_map(direction).collect()
        }
        Labels::Intensity(values) | Labels::Continuous(values) => {
            let weight = |row: usize| train.targets.weight(row);
            let wide: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
            let (mean, variance) = moments::spread(&wide, outputs, &train.targets);
            let centred: Vec<f64> = wide.chunks_exact(outputs).flat_map(|row| row.iter().zip(&mean).map(|(v, m)| v - m)).collect();
            let centre = moments::means(&train.x, weight);
            let cross = moments::cross(&train.x, &centre, &centred, outputs, weight);
            let total = train.targets.total(train.x.rows());
            let slope =
                |k: usize, j: usize| if variance[k] > 0.0 { (cross[j * outputs + k] / total / variance[k]) as f32 } else { f32::NAN };
            (0..outputs).flat_map(|k| (0..d).map(move |j| (k, j))).map(|(k, j)| slope(k, j)).collect()
        }
    }
}

/// Inner products of rows `[s, d]` less their mean, row-major `[s, s]`.
pub fn similarity(rows: &Matrix<'_>) -> Vec<f32> {
    let (s, d) = (rows.rows(), rows.columns());
    if s == 0 {
        return Vec::new();
    }
    let centre = moments::means(rows, |_| 1.0);
    let centred: Vec<f64> = (0..s).flat_map(|row| rows.row(row).iter().zip(&centre).map(|(&v, c)| f64::from(v) - c)).collect();
    let mut out = vec![0f64; s * s];
    let view = Strided::rows(&centred, s, d);
    product(&mut out, (s, 1), 0.0, 1.0, view, view.transposed());
    out.iter().map(|&v| v as f32).collect()
}

fn separation(test: &Split<'_>, outputs: usize) -> [f32; 2] {
    let Labels::Single(labels) = test.targets.labels else { return [f32::NAN; 2] };
    [silhouette(&test.x, labels, outputs) as f32, fisher(&test.x, labels, outputs) as f32]
}

/// The mean silhouette, as scikit-learn has it: 0 of a row that is alone in its class.
fn silhouette(x: &Matrix<'_>, labels: &[u32], outputs: usize) -> f64 {
    let rows = some_rows(x.rows(), SILHOUETTES);
    let used = rows.len();
    let mut counts = vec![0usize; outputs];
    rows.iter().for_each(|&row| counts[labels[row] as usize] += 1);
    if counts.iter().filter(|count| **count > 0).count() < 2 {
        return f64::NAN;
    }
    let wide: Vec<f64> = rows.iter().flat_map(|&row| x.row(row)).map(|&v| f64::from(v)).collect();
    let view = Strided::rows(&wide, used, x.columns());
    let mut inner = vec![0f64; used * used];
    product(&mut inner, (used, 1), 0.0, 1.0, view, view.transposed());
    let mut sum = 0f64;
    for i in 0..used {
        let mut away = vec![0f64; outputs];
        for j in (0..used).filter(|&j| j != i) {
            let square = inner[i * used + i] + inner[j * used + j] - 2.0 * inner[i * used + j];
            away[labels[rows[j]] as usize] += square.max(0.0).sqrt();
        }
        let own = labels[rows[i]] as usize;
        if counts[own] < 2 {
            continue;
        }
        let inside = away[own] / (counts[own] - 1) as f64;
        let others = (0..outputs).filter(|&class| class != own && counts[class] > 0).map(|class| away[class] / counts[class] as f64);
        let nearest = others.fold(f64::INFINITY, f64::min);
        let larger = inside.max(nearest);
        sum += if larger > 0.0 { (nearest - inside) / larger } else { 0.0 };
    }
    sum / used as f64
}

/// Trace of the scatter between classes over that within.
fn fisher(x: &Matrix<'_>, labels: &[u32], outputs: usize) -> f64 {
    let (n, d) = (x.rows(), x.columns());
    let centre = moments::means(x, |_| 1.0);
    let mut means = vec![vec![0f64; d]; outputs];
    let mut counts = vec![0f64; outputs];
    labels.iter().for_each(|&label| counts[label as usize] += 1.0);
    for (row, &label) in labels.iter().enumerate() {
        let count = counts[label as usize];
        means[label as usize].iter_mut().zip(x.row(row)).for_each(|(m, &v)| *m += f64::from(v) / count);
    }
    if counts.iter().filter(|count| **count > 0.0).count() < 2 {
        return f64::NAN;
    }
    let square = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let between: f64 =
        means.iter().zip(&counts).filter(|(_, count)| **count > 0.0).map(|(mean, count)| count * square(mean, &centre)).sum();
    let within: f64 =
        (0..n).map(|row| x.row(row).iter().zip(&means[labels[row] as usize]).map(|(&v, m)| (f64::from(v) - m).powi(2)).sum::<f64>()).sum();
    between / within
}
