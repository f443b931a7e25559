//! Agreement of two raters beyond chance.

use super::tally::Totals;

/// Cohen's kappa (1960) from one rater's calls (`truth`), the other's (`predicted`) and where they agree (`hit`): the
/// share of agreement above what their frequencies alone would give. NaN where that alone is certain.
pub fn kappa(totals: &Totals) -> f64 {
    let n = f64::from(totals.truth.iter().sum::<u32>());
    let agreed = f64::from(totals.hit.iter().sum::<u32>()) / n;
    let chance: f64 = totals.truth.iter().zip(&totals.predicted).map(|(a, b)| f64::from(*a) / n * (f64::from(*b) / n)).sum();
    if chance < 1.0 { (agreed - chance) / (1.0 - chance) } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cohens_own_reading() {
        // Two raters on 50 rows: both yes 20, only the first 5, only the second 10, both no 15: (.7 - .5) / .5.
        let totals = Totals { truth: vec![25, 25], predicted: vec![30, 20], hit: vec![20, 15] };
        assert!((kappa(&totals) - 0.4).abs() < 1e-12);
        assert!(kappa(&Totals { truth: vec![4, 0], predicted: vec![4, 0], hit: vec![4, 0] }).is_nan());
    }
}
