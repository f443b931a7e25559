//! TF-IDF features of texts, value for value those of scikit-learn's `TfidfVectorizer`.

use std::collections::{BTreeMap, HashMap};

use super::csr::Csr;
use super::error::ProbeError;

/// A vocabulary with inverse document frequencies, as scikit-learn's
/// [`TfidfVectorizer`](https://scikit-learn.org/stable/modules/generated/sklearn.feature_extraction.text.TfidfVectorizer.html)
/// learns it by default: lower case, tokens `\b\w\w+\b`, `idf = ln((1 + n) / (1 + df)) + 1`, rows scaled to unit length.
///
/// A word character is a letter, a number or `_`; unlike Python's `\w` it includes the vowel signs of Indic scripts, so
/// that their words aren't cut.
#[derive(Debug, Clone, PartialEq)]
pub struct TfIdf {
    terms: HashMap<String, u32>,
    idf: Vec<f32>,
}

impl TfIdf {
    /// Learns vocabulary and frequencies from the training texts.
    pub fn fit<S: AsRef<str>>(texts: &[S]) -> Result<Self, ProbeError> {
        if texts.is_empty() {
            return Err(ProbeError::EmptySplit { split: "train" });
        }
        let mut spread: BTreeMap<String, usize> = BTreeMap::new();
        for text in texts {
            for term in counts(text.as_ref()).into_keys() {
                *spread.entry(term).or_default() += 1;
            }
        }
        if spread.is_empty() {
            return Err(ProbeError::NoWords);
        }
        let n = texts.len() as f64;
        let idf = spread.values().map(|df| (((1.0 + n) / (1.0 + *df as f64)).ln() + 1.0) as f32).collect();
        let terms = spread.into_keys().zip(0..).collect();
        Ok(Self { terms, idf })
    }

    /// The terms in the order of their columns, which is that of their code points.
    pub fn terms(&self) -> Vec<&str> {
        let mut terms: Vec<(u32, &str)> = self.terms.iter().map(|(term, &i)| (i, term.as_str())).collect();
        terms.sort_unstable();
        terms.into_iter().map(|(_, term)| term).collect()
    }

    /// Inverse document frequency of each term, `[terms]`.
    pub fn idf(&self) -> &[f32] {
        &self.idf
    }

    /// Features `[texts, terms]`; unknown terms are passed over.
    pub fn transform<S: AsRef<str>>(&self, texts: &[S]) -> Csr {
        let mut out = Csr::new(self.idf.len());
        for text in texts {
            let known = counts(text.as_ref()).into_iter().filter_map(|(term, count)| Some((*self.terms.get(&term)?, count)));
            let row: BTreeMap<u32, f64> = known.map(|(i, count)| (i, count as f64 * f64::from(self.idf[i as usize]))).collect();
            let length = row.values().map(|v| v * v).sum::<f64>().sqrt();
            out.push(row.into_iter().map(|(i, v)| (i, (v / length) as f32)));
        }
        out
    }
}

/// How often each term occurs in `text`.
fn counts(text: &str) -> HashMap<String, usize> {
    let lower = text.to_lowercase();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut counts = HashMap::new();
    for term in lower.split(|c| !word(c)).filter(|w| w.chars().nth(1).is_some()) {
        *counts.entry(term.to_owned()).or_default() += 1;
    }
    counts
}
