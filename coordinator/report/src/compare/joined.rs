//! Two studies of the same test rows as one, so that both can be resampled together.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::study::{Deferred, Prediction, Study, TestRow};

/// Both studies' predictions over the first one's rows, the second's models and conditions counted on after the first's;
/// none where rows, labels or truth differ. Beside it, how many rows of the same id and text both have.
pub fn joined(first: &Study, second: &Study) -> (Option<Study>, usize) {
    let theirs: BTreeMap<&str, (usize, &TestRow)> = second.test.iter().enumerate().map(|(i, r)| (r.id.as_str(), (i, r))).collect();
    let same = |row: &TestRow| theirs.get(row.id.as_str()).filter(|(_, other)| other.text == row.text).copied();
    let common = first.test.iter().filter(|row| same(row).is_some()).count();
    let whole = common == first.test.len() && common == second.test.len() && first.scheme == second.scheme;
    let Some(columns) = columns(first, second).filter(|_| whole) else { return (None, common) };
    let (mut order, mut test) = (Vec::with_capacity(common), first.test.clone());
    for row in &first.test {
        let (at, other) = same(row).expect("all rows are in both");
        if !truth_agrees(row, other, first, second, &columns) {
            return (None, common);
        }
        order.push(at);
    }
    for (row, group) in test.iter_mut().zip(groups(&first.test, order.iter().map(|at| &second.test[*at]))) {
        row.group = group;
    }
    let (models, conditions) = (first.models.len(), first.conditions.len());
    let still = order.iter().chain(&columns).enumerate().all(|(i, at)| if i < order.len() { i == *at } else { i - order.len() == *at });
    let order = Arc::new((order, columns));
    let moved = |p: &Prediction| Prediction {
        model: p.model.map(|m| m + models),
        condition: p.condition.map(|c| c + conditions),
        fitted_condition: p.fitted_condition.map(|c| c + conditions),
        values: if still { p.values.clone() } else { reordered(&p.values, &order) },
        ..p.clone()
    };
    let mut both = Study { predictions: Vec::new(), verdicts: Vec::new(), geometry: Vec::new(), runs: Vec::new(), test, ..first.clone() };
    both.models.extend(second.models.iter().cloned());
    both.conditions.extend(second.conditions.iter().cloned());
    both.predictions = first.predictions.iter().cloned().chain(second.predictions.iter().map(moved)).collect();
    (Some(both), common)
}

/// The group of each row where rows are of one that are of one in either study, whichever comes first: what one of them knows to belong
/// together is resampled together.
fn groups<'r>(ours: &[TestRow], theirs: impl Iterator<Item = &'r TestRow>) -> Vec<String> {
    let mut parent: Vec<usize> = (0..ours.len()).collect();
    fn root(parent: &mut [usize], mut at: usize) -> usize {
        while parent[at] != at {
            parent[at] = parent[parent[at]];
            at = parent[at];
        }
        at
    }
    let mut seen: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    for (row, (our, their)) in ours.iter().zip(theirs).enumerate() {
        for name in [(false, our.group.as_str()), (true, their.group.as_str())] {
            let first = *seen.entry(name).or_insert(row);
            let (a, b) = (root(&mut parent, first), root(&mut parent, row));
            parent[a.max(b)] = a.min(b);
        }
    }
    (0..ours.len()).map(|row| ours[root(&mut parent, row)].group.clone()).collect()
}

/// For each class of the first study its place among the second's; none if they have other classes.
fn columns(first: &Study, second: &Study) -> Option<Vec<usize>> {
    let at = |class: &String| second.classes.iter().position(|c| c == class);
    first.classes.iter().map(at).collect::<Option<Vec<usize>>>().filter(|_| first.classes.len() == second.classes.len())
}

fn truth_agrees(ours: &TestRow, theirs: &TestRow, first: &Study, second: &Study, columns: &[usize]) -> bool {
    if ours.values.is_empty() {
        return first.classes[ours.class as usize] == second.classes[theirs.class as usize];
    }
    ours.values.iter().zip(columns).all(|(v, at)| *v == theirs.values[*at])
}

/// Values in another order of rows and classes.
fn reordered(values: &Deferred<Vec<f32>>, order: &Arc<(Vec<usize>, Vec<usize>)>) -> Deferred<Vec<f32>> {
    let (values, order) = (values.clone(), order.clone());
    Deferred::new(move || {
        let read = values.read()?;
        let (rows, columns) = &*order;
        let width = columns.len();
        // Another shape is told by whoever reads it.
        if read.len() != rows.len() * width {
            return Ok(read);
        }
        Ok(Arc::new(
            rows.iter()
                .flat_map(|row| {
                    let of_row = &read[row * width..][..width];
                    columns.iter().map(|c| of_row[*c])
                })
                .collect(),
        ))
    })
}
