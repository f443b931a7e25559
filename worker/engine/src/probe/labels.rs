//! What rows are labelled with, under each label scheme, and how much each row counts.

use limbic_proto::rows::Scheme;

use super::error::ProbeError;

/// What rows are labelled with. `K` is the number of classes or scales.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Labels<'a> {
    /// One class a row, `[n]`, each below `K`.
    Single(&'a [u32]),
    /// 0 or 1 for every class, row-major `[n, K]`.
    Multi(&'a [f32]),
    /// A whole-numbered intensity for every class, 0 = absent, row-major `[n, K]`.
    Intensity(&'a [f32]),
    /// A place on every scale, row-major `[n, K]`.
    Continuous(&'a [f32]),
}

impl<'a> From<&'a [u32]> for Labels<'a> {
    fn from(classes: &'a [u32]) -> Self {
        Labels::Single(classes)
    }
}

impl<'a> From<&'a Vec<u32>> for Labels<'a> {
    fn from(classes: &'a Vec<u32>) -> Self {
        Labels::Single(classes)
    }
}

impl<'a> Labels<'a> {
    /// Labels of a scheme: `classes` are read under [`Scheme::Single`], `values` under all others.
    pub fn of(scheme: Scheme, classes: &'a [u32], values: &'a [f32]) -> Self {
        match scheme {
            Scheme::Single => Labels::Single(classes),
            Scheme::Multi => Labels::Multi(values),
            Scheme::Intensity => Labels::Intensity(values),
            Scheme::Continuous => Labels::Continuous(values),
        }
    }

    /// The label scheme.
    pub fn scheme(&self) -> Scheme {
        match self {
            Labels::Single(_) => Scheme::Single,
            Labels::Multi(_) => Scheme::Multi,
            Labels::Intensity(_) => Scheme::Intensity,
            Labels::Continuous(_) => Scheme::Continuous,
        }
    }

    /// Appends what a least-squares probe or a network aims at in `row`: class indicators of `low` and 1, or the values.
    pub(crate) fn aim(&self, row: usize, outputs: usize, low: f32, out: &mut Vec<f32>) {
        match self {
            Labels::Single(classes) => out.extend((0..outputs).map(|c| if classes[row] as usize == c { 1.0 } else { low })),
            Labels::Multi(values) => out.extend(values[row * outputs..][..outputs].iter().map(|&v| if v > 0.5 { 1.0 } else { low })),
            Labels::Intensity(values) | Labels::Continuous(values) => out.extend_from_slice(&values[row * outputs..][..outputs]),
        }
    }
}

/// Labels of some rows, and optionally a non-negative weight per row.
#[derive(Debug, Clone, Copy)]
pub struct Targets<'a> {
    /// The labels.
    pub labels: Labels<'a>,
    /// Weight of each row in the loss, `[n]`; all 1 when absent. A weight of 2 counts as the same row twice.
    pub weights: Option<&'a [f32]>,
}

impl<'a> From<Labels<'a>> for Targets<'a> {
    fn from(labels: Labels<'a>) -> Self {
        Self { labels, weights: None }
    }
}

impl Targets<'_> {
    /// How much `row` counts.
    pub(crate) fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |w| f64::from(w[row]))
    }

    /// How much all `rows` count together.
    pub(crate) fn total(&self, rows: usize) -> f64 {
        self.weights.map_or(rows as f64, |w| w.iter().map(|&w| f64::from(w)).sum())
    }

    /// Refuses another number of labels than `rows` have, labels that the scheme doesn't know, and bad weights.
    pub(crate) fn check(&self, split: &'static str, rows: usize, outputs: usize) -> Result<(), ProbeError> {
        let whole = |v: f32| v >= 0.0 && v.fract() == 0.0;
        match self.labels {
            Labels::Single(classes) => check_labels(split, classes, rows, outputs)?,
            Labels::Multi(v) => check_values(split, v, rows, outputs, "0 or 1", |v| v == 0.0 || v == 1.0)?,
            Labels::Intensity(v) => check_values(split, v, rows, outputs, "a whole number that is not negative", whole)?,
            Labels::Continuous(v) => check_values(split, v, rows, outputs, "a finite number", f32::is_finite)?,
        }
        check_weights(split, self.weights, rows)
    }
}

/// Refuses labels of another count than `rows`, or not below `classes`, and fewer than two classes.
pub(crate) fn check_labels(split: &'static str, labels: &[u32], rows: usize, classes: usize) -> Result<(), ProbeError> {
    if classes < 2 {
        return Err(ProbeError::Setting { name: "classes", value: classes.to_string(), need: "a probe separates at least two classes" });
    }
    if labels.len() != rows {
        return Err(ProbeError::Shape { what: "labels", expected: rows, found: labels.len() });
    }
    match labels.iter().position(|&l| l as usize >= classes) {
        Some(row) => Err(ProbeError::LabelOutOfRange { split, row, label: labels[row], classes }),
        None => Ok(()),
    }
}

fn check_values(
    split: &'static str,
    values: &[f32],
    rows: usize,
    outputs: usize,
    need: &'static str,
    good: impl Fn(f32) -> bool,
) -> Result<(), ProbeError> {
    if outputs == 0 {
        return Err(ProbeError::Setting { name: "classes", value: "0".to_owned(), need: "a probe predicts at least one number" });
    }
    if values.len() != rows * outputs {
        return Err(ProbeError::Shape { what: "labels", expected: rows * outputs, found: values.len() });
    }
    match values.iter().position(|&v| !good(v) || !v.is_finite()) {
        Some(at) => Err(ProbeError::Value { split, row: at / outputs, output: at % outputs, value: values[at].to_string(), need }),
        None => Ok(()),
    }
}

/// Refuses row weights of another count than `rows`, or negative or non-finite ones.
pub(crate) fn check_weights(split: &'static str, weights: Option<&[f32]>, rows: usize) -> Result<(), ProbeError> {
    let Some(weights) = weights else { return Ok(()) };
    if weights.len() != rows {
        return Err(ProbeError::Shape { what: "row weights", expected: rows, found: weights.len() });
    }
    match weights.iter().position(|w| !w.is_finite() || *w < 0.0) {
        Some(row) => Err(ProbeError::NonFinite { split, row, column: 0, value: format!("weight {}", weights[row]) }),
        None => Ok(()),
    }
}

/// Weight of each class, `[classes]`, summed over the rows; refuses a class whose total is zero.
pub(crate) fn class_totals(labels: &[u32], weights: Option<&[f32]>, classes: usize) -> Result<Vec<f64>, ProbeError> {
    let mut totals = vec![0f64; classes];
    for (row, &label) in labels.iter().enumerate() {
        totals[label as usize] += weights.map_or(1.0, |w| f64::from(w[row]));
    }
    match totals.iter().position(|&t| t <= 0.0) {
        Some(class) => Err(ProbeError::AbsentClass { class, classes }),
        None => Ok(totals),
    }
}

/// The labels and weights of one fit among several on the same features.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    /// Those of the training rows.
    pub train: Targets<'a>,
    /// Those of the validation rows, where there are any.
    pub validation: Option<Targets<'a>>,
}
