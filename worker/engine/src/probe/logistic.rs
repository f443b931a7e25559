//! Multinomial logistic regression with an L2 penalty: scikit-learn's optimum, found faster, over a path of strengths.

use super::csr::Csr;
use super::error::ProbeError;
use super::fitted::{Fitted, Linear, ProbeKind};
use super::matrix::{Split, class_totals};
use super::product::dot;
use super::report::{FitReport, PathPoint, Score, best};
use super::rotation::Rotation;
use super::solver::{Outcome, Problem, minimise};
use super::space::{Dense, Space, Sparse};
use super::standardizer::Standardizer;

/// How rows of different classes weigh in the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeight {
    /// Every row weighs 1 (times its own weight).
    #[default]
    Uniform,
    /// Rows weigh `n / (K * count of their class)`, scikit-learn's `class_weight="balanced"`.
    Balanced,
}

/// Settings of the logistic probe.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LogisticSettings {
    /// Candidate strengths `C` (inverse regularisation, scikit-learn's); with more than one, validation rows choose.
    pub strengths: Vec<f64>,
    /// Standardise the features on the training rows first.
    pub standardise: bool,
    /// How classes weigh.
    pub class_weight: ClassWeight,
    /// Estimated relative distance of the objective from its minimum at which the solver stops.
    pub tolerance: f64,
    /// Iterations at most, for each strength.
    pub max_iterations: usize,
}

impl Default for LogisticSettings {
    fn default() -> Self {
        Self { strengths: vec![1.0], standardise: true, class_weight: ClassWeight::Uniform, tolerance: 1e-9, max_iterations: 500 }
    }
}

impl LogisticSettings {
    /// Default settings with one fixed strength.
    pub fn fixed(strength: f64) -> Self {
        Self { strengths: vec![strength], ..Self::default() }
    }

    /// Default settings with seven strengths, 10^-4 to 10^2 in decades, for validation to choose from.
    pub fn path() -> Self {
        Self { strengths: (-4..=2).map(|e| 10f64.powi(e)).collect(), ..Self::default() }
    }

    fn ascending(&self, validated: bool) -> Result<Vec<f64>, ProbeError> {
        let wrong = |value: String, need| ProbeError::Setting { name: "strengths", value, need };
        let mut strengths = self.strengths.clone();
        if strengths.is_empty() || strengths.iter().any(|c| !c.is_finite() || *c <= 0.0) {
            return Err(wrong(format!("{strengths:?}"), "one or more positive numbers are needed"));
        }
        strengths.sort_by(f64::total_cmp);
        strengths.dedup();
        if strengths.len() > 1 && !validated {
            return Err(wrong(format!("{strengths:?}"), "choosing among several needs validation rows"));
        }
        Ok(strengths)
    }
}

/// Fits on dense features `[n, d]` and returns the probe with the report of its path.
///
/// Minimises `C * sum_i w_i * -ln p_i(y_i) + 1/2 ||W||^2` with a free intercept: scikit-learn's
/// [`LogisticRegression(C)`](https://scikit-learn.org/stable/modules/linear_model.html#logistic-regression). For two
/// classes scikit-learn penalises the one difference vector, which is the same optimum at half the strength; that is
/// followed here, so `C` means the same for every `K`. Strengths are fitted from the strongest regularisation to the
/// weakest, each starting from the one before; the lowest validation log-loss wins, ties the stronger one.
pub fn fit(
    train: &Split<'_>,
    validation: Option<&Split<'_>>,
    classes: usize,
    settings: &LogisticSettings,
) -> Result<(Fitted, FitReport), ProbeError> {
    train.check("train", classes)?;
    let strengths = settings.ascending(validation.is_some())?;
    let (n, d) = (train.x.rows(), train.x.columns());
    let standardizer = if settings.standardise { Standardizer::fit(&train.x)? } else { Standardizer::centring(&train.x)? };
    let x = standardizer.apply(&train.x)?;
    let held = match validation {
        Some(split) => {
            split.check("validation", classes)?;
            Some(standardizer.apply(&split.x)?)
        }
        None => None,
    };
    let score = |fitted: &Fitted| {
        let (split, rows) = (validation?, held.as_ref()?);
        let p = fitted.probabilities(rows, split.x.rows());
        Some(Score::of(&p, split.y, split.weights, classes))
    };
    let rotation = (d > n).then(|| Rotation::new(&x, n, d));
    let rotated = rotation.as_ref().map(Rotation::rows);
    let mut space = match &rotated {
        Some(z) => Dense::new(z, n, n),
        None => Dense::new(&x, n, d),
    };
    let build = |v: &[f64], bias: Vec<f32>| match &rotation {
        Some(rotation) => build(&rotation.back(&x, d, v, classes), bias),
        None => build(v, bias),
    };
    let candidates = Candidates { settings, strengths: &strengths, classes };
    let (mut fitted, report) = candidates.fit(&mut space, train.y, train.weights, build, score)?;
    // The optimum without standardisation is that of the centred features; the intercept takes the means back.
    if settings.standardise {
        fitted.standardizer = Some(standardizer);
    } else {
        let Linear { weight, bias } = &mut fitted.layers[0];
        for (b, w) in bias.iter_mut().zip(weight.chunks_exact(d)) {
            let shift: f64 = w.iter().zip(&standardizer.mean).map(|(&w, &m)| f64::from(w) * f64::from(m)).sum();
            *b = (f64::from(*b) - shift) as f32;
        }
    }
    Ok((fitted, report))
}

/// Rows `[n, d]` in sparse form with labels `[n]`.
#[derive(Debug, Clone, Copy)]
pub struct SparseSplit<'a> {
    /// Features.
    pub x: &'a Csr,
    /// Class of each row.
    pub y: &'a [u32],
}

/// Fits on sparse features, which are used as they are (`standardise` is ignored); otherwise as [`fit`].
pub fn fit_sparse(
    train: SparseSplit<'_>,
    validation: Option<SparseSplit<'_>>,
    classes: usize,
    settings: &LogisticSettings,
) -> Result<(Fitted, FitReport), ProbeError> {
    let strengths = settings.ascending(validation.is_some())?;
    for (name, split) in [("train", Some(train)), ("validation", validation)] {
        let Some(split) = split else { continue };
        if split.x.rows() == 0 || split.x.columns() == 0 {
            return Err(ProbeError::EmptySplit { split: name });
        }
        if split.x.columns() != train.x.columns() {
            let (expected, found) = (train.x.columns(), split.x.columns());
            return Err(ProbeError::Shape { what: "columns of the validation rows", expected, found });
        }
        super::matrix::check_labels(name, split.y, split.x.rows(), classes)?;
    }
    let score = |fitted: &Fitted| {
        let split = validation?;
        Some(Score::of(&sparse_proba(fitted, split.x), split.y, None, classes))
    };
    let candidates = Candidates { settings, strengths: &strengths, classes };
    candidates.fit(&mut Sparse::new(train.x), train.y, None, build, score)
}

/// Probabilities `[n, K]` of sparse rows under a logistic probe.
pub(crate) fn sparse_proba(fitted: &Fitted, x: &Csr) -> Vec<f32> {
    let (k, d, layer) = (fitted.classes, fitted.columns, &fitted.layers[0]);
    let mut by_column = vec![0f32; d * k];
    super::product::transpose(&layer.weight, k, d, &mut by_column);
    let mut out = vec![0f32; x.rows() * k];
    x.times(&by_column, k, &mut out);
    for row in out.chunks_exact_mut(k) {
        row.iter_mut().zip(&layer.bias).for_each(|(l, b)| *l += b);
    }
    super::fitted::softmax_rows(&mut out, x.rows(), k);
    out
}

/// A linear probe of weights `[d, K]` and an intercept `[K]`.
fn build(by_column: &[f64], bias: Vec<f32>) -> Fitted {
    let (classes, columns) = (bias.len(), by_column.len() / bias.len());
    let narrow: Vec<f32> = by_column.iter().map(|&v| v as f32).collect();
    let mut weight = vec![0f32; narrow.len()];
    super::product::transpose(&narrow, columns, classes, &mut weight);
    let layers = vec![Linear { weight, bias }];
    Fitted { kind: ProbeKind::Logistic, columns, classes, standardizer: None, layers }
}

/// The strengths to try, ascending.
struct Candidates<'a> {
    settings: &'a LogisticSettings,
    strengths: &'a [f64],
    classes: usize,
}

impl Candidates<'_> {
    /// Fits every strength in turn, each from the one before, and keeps the best.
    fn fit(
        &self,
        space: &mut dyn Space,
        labels: &[u32],
        weights: Option<&[f32]>,
        build: impl Fn(&[f64], Vec<f32>) -> Fitted,
        score: impl Fn(&Fitted) -> Option<Score>,
    ) -> Result<(Fitted, FitReport), ProbeError> {
        let base = row_weights(labels, weights, self.classes, self.settings.class_weight)?;
        let free = space.width() * self.classes;
        let mut theta = vec![0f64; free + self.classes];
        let (mut path, mut kept): (Vec<PathPoint>, Option<Fitted>) = (Vec::new(), None);
        // Two classes: half the strength on two opposite vectors is scikit-learn's penalty on their difference.
        let half = if self.classes == 2 { 0.5 } else { 1.0 };
        for &strength in self.strengths {
            let scaled: Vec<f32> = base.iter().map(|w| (w * strength * half) as f32).collect();
            let problem = Problem {
                labels,
                weights: &scaled,
                classes: self.classes,
                tolerance: self.settings.tolerance,
                max_iterations: self.settings.max_iterations,
            };
            let Outcome { iterations, objective, gradient, converged } = minimise(space, &problem, &mut theta);
            let (w, b) = theta.split_at(free);
            let fitted = build(w, b.iter().map(|&v| v as f32).collect());
            path.push(PathPoint {
                strength,
                iterations,
                objective: objective / half,
                gradient,
                norm: (dot(w, w) / half).sqrt(),
                converged,
                validation: score(&fitted),
            });
            if best(&path) + 1 == path.len() {
                kept = Some(fitted);
            }
        }
        let chosen = best(&path);
        let fitted = kept.ok_or(ProbeError::EmptySplit { split: "train" })?;
        Ok((fitted, FitReport { strength: Some(path[chosen].strength), path, chosen }))
    }
}

/// Weight of each row in the loss, `[n]`, from its own and its class's.
fn row_weights(labels: &[u32], weights: Option<&[f32]>, classes: usize, class_weight: ClassWeight) -> Result<Vec<f64>, ProbeError> {
    class_totals(labels, weights, classes)?;
    let counts = class_totals(labels, None, classes)?;
    let rows = labels.iter().enumerate().map(|(i, &label)| {
        let own = weights.map_or(1.0, |w| f64::from(w[i]));
        match class_weight {
            ClassWeight::Uniform => own,
            ClassWeight::Balanced => own * labels.len() as f64 / (classes as f64 * counts[label as usize]),
        }
    });
    Ok(rows.collect())
}
