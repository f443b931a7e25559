//! What the dataset part of a spec must satisfy, before any file is read.

use super::secret::no_secret;
use super::{Finding, finding, unique};
use crate::rows::{Scheme, Split};
use crate::spec::{Balance, MultipleLabels, Sources, Spec, UnknownLabels};

impl Spec {
    pub(super) fn check_dataset(&self) -> Result<(), Finding> {
        unique("dataset.labels", "label", &self.dataset.labels)?;
        unique("dataset.values", "column", &self.dataset.values)?;
        self.check_sources()?;
        self.check_labels()?;
        let s = self.dataset.shares;
        // Asked positively, so that not-a-number is refused too.
        let fine = [s.train, s.validation, s.test].iter().all(|x| *x > 0.0) && (s.train + s.validation + s.test - 1.0).abs() <= 1e-6;
        if !fine {
            return finding("dataset.shares", format!("are {} + {} + {}: all must be above 0 and sum to 1", s.train, s.validation, s.test));
        }
        Ok(())
    }

    fn check_sources(&self) -> Result<(), Finding> {
        let files: Vec<&str> = self.dataset.source.files().into_iter().map(|(_, file)| file).collect();
        if files.is_empty() {
            return finding("dataset.source", "is empty: name at least one file");
        }
        files.iter().try_for_each(|file| no_secret("dataset.source", file))?;
        unique("dataset.source", "the file", &files)?;
        let Sources::Splits(splits) = &self.dataset.source else { return Ok(()) };
        if let Some(split) = [Split::Train, Split::Test].into_iter().find(|split| splits.get(split).is_none_or(Vec::is_empty)) {
            return finding(
                "dataset.source",
                format!("names no file of `{}`: name one, or list all files and let the rows be split", split.as_str()),
            );
        }
        match self.dataset.split {
            Some(_) => finding("dataset.split", "says what the files of dataset.source say already: leave it out"),
            None => Ok(()),
        }
    }

    /// What each scheme needs of the labels, and what it has no use for.
    fn check_labels(&self) -> Result<(), Finding> {
        let (dataset, scheme) = (&self.dataset, self.dataset.scheme);
        let of_scheme = |field: &str, what: &str| finding(field, format!("{what}, and dataset.scheme is `{}`", scheme.as_str()));
        match scheme {
            Scheme::Continuous if dataset.values.is_empty() => {
                return finding("dataset.values", "is empty: name the columns of numbers, such as [valence, arousal]");
            }
            Scheme::Single if !dataset.values.is_empty() => {
                return of_scheme("dataset.values", "is for the schemes `multi`, `intensity` and `continuous`");
            }
            Scheme::Continuous if !(dataset.labels.is_empty() && dataset.label_map.is_empty()) => {
                return of_scheme("dataset.labels", "names classes, as `label_map` does");
            }
            _ => {}
        }
        if scheme != Scheme::Single && dataset.balance != Balance::None {
            return finding("dataset.balance", "balances classes, which needs `dataset.scheme: single`");
        }
        if scheme != Scheme::Single && dataset.multiple_labels != MultipleLabels::Error {
            return of_scheme("dataset.multiple_labels", "is for the scheme `single`");
        }
        if dataset.label_separator.as_ref().is_some_and(|separator| separator.trim().is_empty() && separator != "\t" && separator != " ") {
            return finding("dataset.label_separator", "is empty: write what stands between labels, such as `,`, or leave it out");
        }
        if dataset.unknown_labels != UnknownLabels::Error && dataset.labels.is_empty() && dataset.label_map.is_empty() {
            return finding("dataset.unknown_labels", "needs `dataset.labels` or `dataset.label_map`, which say what the classes are");
        }
        let columns = !dataset.values.is_empty() || scheme == Scheme::Intensity;
        if dataset.label_separator.is_some() && columns {
            return finding(
                "dataset.label_separator",
                "separates labels in one column, and these stand in a map or in columns of `values`",
            );
        }
        let unknown = |class: &&String| !dataset.labels.is_empty() && !dataset.labels.contains(*class);
        let known = || dataset.labels.join(", ");
        if let Some((from, to)) = dataset.label_map.iter().find(|(_, to)| unknown(to)) {
            return finding("dataset.label_map", format!("maps `{from}` to `{to}`, which is not in dataset.labels ({})", known()));
        }
        let class = |column| dataset.label_map.get(column).unwrap_or(column);
        match dataset.values.iter().find(|column| unknown(&class(column))) {
            Some(column) => finding("dataset.values", format!("names `{column}`, which is not in dataset.labels ({})", known())),
            None => Ok(()),
        }
    }
}
