//! Units counted by kind and model, as people speak of them: `extract tiny-1m`, `fit tiny-1m`, `baselines`.

use std::collections::{BTreeMap, BTreeSet};

use limbic_proto::unit::UnitKind;

use super::Phase;
use crate::plan::{Plan, PlannedUnit};

/// All groups of a sweep.
#[derive(Debug, Default)]
pub(in crate::machine) struct Groups {
    all: Vec<Group>,
    known: BTreeMap<(UnitKind, Option<usize>), usize>,
}

/// Units of one kind and model.
#[derive(Debug)]
pub(in crate::machine) struct Group {
    pub kind: UnitKind,
    /// Index into the plan's models; none for baselines.
    pub model: Option<usize>,
    pub total: u64,
    pub committed: u64,
    /// Units in [`Phase::Waiting`].
    pub waiting: u64,
    /// Units in [`Phase::Ready`].
    pub ready: u64,
    /// The groups that its units read.
    pub reads: BTreeSet<usize>,
}

impl Groups {
    /// The group of a planned unit.
    pub fn of(&mut self, planned: &PlannedUnit) -> usize {
        let kind = planned.unit.spec.kind();
        let model = planned.place.model();
        let (all, next) = (&mut self.all, self.known.len());
        *self.known.entry((kind, model)).or_insert_with(|| {
            all.push(Group { kind, model, total: 0, committed: 0, waiting: 0, ready: 0, reads: BTreeSet::new() });
            next
        })
    }

    /// A unit is taken in, which waits for now.
    pub fn add(&mut self, group: usize) {
        self.all[group].total += 1;
        self.all[group].waiting += 1;
    }

    /// Units of one group read those of another.
    pub fn reads(&mut self, reader: usize, read: usize) {
        self.all[reader].reads.insert(read);
    }

    /// A unit goes from one phase to another.
    pub fn count(&mut self, group: usize, from: Phase, to: Phase) {
        let group = &mut self.all[group];
        if let Some(count) = group.counter(from) {
            *count -= 1;
        }
        if let Some(count) = group.counter(to) {
            *count += 1;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (usize, &Group)> {
        self.all.iter().enumerate()
    }

    pub fn get(&self, group: usize) -> &Group {
        &self.all[group]
    }
}

impl Group {
    fn counter(&mut self, phase: Phase) -> Option<&mut u64> {
        match phase {
            Phase::Waiting => Some(&mut self.waiting),
            Phase::Ready => Some(&mut self.ready),
            Phase::Committed | Phase::Released => Some(&mut self.committed),
            Phase::Resting(_) | Phase::Running | Phase::Quarantined | Phase::Blocked => None,
        }
    }

    /// The group in words.
    pub fn title(&self, plan: &Plan) -> String {
        match self.model.and_then(|model| plan.models.get(model)) {
            Some(model) => format!("{} {}", self.kind.as_str(), model.name),
            None => "baselines".to_owned(),
        }
    }
}
