//! Hierarchical clustering by average linkage.

use serde::Serialize;

/// One merge: clusters below `n` are the items themselves, cluster n + i is the i-th merge (as in SciPy).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Merge {
    /// The cluster of the smaller number.
    pub left: usize,
    /// The other cluster.
    pub right: usize,
    /// The mean distance between their items.
    pub distance: f64,
    /// Items in both.
    pub size: usize,
}

/// Average linkage (UPGMA, Sokal and Michener 1958) of a symmetric matrix of distances; ties take the first pair.
pub fn average(distances: &[Vec<f64>]) -> Vec<Merge> {
    let n = distances.len();
    let mut matrix: Vec<Vec<f64>> = distances.to_vec();
    // (cluster, its size) of every row of the matrix; none once merged away.
    let mut clusters: Vec<Option<(usize, usize)>> = (0..n).map(|i| Some((i, 1))).collect();
    let mut merges = Vec::new();
    while merges.len() + 1 < n {
        let mut nearest = (f64::INFINITY, 0, 0);
        for i in 0..n {
            for j in i + 1..n {
                if clusters[i].is_some() && clusters[j].is_some() && matrix[i][j] < nearest.0 {
                    nearest = (matrix[i][j], i, j);
                }
            }
        }
        let (distance, i, j) = nearest;
        let (Some((a, of_a)), Some((b, of_b))) = (clusters[i], clusters[j]) else { break };
        if !distance.is_finite() {
            break;
        }
        let mean = |(a, b): (&f64, &f64)| (a * of_a as f64 + b * of_b as f64) / (of_a + of_b) as f64;
        let joined: Vec<f64> = matrix[i].iter().zip(&matrix[j]).map(mean).collect();
        matrix.iter_mut().zip(&joined).for_each(|(row, d)| row[i] = *d);
        matrix[i] = joined;
        clusters[i] = Some((n + merges.len(), of_a + of_b));
        clusters[j] = None;
        merges.push(Merge { left: a.min(b), right: a.max(b), distance, size: of_a + of_b });
    }
    merges
}

/// The items in the order of the tree's leaves; those that were not merged come last.
pub fn leaves(n: usize, merges: &[Merge]) -> Vec<usize> {
    let mut order = Vec::new();
    let mut open: Vec<usize> = if merges.is_empty() { Vec::new() } else { vec![n + merges.len() - 1] };
    while let Some(cluster) = open.pop() {
        match cluster.checked_sub(n) {
            Some(merge) => open.extend([merges[merge].right, merges[merge].left]),
            None => order.push(cluster),
        }
    }
    let rest: Vec<usize> = (0..n).filter(|i| !order.contains(i)).collect();
    order.extend(rest);
    order
}
