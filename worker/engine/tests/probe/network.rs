//! The MLP probe: it learns what no linear map can, follows its seed and nothing else, and stops early.

use limbic_engine::probe::report::argmax;
use limbic_engine::probe::{FitReport, Fitted, Labels, LogisticSettings, Matrix, MlpSettings, Split, logistic, mlp};
use limbic_proto::rows::Scheme;

use super::Data;

/// Two classes on the four corners of a square, diagonally opposite ones alike.
fn xor(n: usize) -> Data {
    let mut data = Data::drawn(1, n, 2, 2);
    for i in 0..n {
        let corner = [(i % 2) as f32, (i / 2 % 2) as f32];
        data.y[i] = ((i % 2) ^ (i / 2 % 2)) as u32;
        for (v, c) in data.x[i * 2..i * 2 + 2].iter_mut().zip(corner) {
            *v = (*v * 0.1).clamp(-0.3, 0.3) + c;
        }
    }
    data
}

/// The mean of `-ln p(label)`, and the share of rows whose label has the highest probability.
fn score(probe: &Fitted, split: &Split<'_>) -> (f64, f64) {
    let Labels::Single(y) = split.targets.labels else { panic!("one class a row") };
    let probabilities = probe.predict(&split.x).unwrap();
    let rows = || probabilities.chunks_exact(probe.outputs).zip(y);
    let loss: f64 = rows().map(|(row, label)| -f64::from(row[*label as usize].max(f32::MIN_POSITIVE)).ln()).sum();
    let right = rows().filter(|(row, label)| argmax(row) == **label as usize).count();
    (loss / y.len() as f64, right as f64 / y.len() as f64)
}

fn accuracy(probe: &Fitted, split: &Split<'_>) -> f64 {
    score(probe, split).1
}

fn quick(seed: u64) -> MlpSettings {
    MlpSettings { hidden: 32, learning_rate: 1e-2, epochs: 40, batch: 32, seed, ..MlpSettings::default() }
}

#[test]
fn learns_what_no_linear_map_can() {
    let data = xor(400);
    let (probe, report) = mlp::fit(&data.split(), None, 2, &quick(1)).unwrap();
    assert!(accuracy(&probe, &data.split()) > 0.98, "{:?}", report.chosen());
    let (linear, _) = logistic::fit(&data.split(), None, 2, &LogisticSettings::default()).unwrap();
    assert!(accuracy(&linear, &data.split()) < 0.8);
}

#[test]
fn the_seed_decides_every_bit() {
    let data = Data::drawn(2, 120, 10, 3);
    let fit = |seed, threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| mlp::fit(&data.split(), None, 3, &quick(seed)).unwrap().0)
    };
    assert_eq!(fit(1, 1), fit(1, 3));
    assert_ne!(fit(1, 1).layers, fit(2, 1).layers);
}

#[test]
fn patience_keeps_the_best_epoch() {
    let data = Data::drawn(3, 160, 12, 4);
    let (train, held) = (data.part(0, 80), data.part(80, 160));
    let settings = MlpSettings { patience: Some(3), epochs: 200, ..quick(1) };
    let (probe, report) = mlp::fit(&train, Some(&held), 4, &settings).unwrap();
    assert!(report.path.len() < 200 && report.path.len() == report.chosen + 4);
    assert!((score(&probe, &held).0 - report.validation.unwrap()).abs() < 1e-6);
}

#[test]
fn the_papers_defaults_run_one_epoch() {
    let data = Data::drawn(4, 200, 9, 7);
    let (probe, report) = mlp::fit(&data.split(), None, 7, &MlpSettings::default()).unwrap();
    assert_eq!((report.path.len(), report.chosen().unwrap().iterations), (1, 4));
    assert_eq!(probe.layers[0].weight.len(), 256 * 9);
    assert_eq!(Fitted::from_tensors(probe.kind, Scheme::Single, &probe.to_tensors()).unwrap(), probe);
    assert!(probe.predict(&Matrix::new(&data.x, 200, 9).unwrap()).is_ok());
}

/// An epoch of the study goes over rows that stand there several times, and so takes more steps.
#[test]
fn a_row_of_weight_3_is_gone_over_three_times() {
    let data = Data::drawn(5, 90, 6, 3);
    let weights: Vec<f32> = (0..90).map(|row| [1.0, 3.0, 0.0, 2.0][row % 4]).collect();
    let rows: Vec<usize> = (0..90).flat_map(|row| std::iter::repeat_n(row, weights[row] as usize)).collect();
    let x: Vec<f32> = rows.iter().flat_map(|&row| &data.x[row * 6..(row + 1) * 6]).copied().collect();
    let y: Vec<u32> = rows.iter().map(|&row| data.y[row]).collect();
    let repeated = Split::new(Matrix::new(&x, rows.len(), 6).unwrap(), &y);
    let settings = MlpSettings { standardise: false, epochs: 3, batch: 16, hidden: 8, ..MlpSettings::default() };
    let fit = |split: &Split<'_>| mlp::fit(split, None, 3, &settings).unwrap();
    let (weighed, report) = fit(&data.split().weighing(Some(&weights)));
    assert_eq!(report.path.last().unwrap().iterations, 3 * rows.len().div_ceil(16));
    let (stood, theirs) = fit(&repeated);
    assert_eq!(weighed, stood);
    let objectives = |report: &FitReport| report.path.iter().map(|epoch| epoch.objective).collect::<Vec<_>>();
    assert_eq!(objectives(&report), objectives(&theirs));
    // Other weights scale losses, and steps stay as many.
    let halves: Vec<f32> = weights.iter().map(|w| w + 0.5).collect();
    let (_, scaled) = fit(&data.split().weighing(Some(&halves)));
    assert_eq!(scaled.path.last().unwrap().iterations, 3 * 90usize.div_ceil(16));
}
