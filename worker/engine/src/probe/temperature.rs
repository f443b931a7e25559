//! The temperature at which scores that are no log-odds make the best probabilities. It changes no predicted class.

use super::head::{Head, sigmoid};
use super::labels::{Labels, Targets};

/// Rows of doubt among those that a temperature is chosen by, which spread evenly over the classes: scores that are right on
/// every row would make it 0, and every later mistake cost without bound (Platt 1999 smooths his targets for that).
const DOUBT: f64 = 0.5;

/// How far the inverse temperature may be from that of scores with a spread of 1.
const FURTHEST: f64 = 1e3;

/// The head of scores `[n, outputs]` with the temperature of the least log-loss on them (Guo et al. 2017, "On calibration of
/// modern neural networks"), with half a row of doubt among them. Scores that are worse than chance are given the highest one
/// that is allowed.
pub(crate) fn calibrated(scores: &[f32], targets: &Targets<'_>, outputs: usize) -> Head {
    let weights: f64 = (0..scores.len() / outputs.max(1)).map(|i| targets.weight(i)).sum();
    let doubt = DOUBT / (weights + DOUBT);
    let slopes = |inverse: f64| -> (f64, f64) {
        let (mut slope, mut bend) = (0f64, 0f64);
        for (i, row) in scores.chunks_exact(outputs).enumerate() {
            let (first, second) = row_slopes(row, &targets.labels, i, inverse, doubt);
            slope += targets.weight(i) * first;
            bend += targets.weight(i) * second;
        }
        (slope, bend)
    };
    let spread = spread(scores, &targets.labels, outputs);
    let temperature = if spread > 0.0 { 1.0 / minimum(slopes, 1.0 / spread) } else { 1.0 };
    match targets.labels {
        Labels::Multi(_) => Head::Sigmoid { temperature: temperature as f32 },
        _ => Head::Softmax { temperature: temperature as f32 },
    }
}

/// The root of the mean square of the scores, or of their distance from the row's mean where only that counts.
fn spread(scores: &[f32], labels: &Labels<'_>, outputs: usize) -> f64 {
    let square = |row: &[f32]| {
        let mean = row.iter().map(|&s| f64::from(s)).sum::<f64>() / outputs as f64;
        let centre = if matches!(labels, Labels::Multi(_)) { 0.0 } else { mean };
        row.iter().map(|&s| (f64::from(s) - centre).powi(2)).sum::<f64>()
    };
    (scores.chunks_exact(outputs).map(square).sum::<f64>() / scores.len().max(1) as f64).sqrt()
}

/// First and second derivative of a row's log-loss by the inverse temperature; a share of its label is spread evenly.
fn row_slopes(scores: &[f32], labels: &Labels<'_>, row: usize, inverse: f64, doubt: f64) -> (f64, f64) {
    match labels {
        Labels::Multi(values) => {
            let each = scores.iter().zip(&values[row * scores.len()..]).map(|(&s, &v)| {
                let (s, p) = (f64::from(s), sigmoid(inverse * f64::from(s)));
                ((p - (1.0 - doubt) * f64::from(v) - doubt / 2.0) * s, p * (1.0 - p) * s * s)
            });
            each.fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y))
        }
        Labels::Single(classes) => {
            let top = scores.iter().fold(f32::NEG_INFINITY, |t, &s| t.max(s));
            let (mut sum, mut mean, mut square) = (0f64, 0f64, 0f64);
            for &s in scores {
                let (s, p) = (f64::from(s), (inverse * f64::from(s - top)).exp());
                sum += p;
                mean += p * s;
                square += p * s * s;
            }
            let mean = mean / sum;
            let even = scores.iter().map(|&s| f64::from(s)).sum::<f64>() / scores.len() as f64;
            (mean - (1.0 - doubt) * f64::from(scores[classes[row] as usize]) - doubt * even, square / sum - mean * mean)
        }
        Labels::Intensity(_) | Labels::Continuous(_) => unreachable!("values have no temperature"),
    }
}

/// Where a convex function of a positive number is least, from its slopes, within [`FURTHEST`] of `start`.
fn minimum(slopes: impl Fn(f64) -> (f64, f64), start: f64) -> f64 {
    let (mut low, mut high) = (start / FURTHEST, start * FURTHEST);
    if slopes(low).0 >= 0.0 {
        return low;
    }
    if slopes(high).0 <= 0.0 {
        return high;
    }
    let mut at = start;
    for _ in 0..100 {
        let (slope, bend) = slopes(at);
        if slope < 0.0 {
            low = at;
        } else {
            high = at;
        }
        let newton = at - slope / bend;
        // Halving in the logarithm, for the range spans decades.
        let next = if newton > low && newton < high { newton } else { (low * high).sqrt() };
        if (next - at).abs() <= 1e-9 * at {
            return next;
        }
        at = next;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_that_are_right_on_a_few_rows_are_not_certain() {
        let labels = [0, 1, 2, 0];
        let right: Vec<f32> = labels.iter().flat_map(|&l| (0..3).map(move |c| f32::from(u8::from(c == l)))).collect();
        let values: Vec<f32> = right.clone();
        for labels in [Labels::Single(&labels), Labels::Multi(&values)] {
            let head = calibrated(&right, &labels.into(), 3);
            let mut p = right.clone();
            head.predict(&mut p, 4, 3);
            let (most, least) = p.iter().fold((0f32, 1f32), |(m, l), p| (m.max(*p), l.min(*p)));
            assert!(most > 0.7 && most < 0.97 && least > 0.01, "{p:?}");
        }
    }

    #[test]
    fn the_temperature_is_where_the_loss_is_least_and_never_changes_a_class() {
        let scores: Vec<f32> = (0..300).map(|i| ((i * 37 % 101) as f32 / 25.0 - 2.0) * 3.0).collect();
        let best = |i: usize| crate::probe::report::argmax(&scores[3 * i..3 * i + 3]) as u32;
        let labels: Vec<u32> = (0..100).map(|i| if i % 3 == 0 { (i * 13 % 7 % 3) as u32 } else { best(i) }).collect();
        let values: Vec<f32> = (0..300).map(|i| f32::from(u8::from(scores[i] > 0.0 && i % 4 != 0 || i % 9 == 0))).collect();
        for labels in [Labels::Single(&labels), Labels::Multi(&values)] {
            let targets = Targets::from(labels);
            let head = calibrated(&scores, &targets, 3);
            let (temperature, with): (f32, fn(f32) -> Head) = match head {
                Head::Softmax { temperature } => (temperature, |temperature| Head::Softmax { temperature }),
                Head::Sigmoid { temperature } => (temperature, |temperature| Head::Sigmoid { temperature }),
                other => panic!("{other:?}"),
            };
            let loss = |t: f32| with(t).loss(&scores, &targets, 3, &[]);
            assert!(temperature > 0.0);
            assert!(loss(temperature) <= loss(temperature * 1.05) + 1e-9 && loss(temperature) <= loss(temperature / 1.05) + 1e-9);
        }
        // Scores that point away from the label are worth nothing, and keep their order all the same.
        let away: Vec<f32> = labels.iter().flat_map(|&l| (0..3).map(move |c| if c == l { -5.0 } else { c as f32 })).collect();
        let head = calibrated(&away, &Labels::Single(&labels).into(), 3);
        let mut p = away.clone();
        head.predict(&mut p, 100, 3);
        for (p, s) in p.chunks_exact(3).zip(away.chunks_exact(3)) {
            assert_eq!(crate::probe::report::argmax(p), crate::probe::report::argmax(s));
            assert!(p.iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-2));
        }
    }
}
