//! Few-shot examples: rows of train that are shown to the model, and so are measured on no longer.

use std::collections::BTreeSet;

use limbic_proto::rows::Split;
use limbic_proto::spec::{FewShot, TEXT};

use super::Draft;
use super::draw::{rank, ranked};
use super::error::DatasetError;

/// A row that became an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// The row's id.
    pub id: String,
    /// Its text.
    pub text: String,
    /// Its class.
    pub class: String,
}

/// Draws the examples that each of `asked` asks for, and takes the rows out. Two draws of one seed begin with the same
/// rows. Texts that hold the mark of the utterance would be taken for it, so they are passed over.
pub(super) fn draw(asked: &[FewShot], classes: &[String], drafts: &mut Vec<Draft>) -> Result<Vec<Vec<Drawn>>, DatasetError> {
    let rows = &*drafts;
    let train = |class: u32| (0..rows.len()).filter(move |&i| rows[i].split == Some(Split::Train) && rows[i].class == class);
    let mut taken: BTreeSet<usize> = BTreeSet::new();
    let mut examples = Vec::with_capacity(asked.len());
    for few_shot in asked {
        let mut drawn: Vec<usize> = Vec::new();
        for (class, name) in (0..).zip(classes) {
            let usable: Vec<usize> = train(class).filter(|&i| !rows[i].text.contains(TEXT)).collect();
            let found = usable.len();
            drawn.extend(ranked("few-shot", few_shot.seed, rows, usable).into_iter().take(few_shot.per_class));
            taken.extend(&drawn);
            // A class of which nothing is left can't be learnt.
            if found < few_shot.per_class || train(class).all(|i| taken.contains(&i)) {
                return Err(DatasetError::TooFewExamples { asked: few_shot.per_class, class: name.clone(), rows: found });
            }
        }
        drawn.sort_by_cached_key(|&i| (rank("few-shot order", few_shot.seed, &rows[i].id), i));
        let example =
            |i: usize| Drawn { id: rows[i].id.clone(), text: rows[i].text.clone(), class: classes[rows[i].class as usize].clone() };
        examples.push(drawn.into_iter().map(example).collect());
    }
    let mut row = 0..;
    drafts.retain(|_| !taken.contains(&row.next().expect("rows are countable")));
    Ok(examples)
}
