//! Eigenvectors of symmetric matrices: of small ones all, of large ones those of the largest eigenvalues.

use super::control::normal;
use super::network::generator;
use super::product::{Strided, dot, product};

/// Vectors beyond those that are asked for, which make these converge sooner.
const SPARE: usize = 6;

/// Products with the matrix before vectors are combined anew.
const DEPTH: usize = 4;

/// Rounds at most. Of eigenvalues that are so close together that more were needed, any combination of vectors is as good.
const ROUNDS: usize = 60;

/// Residual at which a vector is done, relative to the largest eigenvalue.
const TOLERANCE: f64 = 1e-9;

/// The `count` largest eigenvalues, descending, with their vectors (rows of length `d`), of a positive semidefinite matrix
/// `[d, d]` that is known by its products with blocks of vectors: `apply` takes and gives rows of length `d`.
///
/// Restarted block Krylov iteration (Musco & Musco 2015 analyse it from a random start; this one is always the same). Each
/// vector's largest element is positive.
pub(crate) fn leading(d: usize, count: usize, apply: impl Fn(&[f64]) -> Vec<f64>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let count = count.min(d);
    let width = (count + SPARE).min(d);
    let mut rng = generator(0);
    let mut block: Vec<Vec<f64>> = (0..width).map(|_| (0..d).map(|_| normal(&mut rng)).collect()).collect();
    for round in 0.. {
        let mut basis: Vec<Vec<f64>> = Vec::new();
        let mut images: Vec<Vec<f64>> = Vec::new();
        for _ in 0..DEPTH {
            let fresh = orthonormalised(&basis, block);
            if fresh.is_empty() {
                break;
            }
            let image = apply(&fresh.concat());
            block = image.chunks_exact(d).map(<[f64]>::to_vec).collect();
            images.extend(block.iter().cloned());
            basis.extend(fresh);
        }
        let m = basis.len();
        let projected: Vec<f64> = basis.iter().flat_map(|b| images.iter().map(|i| dot(b, i))).collect();
        let (values, vectors) = symmetric(&projected, m);
        let combined = |of: &[Vec<f64>], k: usize| -> Vec<f64> {
            let mut out = vec![0f64; d];
            of.iter().zip(&vectors[k]).for_each(|(v, c)| out.iter_mut().zip(v).for_each(|(o, v)| *o += c * v));
            out
        };
        let found: Vec<Vec<f64>> = (0..width.min(m)).map(|k| combined(&basis, k)).collect();
        let done = |k: usize| {
            let image = combined(&images, k);
            let rest: f64 = image.iter().zip(&found[k]).map(|(i, v)| (i - values[k] * v).powi(2)).sum();
            rest.sqrt() <= TOLERANCE * values[0].max(f64::MIN_POSITIVE)
        };
        if m == d || round + 1 == ROUNDS || (0..count.min(m)).all(done) {
            let kept = count.min(m);
            return (values[..kept].to_vec(), found.into_iter().take(kept).map(signed).collect());
        }
        block = found;
    }
    unreachable!("the rounds are bounded")
}

/// With its largest element positive.
fn signed(mut vector: Vec<f64>) -> Vec<f64> {
    let largest = vector.iter().fold(0f64, |m, v| if v.abs() > m.abs() { *v } else { m });
    if largest < 0.0 {
        vector.iter_mut().for_each(|v| *v = -*v);
    }
    vector
}

/// What is left of the vectors beside the basis and one another, twice orthogonalised; what is nearly nothing is left out.
fn orthonormalised(basis: &[Vec<f64>], vectors: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let mut fresh: Vec<Vec<f64>> = Vec::new();
    for mut vector in vectors {
        let before = dot(&vector, &vector).sqrt();
        for _ in 0..2 {
            for other in basis.iter().chain(&fresh) {
                let share = dot(other, &vector);
                vector.iter_mut().zip(other).for_each(|(v, o)| *v -= share * o);
            }
        }
        let length = dot(&vector, &vector).sqrt();
        if length > 1e-10 * before && length > 0.0 {
            vector.iter_mut().for_each(|v| *v /= length);
            fresh.push(vector);
        }
    }
    fresh
}

/// All eigenvalues, descending, with their vectors, of a symmetric matrix `[m, m]`, by Jacobi's rotations.
pub(crate) fn symmetric(matrix: &[f64], m: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut a = matrix.to_vec();
    // Rows of `v` become the vectors.
    let mut v: Vec<f64> = (0..m * m).map(|at| if at % (m + 1) == 0 { 1.0 } else { 0.0 }).collect();
    for _ in 0..50 {
        let outside: f64 = (0..m).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i * m + j].powi(2)).sum();
        let inside: f64 = (0..m).map(|i| a[i * m + i].powi(2)).sum();
        if outside <= 1e-30 * inside {
            break;
        }
        for p in 0..m {
            for q in p + 1..m {
                let (app, aqq, apq) = (a[p * m + p], a[q * m + q], a[p * m + q]);
                if apq == 0.0 {
                    continue;
                }
                let theta = (aqq - app) / (2.0 * apq);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let t = if theta == 0.0 { 1.0 } else { t };
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for k in 0..m {
                    let (kp, kq) = (a[k * m + p], a[k * m + q]);
                    (a[k * m + p], a[k * m + q]) = (c * kp - s * kq, s * kp + c * kq);
                }
                for k in 0..m {
                    let (pk, qk) = (a[p * m + k], a[q * m + k]);
                    (a[p * m + k], a[q * m + k]) = (c * pk - s * qk, s * pk + c * qk);
                    let (vp, vq) = (v[p * m + k], v[q * m + k]);
                    (v[p * m + k], v[q * m + k]) = (c * vp - s * vq, s * vp + c * vq);
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..m).collect();
    order.sort_by(|x, y| a[y * m + y].total_cmp(&a[x * m + x]));
    let vectors = order.iter().map(|&k| v[k * m..(k + 1) * m].to_vec()).collect();
    (order.iter().map(|&k| a[k * m + k]).collect(), vectors)
}

/// Products of a second moment `sum_i w_i z_i z_i^T` with rows of vectors, from its rows `z`: it is never formed.
pub(crate) fn moment_products(z: &[f64], d: usize, vectors: &[f64], weight: impl Fn(usize) -> f64) -> Vec<f64> {
    let (n, lanes) = (z.len() / d, vectors.len() / d);
    let mut along = vec![0f64; n * lanes];
    product(&mut along, (lanes, 1), 0.0, 1.0, Strided::rows(z, n, d), Strided::rows(vectors, lanes, d).transposed());
    along.chunks_exact_mut(lanes).enumerate().for_each(|(row, along)| along.iter_mut().for_each(|v| *v *= weight(row)));
    let mut out = vec![0f64; lanes * d];
    product(&mut out, (d, 1), 0.0, 1.0, Strided::rows(&along, n, lanes).transposed(), Strided::rows(z, n, d));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Q diag(values) Q^T` for a random orthonormal `Q`.
    fn with_values(values: &[f64]) -> Vec<f64> {
        let d = values.len();
        let mut rng = generator(5);
        let drawn: Vec<Vec<f64>> = (0..d).map(|_| (0..d).map(|_| normal(&mut rng)).collect()).collect();
        let q = orthonormalised(&[], drawn);
        let mut out = vec![0f64; d * d];
        for (value, q) in values.iter().zip(&q) {
            for i in 0..d {
                for j in 0..d {
                    out[i * d + j] += value * q[i] * q[j];
                }
            }
        }
        out
    }

    fn times(matrix: &[f64], d: usize, vectors: &[f64]) -> Vec<f64> {
        vectors.chunks_exact(d).flat_map(|v| matrix.chunks_exact(d).map(|row| dot(row, v)).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn known_eigenvalues_are_found_close_and_equal_ones_included() {
        for d in [1usize, 4, 20, 120] {
            let mut values: Vec<f64> = (0..d).map(|i| 50.0 / (1.0 + i as f64).powf(0.7)).collect();
            if d > 3 {
                values[2] = values[1];
                values[3] = values[2] * 0.999;
            }
            let matrix = with_values(&values);
            let (found, vectors) = leading(d, 10, |v| times(&matrix, d, v));
            assert_eq!((found.len(), vectors.len()), (d.min(10), d.min(10)));
            for ((found, vector), value) in found.iter().zip(&vectors).zip(&values) {
                assert!((found - value).abs() < 1e-8 * values[0], "{d}: {found} for {value}");
                let image = times(&matrix, d, vector);
                assert!(image.iter().zip(vector).all(|(i, v)| (i - found * v).abs() < 1e-7 * values[0]));
                let largest = vector.iter().fold(0f64, |m, v| if v.abs() > m.abs() { *v } else { m });
                assert!(largest > 0.0 && (dot(vector, vector) - 1.0).abs() < 1e-10);
            }
            let (all, _) = symmetric(&matrix, d);
            assert!(all.iter().zip(&values).all(|(a, v)| (a - v).abs() < 1e-9 * values[0]));
        }
    }

    #[test]
    fn a_matrix_of_low_rank_has_vectors_for_what_there_is() {
        let matrix = with_values(&[3.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let (values, _) = leading(20, 10, |v| times(&matrix, 20, v));
        assert!((values[0] - 3.0).abs() < 1e-9 && (values[1] - 1.0).abs() < 1e-9);
        assert!(values[2..].iter().all(|v| v.abs() < 1e-9));
    }
}
