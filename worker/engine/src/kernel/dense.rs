//! Products of f32 rows with f32 weights that lie in a process's own memory or in a file that others map, too.

use crate::product::{Strided, new_product};
use crate::slab::Slab;

/// A weight matrix `[in, out]`.
pub(crate) struct Dense {
    input: usize,
    output: usize,
    order: Order,
    numbers: Slab<f32>,
}

/// Which numbers of a matrix `[in, out]` lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Those of a row, as products read them fastest.
    Rows,
    /// Those of a column, so that columns can be had, too.
    Columns,
}

impl std::fmt::Debug for Dense {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dense[{}, {}] by {:?}", self.input, self.output, self.order)
    }
}

impl Dense {
    /// A matrix of these numbers.
    ///
    /// # Panics
    /// If there are not `input * output`.
    pub(crate) fn new(input: usize, output: usize, order: Order, numbers: Slab<f32>) -> Dense {
        assert_eq!(numbers.len(), input * output, "numbers of a matrix [{input}, {output}]");
        Dense { input, output, order, numbers }
    }

    /// Numbers of a row that is multiplied.
    pub(crate) fn input(&self) -> usize {
        self.input
    }

    /// Columns.
    pub(crate) fn output(&self) -> usize {
        self.output
    }

    /// `x` times the matrix.
    ///
    /// Shapes: `x` [t, in] -> [t, out]. The result of one row does not depend on the others: a single row is doubled, because a
    /// vector's product sums in another order.
    pub(crate) fn times(&self, x: &[f32]) -> Vec<f32> {
        if x.len() == self.input {
            let mut both = self.times(&x.repeat(2));
            both.truncate(self.output);
            return both;
        }
        let rows = x.len() / self.input;
        let weights = match self.order {
            Order::Rows => Strided::rows(&self.numbers, self.input, self.output),
            Order::Columns => Strided::rows(&self.numbers, self.output, self.input).transposed(),
        };
        new_product(rayon::current_num_threads(), Strided::rows(x, rows, self.input), weights)
    }

    /// Some columns, one after another: `[columns, in]`.
    ///
    /// # Panics
    /// If there is no such column, or they lie [`Order::Rows`].
    pub(crate) fn columns(&self, columns: &[u32]) -> Vec<f32> {
        assert_eq!(self.order, Order::Columns, "columns of a matrix that lies row by row");
        columns.iter().flat_map(|&column| &self.numbers[column as usize * self.input..][..self.input]).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use proptest::prelude::*;

    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        use rand::{Rng, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| random.random_range(-1f32..1.0)).collect()
    }

    fn bits(numbers: &[f32]) -> Vec<u32> {
        numbers.iter().map(|x| x.to_bits()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn products_are_those_of_tensors_bit_for_bit_on_any_number_of_threads(
            rows in 1usize..40, more in prop::sample::select(vec![0usize, 300]), input in 1usize..200, output in 1usize..200,
            threads in 1usize..4, seed: u64,
        ) {
            let rows = rows + more;
            let (x, weight) = (numbers(rows * input, seed), numbers(output * input, seed ^ 1));
            // A single row is computed as one of two.
            let twice = if rows == 1 { x.repeat(2) } else { x.clone() };
            let tensor = |numbers: &[f32], shape: (usize, usize)| Tensor::from_vec(numbers.to_vec(), shape, &Device::Cpu).unwrap();
            let left = tensor(&twice, (twice.len() / input, input));
            for (order, right) in [
                (Order::Rows, tensor(&weight, (input, output))),
                (Order::Columns, tensor(&weight, (output, input)).t().unwrap()),
            ] {
                let expected = left.matmul(&right).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let dense = Dense::new(input, output, order, Slab::Own(weight.clone()));
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let found = pool.install(|| dense.times(&x));
                prop_assert_eq!(bits(&found), bits(&expected[..rows * output]), "{:?}", order);
            }
        }
    }
}
