//! How alike two representations of the same rows are: linear CKA and RSA, from matrices of inner products.

/// A square matrix of inner products between rows, prepared for both measures. Rows that a representation lacks (NaN on
/// the diagonal) are taken out where two are compared.
#[derive(Debug, Clone)]
pub struct Products {
    n: usize,
    values: Vec<f64>,
    present: Vec<bool>,
}

impl Products {
    /// From `[n, n]`, row-major.
    pub fn new(values: &[f32]) -> Products {
        let n = values.len().isqrt();
        let values: Vec<f64> = values[..n * n].iter().map(|v| f64::from(*v)).collect();
        let present = (0..n).map(|i| values[i * n + i].is_finite()).collect();
        Products { n, values, present }
    }

    fn of(&self, rows: &[usize]) -> Vec<f64> {
        rows.iter().flat_map(|i| rows.iter().map(move |j| self.values[i * self.n + j])).collect()
    }
}

/// The rows that both have.
fn common(a: &Products, b: &Products) -> Vec<usize> {
    (0..a.n.min(b.n)).filter(|i| a.present[*i] && b.present[*i]).collect()
}

/// Linear centred kernel alignment (Kornblith et al. 2019) with the unbiased estimate of HSIC (Song et al. 2012), without
/// which any two representations of a few hundred rows that are wider than that look alike. 1 = the same up to rotation and
/// scale, about 0 = unrelated. NaN with fewer than four common rows, or where one representation doesn't vary.
pub fn cka(a: &Products, b: &Products) -> f64 {
    let rows = common(a, b);
    if rows.len() < 4 {
        return f64::NAN;
    }
    let (a, b) = (u_centred(a.of(&rows), rows.len()), u_centred(b.of(&rows), rows.len()));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (aa, bb) = (dot(&a, &a), dot(&b, &b));
    if aa > 0.0 && bb > 0.0 { dot(&a, &b) / (aa * bb).sqrt() } else { f64::NAN }
}

/// U-centring (Szekely and Rizzo 2014): afterwards the sum of products of two matrices is, up to a factor, their unbiased
/// HSIC. What is added to whole rows and columns, as by centring the states, makes no difference.
fn u_centred(mut k: Vec<f64>, n: usize) -> Vec<f64> {
    for i in 0..n {
        k[i * n + i] = 0.0;
    }
    let sums: Vec<f64> = k.chunks_exact(n).map(|row| row.iter().sum()).collect();
    let total: f64 = sums.iter().sum();
    let (near, all) = ((n - 2) as f64, ((n - 1) * (n - 2)) as f64);
    for i in 0..n {
        for j in 0..n {
            k[i * n + j] = if i == j { 0.0 } else { k[i * n + j] - (sums[i] + sums[j]) / near + total / all };
        }
    }
    k
}

/// Representational similarity analysis (Kriegeskorte et al. 2008): Spearman's correlation of the two sets of distances
/// between rows, where the distance is 1 - cosine of the centred states. NaN with fewer than three common rows.
pub fn rsa(a: &Products, b: &Products) -> f64 {
    let rows = common(a, b);
    if rows.len() < 3 {
        return f64::NAN;
    }
    spearman(&distances(a, &rows), &distances(b, &rows))
}

fn distances(of: &Products, rows: &[usize]) -> Vec<f64> {
    let norm: Vec<f64> = rows.iter().map(|i| of.values[i * of.n + i].max(0.0).sqrt()).collect();
    let mut out = Vec::with_capacity(rows.len() * (rows.len() - 1) / 2);
    for (a, i) in rows.iter().enumerate() {
        for (b, j) in rows.iter().enumerate().skip(a + 1) {
            let whole = norm[a] * norm[b];
            out.push(if whole > 0.0 { 1.0 - of.values[i * of.n + j] / whole } else { 1.0 });
        }
    }
    out
}

/// Spearman's rank correlation; ties share their mean rank. NaN where one side doesn't vary.
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let n = a.len() as f64;
    let middle = (n + 1.0) / 2.0;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum::<f64>();
    let whole = (dot(&a, &a) * dot(&b, &b)).sqrt();
    if whole > 0.0 { dot(&a, &b) / whole } else { f64::NAN }
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && values[order[end]] == values[order[start]] {
            end += 1;
        }
        let rank = (start + end + 1) as f64 / 2.0;
        order[start..end].iter().for_each(|i| ranks[*i] = rank);
        start = end;
    }
    ranks
}

/// Cosines between rows of `a` and of `b`, `[rows of a][rows of b]`; both are `[rows, width]`. NaN for a row of zeros.
pub fn cosines(a: &[f32], b: &[f32], width: usize) -> Vec<Vec<f64>> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let cosine = |a: &[f32], b: &[f32]| {
        let whole = (dot(a, a) * dot(b, b)).sqrt();
        if whole > 0.0 { (dot(a, b) / whole).clamp(-1.0, 1.0) } else { f64::NAN }
    };
    a.chunks_exact(width.max(1)).map(|a| b.chunks_exact(width.max(1)).map(|b| cosine(a, b)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    fn states(rows: usize, width: usize, seed: u64) -> Vec<f64> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..rows * width).map(|_| (0..4).map(|_| rng.random::<f64>()).sum::<f64>() - 2.0).collect()
    }

    fn products(states: &[f64], width: usize) -> Products {
        let rows: Vec<&[f64]> = states.chunks_exact(width).collect();
        let all = rows.iter().flat_map(|a| rows.iter().map(|b| a.iter().zip(*b).map(|(a, b)| a * b).sum::<f64>() as f32));
        Products::new(&all.collect::<Vec<f32>>())
    }

    #[test]
    fn rotating_and_scaling_changes_nothing_and_noise_is_unlike() {
        let a = states(60, 8, 1);
        let turned: Vec<f64> =
            a.chunks_exact(8).flat_map(|r| (0..8).map(|i| 3.0 * (r[i] * 0.6 + r[(i + 4) % 8] * if i < 4 { 0.8 } else { -0.8 }))).collect();
        assert!((cka(&products(&a, 8), &products(&turned, 8)) - 1.0).abs() < 1e-5);
        assert!((rsa(&products(&a, 8), &products(&turned, 8)) - 1.0).abs() < 1e-5);
        // Wider than there are rows: the biased estimate would say 0.6 or so.
        let noise = |seed| products(&states(60, 300, seed), 300);
        let found: Vec<f64> = (0..8).map(|s| cka(&noise(2 * s), &noise(2 * s + 1))).collect();
        assert!((found.iter().sum::<f64>() / 8.0).abs() < 0.03, "{found:?}");
    }

    #[test]
    fn rows_that_one_lacks_are_left_out() {
        let (a, b) = (states(20, 5, 3), states(20, 5, 4));
        let (whole_a, whole_b) = (products(&a[..5 * 19], 5), products(&b[..5 * 19], 5));
        let mut lacking = products(&b, 5);
        (lacking.present[19], lacking.values[19 * 20 + 19]) = (false, f64::NAN);
        assert!((cka(&products(&a, 5), &lacking) - cka(&whole_a, &whole_b)).abs() < 1e-6);
        assert!((rsa(&products(&a, 5), &lacking) - rsa(&whole_a, &whole_b)).abs() < 1e-6);
    }
}
