//! What a user of a corpus must know first, by the numbers of the corpus.

use std::collections::BTreeSet;

use super::share::{Share, percent};
use super::{Account, Provenance};
use crate::corpus::{Entry, Reason};

/// Texts of a class below which nothing can be learnt or measured on it.
const FEW: usize = 20;

/// The share of texts without a label that is worth a word.
const OFTEN: f64 = 0.05;

/// The sentences, gravest first.
pub fn caveats(account: &Account<'_>) -> Vec<String> {
    let mut all = vec![labels(account)];
    all.extend(Provenance::ALL[1..].iter().filter_map(|provenance| written(account, *provenance)));
    if account.writer.identity() == account.classifier.identity() && account.entries.iter().any(|entry| entry.target.is_some()) {
        all.push(format!(
            "`{}` judged what it wrote itself: that it finds what was asked for doesn't say that a reader would.",
            account.writer.name
        ));
    }
    all.extend(unlabelled(account));
    all.extend(concentration(account));
    all.extend(confidence(account));
    all.extend(scarcity(account));
    all.extend(named(account));
    all.extend(repeated(account));
    all
}

/// How good the labels are, as far as given ones tell.
fn labels(account: &Account<'_>) -> String {
    let share = account.given(None);
    if share.of == 0 {
        let why = match account.spec.dataset.label {
            Some(_) => "of the given ones none could be compared with them, for no comment that was labelled has one that is a class",
            None => "no given ones were compared with them (`dataset.label` names a column of such)",
        };
        return format!("No person has seen these labels, and {why}: how good they are is unknown.");
    }
    let most = (0..account.spec.classes.len()).max_by_key(|class| account.given(Some(*class)).of).expect("there are classes");
    let always = Share { found: account.given(Some(most)).of, of: share.of };
    let verdict = match share.interval() {
        (low, _) if low > always.value() => "",
        (_, high) if high < always.value() => " The labels are worse than that.",
        _ => " The labels are not shown to be better than that.",
    };
    format!(
        "Of comments with a given label, the classifier found the same for {share}. Answering `{}` each time would be right for {}.{verdict}",
        account.spec.classes[most],
        percent(always.value()),
    )
}

/// How much of what was written is what was asked for.
fn written(account: &Account<'_>, provenance: Provenance) -> Option<String> {
    let share = account.agreement(provenance, None);
    if share.of == 0 {
        return None;
    }
    let chance = 1.0 / account.spec.classes.len() as f64;
    let (low, high) = share.interval();
    let verdict = if low <= chance {
        " That is not shown to be more than chance."
    } else if high < 0.5 {
        " Most did not become what was asked for."
    } else {
        ""
    };
    let what = provenance.as_str();
    Some(format!(
        "The classifier found {share} of the {what} texts to be what was asked for; chance would be {}.{verdict}",
        percent(chance)
    ))
}

/// How often the classifier gave no label, or none that was sure enough.
fn unlabelled(account: &Account<'_>) -> Option<String> {
    let asked = account.entries.iter().filter(|entry| entry.verdict.is_some() || entry.refused == Some(Reason::Unlabelled));
    let share = Share::of(asked.map(|entry| entry.verdict.is_none()));
    (share.value() > OFTEN).then(|| format!("The classifier gave no label to {share} of the texts, which are left out."))
}

/// Labels that go to one class, and classes that get none.
fn concentration(account: &Account<'_>) -> Option<String> {
    let labelled: Vec<usize> = account.of(Provenance::Natural).filter_map(|entry| Some(entry.verdict.as_ref()?.class)).collect();
    let of = |class: usize| Share { found: labelled.iter().filter(|c| **c == class).count(), of: labelled.len() };
    let classes = 0..account.spec.classes.len();
    let largest = classes.clone().max_by_key(|class| of(*class).found)?;
    let missing: Vec<&str> =
        classes.clone().filter(|class| of(*class).found == 0).map(|class| account.spec.classes[class].as_str()).collect();
    let mut said = Vec::new();
    if classes.len() > 2 && of(largest).value() > 0.5 {
        said.push(format!("{} of the comments were labelled `{}`.", percent(of(largest).value()), account.spec.classes[largest]));
    }
    if !missing.is_empty() && !labelled.is_empty() {
        said.push(format!("No comment was labelled {}.", missing.join(", ")));
    }
    (!said.is_empty()).then(|| said.join(" "))
}

/// How sure the classifier is, where it says.
fn confidence(account: &Account<'_>) -> Option<String> {
    let mut sure: Vec<f32> = account.kept().filter_map(|entry| entry.verdict.as_ref()?.confidence()).collect();
    sure.sort_by(f32::total_cmp);
    let median = f64::from(*sure.get(sure.len() / 2)?);
    (median < 0.5).then(|| {
        format!(
            "The classifier is seldom sure: the median probability of a label in the corpus is {}, where {} would be a guess.",
            percent(median),
            percent(1.0 / account.spec.classes.len() as f64)
        )
    })
}

/// Classes with too few texts.
fn scarcity(account: &Account<'_>) -> Option<String> {
    let count = |class: usize| account.kept().filter(|entry| entry.verdict.as_ref().is_some_and(|v| v.class == class)).count();
    let few: Vec<String> = (0..account.spec.classes.len())
        .filter(|class| count(*class) < FEW)
        .map(|class| format!("{} ({})", account.spec.classes[class], count(class)))
        .collect();
    (!few.is_empty()).then(|| format!("Fewer than {FEW} texts each have {}: too few to fit or measure a probe on.", few.join(", ")))
}

/// Written texts that hold the word for their label.
fn named(account: &Account<'_>) -> Option<String> {
    let written: Vec<&Entry> = account.kept().filter(|entry| entry.target.is_some()).collect();
    let names = |entry: &&Entry| {
        let word = account.spec.word(&account.spec.classes[entry.verdict.as_ref()?.class]).to_lowercase();
        let text = entry.text.to_lowercase();
        Some(text.split(|c: char| !c.is_alphanumeric()).any(|w| w == word))
    };
    let share = Share::of(written.iter().filter_map(names));
    (share.found > 0).then(|| format!("The word for the label stands in {share} of the written texts: those can be told by it alone."))
}

/// Written texts that go round in circles.
fn repeated(account: &Account<'_>) -> Option<String> {
    let repeats = |entry: &Entry| {
        let words: Vec<String> = entry.text.split_whitespace().map(str::to_lowercase).collect();
        let different: BTreeSet<&[String]> = words.windows(3).collect();
        2 * different.len() < words.len().saturating_sub(2)
    };
    let share = Share::of(account.kept().filter(|entry| entry.target.is_some()).map(repeats));
    (share.found > 0)
        .then(|| format!("{share} of the written texts repeat themselves: of their runs of three words, less than half differ."))
}
