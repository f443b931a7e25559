//! Labels become classes and numbers: the label map, the classes' order, and what each scheme makes of a row.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use limbic_proto::rows::Scheme;
use limbic_proto::spec::{DatasetSpec, MultipleLabels, UnknownLabels, meant, slip};

use super::Draft;
use super::columns::{Utterance, separated};
use super::error::{DatasetError, Known};
use super::near::{composed, is_unseen};
use super::read::Files;

/// Classes beyond which a column is looked at twice.
const MANY: usize = 100;

/// Parts of a scale that its rows are stratified by.
const BINS: usize = 5;

/// The classes (or scales), and the rows with their labels; what kind they are of is the spec's scheme.
pub(super) fn label(
    spec: &DatasetSpec,
    files: &Files,
    mut utterances: Vec<Utterance>,
    notes: &mut Vec<String>,
) -> Result<(Vec<String>, Vec<Draft>), DatasetError> {
    one_hot(spec, files, &utterances)?;
    notes.extend(unmet(spec, &utterances));
    notes.extend(leave_unknown(spec, &mut utterances));
    if utterances.is_empty() {
        return Err(DatasetError::AllUnknown { file: files.all() });
    }
    match spec.scheme {
        Scheme::Single => single(spec, files, utterances, notes),
        Scheme::Multi | Scheme::Intensity => several(spec, files, utterances, notes),
        Scheme::Continuous => Ok(scales(spec, files, utterances, notes)),
    }
}

/// Refuses lists of zeros and ones, unless the spec speaks of such labels: they are vectors with a place for each class, not lists of
/// labels.
fn one_hot(spec: &DatasetSpec, files: &Files, utterances: &[Utterance]) -> Result<(), DatasetError> {
    let digit = |label: &str| label == "0" || label == "1";
    let meant = spec.labels.iter().chain(spec.label_map.keys()).any(|label| digit(label));
    let labelled = || utterances.iter().filter(|u| !u.labels.is_empty());
    let Some(first) = labelled().next().filter(|_| !meant) else { return Ok(()) };
    let length = first.labels.len();
    let flags = |u: &Utterance| u.labels.len() == length && u.labels.iter().all(|(label, _)| digit(label));
    let twice = |u: &Utterance| length > 2 || length == 2 && u.labels[0] == u.labels[1];
    if labelled().all(flags) && labelled().any(twice) {
        let column = files.columns(first.file).label().unwrap_or_default().to_owned();
        return Err(DatasetError::OneHot { file: files.name(first.file), place: first.place, column, length });
    }
    Ok(())
}

/// Does with labels that are no class as the spec says, and tells how many there were.
fn leave_unknown(spec: &DatasetSpec, utterances: &mut Vec<Utterance>) -> Option<String> {
    const SHOWN: usize = 10;
    if spec.unknown_labels == UnknownLabels::Error {
        return None;
    }
    let map = Map::new(spec, utterances);
    let (mut rows, mut found) = (0, BTreeMap::<String, usize>::new());
    utterances.retain_mut(|utterance| {
        let (known, unknown): (Vec<_>, Vec<_>) = utterance.labels.drain(..).partition(|(label, _)| map.class(label).is_some());
        rows += usize::from(!unknown.is_empty());
        let without = unknown.is_empty();
        unknown.into_iter().for_each(|(label, _)| *found.entry(label).or_default() += 1);
        utterance.labels = known;
        without || spec.unknown_labels == UnknownLabels::Ignore
    });
    let mut all: Vec<(String, usize)> = found.into_iter().collect();
    all.sort_by_key(|(_, count)| Reverse(*count));
    let shown: Vec<String> = all.iter().take(SHOWN).map(|(label, count)| format!("`{label}` ({count})")).collect();
    let more = if all.len() > SHOWN { format!(" and {} more", all.len() - SHOWN) } else { String::new() };
    let rows = crate::progress::counted(rows, "row");
    let done = match spec.unknown_labels {
        UnknownLabels::Ignore => format!("unknown_labels ignore: labels of {rows} that are no class were left out"),
        _ => format!("unknown_labels skip: {rows} with labels that are no class were left out"),
    };
    Some(if all.is_empty() { "unknown_labels: every label is a class".to_owned() } else { format!("{done}: {}{more}", shown.join(", ")) })
}

/// Rows of exactly one class. Several labels that the map makes one class count as one; rows of several classes, or of an
/// empty list, are refused or left out by `multiple_labels`.
fn single(
    spec: &DatasetSpec,
    files: &Files,
    utterances: Vec<Utterance>,
    notes: &mut Vec<String>,
) -> Result<(Vec<String>, Vec<Draft>), DatasetError> {
    let total = utterances.len();
    let map = Map::new(spec, &utterances);
    let (mut many, mut without) = (0, 0);
    let mut kept: Vec<(String, Utterance)> = Vec::with_capacity(total);
    for utterance in utterances {
        let mut classes: BTreeSet<String> = map.classes(files, &utterance)?.into_keys().collect();
        let spot = || (files.name(utterance.file), files.columns(utterance.file).label().unwrap_or_default().to_owned());
        match (classes.len(), spec.multiple_labels) {
            (1, _) => kept.extend(classes.pop_first().map(|class| (class, utterance))),
            (0, MultipleLabels::Skip) => without += 1,
            (_, MultipleLabels::Skip) => many += 1,
            (0, MultipleLabels::Error) => {
                let (file, column) = spot();
                return Err(DatasetError::NoLabel { file, place: utterance.place, column });
            }
            (_, MultipleLabels::Error) => {
                let (file, column) = spot();
                let labels = utterance.labels.into_iter().map(|(label, _)| label).collect();
                return Err(DatasetError::SeveralLabels { file, place: utterance.place, column, labels });
            }
        }
    }
    if kept.is_empty() {
        return Err(DatasetError::AllSkipped { file: files.all(), rows: total });
    }
    let classes = in_order(spec, kept.iter().map(|(class, _)| class));
    if let [class] = classes.as_slice() {
        return Err(DatasetError::OneClass { file: files.all(), class: class.clone() });
    }
    // No three rows of each, and one for every split is needed.
    if classes.len() > MANY && 3 * classes.len() > kept.len() {
        let column = files.columns(0).label().unwrap_or_default().to_owned();
        return Err(DatasetError::TooManyClasses { file: files.all(), column, classes: classes.len(), rows: kept.len() });
    }
    notes.push(found(files, total, &format!("{} classes", classes.len()), &classes));
    notes.extend(unlikely(spec, &classes));
    if many + without > 0 {
        notes.push(format!("multiple_labels skip: {many} rows of several labels and {without} without a label were left out"));
    }
    let index = index(&classes);
    let drafts = kept.into_iter().map(|(class, utterance)| {
        let class = index[class.as_str()];
        Draft { class, strata: vec![class], ..Draft::new(utterance) }
    });
    let drafts = drafts.collect();
    Ok((classes, drafts))
}

/// Rows of any number of classes, each with a level. Several labels that the map makes one class have the highest level.
fn several(
    spec: &DatasetSpec,
    files: &Files,
    utterances: Vec<Utterance>,
    notes: &mut Vec<String>,
) -> Result<(Vec<String>, Vec<Draft>), DatasetError> {
    let map = Map::new(spec, &utterances);
    let rows: Vec<BTreeMap<String, f32>> = utterances.iter().map(|u| map.classes(files, u)).collect::<Result<_, _>>()?;
    let classes = in_order(spec, rows.iter().flat_map(BTreeMap::keys));
    if classes.is_empty() {
        return Err(DatasetError::NoClasses { file: files.all(), rows: rows.len() });
    }
    let mut rows_of = vec![0usize; classes.len()];
    let index = index(&classes);
    rows.iter().flat_map(BTreeMap::keys).for_each(|class| rows_of[index[class.as_str()] as usize] += 1);
    let (labels, without) = (rows_of.iter().sum::<usize>(), rows.iter().filter(|row| row.is_empty()).count());
    let what = match spec.scheme {
        Scheme::Intensity => {
            let highest = rows.iter().flat_map(BTreeMap::values).fold(0.0, |a: f32, b| a.max(*b));
            format!("{} classes at levels 0 to {highest}", classes.len())
        }
        _ => format!("{} classes", classes.len()),
    };
    notes.push(found(files, rows.len(), &what, &classes));
    notes.extend(unlikely(spec, &classes));
    notes.push(format!("labels: {:.2} classes a row on average; {without} rows have none", labels as f64 / rows.len() as f64));
    for (class, _) in classes.iter().zip(&rows_of).filter(|(_, count)| **count == 0) {
        notes.push(format!("labels: no row has the class `{class}`"));
    }
    let none = classes.len() as u32;
    let draft = |(utterance, row): (Utterance, BTreeMap<String, f32>)| {
        let mut values = vec![0.0; classes.len()];
        for (class, level) in &row {
            values[index[class.as_str()] as usize] = *level;
        }
        // The highest value first; among equals the rarest class, for it is the hardest to spread over the splits.
        let mut strata: Vec<u32> = row.keys().map(|class| index[class.as_str()]).collect();
        strata.sort_by(|a, b| {
            let of = |class: &u32| (values[*class as usize], rows_of[*class as usize]);
            let ((x, n), (y, m)) = (of(a), of(b));
            y.total_cmp(&x).then(n.cmp(&m)).then(a.cmp(b))
        });
        let class = strata.first().copied().unwrap_or(0);
        if strata.is_empty() {
            strata.push(none);
        }
        Draft { class, strata, values, ..Draft::new(utterance) }
    };
    let drafts = utterances.into_iter().zip(rows).map(draft).collect();
    Ok((classes, drafts))
}

/// Rows with a number on every scale. They are stratified by fifths of the first one.
fn scales(spec: &DatasetSpec, files: &Files, utterances: Vec<Utterance>, notes: &mut Vec<String>) -> (Vec<String>, Vec<Draft>) {
    let number = |utterance: &Utterance, scale: usize| utterance.labels[scale].1;
    let ranges = spec.values.iter().enumerate().map(|(scale, name)| {
        let of = || utterances.iter().map(|u| number(u, scale));
        let mean = of().map(f64::from).sum::<f64>() / utterances.len() as f64;
        format!("{name} {} to {} (mean {mean:.2})", of().fold(f32::INFINITY, f32::min), of().fold(f32::NEG_INFINITY, f32::max))
    });
    let ranges: Vec<String> = ranges.collect();
    notes.push(found(files, utterances.len(), &format!("{} scales", spec.values.len()), &ranges));
    // A row's bin is where its first equal stands in order, so that equal values share a bin.
    let mut sorted: Vec<f32> = utterances.iter().map(|u| number(u, 0)).collect();
    sorted.sort_by(f32::total_cmp);
    let bin = |value: f32| (sorted.partition_point(|x| x.total_cmp(&value).is_lt()) * BINS / sorted.len()) as u32;
    let draft = |utterance: Utterance| {
        let values: Vec<f32> = utterance.labels.iter().map(|(_, value)| *value).collect();
        Draft { strata: vec![bin(values[0])], values, ..Draft::new(utterance) }
    };
    let drafts = utterances.into_iter().map(draft).collect();
    (spec.values.clone(), drafts)
}

/// Labels that the map speaks of and no row has: misspelt, likely.
fn unmet(spec: &DatasetSpec, utterances: &[Utterance]) -> Option<String> {
    let labels = utterances.iter().flat_map(|u| u.labels.iter().map(|(label, _)| label));
    let met: BTreeSet<&String> = labels.chain(&spec.values).collect();
    let unmet: Vec<&String> = spec.label_map.keys().filter(|label| !met.contains(label)).collect();
    let first = unmet.first()?;
    let unmapped = met.into_iter().filter(|label| !spec.label_map.contains_key(*label)).map(String::as_str);
    let meant = meant(first, unmapped).map(|meant| format!("; did you mean `{meant}` by `{first}`?")).unwrap_or_default();
    let all: Vec<String> = unmet.iter().map(|label| format!("`{label}`")).collect();
    Some(format!("dataset.label_map: no row has the label {}{meant}", all.join(" or ")))
}

/// What is unlikely to be meant by classes as they are: the first of it.
fn unlikely(spec: &DatasetSpec, classes: &[String]) -> Option<String> {
    lists(classes).or_else(|| missing(spec, classes)).or_else(|| alike(classes)).or_else(|| misspelt(spec, classes))
}

/// A class that is called what programs write where there is no value.
fn missing(spec: &DatasetSpec, classes: &[String]) -> Option<String> {
    const WORDS: [&str; 9] = ["na", "n/a", "nan", "null", "nil", "none", "missing", "-", "?"];
    // Whoever lists a class means it.
    let meant = |class: &&String| spec.labels.contains(*class) || spec.label_map.values().any(|target| target == *class);
    let class = classes.iter().filter(|class| !meant(class)).find(|class| WORDS.contains(&class.to_lowercase().as_str()))?;
    Some(format!(
        "labels: `{class}` is a class, though it may stand for a missing label: `labels` without it and `unknown_labels: skip` leave such rows out"
    ))
}

/// Classes that are likely to be meant as one.
fn alike(classes: &[String]) -> Option<String> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    classes.iter().find_map(|class| {
        let first = seen.insert(bare(class), class)?;
        Some(format!(
            "labels: `{first}` and `{class}` are two classes, though they look like one that is written in two ways; `label_map` makes them one"
        ))
    })
}

/// A class without what different hands write differently: case, spaces, how accents are encoded, what can't be seen, decimals of a whole
/// number.
fn bare(class: &str) -> String {
    let seen: String = composed(class).chars().filter(|c| !is_unseen(*c)).collect();
    let seen = seen.trim().to_lowercase();
    match seen.parse::<f64>() {
        Ok(number) if number.is_finite() => number.to_string(),
        _ => seen,
    }
}

/// Classes that are likely to be lists of others, written as one text.
fn lists(classes: &[String]) -> Option<String> {
    let written = |class: &str| class.trim_start().starts_with('[') && class.trim_end().ends_with(']');
    let of = |class: &str, separator: &str| {
        let parts = separated(class, separator);
        parts.len() > 1 && (written(class) || parts.iter().all(|part| classes.contains(part)))
    };
    let separators = [",", ";", "|", "/", "&", "+", " "];
    // A list of one is one with whatever separates.
    let separator = |class: &str| separators.into_iter().find(|separator| of(class, separator)).or_else(|| written(class).then_some(","));
    let all: Vec<(&String, &str)> = classes.iter().filter_map(|class| Some((class, separator(class)?))).collect();
    let (first, separator) = all.iter().find(|(class, _)| separated(class, ",").len() != 1 || !written(class)).or(all.first())?;
    let others = if all.len() > 1 { format!(" and {}", crate::progress::counted(all.len() - 1, "other")) } else { String::new() };
    Some(format!("labels: `{first}`{others} look like lists of labels; `label_separator: \"{separator}\"` splits them"))
}

/// A class that the map makes, and that is another one but for a slip.
fn misspelt(spec: &DatasetSpec, classes: &[String]) -> Option<String> {
    let mut made = classes.iter().filter(|class| spec.label_map.values().any(|target| target == *class));
    made.find_map(|class| {
        let other = classes.iter().find(|other| slip(class, other))?;
        Some(format!(
            "dataset.label_map: `{class}` and `{other}` are two classes, though they differ in a slip of one letter; is one misspelt?"
        ))
    })
}

/// What was read, in words.
fn found(files: &Files, rows: usize, what: &str, names: &[String]) -> String {
    let column = files.columns(0).label().map(|column| format!(" in column `{column}`")).unwrap_or_default();
    format!("{}: {rows} rows, {what}{column}: {}", files.all(), names.join(", "))
}

/// The classes in the spec's order; else those of `values` in theirs; else all found, sorted.
fn in_order<'a>(spec: &DatasetSpec, found: impl Iterator<Item = &'a String>) -> Vec<String> {
    if !spec.labels.is_empty() {
        return spec.labels.clone();
    }
    let mut classes: Vec<String> = Vec::new();
    for column in &spec.values {
        let class = spec.label_map.get(column).unwrap_or(column);
        if !classes.contains(class) {
            classes.push(class.clone());
        }
    }
    if classes.is_empty() { found.collect::<BTreeSet<_>>().into_iter().cloned().collect() } else { classes }
}

fn index(classes: &[String]) -> HashMap<&str, u32> {
    classes.iter().zip(0..).map(|(class, i)| (class.as_str(), i)).collect()
}

/// What a source label may be and becomes.
struct Map<'a> {
    spec: &'a DatasetSpec,
    /// The classes that labels may name directly.
    classes: BTreeSet<String>,
}

impl<'a> Map<'a> {
    /// The classes are the spec's labels, else what columns of numbers stand for, else the map's targets, else whatever
    /// labels there are.
    fn new(spec: &'a DatasetSpec, utterances: &[Utterance]) -> Map<'a> {
        let classes = if !spec.labels.is_empty() {
            spec.labels.iter().cloned().collect()
        } else if !spec.values.is_empty() {
            in_order(spec, std::iter::empty()).into_iter().collect()
        } else if !spec.label_map.is_empty() {
            spec.label_map.values().cloned().collect()
        } else {
            utterances.iter().flat_map(|u| u.labels.iter().map(|(label, _)| label.clone())).collect()
        };
        Map { spec, classes }
    }

    /// A row's classes, each with its highest level.
    fn classes(&self, files: &Files, utterance: &Utterance) -> Result<BTreeMap<String, f32>, DatasetError> {
        let mut classes: BTreeMap<String, f32> = BTreeMap::new();
        for (label, level) in &utterance.labels {
            let class = self.class(label).ok_or_else(|| DatasetError::UnknownLabel {
                file: files.name(utterance.file),
                place: utterance.place,
                column: files.columns(utterance.file).label().unwrap_or(label).to_owned(),
                label: label.clone(),
                known: self.known(label),
            })?;
            let highest = classes.entry(class.to_owned()).or_insert(*level);
            *highest = highest.max(*level);
        }
        Ok(classes)
    }

    fn class<'s>(&'s self, label: &'s str) -> Option<&'s str> {
        let mapped = self.spec.label_map.get(label).map_or(label, String::as_str);
        self.classes.contains(mapped).then_some(mapped)
    }

    /// The classes, and the class or source label that was probably meant.
    fn known(&self, label: &str) -> Box<Known> {
        let names: Vec<String> =
            if self.spec.labels.is_empty() { self.classes.iter().cloned().collect() } else { self.spec.labels.clone() };
        let all = self.spec.label_map.keys().chain(&self.classes).map(String::as_str);
        Box::new(Known { hint: meant(label, all).map(str::to_owned), names })
    }
}
