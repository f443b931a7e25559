//! Moments in the place of rows: however rows are parted, their moments are the same, and so is every probe with a closed form.

use limbic_engine::probe::{
    FitReport, Fitted, Labels, LdaSettings, Matrix, Moments, ProbeError, RidgeSettings, Split, Standard, Standardizer, Targets, lda,
    mean_difference, ridge,
};
use limbic_proto::rows::Scheme;
use proptest::prelude::*;

use super::{Data, furthest};

/// Rows with weights, under every scheme's labels.
struct Rows {
    data: Data,
    several: Vec<f32>,
    values: Vec<f32>,
    weights: Vec<f32>,
}

const SCHEMES: [Scheme; 4] = [Scheme::Single, Scheme::Multi, Scheme::Intensity, Scheme::Continuous];

impl Rows {
    fn drawn(seed: u64, n: usize, d: usize, classes: usize) -> Rows {
        let data = Data::drawn(seed, n, d, classes);
        let on = |i: usize| (i % classes) as u32 == data.y[i / classes] || (i * 7 + seed as usize % 5).is_multiple_of(11);
        let several = (0..n * classes).map(|i| f32::from(u8::from(on(i)))).collect();
        let values = (0..n * classes).map(|i| ((i * 13 + i / classes * 5) % 7) as f32).collect();
        let weights = (0..n).map(|i| 1.0 + (i % 3) as f32).collect();
        Rows { data, several, values, weights }
    }

    /// The rows `from..to` under a scheme.
    fn part(&self, scheme: Scheme, from: usize, to: usize) -> Split<'_> {
        let (d, k) = (self.data.d, self.data.classes);
        let values = if scheme == Scheme::Multi { &self.several } else { &self.values };
        let labels = Labels::of(scheme, &self.data.y[from..to], &values[from * k..to * k]);
        let x = Matrix::new(&self.data.x[from * d..to * d], to - from, d).unwrap();
        Split { x, targets: Targets { labels, weights: Some(&self.weights[from..to]) } }
    }
}

/// Differences as shares of the largest number of a tensor.
fn apart(a: Moments, b: Moments) -> f64 {
    let tensors = a.into_tensors().into_iter().zip(b.into_tensors());
    let far = tensors.map(|((_, shape, a), (_, other, b))| {
        assert_eq!(shape, other);
        let largest = a.iter().fold(1e-300f64, |m, v| m.max(v.abs()));
        a.iter().zip(&b).fold(0f64, |m, (a, b)| m.max((a - b).abs())) / largest
    });
    far.fold(0.0, f64::max)
}

/// The fit of one probe to moments or rows, with validation rows as they are.
type Fits = Vec<(&'static str, Result<(Fitted, FitReport), ProbeError>)>;

fn of_rows(train: &Split<'_>, held: &Split<'_>, k: usize) -> Fits {
    vec![
        ("ridge", ridge::fit(train, Some(held), k, &alphas())),
        ("lda", lda::fit(train, Some(held), k, &LdaSettings { shrinkage: Some(0.1) })),
        ("mean-difference", mean_difference::fit(train, Some(held), k)),
    ]
}

fn of_moments(moments: Moments, scheme: Scheme, held: &Split<'_>) -> Fits {
    let (standardizer, train): (_, Standard) = moments.standard(scheme).unwrap();
    let x = standardizer.apply(&held.x).unwrap();
    let held = Split { x: Matrix::new(&x, held.x.rows(), held.x.columns()).unwrap(), ..*held };
    let fits = [
        ("ridge", ridge::fit_moments(&train, Some(&held), &alphas())),
        ("lda", lda::fit_moments(&train, Some(&held), &LdaSettings { shrinkage: Some(0.1) })),
        ("mean-difference", mean_difference::fit_moments(&train, Some(&held))),
    ];
    let whole = |(name, fit): (_, Result<(Fitted, FitReport), ProbeError>)| {
        (name, fit.map(|(fitted, report)| (Fitted { standardizer: Some(standardizer.clone()), ..fitted }, report)))
    };
    fits.into_iter().map(whole).collect()
}

fn alphas() -> RidgeSettings {
    RidgeSettings { alphas: vec![1.0, 10.0, 100.0] }
}

/// How far two fits may be apart, as a share of their largest number: one standardises rows in f32, the other moments in f64, and
/// strengths, temperatures and near-singular systems make more of the difference than f32 resolves. Of 20,000 draws none was beyond
/// half of it.
const NEAR: f32 = 3e-5;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn moments_of_parts_are_those_of_all_rows(seed in any::<u64>(), n in 5usize..90, d in 1usize..40, cuts in prop::collection::vec(0.0..1.0f64, 0..6), far in 0u32..6) {
        let mut rows = Rows::drawn(seed, n, d, 3.min(n));
        // Means up to a hundred thousand times the spread.
        rows.data.x.iter_mut().for_each(|v| *v += if far == 0 { 0.0 } else { 10f32.powi(far as i32 - 1) });
        let mut at: Vec<usize> = cuts.iter().map(|cut| (cut * n as f64) as usize).chain([0, n]).collect();
        at.sort_unstable();
        at.dedup();
        for scheme in SCHEMES {
            let whole = Moments::of(&rows.part(scheme, 0, n), rows.data.classes).unwrap();
            let mut sum = Moments::none(d, rows.data.classes);
            for pair in at.windows(2) {
                sum.add(&Moments::of(&rows.part(scheme, pair[0], pair[1]), rows.data.classes).unwrap());
            }
            prop_assert_eq!(sum.rows(), n);
            let off = apart(whole, sum);
            prop_assert!(off < 1e-12, "{:?}: {:e}", scheme, off);
        }
    }

    #[test]
    fn fits_to_moments_are_fits_to_rows(seed in any::<u64>(), n in 60usize..200, d in 1usize..20, k in 2usize..5, cut in 0.1..0.9f64) {
        let rows = Rows::drawn(seed, n + 40, d, k);
        for scheme in SCHEMES {
            let (train, held) = (rows.part(scheme, 0, n), rows.part(scheme, n, n + 40));
            let middle = (cut * n as f64) as usize;
            let mut moments = Moments::of(&rows.part(scheme, 0, middle), k).unwrap();
            moments.add(&Moments::of(&rows.part(scheme, middle, n), k).unwrap());
            for ((name, expected), (_, found)) in of_rows(&train, &held, k).into_iter().zip(of_moments(moments, scheme, &held)) {
                let (expected, found) = match (expected, found) {
                    (Ok(expected), Ok(found)) => (expected, found),
                    (expected, found) => {
                        prop_assert_eq!(expected.unwrap_err(), found.unwrap_err(), "{} of {:?}", name, scheme);
                        continue;
                    }
                };
                // Sums of two parts may round to the neighbour of the sum of all.
                let standard = |of: &Option<Standardizer>| of.clone().map_or((vec![], vec![]), |s| (s.mean, s.scale));
                let ((mean, scale), (ours, our_scale)) = (standard(&expected.0.standardizer), standard(&found.0.standardizer));
                prop_assert_eq!((mean.len(), scale.len()), (ours.len(), our_scale.len()));
                let neighbours = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 2.0 * f32::EPSILON * a.abs());
                prop_assert!(neighbours(&mean, &ours) && neighbours(&scale, &our_scale), "{} of {:?}", name, scheme);
                prop_assert_eq!(expected.1.strength, found.1.strength);
                let (a, b) = (&expected.0.layers[0], &found.0.layers[0]);
                let largest = a.weight.iter().chain(&a.bias).fold(1f32, |m, v| m.max(v.abs()));
                prop_assert!(furthest(&a.weight, &b.weight) < NEAR * largest, "{} of {:?}: {:e}", name, scheme, furthest(&a.weight, &b.weight));
                prop_assert!(furthest(&a.bias, &b.bias) < NEAR * largest, "{} of {:?}: {:e}", name, scheme, furthest(&a.bias, &b.bias));
                let (p, q) = (expected.0.predict(&held.x).unwrap(), found.0.predict(&held.x).unwrap());
                let highest = p.iter().fold(1f32, |m, v| m.max(v.abs()));
                prop_assert!(furthest(&p, &q) < NEAR * highest, "{} of {:?}: {:e}", name, scheme, furthest(&p, &q));
            }
        }
    }

    #[test]
    fn moments_are_read_as_they_were_written(seed in any::<u64>(), n in 4usize..30, d in 1usize..20) {
        let rows = Rows::drawn(seed, n, d, 3);
        let moments = Moments::of(&rows.part(Scheme::Single, 0, n), 3).unwrap();
        let tensors = moments.clone().into_tensors().map(|(_, _, numbers)| numbers);
        prop_assert_eq!(Moments::bytes(d, 3), tensors.iter().map(|numbers| 8 * numbers.len() as u64).sum::<u64>());
        prop_assert_eq!(Moments::from_tensors(tensors.clone(), 3).unwrap(), moments);
        let mut damaged = tensors.clone();
        damaged[2].pop();
        let short = matches!(Moments::from_tensors(damaged, 3).unwrap_err(), ProbeError::Shape { .. });
        let mut damaged = tensors;
        damaged[1][d - 1] = f64::NAN;
        let rotten = matches!(Moments::from_tensors(damaged, 3).unwrap_err(), ProbeError::NonFinite { .. });
        prop_assert!(short && rotten);
    }
}

#[test]
fn what_moments_dont_tell_is_refused() {
    let rows = Rows::drawn(7, 60, 5, 3);
    let standard = |scheme| Moments::of(&rows.part(scheme, 0, 60), 3).unwrap().standard(scheme).unwrap().1;
    let single = standard(Scheme::Single);
    let estimated = lda::fit_moments(&single, None, &LdaSettings { shrinkage: None }).unwrap_err();
    assert!(estimated.to_string().contains("can't be estimated from moments"), "{estimated}");
    let validation = ProbeError::EmptySplit { split: "validation" };
    let one = RidgeSettings { alphas: vec![1.0] };
    assert_eq!(ridge::fit_moments(&single, None, &one).unwrap_err(), validation);
    assert_eq!(mean_difference::fit_moments(&single, None).unwrap_err(), validation);
    // Values have no temperature, and a discriminant analysis has none to choose.
    assert!(ridge::fit_moments(&standard(Scheme::Continuous), None, &one).is_ok());
    assert!(lda::fit_moments(&single, None, &LdaSettings { shrinkage: Some(0.5) }).is_ok());
    assert_eq!(Moments::none(5, 3).standard(Scheme::Single).unwrap_err(), ProbeError::EmptySplit { split: "train" });
    let two = Moments::of(&Split { targets: Labels::Single(&[0; 60]).into(), ..rows.part(Scheme::Single, 0, 60) }, 3).unwrap();
    let error = lda::fit_moments(&two.standard(Scheme::Single).unwrap().1, None, &LdaSettings { shrinkage: Some(0.5) }).unwrap_err();
    assert_eq!(error, ProbeError::AbsentClass { class: 1, classes: 3 });
}

#[test]
fn constant_and_wide_features_are_fitted_alike() {
    let mut rows = Rows::drawn(3, 60, 50, 3);
    // More features than train has rows; the first one tells nothing.
    rows.data.x.chunks_exact_mut(50).for_each(|row| row[0] = 0.1);
    let (train, held) = (rows.part(Scheme::Single, 0, 40), rows.part(Scheme::Single, 40, 60));
    let moments = Moments::of(&train, 3).unwrap();
    for ((name, expected), (_, found)) in of_rows(&train, &held, 3).into_iter().zip(of_moments(moments, Scheme::Single, &held)) {
        let (expected, found) = (expected.unwrap().0, found.unwrap().0);
        assert_eq!(expected.standardizer, found.standardizer, "{name}");
        assert!(found.layers[0].weight.chunks_exact(50).all(|w| w[0] == 0.0), "{name}");
        assert!(furthest(&expected.layers[0].weight, &found.layers[0].weight) < 1e-6, "{name}");
        assert!(furthest(&expected.predict(&held.x).unwrap(), &found.predict(&held.x).unwrap()) < 1e-6, "{name}");
    }
}
