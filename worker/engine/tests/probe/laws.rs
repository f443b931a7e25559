//! What must hold of every fit: probabilities, invariances, monotonicity, determinism, choice of strength, storage.

use limbic_engine::probe::{
    FitReport, Fitted, Labels, LogisticSettings, Matrix, ProbeKind, Regression, Split, Standardizer, Texts, Trial, bag_of_words, logistic,
    majority,
};
use limbic_proto::rows::Scheme;
use proptest::prelude::*;

use super::{Data, furthest};

fn fitted(data: &Data, strength: f64) -> (Fitted, limbic_engine::probe::PathPoint) {
    let settings = LogisticSettings::fixed(strength);
    let (probe, report) = logistic::fit(&data.split(), None, data.classes, &settings).unwrap();
    (probe, report.chosen().unwrap().clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn probabilities_sum_to_one(seed in any::<u64>(), n in 8usize..60, d in 1usize..70, k in 2usize..8) {
        let data = Data::drawn(seed, n, d, k);
        let p = fitted(&data, 1.0).0.predict(&data.split().x).unwrap();
        prop_assert_eq!(p.len(), n * k);
        for row in p.chunks_exact(k) {
            prop_assert!(row.iter().all(|v| (0.0..=1.0).contains(v)));
            prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter(seed in any::<u64>(), n in 10usize..50, d in 1usize..60) {
        let data = Data::drawn(seed, n, d, 3);
        let order: Vec<usize> = (0..n).map(|i| (i * 7 + 3) % n).collect();
        prop_assume!(n % 7 != 0);
        let x = order.iter().flat_map(|&i| data.x[i * d..(i + 1) * d].to_vec()).collect();
        let moved = Data { x, y: order.iter().map(|&i| data.y[i]).collect(), d, classes: 3 };
        let p = fitted(&data, 1.0).0.predict(&data.split().x).unwrap();
        let q = fitted(&moved, 1.0).0.predict(&data.split().x).unwrap();
        prop_assert!(furthest(&p, &q) < 2e-3);
    }

    #[test]
    fn renaming_classes_renames_probabilities(seed in any::<u64>(), n in 12usize..50, d in 1usize..60) {
        let data = Data::drawn(seed, n, d, 4);
        let renamed = Data { x: data.x.clone(), y: data.y.iter().map(|l| (l + 1) % 4).collect(), d, classes: 4 };
        let p = fitted(&data, 1.0).0.predict(&data.split().x).unwrap();
        let q = fitted(&renamed, 1.0).0.predict(&data.split().x).unwrap();
        let back: Vec<f32> = q.chunks_exact(4).flat_map(|r| [r[1], r[2], r[3], r[0]]).collect();
        prop_assert!(furthest(&p, &back) < 2e-3);
    }

    #[test]
    fn a_stronger_penalty_gives_smaller_weights(seed in any::<u64>(), n in 12usize..50, d in 1usize..60, k in 2usize..5) {
        let data = Data::drawn(seed, n, d, k);
        let norms: Vec<f64> = [1e-3, 1e-2, 0.1, 1.0, 10.0].iter().map(|&c| fitted(&data, c).1.norm).collect();
        prop_assert!(norms.windows(2).all(|w| w[0] <= w[1] * 1.0001), "{:?}", norms);
    }

    #[test]
    fn a_path_ends_where_a_cold_start_does(seed in any::<u64>(), n in 20usize..50, d in 1usize..60) {
        let data = Data::drawn(seed, n + 10, d, 3);
        let (train, held) = (data.part(0, n), data.part(n, n + 10));
        let (_, report) = logistic::fit(&train, Some(&held), 3, &LogisticSettings::path()).unwrap();
        let losses = report.path.iter().map(|p| p.validation.unwrap());
        prop_assert!(losses.fold(f64::INFINITY, f64::min) == report.chosen().unwrap().validation.unwrap());
        for point in &report.path {
            let cold = logistic::fit(&train, None, 3, &LogisticSettings::fixed(point.strength)).unwrap().1;
            let cold = cold.chosen().unwrap();
            prop_assert!(point.converged && cold.converged);
            prop_assert!((point.objective / cold.objective - 1.0).abs() < 1e-4, "{:?} {:?}", point, cold);
        }
    }
}

#[test]
fn a_weak_penalty_on_wide_data_converges_from_cold() {
    let data = Data::drawn(12, 300, 900, 7);
    let train = data.part(0, 240);
    let strengths = vec![0.01, 1.0, 100.0, 1e4];
    let settings = LogisticSettings { strengths: strengths.clone(), ..LogisticSettings::default() };
    // On the rows that it was fitted to the loss falls to the end of the path.
    let (_, warm) = logistic::fit(&train, Some(&train), 7, &settings).unwrap();
    assert_eq!(warm.path.len(), 4);
    for (point, strength) in warm.path.iter().zip(strengths) {
        let (_, cold) = logistic::fit(&train, None, 7, &LogisticSettings::fixed(strength)).unwrap();
        let cold = cold.chosen().unwrap();
        assert!(point.converged && cold.converged, "{point:?} {cold:?}");
        assert!((point.objective / cold.objective - 1.0).abs() < 1e-4, "{point:?} {cold:?}");
    }
}

/// The least objective of a fit without standardisation, by Newton's method with conjugate gradients in f64.
fn least(data: &Data, strength: f64) -> f64 {
    let (n, d, k) = (data.y.len(), data.d, data.classes);
    let x: Vec<f64> = data.x.iter().map(|v| f64::from(*v)).collect();
    let size = k * (d + 1);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let scores = |theta: &[f64]| -> Vec<f64> {
        let of = |(i, c): (usize, usize)| dot(&x[i * d..][..d], &theta[c * d..][..d]) + theta[k * d + c];
        (0..n).flat_map(|i| (0..k).map(move |c| (i, c))).map(of).collect()
    };
    let value = |theta: &[f64]| {
        let loss = |(row, y): (&[f64], &u32)| {
            let top = row.iter().fold(f64::NEG_INFINITY, |t, v| t.max(*v));
            top + row.iter().map(|v| (v - top).exp()).sum::<f64>().ln() - row[*y as usize]
        };
        strength * scores(theta).chunks_exact(k).zip(&data.y).map(loss).sum::<f64>() + dot(&theta[..k * d], &theta[..k * d]) / 2.0
    };
    // Residuals `[n][k]` times the features, with the penalty's share of a parameter.
    let gathered = |residual: &[f64], theta: &[f64]| -> Vec<f64> {
        let mut out = vec![0.0; size];
        for (i, row) in residual.chunks_exact(k).enumerate() {
            for (c, r) in row.iter().enumerate() {
                out[c * d..][..d].iter_mut().zip(&x[i * d..][..d]).for_each(|(o, v)| *o += r * v);
                out[k * d + c] += r;
            }
        }
        out[..k * d].iter_mut().zip(theta).for_each(|(o, t)| *o += t);
        out
    };
    let mut theta = vec![0.0; size];
    for _ in 0..100 {
        let p: Vec<f64> = scores(&theta)
            .chunks_exact(k)
            .flat_map(|row| {
                let top = row.iter().fold(f64::NEG_INFINITY, |t, v| t.max(*v));
                let sum: f64 = row.iter().map(|v| (v - top).exp()).sum();
                row.iter().map(|v| (v - top).exp() / sum).collect::<Vec<_>>()
            })
            .collect();
        let wrong: Vec<f64> =
            p.iter().enumerate().map(|(at, p)| strength * (p - f64::from(u8::from(data.y[at / k] as usize == at % k)))).collect();
        let gradient = gathered(&wrong, &theta);
        let curved = |v: &[f64]| {
            let along = scores(v);
            let bent: Vec<f64> = p
                .chunks_exact(k)
                .zip(along.chunks_exact(k))
                .flat_map(|(p, a)| {
                    let mean = dot(p, a);
                    p.iter().zip(a).map(|(p, a)| strength * p * (a - mean)).collect::<Vec<_>>()
                })
                .collect();
            gathered(&bent, v)
        };
        let (mut step, mut rest) = (vec![0.0; size], gradient.iter().map(|g| -g).collect::<Vec<f64>>());
        let (mut way, mut left) = (rest.clone(), dot(&rest, &rest));
        let goal = 1e-24 * left.max(1e-30);
        for _ in 0..2000 {
            let along = curved(&way);
            let bend = dot(&way, &along);
            if left <= goal || bend <= 0.0 {
                break;
            }
            let t = left / bend;
            step.iter_mut().zip(&way).for_each(|(s, w)| *s += t * w);
            rest.iter_mut().zip(&along).for_each(|(r, a)| *r -= t * a);
            let next = dot(&rest, &rest);
            way.iter_mut().zip(&rest).for_each(|(w, r)| *w = r + next / left * *w);
            left = next;
        }
        let (before, fall) = (value(&theta), -dot(&gradient, &step));
        if fall <= 1e-13 * before {
            break;
        }
        let mut t = 1.0;
        loop {
            let tried: Vec<f64> = theta.iter().zip(&step).map(|(v, s)| v + t * s).collect();
            if value(&tried) <= before - 1e-4 * t * fall || t < 1e-12 {
                theta = tried;
                break;
            }
            t /= 2.0;
        }
    }
    value(&theta)
}

#[test]
fn weak_penalties_on_few_rows_are_solved_to_the_end() {
    // States of a model have few large directions and many small ones, and there are fewer rows than columns.
    let (n, d) = (98, 256);
    for seed in 0..3 {
        let mut data = Data::drawn(seed, n, d, 7);
        for row in data.x.chunks_exact_mut(d) {
            row.iter_mut().enumerate().for_each(|(at, v)| *v *= 3.0 / (1.0 + at as f32).powf(0.7));
        }
        for strength in [1.0, 10.0, 100.0, 1e3] {
            let settings = LogisticSettings { standardise: false, ..LogisticSettings::fixed(strength) };
            let report = logistic::fit(&data.split(), None, 7, &settings).unwrap().1;
            let (found, least) = (report.chosen().unwrap(), least(&data, strength));
            assert!(found.objective / least - 1.0 < 1e-6, "seed {seed} at {strength}: {found:?}, least {least}");
        }
    }
}

#[test]
fn a_path_that_ends_early_keeps_what_a_whole_one_would() {
    // Of labels at random weak penalties are hopeless; the other trial goes on beside them, and to the end.
    let data = Data::drawn(3, 220, 40, 3);
    let (n, d) = (160, 40);
    let told: Vec<u32> = (0..220).map(|row| u32::from(data.x[row * d] > 0.0) + u32::from(data.x[row * d] > 1.0)).collect();
    let strengths = vec![1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0];
    let settings = LogisticSettings { strengths: strengths.clone(), standardise: false, ..LogisticSettings::default() };
    let matrix = |from: usize, to: usize| Matrix::new(&data.x[from * d..to * d], to - from, d).unwrap();
    let trial = |y: &'static [u32]| Trial { train: Labels::Single(&y[..n]).into(), validation: Some(Labels::Single(&y[n..]).into()) };
    let random: Vec<u32> = (0..220).map(|row| (row * row / 7 + row / 5) as u32 % 3).collect();
    let (random, told): (&'static [u32], &'static [u32]) = (random.leak(), told.leak());
    let both = [trial(random), trial(told)];
    let fits = logistic::fit_all(&matrix(0, n), Some(&matrix(n, 220)), &both, 3, &settings).unwrap();
    let reports: Vec<FitReport> = fits.into_iter().map(|fit| fit.unwrap().1).collect();
    assert!(reports[0].path.len() < 6 && reports[1].path.len() == 6, "{reports:?}");
    for (report, trial) in reports.iter().zip(both) {
        // Every strength beside the strongest is too few for a path to end.
        let alone = |strength: &f64| {
            let settings = LogisticSettings { strengths: vec![1e-3, *strength], ..settings.clone() };
            let fits = logistic::fit_all(&matrix(0, n), Some(&matrix(n, 220)), &[trial], 3, &settings).unwrap();
            fits.into_iter().next().unwrap().unwrap().1.path[1].validation.unwrap()
        };
        let losses: Vec<f64> = std::iter::once(report.path[0].validation.unwrap()).chain(strengths[1..].iter().map(alone)).collect();
        let lowest = (0..6).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap();
        assert_eq!(report.strength, Some(strengths[lowest]), "{losses:?} {report:?}");
        assert!(report.path.iter().zip(&losses).all(|(point, loss)| (point.validation.unwrap() / loss - 1.0).abs() < 1e-4));
    }
}

#[test]
fn the_standardiser_sees_training_rows_only() {
    let data = Data::drawn(5, 60, 7, 3);
    let mut other = Data { x: data.x.clone(), y: data.y.clone(), ..data };
    other.x[40 * 7..].iter_mut().for_each(|v| *v = *v * 100.0 + 5.0);
    let fit = |data: &Data| {
        let (train, held) = (data.part(0, 40), data.part(40, 60));
        logistic::fit(&train, Some(&held), 3, &LogisticSettings::fixed(1.0)).unwrap().0
    };
    assert_eq!(fit(&data), fit(&other));
}

#[test]
fn standardised_columns_have_mean_zero_and_deviation_one_or_zero() {
    let mut data = Data::drawn(6, 50, 5, 2);
    (0..50).for_each(|i| data.x[i * 5 + 2] = 1234.567);
    let x = data.split().x;
    let s = Standardizer::fit(&x).unwrap();
    assert_eq!(s.scale[2], 1.0);
    let z = s.apply(&x).unwrap();
    for j in 0..5 {
        let column = || (0..50).map(|i| f64::from(z[i * 5 + j]));
        let mean = column().sum::<f64>() / 50.0;
        let deviation = (column().map(|v| v * v).sum::<f64>() / 50.0).sqrt();
        assert!(mean.abs() < 1e-5 && (deviation - if j == 2 { 0.0 } else { 1.0 }).abs() < 1e-4, "{j}: {mean} {deviation}");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let data = Data::drawn(7, 260, 230, 5);
    let wide = Data::drawn(8, 210, 400, 3);
    let bits = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| [fitted(&data, 1.0).0, fitted(&wide, 1.0).0])
    };
    assert_eq!(bits(1), bits(3));
}

#[test]
fn a_linear_map_of_very_unequal_columns_is_learned() {
    let mut data = Data::drawn(9, 300, 20, 3);
    data.x.iter_mut().enumerate().for_each(|(e, v)| *v = if e % 20 == 4 { *v * 2e3 - 5e4 } else { *v });
    let (probe, point) = fitted(&data, 1.0);
    assert!(point.converged);
    let p = probe.predict(&data.split().x).unwrap();
    let right = p.chunks_exact(3).zip(&data.y).filter(|(r, y)| limbic_engine::probe::report::argmax(r) == **y as usize);
    assert!(right.count() > 200);
}

#[test]
fn stored_probes_come_back() {
    let data = Data::drawn(10, 40, 6, 3);
    let raw = LogisticSettings { standardise: false, ..LogisticSettings::default() };
    let probes =
        [fitted(&data, 1.0).0, logistic::fit(&data.split(), None, 3, &raw).unwrap().0, majority::fit(&data.split(), None, 3).unwrap().0];
    for probe in probes {
        assert_eq!(Fitted::from_tensors(probe.kind, Scheme::Single, &probe.to_tensors()).unwrap(), probe);
        let mut tensors = probe.to_tensors();
        let last = tensors.len() - 1;
        tensors.remove(last);
        assert!(Fitted::from_tensors(probe.kind, Scheme::Single, &tensors).is_err());
    }
    assert_eq!(serde_json::to_string(&ProbeKind::Logistic).unwrap(), "\"logistic\"");
}

#[test]
fn the_majority_is_the_prior() {
    let x = Matrix::new(&[0.0; 6], 6, 1).unwrap();
    let (probe, report) = majority::fit(&Split::new(x, &[1, 1, 0, 2, 1, 2][..]), None, 3).unwrap();
    assert!(report.validation.is_none() && report.converged());
    let p = probe.predict(&Matrix::new(&[9.0], 1, 1).unwrap()).unwrap();
    assert!(furthest(&p, &[1.0 / 6.0, 0.5, 1.0 / 3.0]) < 1e-6);
    let two = Matrix::new(&[0.0; 2], 2, 1).unwrap();
    let weighted = Split::new(two, &[0, 1][..]).weighing(Some(&[3.0, 1.0]));
    let (probe, report) = majority::fit(&weighted, Some(&weighted), 2).unwrap();
    assert!(furthest(&probe.predict(&two).unwrap(), &[0.75, 0.25, 0.75, 0.25]) < 1e-6);
    let entropy = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
    assert!((report.validation.unwrap() - entropy).abs() < 1e-6);
    let several = Split::new(two, Labels::Multi(&[1.0, 0.0, 0.0, 0.0]));
    let (probe, _) = majority::fit(&several, None, 2).unwrap();
    assert!(furthest(&probe.predict(&two).unwrap()[..2], &[0.5, 0.5 / 3.0]) < 1e-6);
    let scales = Split::new(two, Labels::Continuous(&[1.0, -2.0, 2.0, 4.0]));
    let (probe, report) = majority::fit(&scales, Some(&scales), 2).unwrap();
    assert!(furthest(&probe.predict(&two).unwrap()[..2], &[1.5, 1.0]) < 1e-6);
    assert!((report.validation.unwrap() - 1.0).abs() < 1e-6, "the mean is a deviation away, squared");
}

#[test]
fn words_tell_classes_apart() {
    let happy = ["what a happy happy day", "so glad and happy", "glad you came", "a glad, bright day"];
    let sad = ["I am so sad today", "sad and lonely", "lonely nights", "such sad news, so lonely"];
    let texts: Vec<&str> = happy.into_iter().chain(sad).collect();
    let y = [0, 0, 0, 0, 1, 1, 1, 1];
    let train = Texts { texts: &texts[..], targets: Labels::Single(&y).into() };
    let regression = Regression::Logistic(LogisticSettings::path());
    let (probe, report) = bag_of_words::fit(train, Some(train), 2, &regression).unwrap();
    assert_eq!(report.strength, Some(100.0));
    let p = probe.predict(&["a happy, glad cat", "the sad and lonely cat", "zzz"]);
    assert!(p[0] > 0.8 && p[3] > 0.8 && (p[4] - 0.5).abs() < 0.2, "{p:?}");
}

#[test]
fn weights_are_repetitions() {
    let data = Data::drawn(11, 30, 4, 3);
    let counts: Vec<usize> = (0..30).map(|i| 1 + i % 3).collect();
    let rows: Vec<usize> = (0..30).flat_map(|i| vec![i; counts[i]]).collect();
    let x: Vec<f32> = rows.iter().flat_map(|&i| data.x[i * 4..(i + 1) * 4].to_vec()).collect();
    let y: Vec<u32> = rows.iter().map(|&i| data.y[i]).collect();
    let weights: Vec<f32> = counts.iter().map(|&c| c as f32).collect();
    let settings = LogisticSettings { standardise: false, ..LogisticSettings::default() };
    let repeated = Split::new(Matrix::new(&x, rows.len(), 4).unwrap(), &y);
    let weighted = data.split().weighing(Some(&weights));
    let p = logistic::fit(&repeated, None, 3, &settings).unwrap().0.predict(&data.split().x).unwrap();
    let q = logistic::fit(&weighted, None, 3, &settings).unwrap().0.predict(&data.split().x).unwrap();
    assert!(furthest(&p, &q) < 1e-3);
}
