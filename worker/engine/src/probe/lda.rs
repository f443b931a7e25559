//! Linear discriminant analysis with a shrunken covariance, as scikit-learn's solver `lsqr` finds it.

use limbic_proto::rows::Scheme;

use super::cholesky::Cholesky;
use super::error::ProbeError;
use super::fitted::{Fitted, ProbeKind};
use super::head::Head;
use super::labels::{Labels, Targets, class_totals};
use super::logistic::linear;
use super::matrix::{Matrix, Split};
use super::moments::{self, Standard};
use super::report::FitReport;
use super::standardizer::Standardizer;

/// Settings of the discriminant analysis.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LdaSettings {
    /// How far each class's covariance is shrunk towards a multiple of the identity, in 0..=1; absent = as Ledoit and Wolf
    /// (2004, "A well-conditioned estimator for large-dimensional covariance matrices") estimate it for the class.
    pub shrinkage: Option<f64>,
}

/// Fits on dense features `[n, d]`, which are standardised first: scikit-learn's
/// [`LinearDiscriminantAnalysis(solver="lsqr", shrinkage)`](https://scikit-learn.org/stable/modules/lda_qda.html), whose
/// `"auto"` is an absent shrinkage here. Priors are the class shares of train. A row's weight counts as repetitions.
///
/// # Errors
/// Bad input, a class that no training row has, or a covariance that has no inverse (too few rows for no shrinkage).
pub fn fit(
    train: &Split<'_>,
    validation: Option<&Split<'_>>,
    outputs: usize,
    settings: &LdaSettings,
) -> Result<(Fitted, FitReport), ProbeError> {
    let standardizer = Standardizer::fit(&train.x)?;
    let x = standardizer.apply(&train.x)?;
    let held = validation.map(|split| split.x.check("validation").and_then(|()| standardizer.apply(&split.x))).transpose()?;
    let d = train.x.columns();
    let held = match (&held, validation) {
        (Some(rows), Some(split)) => Some(Split { x: Matrix::new(rows, rows.len() / d, d)?, ..*split }),
        _ => None,
    };
    let split = Split { x: Matrix::new(&x, train.x.rows(), d)?, ..*train };
    let (mut fitted, report) = fit_prepared(&split, held.as_ref(), outputs, settings)?;
    fitted.standardizer = Some(standardizer);
    Ok((fitted, report))
}

/// The same on features that are standardised already.
///
/// # Errors
/// As [`fit`].
pub fn fit_prepared(
    train: &Split<'_>,
    validation: Option<&Split<'_>>,
    outputs: usize,
    settings: &LdaSettings,
) -> Result<(Fitted, FitReport), ProbeError> {
    train.check("train", outputs)?;
    if let Some(split) = validation {
        split.check("validation", outputs)?;
    }
    check_shrinkage(settings)?;
    let Labels::Single(labels) = train.targets.labels else {
        return Err(ProbeError::Scheme { probe: "lda", scheme: train.targets.labels.scheme().as_str() });
    };
    let totals = class_totals(labels, train.targets.weights, outputs)?;
    let classes = Classes::of(&train.x, labels, &train.targets, totals);
    let matrix = classes.covariance(settings.shrinkage);
    let fitted = solution(&matrix, &classes.means, &classes.totals, train.x.rows())?;
    Ok(reported(fitted, validation, outputs))
}

/// Fits on the moments of standardised features, with validation rows that are standardised alike; otherwise as [`fit`].
///
/// # Errors
/// As [`fit`]; and no shrinkage, for its estimate asks for fourth moments of every class.
pub fn fit_moments(train: &Standard, validation: Option<&Split<'_>>, settings: &LdaSettings) -> Result<(Fitted, FitReport), ProbeError> {
    let (d, outputs) = (train.columns(), train.sums.len());
    if train.scheme != Scheme::Single {
        return Err(ProbeError::Scheme { probe: "lda", scheme: train.scheme.as_str() });
    }
    check_shrinkage(settings)?;
    let Some(shrinkage) = settings.shrinkage else {
        let need = "it can't be estimated from moments: a number from 0 to 1 is needed";
        return Err(ProbeError::Setting { name: "shrinkage", value: "absent".to_owned(), need });
    };
    train.check()?;
    if let Some(split) = validation {
        split.check("validation", outputs)?;
    }
    let apart: Vec<Vec<f64>> = (0..outputs).map(|class| train.apart(class).expect("every class has rows")).collect();
    // What is left of the second moment around the means of the classes; of a feature that only tells them apart, nothing.
    let mut matrix = train.second.clone();
    for j in 0..d {
        for (apart, total) in apart.iter().zip(&train.sums) {
            let factor = total * apart[j];
            matrix[j * d + j..(j + 1) * d].iter_mut().zip(&apart[j..]).for_each(|(v, a)| *v -= factor * a);
        }
        if matrix[j * d + j] <= ROUNDING * train.second[j * d + j] {
            matrix[j * d + j] = 0.0;
        }
    }
    let mean = (0..d).map(|j| matrix[j * d + j]).sum::<f64>() / (train.total * d as f64);
    matrix.iter_mut().for_each(|v| *v *= (1.0 - shrinkage) / train.total);
    (0..d).for_each(|j| widen(&mut matrix[j * d + j], shrinkage * mean));
    let centred = |apart: &Vec<f64>| apart.iter().zip(&train.centre).map(|(a, c)| a + c).collect();
    let means: Vec<Vec<f64>> = apart.iter().map(centred).collect();
    let fitted = solution(&matrix, &means, &train.sums, train.rows)?;
    Ok(reported(fitted, validation, outputs))
}

/// The share of a variance that is rounding.
const ROUNDING: f64 = 1e-13;

fn check_shrinkage(settings: &LdaSettings) -> Result<(), ProbeError> {
    match settings.shrinkage.filter(|s| !(0.0..=1.0).contains(s)) {
        Some(value) => Err(ProbeError::Setting { name: "shrinkage", value: value.to_string(), need: "a number from 0 to 1 is needed" }),
        None => Ok(()),
    }
}

/// Adds to a variance. A constant column tells nothing; its mean is 0, and so its weight will be, as the least-norm solution has
/// it.
fn widen(variance: &mut f64, added: f64) {
    *variance += added;
    if *variance == 0.0 {
        *variance = 1.0;
    }
}

/// The probe of a covariance (the lower triangle, column-major `[d, d]`) that classes of these means and weights share.
fn solution(matrix: &[f64], means: &[Vec<f64>], totals: &[f64], rows: usize) -> Result<Fitted, ProbeError> {
    let (d, outputs, total) = (means[0].len(), means.len(), totals.iter().sum::<f64>());
    let factor = Cholesky::exact(matrix, d).ok_or(ProbeError::Singular { probe: "lda", columns: d, rows })?;
    // `[d, outputs]`: the classes' means, then their weights.
    let mut w: Vec<f64> = (0..d).flat_map(|j| means.iter().map(move |mean| mean[j])).collect();
    factor.solve(&mut w, outputs);
    let bias = means.iter().zip(totals).enumerate().map(|(k, (mean, share))| {
        let along: f64 = mean.iter().zip(w.chunks_exact(outputs)).map(|(m, row)| m * row[k]).sum();
        ((share / total).ln() - along / 2.0) as f32
    });
    Ok(Fitted::linear(ProbeKind::Lda, linear(&w, bias.collect()), Head::Softmax { temperature: 1.0 }))
}

fn reported(fitted: Fitted, validation: Option<&Split<'_>>, outputs: usize) -> (Fitted, FitReport) {
    let loss = validation.map(|split| {
        let scores = fitted.scores(split.x.data(), split.x.rows());
        fitted.head.loss(&scores, &split.targets, outputs, &[])
    });
    (fitted, FitReport::exact(loss))
}

/// Rows around the means of their classes.
struct Classes<'a> {
    x: Matrix<'a>,
    labels: &'a [u32],
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    /// Weight of each class.
    totals: Vec<f64>,
}

impl<'a> Classes<'a> {
    fn of(x: &Matrix<'a>, labels: &'a [u32], targets: &Targets<'_>, totals: Vec<f64>) -> Self {
        let weights: Vec<f64> = (0..x.rows()).map(|row| targets.weight(row)).collect();
        let mut means = vec![vec![0f64; x.columns()]; totals.len()];
        for (row, &label) in labels.iter().enumerate() {
            let share = weights[row] / totals[label as usize];
            means[label as usize].iter_mut().zip(x.row(row)).for_each(|(m, &v)| *m += share * f64::from(v));
        }
        Classes { x: *x, labels, weights, means, totals }
    }

    fn mean(&self, row: usize) -> &[f64] {
        &self.means[self.labels[row] as usize]
    }

    /// The mean of the classes' shrunken covariances, weighted by their shares; the lower triangle, column-major `[d, d]`.
    fn covariance(&self, shrinkage: Option<f64>) -> Vec<f64> {
        let (d, total) = (self.x.columns(), self.totals.iter().sum::<f64>());
        let mut variances = vec![vec![0f64; d]; self.totals.len()];
        for (row, &label) in self.labels.iter().enumerate() {
            let share = self.weights[row] / self.totals[label as usize];
            let columns = self.x.row(row).iter().zip(self.mean(row));
            variances[label as usize].iter_mut().zip(columns).for_each(|(s, (&v, m))| *s += share * (f64::from(v) - m).powi(2));
        }
        // For each class, how much of its covariance is kept, and what is added to each of its variances.
        let shrunk: Vec<(f64, Vec<f64>)> = variances
            .iter()
            .enumerate()
            .map(|(class, variances)| match shrinkage {
                Some(shrinkage) => {
                    let mean = variances.iter().sum::<f64>() / d as f64;
                    (1.0 - shrinkage, vec![shrinkage * mean; d])
                }
                None => self.ledoit_wolf(class, variances),
            })
            .collect();
        let kept = |row: usize| self.weights[row] / total * shrunk[self.labels[row] as usize].0;
        let mut matrix = moments::second(&self.x, |row| self.mean(row), kept);
        for j in 0..d {
            let added: f64 = shrunk.iter().zip(&self.totals).map(|((_, added), share)| share / total * added[j]).sum();
            widen(&mut matrix[j * d + j], added);
        }
        matrix
    }

    /// Shrinks the class's correlations towards the identity, then scales them back, as scikit-learn does.
    fn ledoit_wolf(&self, class: usize, variances: &[f64]) -> (f64, Vec<f64>) {
        let (d, n) = (variances.len(), self.totals[class]);
        let scale: Vec<f64> = variances.iter().map(|v| if *v > 0.0 { v.sqrt() } else { 1.0 }).collect();
        let rows: Vec<usize> = (0..self.x.rows()).filter(|&row| self.labels[row] as usize == class && self.weights[row] > 0.0).collect();
        let standard: Vec<f64> = rows
            .iter()
            .flat_map(|&row| self.x.row(row).iter().zip(&self.means[class]).zip(&scale).map(|((&v, m), s)| (f64::from(v) - m) / s))
            .collect();
        let weights: Vec<f64> = rows.iter().map(|&row| self.weights[row]).collect();
        let traces: f64 = variances.iter().zip(&scale).map(|(v, s)| v / (s * s)).sum();
        let mean = traces / d as f64;
        let quartic: f64 = standard.chunks_exact(d).zip(&weights).map(|(row, w)| w * row.iter().map(|v| v * v).sum::<f64>().powi(2)).sum();
        let square = moments::square_of_second(&standard, &weights, d) / (n * n);
        let wanted = (quartic / n - square) / (d as f64 * n);
        let far = (square - 2.0 * mean * traces + d as f64 * mean * mean) / d as f64;
        let shrinkage = if d == 1 || far <= 0.0 { 0.0 } else { wanted.min(far).max(0.0) / far };
        (1.0 - shrinkage, scale.iter().map(|s| shrinkage * mean * s * s).collect())
    }
}
