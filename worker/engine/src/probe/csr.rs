//! Sparse rows of `f32` in compressed form, with the two products that fitting a linear probe takes.

/// A sparse matrix `[rows, columns]` in compressed-sparse-row form; columns ascend within a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Csr {
    starts: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f32>,
    columns: usize,
}

impl Csr {
    /// An empty matrix `[0, columns]`, to be filled by [`Csr::push`].
    pub fn new(columns: usize) -> Self {
        Self { starts: vec![0], indices: Vec::new(), values: Vec::new(), columns }
    }

    /// Appends a row of `(column, value)` pairs in ascending order of column.
    ///
    /// # Panics
    /// Where a column doesn't ascend or isn't below the number of columns.
    pub fn push(&mut self, row: impl IntoIterator<Item = (u32, f32)>) {
        let first = self.indices.len();
        for (column, value) in row {
            assert!((column as usize) < self.columns, "column {column} of {}", self.columns);
            assert!(self.indices[first..].last().is_none_or(|&last| last < column), "columns must ascend");
            self.indices.push(column);
            self.values.push(value);
        }
        self.starts.push(self.indices.len());
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of stored values.
    pub fn stored(&self) -> usize {
        self.values.len()
    }

    /// The stored `(column, value)` pairs of row `index`.
    pub fn row(&self, index: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let range = self.starts[index]..self.starts[index + 1];
        self.indices[range.clone()].iter().map(|&j| j as usize).zip(self.values[range].iter().copied())
    }

    /// `out = self * theta`: `theta` is `[columns, lanes]`, `out` is `[rows, lanes]`, both row-major.
    pub(crate) fn times(&self, theta: &[f32], lanes: usize, out: &mut [f32]) {
        out.fill(0.0);
        for (i, sum) in out.chunks_exact_mut(lanes).enumerate() {
            for (j, v) in self.row(i) {
                let theta = &theta[j * lanes..(j + 1) * lanes];
                sum.iter_mut().zip(theta).for_each(|(s, t)| *s += v * t);
            }
        }
    }

    /// `out = self^T * residual`: `residual` is `[rows, lanes]`, `out` is `[columns, lanes]`, both row-major.
    pub(crate) fn transposed_times(&self, residual: &[f32], lanes: usize, out: &mut [f32]) {
        out.fill(0.0);
        for (i, r) in residual.chunks_exact(lanes).enumerate() {
            for (j, v) in self.row(i) {
                let sum = &mut out[j * lanes..(j + 1) * lanes];
                sum.iter_mut().zip(r).for_each(|(s, r)| *s += v * r);
            }
        }
    }
}
