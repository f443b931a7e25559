//! A straight line by least squares: accuracy on the logarithm of size.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anscombes_first_set() {
        let x = [10.0, 8.0, 13.0, 9.0, 11.0, 14.0, 6.0, 4.0, 12.0, 7.0, 5.0];
        let y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68];
        let (slope, intercept) = line(&x, &y).expect("a line");
        assert!((slope - 0.500_090_9).abs() < 1e-6 && (intercept - 3.000_090_9).abs() < 1e-6);
    }

    #[test]
    fn one_size_has_no_trend() {
        assert_eq!(line(&[1.0, 1.0], &[0.0, 1.0]), None);
        assert_eq!(line(&[1.0], &[0.0]), None);
    }
}
