//! Splitting by shares: stratified by class, groups indivisible, deterministic by seed.
//!
//! Groups are assigned one by one, large before small and in seeded order among equals, each to the split where it
//! lowers the summed squared deviation from the shares the most, relative to the split's target and the class's size: so
//! every split gets its share of large groups and of small ones. Rows that are groups of their own so end within one row
//! of every share. A split that has no row of a class is then given a group of it, if another can spare one. Every class's
//! targets are at least one row per split. A row of several classes counts for each of them (as in iterative
//! stratification, Sechidis et al. 2011), one without any for a class that stands for none.

use std::collections::{BTreeMap, HashMap};

use limbic_proto::rows::{Scheme, Split};
use limbic_proto::spec::{DatasetSpec, SplitShares};

use super::draw::rank;
use super::error::DatasetError;
use super::{Draft, Given, stratified};

/// Gives every row a split where the split column doesn't.
pub(super) fn complete(spec: &DatasetSpec, given: Given, drafts: &mut [Draft], notes: &mut Vec<String>) {
    let SplitShares { train, validation, test } = spec.shares;
    let shares = match given {
        Given::All => return,
        Given::Nothing => vec![(Split::Train, train), (Split::Validation, validation), (Split::Test, test)],
        Given::TrainTest => vec![(Split::Train, train), (Split::Validation, validation)],
    };
    let open: Vec<usize> =
        (0..drafts.len()).filter(|&i| drafts[i].split.is_none_or(|s| given == Given::TrainTest && s == Split::Train)).collect();
    let groups = groups(drafts, &open, spec.seed);
    if given == Given::Nothing {
        notes.push(format!("{} rows in {} groups were split by shares, {}", open.len(), groups.len(), stratified(spec)));
    }
    let strata = drafts.iter().flat_map(|draft| &draft.strata).max().map_or(0, |last| *last as usize + 1);
    for (group, split) in assign(&groups, &shares, strata) {
        for &i in &groups[group].rows {
            drafts[i].split = Some(split);
        }
    }
    notes.extend(off(&shares, &open, drafts, groups.iter().map(|group| group.rows.len()).max().unwrap_or(0)));
}

/// By how much of all rows a split may miss its share before that is told.
const OFF: f64 = 0.03;

/// What is to be said where groups are so large that splits don't have the shares that were asked for.
fn off(shares: &[(Split, f64)], open: &[usize], drafts: &[Draft], largest: usize) -> Option<String> {
    let sum: f64 = shares.iter().map(|(_, share)| share).sum();
    let of = |split: Split| open.iter().filter(|&&i| drafts[i].split == Some(split)).count() as f64 / open.len() as f64;
    let missed = shares.iter().any(|(split, share)| (of(*split) - share / sum).abs() > OFF);
    let found: Vec<String> = shares
        .iter()
        .map(|(split, share)| format!("{} {:.0} % instead of {:.0} %", split.as_str(), 100.0 * of(*split), 100.0 * share / sum))
        .collect();
    // A few rows can't be split otherwise, and that can be seen.
    (missed && largest > 1 && largest as f64 > OFF * open.len() as f64)
        .then(|| format!("shares: {}, for groups stay whole, and the largest has {largest} of the {} rows", found.join(", "), open.len()))
}

/// Rows that stay together.
struct Group {
    rows: Vec<usize>,
    /// Rows by class, or whatever they are stratified by.
    counts: BTreeMap<usize, usize>,
    rank: u64,
}

fn groups(drafts: &[Draft], open: &[usize], seed: u64) -> Vec<Group> {
    let mut index: HashMap<&str, usize> = HashMap::with_capacity(open.len());
    let mut groups: Vec<Group> = Vec::new();
    for &i in open {
        let draft = &drafts[i];
        let at = *index.entry(&draft.group).or_insert_with(|| {
            groups.push(Group { rows: Vec::new(), counts: BTreeMap::new(), rank: rank("split", seed, &draft.group) });
            groups.len() - 1
        });
        groups[at].rows.push(i);
        for stratum in &draft.strata {
            *groups[at].counts.entry(*stratum as usize).or_default() += 1;
        }
    }
    groups
}

/// The split of every group.
fn assign(groups: &[Group], shares: &[(Split, f64)], classes: usize) -> Vec<(usize, Split)> {
    let mut totals = vec![0.0; classes];
    for (class, count) in groups.iter().flat_map(|g| &g.counts) {
        totals[*class] += *count as f64;
    }
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_unstable_by_key(|&g| (std::cmp::Reverse(groups[g].rows.len()), groups[g].rank, g));
    let targets = targets(&totals, shares);
    let mut places = Places { groups, lacks: targets.clone(), targets, totals, split: vec![usize::MAX; groups.len()] };
    for &g in &order {
        let best = (0..shares.len()).max_by(|&a, &b| places.gain(g, a).total_cmp(&places.gain(g, b)).then(b.cmp(&a)));
        places.put(g, best.expect("there are splits"));
    }
    for class in 0..classes {
        (0..shares.len()).for_each(|split| places.supply(split, class, &order));
    }
    order.into_iter().map(|g| (g, shares[places.split[g]].0)).collect()
}

/// Groups in their splits.
struct Places<'a> {
    groups: &'a [Group],
    /// `[splits][classes]`: rows that a split should have.
    targets: Vec<Vec<f64>>,
    /// `[splits][classes]`: rows that it lacks of them.
    lacks: Vec<Vec<f64>>,
    /// Rows of every class.
    totals: Vec<f64>,
    /// Where each group is.
    split: Vec<usize>,
}

impl Places<'_> {
    /// By how much the squared deviations fall if a group is added to a split.
    fn gain(&self, group: usize, split: usize) -> f64 {
        // Adding n rows where d are lacking changes the squared deviation by n² - 2 n d.
        let of_class = |(&class, &n): (&usize, &usize)| {
            let n = n as f64;
            n * (2.0 * self.lacks[split][class] - n) / self.targets[split][class].max(1.0) / self.totals[class]
        };
        self.groups[group].counts.iter().map(of_class).sum()
    }

    fn put(&mut self, group: usize, split: usize) {
        let from = std::mem::replace(&mut self.split[group], split);
        for (&class, &n) in &self.groups[group].counts {
            self.lacks[split][class] -= n as f64;
            if let Some(lacks) = self.lacks.get_mut(from) {
                lacks[class] += n as f64;
            }
        }
    }

    fn has(&self, split: usize, class: usize) -> bool {
        // Whole rows: what was taken away and put back may differ by rounding.
        self.lacks[split][class] < self.targets[split][class] - 0.5
    }

    /// How many classes two splits have no row of.
    fn missing(&self, splits: [usize; 2]) -> usize {
        let lacking = |class: &usize| self.totals[*class] > 0.0;
        (0..self.totals.len()).filter(lacking).map(|class| splits.iter().filter(|split| !self.has(**split, class)).count()).sum()
    }

    /// Where a split has no row of a class, though others could spare a group of it: that group comes, and another goes in its place
    /// where that keeps the shares better.
    fn supply(&mut self, split: usize, class: usize, order: &[usize]) {
        if self.totals[class] == 0.0 || self.has(split, class) {
            return;
        }
        let mut best: Option<(f64, usize, Option<usize>)> = None;
        for &group in order.iter().filter(|g| self.groups[**g].counts.contains_key(&class)) {
            let from = self.split[group];
            let before = self.missing([from, split]);
            let comes = self.gain(group, split);
            self.put(group, split);
            let leaves = -self.gain(group, from);
            let here: Vec<usize> = order.iter().copied().filter(|g| self.split[*g] == split && *g != group).collect();
            for other in std::iter::once(None).chain(here.into_iter().map(Some)) {
                let mut gain = comes + leaves;
                if let Some(other) = other {
                    gain += self.gain(other, from);
                    self.put(other, from);
                    gain -= self.gain(other, split);
                }
                if self.missing([from, split]) < before && best.is_none_or(|(most, ..)| gain > most) {
                    best = Some((gain, group, other));
                }
                other.into_iter().for_each(|other| self.put(other, split));
            }
            self.put(group, from);
        }
        if let Some((_, group, other)) = best {
            let from = self.split[group];
            self.put(group, split);
            other.into_iter().for_each(|other| self.put(other, from));
        }
    }
}

/// Rows of each class that each split should have: its share, but at least one; the first split (train) gives.
fn targets(totals: &[f64], shares: &[(Split, f64)]) -> Vec<Vec<f64>> {
    let sum: f64 = shares.iter().map(|(_, share)| share).sum();
    let mut targets: Vec<Vec<f64>> = shares.iter().map(|(_, share)| totals.iter().map(|t| (t * share / sum).max(1.0)).collect()).collect();
    for (class, total) in totals.iter().enumerate() {
        targets[0][class] = total - targets[1..].iter().map(|t| t[class]).sum::<f64>();
    }
    targets
}

/// Every split must have rows of every class. Where rows may have several, a class that lacks some is told: a corpus of many
/// labels has rare ones.
pub(super) fn check(
    spec: &DatasetSpec,
    file: &str,
    classes: &[String],
    drafts: &[Draft],
    notes: &mut Vec<String>,
) -> Result<(), DatasetError> {
    let mut counts: BTreeMap<(u32, Split), usize> = BTreeMap::new();
    for draft in drafts {
        for stratum in &draft.strata {
            *counts.entry((*stratum, draft.split.expect("every row has a split by now"))).or_default() += 1;
        }
    }
    for (class, name) in (0..).zip(classes) {
        let lacks = |split: &Split| !counts.contains_key(&(class, *split));
        match spec.scheme {
            Scheme::Single => {
                if let Some(split) = Split::ALL.into_iter().find(lacks) {
                    let of_class = || drafts.iter().filter(|d| d.class == class);
                    let groups = of_class().map(|d| d.group.as_str()).collect::<std::collections::BTreeSet<_>>().len();
                    let (file, class, rows) = (file.to_owned(), name.clone(), of_class().count());
                    // Nothing else joins rows.
                    let alike = spec.group.is_none() && groups < rows;
                    return Err(DatasetError::ClassMissing { file, split, class, rows, groups, alike });
                }
            }
            Scheme::Multi | Scheme::Intensity => {
                let splits: Vec<&str> = Split::ALL.into_iter().filter(lacks).map(Split::as_str).collect();
                if !splits.is_empty() && splits.len() < Split::ALL.len() {
                    notes.push(format!("labels: no row of class `{name}` is in {}", splits.join(" or ")));
                }
            }
            Scheme::Continuous => {}
        }
    }
    Ok(())
}
