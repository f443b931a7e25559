//! Small studies of other schemes: several labels a row, intensities, places on scales.

use std::sync::Arc;

use limbic_proto::axis::{Layer, ReadOut};
use limbic_proto::rows::Scheme;
use limbic_proto::spec::{Control, Level};
use limbic_report::{Deferred, Fit, Prediction, Study};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Size, World, at_layer, geometry};

/// A study of one model, one condition and five offsets under a scheme.
pub fn valued(scheme: Scheme, rows: usize) -> Study {
    let size = Size { models: 1, layers: 4, conditions: 2, offsets: 5, rows, masked: false, mlp: false, whole: false };
    let mut study = super::study(size);
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    study.scheme = scheme;
    study.title = format!("A planted signal, {}", scheme.as_str());
    if scheme == Scheme::Continuous {
        study.classes = ["valence", "arousal", "dominance"].map(str::to_owned).to_vec();
    }
    let classes = study.classes.len();
    for row in &mut study.test {
        row.values = (0..classes).map(|class| truth(scheme, class == row.class as usize, &mut rng)).collect();
        let strongest = (0..classes).fold(0, |best, c| if row.values[c] > row.values[best] { c } else { best });
        row.class = if scheme == Scheme::Continuous { 0 } else { strongest as u32 };
    }
    if scheme == Scheme::Multi {
        let map = study.classes.iter().map(|c| (c.clone(), if c == "joy" { "good" } else { "other" }.to_owned())).collect();
        study.options.levels = vec![Level { name: "valence".to_owned(), map }];
    }
    study.options.resamples = 200;
    study.verdicts.clear();
    study.predictions.clear();
    let truth: Vec<f32> = study.test.iter().flat_map(|r| r.values.clone()).collect();
    let mut noisy = |strength: f64| -> Vec<f32> { truth.iter().map(|t| seen(scheme, *t, strength, &mut rng)).collect() };
    let probe = if scheme == Scheme::Multi { "logistic" } else { "ridge" };
    for condition in 0..2 {
        for layer in (0..=4).map(Layer::Block) {
            for offset in [0, 1, 2, 4, 8] {
                let strength = at_layer(layer, 4) * 0.5_f64.powf(f64::from(offset) / 3.0);
                let fit = Fit {
                    train: 100,
                    validation_score: None,
                    commonest: None,
                    validation_loss: Some(1.0 - strength),
                    strength: None,
                    converged: true,
                    absent: None,
                    mdl: None,
                };
                let prediction = Prediction {
                    layer: Some(layer),
                    condition: Some(condition),
                    read_out: Some(ReadOut::at(offset)),
                    fit: Some(fit),
                    ..Prediction::baseline(probe, Some(0), Deferred::held(noisy(strength)))
                };
                if offset == 0 {
                    let values = Deferred::held(noisy(0.0));
                    study.predictions.push(Prediction { control: Some(Control::ShuffledLabels), values, ..prediction.clone() });
                }
                study.predictions.push(prediction);
            }
        }
    }
    let mean: Vec<f32> = (0..classes).map(|c| truth.iter().skip(c).step_by(classes).sum::<f32>() / rows as f32).collect();
    study.predictions.push(Prediction::baseline("majority", None, Deferred::held(mean.repeat(rows))));
    study.predictions.push(Prediction::baseline("bag-of-words", None, Deferred::held(noisy(0.4))));
    study.predictions.iter_mut().for_each(|p| p.probe = Arc::from(&*p.probe));
    study.geometry = geometry::all(&mut World::new(rows), size);
    for entry in &mut study.geometry {
        let tensors = entry.tensors.read().expect("held");
        let width = tensors.directions.len() / 7;
        let mut tensors = (*tensors).clone();
        tensors.directions.truncate(classes * width);
        entry.tensors = Deferred::held(tensors);
    }
    study
}

/// A row's true value for one class.
fn truth(scheme: Scheme, own: bool, rng: &mut ChaCha8Rng) -> f32 {
    let draw: f32 = rng.random();
    match scheme {
        Scheme::Single | Scheme::Multi => f32::from(u8::from(own && draw < 0.9 || draw < 0.08)),
        Scheme::Intensity => {
            if own {
                1.0 + (draw * 3.0).floor()
            } else {
                f32::from(u8::from(draw < 0.1))
            }
        }
        Scheme::Continuous => 1.0 + 4.0 * draw,
    }
}

/// What a probe says of it.
fn seen(scheme: Scheme, truth: f32, strength: f64, rng: &mut ChaCha8Rng) -> f32 {
    let noise = World::normal(rng) as f32;
    let strength = strength as f32;
    match scheme {
        Scheme::Single | Scheme::Multi => {
            let logit = -2.0 + strength * (5.0 * truth - 0.5) + noise;
            1.0 / (1.0 + (-logit).exp())
        }
        Scheme::Intensity => (0.4 + strength * (truth - 0.4) + 0.4 * noise).max(0.0),
        Scheme::Continuous => 3.0 + strength * (truth - 3.0) + 0.6 * noise,
    }
}
