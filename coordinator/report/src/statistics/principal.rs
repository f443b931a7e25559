//! Principal components of few columns, such as a probe's probabilities.

/// Rows along the first two principal components, and the share of variance along each.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    /// One point per row.
    pub points: Vec<(f64, f64)>,
    /// The shares of variance.
    pub explained: (f64, f64),
}

/// The plane of the first two principal components of `[rows, columns]`; none with fewer than two rows or columns, or
/// without variation. Each component points where its largest entry is positive.
pub fn plane(rows: &[Vec<f64>]) -> Option<Plane> {
    let columns = rows.first().map_or(0, Vec::len);
    if rows.len() < 2 || columns < 2 {
        return None;
    }
    let n = rows.len() as f64;
    let mean: Vec<f64> = (0..columns).map(|c| rows.iter().map(|r| r[c]).sum::<f64>() / n).collect();
    let centred: Vec<Vec<f64>> = rows.iter().map(|r| r.iter().zip(&mean).map(|(v, m)| v - m).collect()).collect();
    let entry = |a: usize, b: usize| centred.iter().map(|r| r[a] * r[b]).sum::<f64>() / (n - 1.0);
    let covariance: Vec<Vec<f64>> = (0..columns).map(|a| (0..columns).map(|b| entry(a, b)).collect()).collect();
    let (values, vectors) = eigen(covariance);
    let total: f64 = values.iter().sum();
    if total.is_nan() || total <= 0.0 {
        return None;
    }
    let mut order: Vec<usize> = (0..columns).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    let component = |which: usize| -> Vec<f64> {
        let vector: Vec<f64> = (0..columns).map(|row| vectors[row][order[which]]).collect();
        let largest = vector.iter().copied().fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
        vector.iter().map(|v| v * largest.signum()).collect()
    };
    let (first, second) = (component(0), component(1));
    let along = |row: &[f64], of: &[f64]| row.iter().zip(of).map(|(a, b)| a * b).sum::<f64>();
    Some(Plane {
        points: centred.iter().map(|r| (along(r, &first), along(r, &second))).collect(),
        explained: (values[order[0]] / total, values[order[1]] / total),
    })
}

/// Eigenvalues and eigenvectors (columns) of a symmetric matrix, by Jacobi's rotations (Golub and Van Loan 2013, 8.5).
fn eigen(mut a: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = a.len();
    let mut vectors: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for _ in 0..60 {
        let off: f64 = (0..n).flat_map(|i| (0..n).filter(move |j| *j != i).map(move |j| (i, j))).map(|(i, j)| a[i][j].powi(2)).sum();
        let size: f64 = (0..n).map(|i| a[i][i].powi(2)).sum();
        if off <= 1e-24 * size {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if a[p][q] == 0.0 {
                    continue;
                }
                let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let t = if theta == 0.0 { 1.0 } else { t };
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for row in &mut a {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                let (above, below) = a.split_at_mut(q);
                for (x, y) in above[p].iter_mut().zip(&mut below[0]) {
                    (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                }
                for row in &mut vectors {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
            }
        }
    }
    ((0..n).map(|i| a[i][i]).collect(), vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_cloud_is_seen_from_above() {
        // Varies most along (1, 1, 0)/sqrt 2 with standard deviation 3, then along (0, 0, 1) with 1.
        let rows: Vec<Vec<f64>> = (0..40)
            .map(|i| {
                let (u, v) = (3.0 * (f64::from(i) * 0.7).sin(), (f64::from(i) * 1.9).cos());
                vec![5.0 + u / 2.0_f64.sqrt(), 1.0 + u / 2.0_f64.sqrt(), v]
            })
            .collect();
        let plane = plane(&rows).expect("a plane");
        assert!((plane.explained.0 + plane.explained.1 - 1.0).abs() < 1e-9);
        assert!(plane.explained.0 > 0.85, "{:?}", plane.explained);
        let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let (p, q) = (plane.points[3], plane.points[17]);
        assert!(((p.0 - q.0).hypot(p.1 - q.1) - distance(&rows[3], &rows[17])).abs() < 1e-9, "distances stay");
        assert!(super::plane(&vec![vec![1.0, 2.0]; 9]).is_none());
    }
}
