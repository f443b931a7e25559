//! TF-IDF features of texts, value for value those of scikit-learn's `TfidfVectorizer`.

use std::collections::{BTreeMap, HashMap};

use super::csr::Csr;
use super::error::ProbeError;

/// Settings of [`TfIdf`]; the defaults are scikit-learn's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TfIdfSettings {
    /// Shortest and longest word n-gram that counts as a term.
    pub ngrams: (usize, usize),
    /// Training texts a term must occur in to enter the vocabulary.
    pub least_texts: usize,
    /// Replace a count `c` by `1 + ln c`, scikit-learn's `sublinear_tf`.
    pub sublinear: bool,
}

impl Default for TfIdfSettings {
    fn default() -> Self {
        Self { ngrams: (1, 1), least_texts: 1, sublinear: false }
    }
}

impl TfIdfSettings {
    /// What `count` occurrences are worth before the inverse document frequency.
    fn share(&self, count: usize) -> f64 {
        if self.sublinear { 1.0 + (count as f64).ln() } else { count as f64 }
    }
}

/// A vocabulary with inverse document frequencies, as scikit-learn's
/// [`TfidfVectorizer`](https://scikit-learn.org/stable/modules/generated/sklearn.feature_extraction.text.TfidfVectorizer.html)
/// learns it by default: lower case, tokens `\b\w\w+\b`, `idf = ln((1 + n) / (1 + df)) + 1`, rows scaled to unit length.
///
/// A word character is a letter, a number or `_`; unlike Python's `\w` it includes the vowel signs of Indic scripts, so
/// that their words aren't cut.
#[derive(Debug, Clone, PartialEq)]
pub struct TfIdf {
    settings: TfIdfSettings,
    terms: HashMap<String, u32>,
    idf: Vec<f32>,
}

impl TfIdf {
    /// Learns vocabulary and frequencies from the training texts.
    pub fn fit<S: AsRef<str>>(texts: &[S], settings: &TfIdfSettings) -> Result<Self, ProbeError> {
        if texts.is_empty() {
            return Err(ProbeError::EmptySplit { split: "train" });
        }
        let (low, high) = settings.ngrams;
        if low == 0 || high < low {
            let (value, need) = (format!("{low}..={high}"), "1 <= shortest <= longest is needed");
            return Err(ProbeError::Setting { name: "ngrams", value, need });
        }
        let mut spread: HashMap<String, usize> = HashMap::new();
        for text in texts {
            for term in counts(text.as_ref(), settings).into_keys() {
                *spread.entry(term).or_default() += 1;
            }
        }
        spread.retain(|_, texts| *texts >= settings.least_texts);
        if spread.is_empty() {
            let (value, need) = (settings.least_texts.to_string(), "no term occurs in so many training texts");
            return Err(ProbeError::Setting { name: "least-texts", value, need });
        }
        let mut sorted: Vec<(String, usize)> = spread.into_iter().collect();
        sorted.sort();
        let n = texts.len() as f64;
        let idf = sorted.iter().map(|(_, df)| (((1.0 + n) / (1.0 + *df as f64)).ln() + 1.0) as f32).collect();
        let terms = sorted.into_iter().enumerate().map(|(i, (term, _))| (term, i as u32)).collect();
        Ok(Self { settings: *settings, terms, idf })
    }

    /// Rebuilds from [`TfIdf::terms`] and [`TfIdf::idf`] in the same order.
    pub fn from_parts(settings: TfIdfSettings, terms: Vec<String>, idf: Vec<f32>) -> Result<Self, ProbeError> {
        if terms.len() != idf.len() {
            return Err(ProbeError::Shape { what: "terms", expected: idf.len(), found: terms.len() });
        }
        let terms = terms.into_iter().enumerate().map(|(i, term)| (term, i as u32)).collect();
        Ok(Self { settings, terms, idf })
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

    /// How terms are cut.
    pub fn settings(&self) -> TfIdfSettings {
        self.settings
    }

    /// Features `[texts, terms]`; unknown terms are passed over.
    pub fn transform<S: AsRef<str>>(&self, texts: &[S]) -> Csr {
        let mut out = Csr::new(self.idf.len());
        for text in texts {
            let known =
                counts(text.as_ref(), &self.settings).into_iter().filter_map(|(term, count)| Some((*self.terms.get(&term)?, count)));
            let row: BTreeMap<u32, f64> =
                known.map(|(i, count)| (i, self.settings.share(count) * f64::from(self.idf[i as usize]))).collect();
            let length = row.values().map(|v| v * v).sum::<f64>().sqrt();
            out.push(row.into_iter().map(|(i, v)| (i, (v / length) as f32)));
        }
        out
    }
}

/// How often each term occurs in `text`.
fn counts(text: &str, settings: &TfIdfSettings) -> HashMap<String, usize> {
    let lower = text.to_lowercase();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let words: Vec<&str> = lower.split(|c| !word(c)).filter(|w| w.chars().nth(1).is_some()).collect();
    let mut counts = HashMap::new();
    for length in settings.ngrams.0..=settings.ngrams.1 {
        for gram in words.windows(length) {
            *counts.entry(gram.join(" ")).or_default() += 1;
        }
    }
    counts
}
