//! Which texts stay: by length, by language, and of copies the first.
//!
//! Languages are told by whatlang (trigrams, no model files). It says itself when it can't be sure, which is the rule for texts of
//! a few words; those stay.

use std::collections::HashSet;

use limbic_proto::spec::{Duplicates, Filters};
use whatlang::Lang;

use super::{Entry, Reason};
use crate::dataset::clusters;

/// The filters of a spec, made ready.
#[derive(Debug, Clone)]
pub struct Filter {
    spec: Filters,
    languages: Vec<Lang>,
}

impl Filter {
    /// Makes filters ready.
    ///
    /// # Errors
    /// A language that can't be told.
    pub fn new(spec: &Filters) -> Result<Filter, String> {
        let language = |code: &String| {
            Lang::from_code(code).ok_or_else(|| {
                let known: Vec<&str> = Lang::all().iter().map(|lang| lang.code()).collect();
                format!("filters.languages: `{code}` is no language that can be told; write ISO 639-3 codes: {}", known.join(", "))
            })
        };
        let languages = spec.languages.iter().map(language).collect::<Result<_, _>>()?;
        Ok(Filter { spec: spec.clone(), languages })
    }

    /// Why a text by itself is left out, if it is.
    pub fn refuses(&self, text: &str) -> Option<Reason> {
        match text.split_whitespace().count() {
            0 => return Some(Reason::Empty),
            words if words < self.spec.words.min => return Some(Reason::Short),
            words if words > self.spec.words.max => return Some(Reason::Long),
            _ => {}
        }
        let other = |text| whatlang::detect(text).is_some_and(|found| found.is_reliable() && !self.languages.contains(&found.lang()));
        (!self.languages.is_empty() && other(text)).then_some(Reason::Language)
    }

    /// Leaves out standing texts, from the entry `from` on, that are copies of earlier ones.
    pub fn copies(&self, entries: &mut [Entry], from: usize) {
        let standing: Vec<usize> = (0..entries.len()).filter(|&i| entries[i].stands()).collect();
        let roots = match self.spec.duplicates {
            Duplicates::Near => clusters(&standing.iter().map(|&i| entries[i].text.as_str()).collect::<Vec<_>>()),
            Duplicates::Exact | Duplicates::Keep => (0..standing.len()).collect(),
        };
        if self.spec.duplicates == Duplicates::Keep {
            return;
        }
        let mut seen: HashSet<String> = HashSet::new();
        for (at, root) in roots.into_iter().enumerate() {
            let entry = &mut entries[standing[at]];
            let new = seen.insert(entry.text.split_whitespace().collect::<Vec<_>>().join(" "));
            if standing[at] >= from && !(new && root == at) {
                entry.refused = Some(if new { Reason::NearCopy } else { Reason::Copy });
            }
        }
    }
}
