//! Splitting: a unit whose budgets are spent is cut into halves, so that one bad row or probe doesn't take the rest with it.
//! Halves of a unit that lost its workers may lose only few: see [`Settings::half_lost_budget`](super::Settings).
//!
//! What is decided stands in the journal first, then the commit in the store; only then do the halves take the unit's
//! place, in every sweep that has it. A late result may stand first: then that is the unit's result.

use limbic_proto::commit;
use limbic_proto::journal::Record;
use limbic_proto::key::UnitKey;

use super::Machine;
use super::event::{Action, SweepId};
use super::lease::Lease;

impl Machine {
    /// A unit's budgets are spent: it is split if that may help, else quarantined.
    pub(super) fn give_up(&mut self, id: &SweepId, unit: UnitKey, error: String) {
        if self.splitting.contains_key(&unit) {
            return;
        }
        if !self.may_split(id, &unit) {
            return self.quarantine(id, unit, error);
        }
        let generation = self.generation(&unit);
        self.append(id, Record::Split { unit, generation });
        self.begin_split(unit, generation);
    }

    /// Whether splitting may help: the trouble looks like this unit's own. That is so where something of its kind and model
    /// was ever committed, or where no other such unit (but those that it is a half of) is in trouble. Otherwise the fault
    /// is more likely the model's than a row's, and halving would try it on every single one.
    fn may_split(&self, id: &SweepId, unit: &UnitKey) -> bool {
        let Some(sweep) = self.sweeps.get(id).filter(|sweep| !sweep.cancelled) else { return false };
        let Some(slot) = sweep.slot(unit) else { return false };
        // A result that keeps rotting is the store's trouble.
        let own = slot.fails + slot.losses > 0 && slot.voids < self.settings.fail_budget;
        own && !sweep.halves(unit).is_empty() && (sweep.groups.get(slot.group).committed > 0 || sweep.only_trouble(slot))
    }

    fn begin_split(&mut self, unit: UnitKey, generation: u32) {
        let sweep = self.sweeps.values().find(|sweep| sweep.planned(&unit).is_some());
        let children = sweep.map(|sweep| sweep.halves(&unit)).unwrap_or_default().iter().map(|half| half.unit.spec.key()).collect();
        self.splitting.insert(unit, generation);
        let running: Vec<Lease> = self.leases.of_unit(&unit).cloned().collect();
        running.iter().for_each(|lease| self.stop(lease));
        for sweep in self.sweeps.values_mut() {
            sweep.set_unsettled(&unit, true, self.now);
        }
        self.actions.push_back(Action::Split { unit, generation, children });
    }

    /// The commit that splits a unit stands, or a result stood first.
    pub(super) fn on_divided(&mut self, unit: UnitKey, generation: u32, stands: bool) {
        let link = commit::result(generation);
        if !stands {
            return self.link(unit, link);
        }
        if self.links.get(&unit).is_some_and(|known| *known > link) || self.splits.get(&unit) == Some(&generation) {
            return;
        }
        // As a result it would stop whoever runs the unit; as a split it does too.
        self.link(unit, link);
        self.splits.insert(unit, generation);
        let ids: Vec<SweepId> = self.sweeps.keys().cloned().collect();
        for id in &ids {
            self.put_halves(id, unit);
            self.give_up_halves(id, &unit);
        }
    }

    /// Puts the halves of a unit in its place in a sweep, with all that is known of them.
    fn put_halves(&mut self, id: &SweepId, unit: UnitKey) {
        let Some(sweep) = self.sweeps.get_mut(id) else { return };
        for half in sweep.split(&unit, self.now) {
            let (committed, released, leased) = (self.committed(&half), self.is_released(&half), self.leases.runs(&half));
            let unsettled = self.voiding.contains(&half) || self.splitting.contains_key(&half);
            let Some(sweep) = self.sweeps.get_mut(id) else { return };
            sweep.set_committed(&half, committed, released, self.now);
            sweep.set_leased(&half, leased, self.now);
            sweep.set_unsettled(&half, unsettled, self.now);
            if self.is_split(&half) {
                self.put_halves(id, half);
            }
        }
    }

    /// Gives up halves of a unit that were tried before they were that, and may lose fewer workers now.
    fn give_up_halves(&mut self, id: &SweepId, unit: &UnitKey) {
        let halves = self.sweeps.get(id).map(|sweep| sweep.halves_of(unit)).unwrap_or_default();
        for half in halves {
            let exhausted = self.sweeps.get(id).and_then(|sweep| sweep.exhausted_by(sweep.slot(&half)?, &self.settings));
            match exhausted {
                Some(error) => self.give_up(id, half, error),
                None => self.give_up_halves(id, &half),
            }
        }
    }

    /// Whether the result that stands of a unit is that of its halves.
    pub(super) fn is_split(&self, unit: &UnitKey) -> bool {
        self.splits.get(unit).is_some_and(|generation| self.links.get(unit) == Some(&commit::result(*generation)))
    }

    /// Splits what is known to be split of a sweep that was just taken up, and what an earlier coordinator decided to
    /// split and did not come to.
    pub(super) fn split_as_written(&mut self, id: &SweepId) {
        let Some(sweep) = self.sweeps.get(id) else { return };
        let known: Vec<UnitKey> = self.splits.keys().filter(|unit| sweep.slot(unit).is_some()).copied().collect();
        for unit in known.into_iter().filter(|unit| self.is_split(unit)).collect::<Vec<_>>() {
            if let Some(sweep) = self.sweeps.get_mut(id) {
                sweep.set_committed(&unit, true, false, self.now);
            }
            self.put_halves(id, unit);
        }
        let Some(sweep) = self.sweeps.get(id) else { return };
        let open = sweep.history.splits().filter(|(unit, generation)| {
            let before = self.links.get(unit).is_none_or(|link| *link < commit::result(**generation));
            before && sweep.slot(unit).is_some() && self.generation(unit) == **generation
        });
        let open: Vec<(UnitKey, u32)> = open.map(|(unit, generation)| (*unit, *generation)).collect();
        for (unit, generation) in open {
            if !self.splitting.contains_key(&unit) {
                self.begin_split(unit, generation);
            }
        }
    }
}
