//! Seconds from predictions to pages on synthetic studies: `cargo bench -p limbic-report`.

use divan::{Bencher, black_box};
use limbic_report::{Study, evaluate, files};

#[expect(dead_code, unused_imports, reason = "the crate's own tests use all of it")]
#[path = "../tests/report"]
mod report {
    pub mod synthetic;
}
use report::synthetic::{Size, study};

fn main() {
    divan::main();
}

/// What the others are twice as large as.
const BASE: Size = Size { models: 2, layers: 12, conditions: 2, offsets: 4, rows: 420, masked: false, mlp: false, whole: false };

#[derive(Debug, Clone, Copy)]
struct Named(&'static str, Size);

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

const SIZES: [Named; 5] = [
    Named("base", BASE),
    Named("2x layers", Size { layers: 24, ..BASE }),
    Named("2x rows", Size { rows: 840, ..BASE }),
    Named("2x offsets", Size { offsets: 8, ..BASE }),
    Named("2x models", Size { models: 4, ..BASE }),
];

fn sized(size: Named) -> Study {
    study(size.1)
}

#[divan::bench(args = SIZES, sample_count = 3)]
fn evaluating(bencher: Bencher<'_, '_>, size: Named) {
    let study = sized(size);
    bencher.bench_local(|| evaluate(black_box(&study)).expect("the study is sound"));
}

#[divan::bench(args = SIZES, sample_count = 3)]
fn pages_and_tables(bencher: Bencher<'_, '_>, size: Named) {
    let study = sized(size);
    let results = evaluate(&study).expect("the study is sound");
    bencher.bench_local(|| files(black_box(&study), &results).expect("the pages can be made"));
}
