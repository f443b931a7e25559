//! Why is it waiting? What the pending units of a sweep wait for, in words.

use std::collections::BTreeMap;
use std::time::Duration;

use limbic_proto::status::Waiting;
use limbic_proto::takes::Takes;

use super::Machine;
use super::release::RELEASED;
use super::sweep::{Group, Phase, Sweep};
use super::worker::Worker;

impl Machine {
    /// What pending units wait for, by group. A sweep that is over waits for nothing, and who doesn't lead it can't say.
    pub(super) fn waiting(&self, now: Duration, sweep: &Sweep) -> Vec<Waiting> {
        if sweep.state().terminal() || sweep.epoch == 0 {
            return Vec::new();
        }
        let mut found = Vec::new();
        let unsettled = self.unsettled(sweep);
        let mut split: BTreeMap<usize, u64> = BTreeMap::new();
        for slot in sweep.splits.iter().map(|rank| &sweep.slots[*rank]).filter(|slot| slot.phase == Phase::Waiting) {
            *split.entry(slot.group).or_default() += 1;
        }
        let mut starved: BTreeMap<usize, u64> = BTreeMap::new();
        for rank in &sweep.starved {
            *starved.entry(sweep.slots[*rank].group).or_default() += 1;
        }
        let again = self.computed_again(sweep);
        let mut resting: BTreeMap<usize, (u64, Duration)> = BTreeMap::new();
        for (slot, due) in sweep.resting() {
            let of = resting.entry(slot.group).or_insert((0, due));
            of.0 += 1;
        }
        for (index, group) in sweep.groups.iter() {
            let what = group.title(&sweep.plan);
            let mut say = |count: u64, reason: String| {
                if count > 0 {
                    found.push(Waiting { count, what: what.clone(), reason, unserved: false });
                }
            };
            let unsettled = unsettled.get(&index).copied().unwrap_or(0);
            let split = split.get(&index).copied().unwrap_or(0);
            let starved = starved.get(&index).copied().unwrap_or(0);
            let reads = group.reads.iter().map(|read| (sweep.groups.get(*read), again.get(read)));
            let missing = reads.filter(|(read, _)| read.committed < read.total).map(|(read, again)| {
                let again = again.map_or(String::new(), |n| format!(" ({n} are computed again, for their activations were released)"));
                format!("{} of {} units of `{}` are committed{again}", read.committed, read.total, read.title(&sweep.plan))
            });
            let missing = missing.collect::<Vec<_>>().join(", ");
            say(group.waiting.saturating_sub(unsettled + split + starved), format!("their dependencies: {missing}"));
            if let Some(held) = held_back(now, sweep) {
                say(starved, format!("activations that were released and will be computed again, but first {held}"));
            }
            say(unsettled, "the store: that their old result is void, or that they are split, is being written".to_owned());
            say(split, "the halves that they were split into".to_owned());
            if let Some((count, first)) = resting.get(&index) {
                let seconds = first.saturating_sub(now).as_secs_f64().ceil();
                say(*count, format!("a pause after a failure, the first for {seconds} s more"));
            }
            if group.ready > 0 {
                let (reason, unserved) = match held_back(now, sweep) {
                    Some(held) => (held, false),
                    None => self.worker_for(sweep, group),
                };
                found.push(Waiting { count: group.ready, what, reason, unserved });
            }
        }
        found
    }

    /// By group, the units of which a link is being written and that would otherwise not wait for long.
    fn unsettled(&self, sweep: &Sweep) -> BTreeMap<usize, u64> {
        let mut counts = BTreeMap::new();
        let slots = self.voiding.iter().chain(self.splitting.keys()).filter_map(|unit| sweep.slot(unit));
        for slot in slots.filter(|slot| slot.phase == Phase::Waiting && slot.waiting == 0 && slot.split.is_none()) {
            *counts.entry(slot.group).or_insert(0) += 1;
        }
        counts
    }

    /// By group, the units that are computed again because their activations were released.
    fn computed_again(&self, sweep: &Sweep) -> BTreeMap<usize, u64> {
        let mut counts = BTreeMap::new();
        let released = sweep.history.voids().filter(|(_, void)| void.reason == RELEASED);
        for (unit, void) in released {
            if let Some(slot) = sweep.slot(unit).filter(|slot| !slot.committed && self.generation(unit) == void.generation + 1) {
                *counts.entry(slot.group).or_insert(0) += 1;
            }
        }
        counts
    }

    /// Which worker a unit that could run waits for, and whether none that takes it is connected.
    fn worker_for(&self, sweep: &Sweep, group: &Group) -> (String, bool) {
        let runs_model = group.kind.runs_model();
        let here: Vec<&Worker> = self.here().map(|(_, worker)| worker).collect();
        if here.is_empty() {
            return ("a worker: none is connected".to_owned(), true);
        }
        let taking: Vec<&Worker> = here.iter().copied().filter(|worker| worker.takes.includes(runs_model)).collect();
        if taking.is_empty() {
            let (all, what) = (here.len(), if runs_model { Takes::Passes } else { Takes::Fits });
            let reason =
                format!("a worker that takes {what}: none of the {all} connected does; start one with `--takes {what}`, or without");
            return (reason, true);
        }
        let willing: Vec<&Worker> = taking.iter().copied().filter(|worker| self.eligible(worker, runs_model)).collect();
        let aside = self.set_aside(runs_model);
        if willing.is_empty() {
            return (format!("a worker: all {} are draining{aside}", taking.len()), true);
        }
        let queue = group.model.filter(|_| runs_model).and_then(|model| {
            let model = &sweep.plan.models[model];
            Some((model, sweep.queues.get(&Some(model.identity()))?.bytes))
        });
        let Some((model, bytes)) = queue else { return (busy(willing.len()) + &aside, false) };
        let fitting = willing.iter().filter(|worker| worker.fits(bytes)).count();
        let gib = bytes as f64 / f64::from(1u32 << 30);
        let reason = if fitting == 0 {
            format!("a worker: none has the {gib:.1} GiB that model `{}` takes, so that any will be tried, and all are busy", model.name)
        } else if fitting < willing.len() {
            format!(
                "a worker with {gib:.1} GiB for model `{}`: {fitting} of {} have as much, and all those are busy",
                model.name,
                willing.len()
            )
        } else {
            busy(fitting)
        };
        (reason + &aside, false)
    }

    /// The workers that get nothing because they failed too often, for the end of a sentence.
    fn set_aside(&self, runs_model: bool) -> String {
        let strikes = self.settings.strikes;
        let aside = self
            .workers
            .iter()
            .filter(|(_, w)| w.takes.includes(runs_model) && !w.draining && w.set_aside(strikes) && !self.eligible(w, runs_model));
        let names: Vec<&str> = aside.map(|(id, _)| id.0.as_str()).collect();
        if names.is_empty() {
            return String::new();
        }
        format!(" ({}: set aside after {strikes} failures in a row on different units)", names.join(", "))
    }
}

fn busy(workers: usize) -> String {
    if workers == 1 { "a worker: the one that takes units is busy".to_owned() } else { format!("a worker: all {workers} are busy") }
}

/// Why a sweep grants nothing at all for now, if so.
fn held_back(now: Duration, sweep: &Sweep) -> Option<String> {
    if sweep.foreign() {
        let of = "a release that computes the versions (of hidden states and fits) that the sweep was accepted with";
        return Some(format!("{of}; or submit its spec again, and all of it is computed in this one's"));
    }
    if sweep.paused {
        let by = &sweep.history.paused_by;
        let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
        return Some(format!("the sweep is paused{by}: `limbic resume` goes on"));
    }
    (sweep.held_until > now).then(|| {
        let seconds = (sweep.held_until - now).as_secs_f64().ceil();
        format!("{seconds} s more, in which workers may name what they run for the coordinator before this one")
    })
}
