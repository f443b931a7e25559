//! Which texts stay: by length, by language, and of copies the first.
//!
//! Languages are told by whatlang: by the script, then by trigrams; there are no model files. It says itself when it can't be
//! sure, which is the rule for texts of a few words; those stay, unless they are in a script that none of the languages is
//! written in.

use std::collections::HashSet;

use limbic_proto::spec::{Duplicates, Filters};
use whatlang::Lang;

use super::{Entry, Reason};
use crate::dataset::{clusters, words};

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
                let mut known: Vec<&str> = Lang::all().iter().map(|lang| lang.code()).collect();
                known.sort_unstable();
                format!("filters.languages: `{code}` is no language that can be told; write ISO 639-3 codes: {}", known.join(", "))
            })
        };
        let languages = spec.languages.iter().map(language).collect::<Result<_, _>>()?;
        Ok(Filter { spec: spec.clone(), languages })
    }

    /// Leaves out texts from the entry `from` on: those that are refused by themselves, and copies of what stands before them.
    pub fn apply(&self, entries: &mut [Entry], from: usize) {
        entries[from..].iter_mut().for_each(|entry| entry.refused = self.refuses(&entry.text));
        self.copies(entries, from);
    }

    /// Why a text by itself is left out, if it is.
    fn refuses(&self, text: &str) -> Option<Reason> {
        match words(text) {
            0 => return Some(Reason::Empty),
            words if words < self.spec.words.min => return Some(Reason::Short),
            words if words > self.spec.words.max => return Some(Reason::Long),
            _ => {}
        }
        (!self.languages.is_empty() && self.is_foreign(text)).then_some(Reason::Language)
    }

    /// Whether a text is surely in none of the languages.
    fn is_foreign(&self, text: &str) -> bool {
        whatlang::detect(text).is_some_and(|found| {
            let written = found.script().langs().iter().any(|lang| self.languages.contains(lang));
            !written || (found.is_reliable() && !self.languages.contains(&found.lang()))
        })
    }

    /// Leaves out copies of standing texts. Those before `from` were looked through before, and stay even if what came since
    /// makes them alike by a chain.
    fn copies(&self, entries: &mut [Entry], from: usize) {
        let standing: Vec<usize> = (0..entries.len()).filter(|&i| entries[i].stands()).collect();
        let roots = match self.spec.duplicates {
            Duplicates::Keep => return,
            Duplicates::Exact => (0..standing.len()).collect(),
            Duplicates::Near => clusters(&standing.iter().map(|&i| entries[i].text.as_str()).collect::<Vec<_>>()),
        };
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

#[cfg(test)]
mod tests;
