//! Likelihoods of answers become probabilities of classes, in three ways.

use safetensors::{Dtype, SafeTensors};

/// Likelihoods of some rows.
#[derive(Debug)]
pub struct Likelihoods {
    classes: usize,
    /// `[rows, classes]`: summed log-probabilities.
    scores: Vec<f64>,
    /// Tokens of each row's prompt; 0 = it was skipped.
    prompt_tokens: Vec<i64>,
    /// Tokens of each answer.
    label_tokens: Option<Vec<i64>>,
    /// Per class the log of the mean probability after texts without content.
    prior: Option<Vec<f64>>,
}

/// A way to read likelihoods: the baseline's name, and a row's probabilities, if it has any.
type Reading<'a> = (&'static str, Box<dyn Fn(usize) -> Option<Vec<f32>> + 'a>);

/// Reads a prompt or judge unit's scores.
pub fn likelihoods(artifact: &[u8], rows: usize, classes: usize) -> Result<Likelihoods, String> {
    let tensors = SafeTensors::deserialize(artifact).map_err(|e| e.to_string())?;
    let words = |name: &str, dtype: Dtype, count: Option<usize>| -> Result<Vec<[u8; 8]>, String> {
        let view = tensors.tensor(name).map_err(|e| format!("{name}: {e}"))?;
        let count = count.unwrap_or_else(|| view.shape().iter().product());
        if view.dtype() != dtype || view.data().len() != count * 8 {
            return Err(format!("{name} is {:?} {:?}, expected {count} {dtype:?} numbers", view.dtype(), view.shape()));
        }
        Ok(view.data().chunks_exact(8).map(|b| b.try_into().expect("chunks of 8")).collect())
    };
    let reals =
        |name: &str, count| Ok::<_, String>(words(name, Dtype::F64, count)?.into_iter().map(f64::from_le_bytes).collect::<Vec<_>>());
    let whole =
        |name: &str, count| Ok::<_, String>(words(name, Dtype::I64, count)?.into_iter().map(i64::from_le_bytes).collect::<Vec<_>>());
    let there = |name: &str| tensors.tensor(name).is_ok();
    let empty = if there("content_free") { Some(reals("content_free", None)?) } else { None };
    Ok(Likelihoods {
        classes,
        scores: reals("log_likelihood", Some(rows * classes))?,
        prompt_tokens: whole("prompt_tokens", Some(rows))?,
        label_tokens: if there("label_tokens") { Some(whole("label_tokens", Some(classes))?) } else { None },
        prior: empty.and_then(|scores| prior(&scores, classes)),
    })
}

/// The log of each class's mean probability after texts without content; none without such a text.
fn prior(scores: &[f64], classes: usize) -> Option<Vec<f64>> {
    let texts = scores.chunks_exact(classes.max(1)).filter(|t| t.iter().all(|s| s.is_finite()));
    // In logarithms: long answers are less likely than any number can say.
    let log_softmax = |t: &[f64]| t.iter().map(|s| s - log_sum_exp(t.iter().copied())).collect::<Vec<f64>>();
    let texts: Vec<Vec<f64>> = texts.map(log_softmax).collect();
    let mean = |class: usize| log_sum_exp(texts.iter().map(|t| t[class])) - (texts.len() as f64).ln();
    (!texts.is_empty()).then(|| (0..classes).map(mean).collect())
}

impl Likelihoods {
    /// A row's likelihoods; none where it was skipped, which the artifact marks by a prompt of no tokens.
    fn row(&self, row: usize) -> Option<&[f64]> {
        let scores = &self.scores[row * self.classes..][..self.classes];
        (self.prompt_tokens[row] > 0 && scores.iter().all(|s| s.is_finite())).then_some(scores)
    }

    /// A row's probabilities over the classes.
    pub fn softmax(&self, row: usize) -> Option<Vec<f32>> {
        self.row(row).map(softmax)
    }

    /// Every way in which these can be read: whole answers, their mean token, and calibrated (Zhao et al. 2021).
    pub fn readings(&self) -> Vec<Reading<'_>> {
        let mut all: Vec<Reading<'_>> = vec![("zero-shot", Box::new(|row| self.softmax(row)))];
        if let Some(tokens) = &self.label_tokens {
            let mean = move |scores: &[f64]| softmax(&scores.iter().zip(tokens).map(|(s, n)| s / (*n).max(1) as f64).collect::<Vec<_>>());
            all.push(("zero-shot-mean", Box::new(move |row| self.row(row).map(mean))));
        }
        if let Some(prior) = &self.prior {
            all.push(("zero-shot-calibrated", Box::new(move |row| Some(divided(self.row(row)?, prior)))));
        }
        all
    }

    /// What a judge says of a row: calibrated where there were texts without content.
    pub fn verdict(&self, row: usize) -> Option<Vec<f32>> {
        match &self.prior {
            Some(prior) => Some(divided(self.row(row)?, prior)),
            None => self.softmax(row),
        }
    }
}

fn log_sum_exp(logs: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + logs.map(|log| (log - largest).exp()).sum::<f64>().ln()
}

fn divided(scores: &[f64], prior: &[f64]) -> Vec<f32> {
    softmax(&scores.iter().zip(prior).map(|(s, p)| s - p).collect::<Vec<_>>())
}

fn softmax(scores: &[f64]) -> Vec<f32> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|e| (e / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    fn artifact(likelihoods: &[f64], prompt_tokens: &[i64], more: &[(&str, Vec<f64>)], label_tokens: &[i64]) -> Vec<u8> {
        let reals = |values: &[f64]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
        let whole = |values: &[i64]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
        let mut all = vec![
            ("log_likelihood", Dtype::F64, reals(likelihoods), prompt_tokens.len()),
            ("prompt_tokens", Dtype::I64, whole(prompt_tokens), 1),
            ("label_tokens", Dtype::I64, whole(label_tokens), 1),
        ];
        all.extend(more.iter().map(|(name, values)| (*name, Dtype::F64, reals(values), 1)));
        let views = all.iter().map(|(name, dtype, bytes, rows)| {
            let shape = vec![*rows, bytes.len() / 8 / rows];
            (*name, TensorView::new(*dtype, shape, bytes).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }

    #[test]
    fn a_certain_answer_is_not_a_skipped_row() {
        // The first row's first answer has the probability 1; the second row was skipped; the third is not a number.
        let bytes = artifact(&[0.0, -40.0, 0.0, 0.0, f64::NAN, -1.0], &[7, 0, 7], &[], &[1, 1]);
        let found = likelihoods(&bytes, 3, 2).unwrap();
        assert!(found.softmax(0).is_some_and(|p| p[0] > 0.999 && p[1] < 0.001));
        assert_eq!([1, 2].map(|row| found.softmax(row)), [None, None]);
        assert_eq!([0, 1].map(|row| found.verdict(row)), [0, 1].map(|row| found.softmax(row)), "nothing calibrates it");
        assert!(likelihoods(&bytes, 2, 2).unwrap_err().contains("log_likelihood is F64 [3, 2], expected 4"));
    }

    #[test]
    fn a_prior_that_no_number_can_hold_is_taken_out_all_the_same() {
        let bytes = artifact(&[-2.0, -802.0], &[5], &[("content_free", vec![-1.0, -801.0])], &[1, 90]);
        let calibrated = likelihoods(&bytes, 1, 2).unwrap().verdict(0).unwrap();
        assert!((calibrated[0] - 0.5).abs() < 1e-6, "{calibrated:?}");
    }

    #[test]
    fn length_and_prior_are_taken_out() {
        // The second answer has three tokens, each likelier than the first's one; the first is likely after anything.
        let bytes = artifact(&[-2.0, -3.0], &[5], &[("content_free", vec![0.9_f64.ln(), 0.1_f64.ln()])], &[1, 3]);
        let found = likelihoods(&bytes, 1, 2).unwrap();
        let readings: Vec<(&str, Vec<f32>)> = found.readings().iter().map(|(name, of)| (*name, of(0).unwrap())).collect();
        assert_eq!(found.verdict(0).as_ref(), Some(&readings[2].1), "a judge's is the calibrated one");
        let odds = |i: usize| f64::from(readings[i].1[0] / readings[i].1[1]).ln();
        assert_eq!(readings.iter().map(|r| r.0).collect::<Vec<_>>(), ["zero-shot", "zero-shot-mean", "zero-shot-calibrated"]);
        assert!((odds(0) - 1.0).abs() < 1e-5 && (odds(1) + 1.0).abs() < 1e-5 && (odds(2) - (1.0 - 9.0_f64.ln())).abs() < 1e-5);
    }
}
