//! The probes on a real model's states beside scikit-learn's: `fixtures/probe/agreement.py` says how to get both.

use std::path::PathBuf;
use std::time::Instant;

use limbic_engine::probe::{
    Labels, LdaSettings, LogisticSettings, Matrix, RidgeSettings, Split, Standardizer, Trial, control, lda, logistic, report::argmax, ridge,
};
use rayon::prelude::*;

/// The states of SmolLM2-135M: its embeddings, and one after each of 30 blocks (the last one normed).
const STATES: usize = 31;

#[derive(serde::Deserialize)]
struct Expected {
    rows: usize,
    layers: usize,
    columns: usize,
    classes: usize,
    logistic: Vec<Vec<Optimum>>,
    ridge: Vec<Vec<u32>>,
    lda: Vec<Vec<u32>>,
}

#[derive(serde::Deserialize)]
struct Optimum {
    strength: f64,
    objective: f64,
}

struct Layer {
    /// The rows of train, validation and test, `[n, d]`.
    x: [Vec<f32>; 3],
}

struct Study {
    expected: Expected,
    y: [Vec<u32>; 3],
    layers: Vec<Layer>,
}

impl Study {
    fn read() -> Study {
        let folder = PathBuf::from(std::env::var("LIMBIC_AGREEMENT").expect("LIMBIC_AGREEMENT names the folder"));
        let words = |name: &str| -> Vec<u32> {
            let bytes = std::fs::read(folder.join(name)).unwrap();
            bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
        };
        let expected: Expected = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
        let (states, labels, splits) = (words("states.f32"), words("labels.u32"), words("splits.u32"));
        let (n, d) = (expected.rows, expected.columns);
        assert_eq!(states.len(), expected.layers * n * d);
        let parts = [0, 1, 2].map(|split: u32| (0..n).filter(|row| splits[*row] == split).collect::<Vec<usize>>());
        let layer = |l: usize| {
            let of =
                |rows: &Vec<usize>| rows.iter().flat_map(|row| &states[(l * n + row) * d..][..d]).map(|w| f32::from_bits(*w)).collect();
            Layer { x: [of(&parts[0]), of(&parts[1]), of(&parts[2])] }
        };
        let y = [0, 1, 2].map(|part: usize| parts[part].iter().map(|row| labels[*row]).collect());
        Study { layers: (0..expected.layers).map(layer).collect(), y, expected }
    }

    fn matrix<'a>(&self, x: &'a [f32]) -> Matrix<'a> {
        Matrix::new(x, x.len() / self.expected.columns, self.expected.columns).unwrap()
    }

    fn train<'a>(&'a self, layer: &'a Layer) -> Split<'a> {
        Split::new(self.matrix(&layer.x[0]), &self.y[0])
    }
}

fn predicted(values: &[f32], classes: usize) -> Vec<u32> {
    values.chunks_exact(classes).map(|row| argmax(row) as u32).collect()
}

#[test]
#[ignore = "needs a real model's states and scikit-learn's results: LIMBIC_AGREEMENT=FOLDER"]
fn probes_agree_with_scikit_learn_on_real_states() {
    let study = Study::read();
    let (classes, expected) = (study.expected.classes, &study.expected);
    // Of a run that was cut off only the first states would be compared.
    let known = [study.layers.len(), expected.logistic.len(), expected.ridge.len(), expected.lda.len()];
    assert_eq!(known, [STATES; 4], "states, and those with scikit-learn's logistic, ridge and lda");
    let (mut furthest, mut unlike, mut compared) = ([0f64; 3], [0usize; 2], 0);
    for (number, layer) in study.layers.iter().enumerate() {
        assert_eq!(expected.logistic[number].len(), furthest.len(), "state {number}: strengths");
        let train = study.train(layer);
        for (at, optimum) in study.expected.logistic[number].iter().enumerate() {
            let (_, report) = logistic::fit(&train, None, classes, &LogisticSettings::fixed(optimum.strength)).unwrap();
            let gap = report.path[0].objective / optimum.objective - 1.0;
            assert!(report.converged(), "state {number} at {}: {:?}, gap {gap:.1e}", optimum.strength, report.path[0]);
            furthest[at] = furthest[at].max(gap.abs());
            assert!(gap.abs() < 1e-4, "state {number} at {}: {} for {}", optimum.strength, report.path[0].objective, optimum.objective);
        }
        let test = study.matrix(&layer.x[2]);
        let (ours, _) = ridge::fit(&train, None, classes, &RidgeSettings { alphas: vec![100.0] }).unwrap();
        let (other, _) = lda::fit(&train, None, classes, &LdaSettings::default()).unwrap();
        for (at, (fitted, expected)) in [(ours, &study.expected.ridge[number]), (other, &study.expected.lda[number])].iter().enumerate() {
            let found = predicted(&fitted.predict(&test).unwrap(), classes);
            assert_eq!(found.len(), expected.len(), "state {number}: test rows");
            unlike[at] += found.iter().zip(*expected).filter(|(a, b)| a != b).count();
        }
        compared += 1;
    }
    println!(
        "{compared} states: objectives at C = 0.001, 1, 100 within {:.1e}, {:.1e}, {:.1e} of scikit-learn's",
        furthest[0], furthest[1], furthest[2]
    );
    println!("of {} test predictions, ridge differs in {} and lda in {}", compared * study.y[2].len(), unlike[0], unlike[1]);
    assert_eq!((compared, unlike), (STATES, [0, 0]));
}

#[test]
#[ignore = "measures time on a real model's states: LIMBIC_AGREEMENT=FOLDER"]
fn how_long_probes_agreement_takes() {
    let study = Study::read();
    let classes = study.expected.classes;
    let began = Instant::now();
    study.layers.par_iter().for_each(|layer| {
        let (_, report) = logistic::fit(&study.train(layer), None, classes, &LogisticSettings::fixed(1.0)).unwrap();
        assert!(report.converged());
    });
    println!("{} logistic probes at C = 1: {:.2} s", study.layers.len(), began.elapsed().as_secs_f64());
    let strengths = vec![1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1.0];
    let settings = LogisticSettings { strengths: strengths.clone(), ..LogisticSettings::default() };
    let groups: Vec<usize> = (0..study.y[0].len()).collect();
    let shuffled =
        |y: &[u32], seed| -> Vec<u32> { control::shuffled_labels(&groups[..y.len()], seed).into_iter().map(|from| y[from]).collect() };
    let mut labels = vec![(study.y[0].clone(), study.y[1].clone())];
    labels.extend((1..=5).map(|seed| (shuffled(&study.y[0], seed), shuffled(&study.y[1], seed))));
    let began = Instant::now();
    let fits = study.layers.par_iter().map(|layer| {
        let standardizer = Standardizer::fit(&study.matrix(&layer.x[0])).unwrap();
        let [x, held] = [0, 1].map(|part: usize| standardizer.apply(&study.matrix(&layer.x[part])).unwrap());
        let trials: Vec<Trial<'_>> = labels
            .iter()
            .map(|(y, held)| Trial { train: Labels::Single(y).into(), validation: Some(Labels::Single(held).into()) })
            .collect();
        let fits = logistic::fit_all(&study.matrix(&x), Some(&study.matrix(&held)), &trials, classes, &settings).unwrap();
        let paths: Vec<_> = fits.into_iter().map(|fit| fit.unwrap().1.path).collect();
        assert!(paths.iter().flatten().all(|point| point.converged));
        paths.iter().map(Vec::len).sum::<usize>()
    });
    let fits: usize = fits.sum();
    println!(
        "the same over {} strengths, with 5 shuffled sets of labels ({fits} fits): {:.2} s",
        strengths.len(),
        began.elapsed().as_secs_f64()
    );
}
