//! Sufficient statistics of labelled rows: all that a probe with a closed form needs of the rows that it is fitted on.

use limbic_proto::rows::Scheme;

use super::{cross, means, second};
use crate::probe::error::ProbeError;
use crate::probe::labels::Targets;
use crate::probe::matrix::{Matrix, Split};
use crate::probe::standardizer::Standardizer;

/// Counts, means and second moments of features `[n, d]` and of what their rows are labelled with, `[n, K]` (0 or 1 for each
/// class, or the values), in `f64`. Second moments are around the means and are merged by the formula of Chan, Golub and LeVeque
/// (1983, "Algorithms for computing the sample variance"), so that means far above the spread cost no digits.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Rows, and how much they count together.
    rows: f64,
    total: f64,
    /// Means `[d]` of rows that all count once, and the squares around them: what features are standardised by.
    plain: Vec<f64>,
    squares: Vec<f64>,
    /// Means `[d]`, each row as much as it counts; so are all others.
    mean: Vec<f64>,
    /// Sums of the targets `[K]`, and the squares around their means.
    sums: Vec<f64>,
    spreads: Vec<f64>,
    /// `sum_i w_i (y_i - m)(x_i - c)^T`, `[K, d]`.
    cross: Vec<f64>,
    /// `sum_i w_i (x_i - c)(x_i - c)^T`: the columns of its lower triangle one after another, `[d (d + 1) / 2]`.
    second: Vec<f64>,
}

/// Moments as tensors `[…]`, named and shaped.
pub type MomentTensors = [(&'static str, Vec<usize>, Vec<f64>); 3];

/// The names of the tensors of [`Moments::into_tensors`].
pub const MOMENT_TENSORS: [&str; 3] = ["counts", "moments", "second"];

/// Rows of the tensor `moments` before those of the targets.
const OWN: usize = 3;

impl Moments {
    /// Those of no rows with `columns` features and `outputs` classes or scales.
    pub fn none(columns: usize, outputs: usize) -> Moments {
        let (of_columns, of_outputs) = (vec![0.0; columns], vec![0.0; outputs]);
        Moments {
            rows: 0.0,
            total: 0.0,
            plain: of_columns.clone(),
            squares: of_columns.clone(),
            mean: of_columns,
            sums: of_outputs.clone(),
            spreads: of_outputs,
            cross: vec![0.0; columns * outputs],
            second: vec![0.0; columns * (columns + 1) / 2],
        }
    }

    /// How many bytes they take.
    pub fn bytes(columns: usize, outputs: usize) -> u64 {
        let (d, k) = (columns as u64, outputs as u64);
        8 * (2 + OWN as u64 * d + 2 * k + d * k + d * (d + 1) / 2)
    }

    /// Those of some rows.
    ///
    /// # Errors
    /// Bad input.
    pub fn of(rows: &Split<'_>, outputs: usize) -> Result<Moments, ProbeError> {
        rows.check("train", outputs)?;
        let (x, targets) = (&rows.x, &rows.targets);
        let (n, d) = (x.rows(), x.columns());
        let mut moments = Moments::none(d, outputs);
        moments.rows = n as f64;
        moments.plain = means(x, |_| 1.0);
        for row in 0..n {
            let columns = x.row(row).iter().zip(&moments.plain);
            moments.squares.iter_mut().zip(columns).for_each(|(s, (&v, m))| *s += (f64::from(v) - m).powi(2));
        }
        moments.total = targets.total(n);
        if moments.total > 0.0 {
            moments.weigh(x, targets, outputs);
        }
        Ok(moments)
    }

    /// The part in which rows count as much as they weigh.
    fn weigh(&mut self, x: &Matrix<'_>, targets: &Targets<'_>, outputs: usize) {
        let (n, d) = (x.rows(), x.columns());
        let weight = |row: usize| targets.weight(row);
        let mut aims = Vec::with_capacity(n * outputs);
        (0..n).for_each(|row| targets.labels.aim(row, outputs, 0.0, &mut aims));
        let mut y: Vec<f64> = aims.into_iter().map(f64::from).collect();
        for (row, values) in y.chunks_exact(outputs).enumerate() {
            self.sums.iter_mut().zip(values).for_each(|(s, v)| *s += weight(row) * v);
        }
        let (sums, total) = (&self.sums, self.total);
        for (row, values) in y.chunks_exact_mut(outputs).enumerate() {
            values.iter_mut().zip(sums).for_each(|(v, s)| *v -= s / total);
            self.spreads.iter_mut().zip(&*values).for_each(|(s, v)| *s += weight(row) * v * v);
        }
        self.mean = means(x, weight);
        let by_column = cross(x, &self.mean, &y, outputs, weight);
        let square = second(x, |_| &self.mean, weight);
        for (k, row) in self.cross.chunks_exact_mut(d).enumerate() {
            row.iter_mut().enumerate().for_each(|(j, v)| *v = by_column[j * outputs + k]);
        }
        columns(&mut self.second, d).enumerate().for_each(|(j, column)| column.copy_from_slice(&square[j * d + j..(j + 1) * d]));
    }

    /// The number of features, d.
    pub fn columns(&self) -> usize {
        self.mean.len()
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows as usize
    }

    /// Adds other rows' moments of the same features and targets.
    ///
    /// # Panics
    /// They have other numbers of features or targets.
    pub fn add(&mut self, other: &Moments) {
        let (d, outputs) = (self.columns(), self.sums.len());
        assert_eq!((d, outputs), (other.columns(), other.sums.len()), "moments of other features or targets");
        if other.rows > 0.0 {
            let rows = self.rows + other.rows;
            let (share, between) = (other.rows / rows, self.rows * (other.rows / rows));
            for j in 0..d {
                let apart = other.plain[j] - self.plain[j];
                self.squares[j] += other.squares[j] + between * apart * apart;
                self.plain[j] += share * apart;
            }
            self.rows = rows;
        }
        if other.total <= 0.0 {
            return;
        }
        let total = self.total + other.total;
        let (share, between) = (other.total / total, self.total * (other.total / total));
        let apart: Vec<f64> = other.mean.iter().zip(&self.mean).map(|(b, a)| b - a).collect();
        let mut from = 0;
        for (j, column) in columns(&mut self.second, d).enumerate() {
            let added = &other.second[from..from + column.len()];
            let factor = between * apart[j];
            column.iter_mut().zip(added).zip(&apart[j..]).for_each(|((v, b), a)| *v += b + factor * a);
            from += column.len();
        }
        for k in 0..outputs {
            let before = if self.total > 0.0 { self.sums[k] / self.total } else { 0.0 };
            let far = other.sums[k] / other.total - before;
            let row = self.cross[k * d..(k + 1) * d].iter_mut().zip(&other.cross[k * d..(k + 1) * d]).zip(&apart);
            row.for_each(|((v, b), a)| *v += b + between * far * a);
            self.spreads[k] += other.spreads[k] + between * far * far;
            self.sums[k] += other.sums[k];
        }
        self.mean.iter_mut().zip(&apart).for_each(|(m, a)| *m += share * a);
        self.total = total;
    }

    /// As tensors: `counts` `[2 + 2 K]` are rows, their weight, the targets' sums and the squares around their means; `moments`
    /// `[3 + K, d]` are the means and the squares around them of rows that count once, the weighted means, and the cross moments
    /// of each target; `second` `[d (d + 1) / 2]` are the columns of the lower triangle of the features' second moment.
    pub fn into_tensors(self) -> MomentTensors {
        let (d, outputs) = (self.columns(), self.sums.len());
        let counts = [vec![self.rows, self.total], self.sums, self.spreads].concat();
        let moments = [self.plain, self.squares, self.mean, self.cross].concat();
        let [first, middle, last] = MOMENT_TENSORS;
        let second = self.second.len();
        [(first, vec![2 + 2 * outputs], counts), (middle, vec![OWN + outputs, d], moments), (last, vec![second], self.second)]
    }

    /// Moments of `outputs` classes or scales from the numbers of their tensors, in the order of their names.
    ///
    /// # Errors
    /// They don't fit one another, or are not finite.
    pub fn from_tensors([counts, moments, second]: [Vec<f64>; 3], outputs: usize) -> Result<Moments, ProbeError> {
        let shape = |what: &'static str, expected: usize, found: usize| match expected == found {
            true => Ok(()),
            false => Err(ProbeError::Shape { what, expected, found }),
        };
        let d = moments.len() / (OWN + outputs);
        shape("counts of moments", 2 + 2 * outputs, counts.len())?;
        shape("means and cross moments", (OWN + outputs) * d, moments.len())?;
        shape("a second moment", d * (d + 1) / 2, second.len())?;
        for (column, numbers) in [&counts, &moments, &second].into_iter().enumerate() {
            if let Some(row) = numbers.iter().position(|v| !v.is_finite()) {
                return Err(ProbeError::NonFinite { split: "train", row, column, value: numbers[row].to_string() });
            }
        }
        let of = |at: usize| moments[at * d..(at + 1) * d].to_vec();
        Ok(Moments {
            rows: counts[0],
            total: counts[1],
            plain: of(0),
            squares: of(1),
            mean: of(2),
            sums: counts[2..2 + outputs].to_vec(),
            spreads: counts[2 + outputs..].to_vec(),
            cross: moments[OWN * d..].to_vec(),
            second,
        })
    }

    /// The standardiser of the rows, and the moments that they have once it is applied.
    ///
    /// # Errors
    /// There are no rows, or none that counts.
    pub fn standard(self, scheme: Scheme) -> Result<(Standardizer, Standard), ProbeError> {
        let (d, outputs) = (self.columns(), self.sums.len());
        if self.rows <= 0.0 || self.total <= 0.0 {
            return Err(ProbeError::EmptySplit { split: "train" });
        }
        let standardizer = Standardizer::of(self.rows, &self.plain, &self.squares);
        let scale: Vec<f64> = standardizer.scale.iter().map(|s| f64::from(*s)).collect();
        let mut second = vec![0f64; d * d];
        let mut from = 0;
        for j in 0..d {
            let column = &self.second[from..from + d - j];
            let own = second[j * d + j..(j + 1) * d].iter_mut().zip(column).zip(&scale[j..]);
            own.for_each(|((v, s), scaled)| *v = s / (scale[j] * scaled));
            from += d - j;
        }
        let mut cross = vec![0f64; d * outputs];
        for (k, row) in self.cross.chunks_exact(d).enumerate() {
            row.iter().zip(&scale).enumerate().for_each(|(j, (v, s))| cross[j * outputs + k] = v / s);
        }
        let centre = self.mean.iter().zip(&standardizer.mean).zip(&scale).map(|((m, own), s)| (m - f64::from(*own)) / s).collect();
        let Moments { rows, total, sums, spreads, .. } = self;
        Ok((standardizer, Standard { scheme, rows: rows as usize, total, centre, sums, spreads, cross, second }))
    }
}

/// The columns of a lower triangle, one after another.
fn columns(packed: &mut [f64], d: usize) -> impl Iterator<Item = &mut [f64]> {
    let mut rest = packed;
    (0..d).map(move |j| rest.split_off_mut(..d - j).expect("a triangle has a column for each feature"))
}

/// Moments of standardised features.
#[derive(Debug, Clone, PartialEq)]
pub struct Standard {
    pub(crate) scheme: Scheme,
    pub(crate) rows: usize,
    /// How much the rows count together.
    pub(crate) total: f64,
    /// Weighted means `[d]`: 0 where every row counts once.
    pub(crate) centre: Vec<f64>,
    /// Sums `[K]` of targets of 0 and 1, or of the values.
    pub(crate) sums: Vec<f64>,
    spreads: Vec<f64>,
    /// `[d, K]`, around the means.
    pub(crate) cross: Vec<f64>,
    /// The lower triangle, column-major `[d, d]`, around the means.
    pub(crate) second: Vec<f64>,
}

impl Standard {
    /// The number of features, d.
    pub(crate) fn columns(&self) -> usize {
        self.centre.len()
    }

    /// Mean and variance of each target; a variance of nothing but rounding is 0.
    pub(crate) fn spread(&self) -> (Vec<f64>, Vec<f64>) {
        let mean: Vec<f64> = self.sums.iter().map(|s| s / self.total).collect();
        let variance = super::real(self.spreads.iter().map(|s| s / self.total).collect(), &mean);
        (mean, variance)
    }

    /// The mean `[d]` of the rows that have a class less that of all rows; none of a class that no row has.
    pub(crate) fn apart(&self, class: usize) -> Option<Vec<f64>> {
        let outputs = self.sums.len();
        let along = || self.cross.chunks_exact(outputs).map(|row| row[class] / self.sums[class]).collect();
        (self.sums[class] > 0.0).then(along)
    }

    /// Refuses a class that no row has, where a row has one.
    pub(crate) fn check(&self) -> Result<(), ProbeError> {
        match self.sums.iter().position(|s| *s <= 0.0).filter(|_| self.scheme == Scheme::Single) {
            Some(class) => Err(ProbeError::AbsentClass { class, classes: self.sums.len() }),
            None => Ok(()),
        }
    }
}
