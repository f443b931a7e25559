//! A straight line by least squares: accuracy on the logarithm of size.

use super::student;

/// Ordinary least squares of `y` on `x`: `(slope, intercept)`; none without two different `x`.
pub fn line(x: &[f64], y: &[f64]) -> Option<(f64, f64)> {
    let n = x.len().min(y.len()) as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let spread: f64 = x.iter().map(|x| (x - mean_x).powi(2)).sum();
    if n < 2.0 || spread <= f64::EPSILON {
        return None;
    }
    let slope = x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
    Some((slope, mean_y - slope * mean_x))
}

/// The interval of [`line`]'s slope by its residuals: t with n − 2 degrees of freedom. None of fewer than three points.
pub fn interval(x: &[f64], y: &[f64], confidence: f64) -> Option<(f64, f64)> {
    let n = x.len().min(y.len());
    let (slope, intercept) = line(x, y).filter(|_| n > 2)?;
    let mean = x.iter().sum::<f64>() / n as f64;
    let spread: f64 = x.iter().map(|x| (x - mean).powi(2)).sum();
    let residual: f64 = x.iter().zip(y).map(|(x, y)| (y - intercept - slope * x).powi(2)).sum();
    let half = student::two_sided(confidence, n - 2) * (residual / (n - 2) as f64 / spread).sqrt();
    Some((slope - half, slope + half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anscombes_first_set() {
        let x = [10.0, 8.0, 13.0, 9.0, 11.0, 14.0, 6.0, 4.0, 12.0, 7.0, 5.0];
        let y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68];
        let (slope, intercept) = line(&x, &y).expect("a line");
        assert!((slope - 0.500_090_9).abs() < 1e-6 && (intercept - 3.000_090_9).abs() < 1e-6);
        // R: confint(lm(y1 ~ x1, anscombe)) = .2333701 .7668117
        let (lo, hi) = interval(&x, &y, 0.95).expect("eleven points");
        assert!((lo - 0.233_370_1).abs() < 1e-6 && (hi - 0.766_811_7).abs() < 1e-6, "{lo} to {hi}");
    }

    #[test]
    fn one_size_has_no_trend() {
        assert_eq!(line(&[1.0, 1.0], &[0.0, 1.0]), None);
        assert_eq!(line(&[1.0], &[0.0]), None);
        assert_eq!(interval(&[1.0, 2.0], &[0.0, 1.0], 0.95), None, "two points have no residuals");
    }
}
