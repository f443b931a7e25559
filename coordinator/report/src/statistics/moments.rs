//! Agreement of real-valued predictions with the truth: Pearson, CCC, R2, mean absolute error and QWK, all from sums that
//! can be taken in any resample.

use super::resamples::Resamples;
use super::tally::RowGroups;

/// Weighted sums over rows of a true value x and a predicted value y, both taken from a common origin.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    yy: f64,
    xy: f64,
    /// Sum of |x - y|.
    gap: f64,
}

/// Spread below this share of the second moment is rounding, not variation.
const FLAT: f64 = 1e-12;

impl Moments {
    fn of(x: f64, y: f64) -> Moments {
        Moments { n: 1.0, x, y, xx: x * x, yy: y * y, xy: x * y, gap: (x - y).abs() }
    }

    fn fields(&self) -> [f64; 7] {
        [self.n, self.x, self.y, self.xx, self.yy, self.xy, self.gap]
    }

    fn from_fields([n, x, y, xx, yy, xy, gap]: [f64; 7]) -> Moments {
        Moments { n, x, y, xx, yy, xy, gap }
    }

    /// Variance of the truth, of the prediction, and their covariance, all divided by n; rounding counts as 0.
    fn spread(&self) -> (f64, f64, f64) {
        let of = |square: f64, sum: f64| {
            let variance = square / self.n - (sum / self.n).powi(2);
            if variance <= FLAT * (square / self.n) { 0.0 } else { variance }
        };
        (of(self.xx, self.x), of(self.yy, self.y), self.xy / self.n - self.x / self.n * (self.y / self.n))
    }

    /// Pearson's correlation. A prediction that never varies has none with anything: 0. NaN where the truth doesn't vary.
    pub fn pearson(&self) -> f64 {
        let (x, y, xy) = self.spread();
        match (x > 0.0, y > 0.0) {
            (true, true) => (xy / (x * y).sqrt()).clamp(-1.0, 1.0),
            (true, false) => 0.0,
            (false, _) => f64::NAN,
        }
    }

    /// The concordance correlation coefficient (Lin 1989): 2·cov / (var x + var y + (mean x - mean y)²); NaN where neither
    /// varies and both are the same.
    pub fn ccc(&self) -> f64 {
        let (x, y, xy) = self.spread();
        let whole = x + y + ((self.x - self.y) / self.n).powi(2);
        if whole > 0.0 { 2.0 * if x > 0.0 && y > 0.0 { xy } else { 0.0 } / whole } else { f64::NAN }
    }

    /// The share of the truth's variance that is predicted: 1 - Σ(x - y)² / Σ(x - mean x)²; below 0 where the mean of these
    /// rows would do better. NaN where the truth doesn't vary.
    pub fn r2(&self) -> f64 {
        let (x, ..) = self.spread();
        if x > 0.0 { 1.0 - (self.xx - 2.0 * self.xy + self.yy) / (self.n * x) } else { f64::NAN }
    }

    /// Mean absolute error; NaN without rows.
    pub fn mae(&self) -> f64 {
        self.gap / self.n
    }
}

/// One class's (or scale's) moments on all rows and in every resample.
#[derive(Debug)]
pub struct Drawn {
    /// On all rows.
    pub all: Moments,
    draws: [Vec<f64>; 7],
}

impl Drawn {
    /// From pairs (truth, prediction) per row; rows without one are left out. Truths are centred by `origin`, which keeps
    /// sums of squares precise and changes no statistic here.
    pub fn new(groups: &RowGroups, resamples: &Resamples, origin: f64, pair: impl Fn(usize) -> Option<(f64, f64)>) -> Drawn {
        let mut columns: [Vec<(u32, f64)>; 7] = Default::default();
        let mut all = [0.0; 7];
        let mut last = None;
        for (group, row) in groups.iter() {
            let Some((x, y)) = pair(row) else { continue };
            let fields = Moments::of(x - origin, y - origin).fields();
            for ((column, total), field) in columns.iter_mut().zip(&mut all).zip(fields) {
                *total += field;
                match column.last_mut().filter(|_| last == Some(group)) {
                    Some(entry) => entry.1 += field,
                    None => column.push((group, field)),
                }
            }
            last = Some(group);
        }
        Drawn { all: Moments::from_fields(all), draws: columns.map(|column| resamples.sum_real(&column)) }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.all.n as usize
    }

    /// A statistic in every resample; NaN where no row was drawn.
    pub fn map(&self, statistic: impl Fn(&Moments) -> f64) -> Vec<f64> {
        let at = |r: usize| Moments::from_fields(std::array::from_fn(|field| self.draws[field][r]));
        let draw = |r: usize| if self.draws[0][r] > 0.0 { statistic(&at(r)) } else { f64::NAN };
        (0..self.draws[0].len()).map(draw).collect()
    }
}

/// The level of an intensity: the nearest whole number from 0 to `highest` (halves go to the even one, as in NumPy).
/// Quadratically weighted kappa (Cohen 1968) of levels is their CCC: with weights (i - j)² both are
/// 1 - Σ(x - y)² / n over var x + var y + (mean x - mean y)².
pub fn level(value: f32, highest: f32) -> f64 {
    f64::from(value.round_ties_even().clamp(0.0, highest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(x: &[f64], y: &[f64]) -> Drawn {
        let names: Vec<String> = (0..x.len()).map(|i| (i / 3).to_string()).collect();
        let groups = RowGroups::new(names.iter().map(String::as_str));
        let resamples = Resamples::new(groups.groups(), 9, 0.95, 4);
        Drawn::new(&groups, &resamples, 0.3, |row| Some((x[row], y[row])))
    }

    #[test]
    fn a_constant_prediction_has_no_correlation_and_a_constant_truth_has_none_to_find() {
        let flat = drawn(&[1.0, 2.0, 4.0], &[0.1; 3]).all;
        assert_eq!((flat.pearson(), flat.ccc()), (0.0, 0.0));
        let unknown = drawn(&[0.1; 3], &[1.0, 2.0, 4.0]).all;
        assert!(unknown.pearson().is_nan() && unknown.r2().is_nan());
        assert_eq!(unknown.ccc(), 0.0);
    }

    #[test]
    fn draws_are_the_statistic_of_the_drawn_rows() {
        let x: Vec<f64> = (0..12).map(|i| f64::from(i % 5)).collect();
        let y: Vec<f64> = (0..12).map(|i| f64::from(i * 7 % 11) / 3.0).collect();
        let names: Vec<String> = (0..12).map(|i| (i / 3).to_string()).collect();
        let groups = RowGroups::new(names.iter().map(String::as_str));
        let resamples = Resamples::new(4, 6, 0.95, 2);
        let drawn = Drawn::new(&groups, &resamples, 1.7, |row| (row != 4).then(|| (x[row], y[row])));
        let statistics: [fn(&Moments) -> f64; 4] = [Moments::pearson, Moments::ccc, Moments::r2, Moments::mae];
        for r in 0..6 {
            let mut rows = Vec::new();
            for (group, row) in groups.iter().filter(|(_, row)| *row != 4) {
                rows.extend(std::iter::repeat_n(row, usize::from(resamples.of(group)[r])));
            }
            let names: Vec<String> = rows.iter().map(|_| "g".to_owned()).collect();
            let one = RowGroups::new(names.iter().map(String::as_str));
            let direct = Drawn::new(&one, &Resamples::new(1, 1, 0.95, 0), 0.0, |i| Some((x[rows[i]], y[rows[i]]))).all;
            for statistic in statistics {
                assert!((drawn.map(statistic)[r] - statistic(&direct)).abs() < 1e-9, "resample {r}");
            }
        }
    }
}
