//! Seconds of fits on synthetic states: `cargo bench -p limbic-engine --bench probes`.

use divan::{Bencher, black_box};
use limbic_engine::probe::{
    LogisticSettings, Matrix, MlpSettings, RidgeSettings, Split, Standardizer, Trial, control, lda, logistic, mlp, ridge,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

fn main() {
    divan::main();
}

/// Rows of train (and half as many of validation), columns, classes.
const SHAPES: [(usize, usize, usize); 4] = [(1000, 256, 7), (2000, 256, 7), (1000, 512, 7), (1000, 256, 14)];

/// States that tell of their class as much as noise hides of it.
struct Cell {
    train: Vec<f32>,
    validation: Vec<f32>,
    labels: Vec<u32>,
    held: Vec<u32>,
    columns: usize,
    classes: usize,
}

impl Cell {
    fn new((rows, columns, classes): (usize, usize, usize)) -> Cell {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut number = || random.next_u32() as f32 / u32::MAX as f32 - 0.5;
        let centres: Vec<f32> = (0..classes * columns).map(|_| number()).collect();
        let mut draw = |rows: usize| {
            let labels: Vec<u32> = (0..rows).map(|row| (row % classes) as u32).collect();
            let x = labels.iter().flat_map(|label| &centres[*label as usize * columns..][..columns]).map(|c| 0.3 * c + number());
            (x.collect::<Vec<f32>>(), labels)
        };
        let ((train, labels), (validation, held)) = (draw(rows), draw(rows / 2));
        let standardizer = Standardizer::fit(&view(&train, columns)).expect("the rows are finite");
        let [train, validation] = [train, validation].map(|x| standardizer.apply(&view(&x, columns)).expect("the rows have these columns"));
        Cell { train, validation, labels, held, columns, classes }
    }

    fn split(&self) -> Split<'_> {
        Split::new(view(&self.train, self.columns), &self.labels)
    }

    fn held(&self) -> Split<'_> {
        Split::new(view(&self.validation, self.columns), &self.held)
    }
}

fn view(x: &[f32], columns: usize) -> Matrix<'_> {
    Matrix::new(x, x.len() / columns, columns).expect("the rows are whole")
}

#[divan::bench(args = SHAPES, sample_count = 5)]
fn logistic_at_one_strength(bencher: Bencher<'_, '_>, shape: (usize, usize, usize)) {
    let cell = Cell::new(shape);
    let settings = LogisticSettings::fixed(1.0);
    bencher.bench_local(|| logistic::fit(black_box(&cell.split()), None, cell.classes, &settings).expect("it can be fitted"));
}

/// Nine strengths, the labels and five shuffles of them.
#[divan::bench(args = SHAPES, sample_count = 3)]
fn logistic_path_with_controls(bencher: Bencher<'_, '_>, shape: (usize, usize, usize)) {
    let cell = Cell::new(shape);
    let strengths = vec![1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0];
    let settings = LogisticSettings { strengths, ..LogisticSettings::default() };
    let groups: Vec<usize> = (0..cell.labels.len()).collect();
    let shuffled = |seed| control::shuffled_labels(&groups, seed).into_iter().map(|row| cell.labels[row]).collect::<Vec<u32>>();
    let labels: Vec<Vec<u32>> = std::iter::once(cell.labels.clone()).chain((0..5).map(shuffled)).collect();
    let splits: Vec<Split<'_>> = labels.iter().map(|labels| Split::new(view(&cell.train, cell.columns), labels)).collect();
    let (held, x) = (cell.held(), view(&cell.train, cell.columns));
    let trials: Vec<Trial<'_>> = splits.iter().map(|s| Trial { train: s.targets, validation: Some(held.targets) }).collect();
    bencher.bench_local(|| logistic::fit_all(black_box(&x), Some(&held.x), &trials, cell.classes, &settings).expect("they can be fitted"));
}

#[divan::bench(args = SHAPES, sample_count = 10)]
fn ridge_path(bencher: Bencher<'_, '_>, shape: (usize, usize, usize)) {
    let cell = Cell::new(shape);
    let settings = RidgeSettings { alphas: vec![1.0, 10.0, 100.0] };
    bencher.bench_local(|| ridge::fit(black_box(&cell.split()), Some(&cell.held()), cell.classes, &settings).expect("it can be fitted"));
}

#[divan::bench(args = SHAPES, sample_count = 10)]
fn discriminant(bencher: Bencher<'_, '_>, shape: (usize, usize, usize)) {
    let cell = Cell::new(shape);
    let settings = limbic_engine::probe::LdaSettings::default();
    bencher.bench_local(|| lda::fit(black_box(&cell.split()), Some(&cell.held()), cell.classes, &settings).expect("it can be fitted"));
}

#[divan::bench(args = SHAPES, sample_count = 5)]
fn network(bencher: Bencher<'_, '_>, shape: (usize, usize, usize)) {
    let cell = Cell::new(shape);
    let settings = MlpSettings { epochs: 2, ..MlpSettings::default() };
    bencher.bench_local(|| mlp::fit(black_box(&cell.split()), Some(&cell.held()), cell.classes, &settings).expect("it can be trained"));
}
