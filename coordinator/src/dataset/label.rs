//! Labels become classes: the label map, the classes' order, rows of several labels.

use std::collections::{BTreeSet, HashMap};

use limbic_proto::spec::{DatasetSpec, MultipleLabels};

use super::columns::Utterance;
use super::error::{DatasetError, Known};
use super::read::Source;
use super::{Draft, nearest};

/// The classes, and the rows of exactly one class. Several labels that the map makes one class count as one; rows of
/// several classes, or of an empty list, are refused or left out by `multiple_labels`.
pub(super) fn classify(
    spec: &DatasetSpec,
    file: &str,
    source: Source,
    notes: &mut Vec<String>,
) -> Result<(Vec<String>, Vec<Draft>), DatasetError> {
    let total = source.utterances.len();
    let map = Map::new(spec, &source.utterances);
    let column = &source.columns.label;
    let (mut several, mut without) = (0, 0);
    let mut kept: Vec<(usize, String, Utterance)> = Vec::with_capacity(total);
    for (number, utterance) in source.utterances.into_iter().enumerate() {
        let mut classes = BTreeSet::new();
        for label in &utterance.labels {
            let class = map.class(label).ok_or_else(|| DatasetError::UnknownLabel {
                file: file.to_owned(),
                place: utterance.place,
                column: column.clone(),
                label: label.clone(),
                known: map.known(label),
            })?;
            classes.insert(class.to_owned());
        }
        match (classes.len(), spec.multiple_labels) {
            (1, _) => kept.extend(classes.pop_first().map(|class| (number + 1, class, utterance))),
            (0, MultipleLabels::Skip) => without += 1,
            (_, MultipleLabels::Skip) => several += 1,
            (0, MultipleLabels::Error) => {
                return Err(DatasetError::NoLabel { file: file.to_owned(), place: utterance.place, column: column.clone() });
            }
            (_, MultipleLabels::Error) => {
                let (place, labels) = (utterance.place, utterance.labels);
                return Err(DatasetError::SeveralLabels { file: file.to_owned(), place, column: column.clone(), labels });
            }
        }
    }
    if kept.is_empty() {
        return Err(DatasetError::AllSkipped { file: file.to_owned(), rows: total });
    }
    let classes = match spec.labels.is_empty() {
        true => kept.iter().map(|(_, class, _)| class).collect::<BTreeSet<_>>().into_iter().cloned().collect(),
        false => spec.labels.clone(),
    };
    if let [class] = classes.as_slice() {
        return Err(DatasetError::OneClass { file: file.to_owned(), class: class.clone() });
    }
    notes.push(format!("{file}: {total} rows, {} classes in column `{column}`: {}", classes.len(), classes.join(", ")));
    if several + without > 0 {
        notes.push(format!("multiple_labels skip: {several} rows of several labels and {without} without a label were left out"));
    }
    let index: HashMap<&str, u32> = classes.iter().zip(0..).map(|(class, i)| (class.as_str(), i)).collect();
    let drafts = kept.into_iter().map(|(number, class, u)| draft(number, index[class.as_str()], u)).collect();
    Ok((classes, drafts))
}

/// The row's id is its number in the file where no column says otherwise; its group is itself.
fn draft(number: usize, class: u32, utterance: Utterance) -> Draft {
    let id = utterance.id.unwrap_or_else(|| number.to_string());
    let group = utterance.group.unwrap_or_else(|| id.clone());
    Draft { place: utterance.place, id, text: utterance.text, class, group, word: utterance.split, split: None, weight: 1 }
}

/// What a source label may be and becomes.
struct Map<'a> {
    spec: &'a DatasetSpec,
    /// The classes that labels may name directly.
    classes: BTreeSet<String>,
}

impl<'a> Map<'a> {
    /// The classes are the spec's labels, else the map's targets, else whatever labels there are.
    fn new(spec: &'a DatasetSpec, utterances: &[Utterance]) -> Map<'a> {
        let classes = if !spec.labels.is_empty() {
            spec.labels.iter().cloned().collect()
        } else if !spec.label_map.is_empty() {
            spec.label_map.values().cloned().collect()
        } else {
            utterances.iter().flat_map(|u| u.labels.iter().cloned()).collect()
        };
        Map { spec, classes }
    }

    fn class<'s>(&'s self, label: &'s str) -> Option<&'s str> {
        let mapped = self.spec.label_map.get(label).map_or(label, String::as_str);
        self.classes.contains(mapped).then_some(mapped)
    }

    /// The classes, and the class or source label that was probably meant.
    fn known(&self, label: &str) -> Box<Known> {
        let names: Vec<String> =
            if self.spec.labels.is_empty() { self.classes.iter().cloned().collect() } else { self.spec.labels.clone() };
        let all: Vec<String> = self.spec.label_map.keys().chain(&self.classes).cloned().collect();
        Box::new(Known { hint: nearest::nearest(label, &all).map(str::to_owned), names })
    }
}
