//! What the store says of a sweep's units: how far each one's chain of commits reaches, which were split and which released.

use std::collections::{BTreeMap, BTreeSet};

use limbic_core::machine::Event;
use limbic_core::plan::PlannedUnit;
use limbic_proto::commit::{self, Commit};
use limbic_proto::key::UnitKey;
use limbic_store::{Store, StoreError};

use crate::failure::Failure;
use crate::sweep::Sweep;

/// What lies in a store of all its units, whichever sweeps they are of: read once for however many sweeps.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The highest link of each chain.
    links: BTreeMap<UnitKey, u32>,
    /// Units that may have been split.
    marked: BTreeSet<UnitKey>,
    /// Units whose activations were ever released, and the last such generation.
    released: BTreeMap<UnitKey, u32>,
}

impl Listing {
    /// Reads it: three listings, which grow with all sweeps that the store ever had.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn read(store: &Store) -> Result<Listing, StoreError> {
        // The links first: a mark is written before the commit, so that whatever is split in the links is marked by then; and a
        // result is released after its commit, so that hardly any release is missed.
        let links = store.committed().await?;
        let marked = store.marked_split().await?;
        let released = store.releases().await?;
        Ok(Listing { links, marked, released })
    }
}

/// The chains of a sweep's units, and of the halves of those that were split.
#[derive(Debug, Clone, Default)]
pub struct Chains {
    /// The highest link of each (see [`limbic_proto::commit`]); units without any are not in it.
    pub links: BTreeMap<UnitKey, u32>,
    /// The units that were split: in which generation, and into what.
    splits: BTreeMap<UnitKey, (u32, Vec<PlannedUnit>)>,
    /// The units whose activations were ever released, and the last such generation.
    released: BTreeMap<UnitKey, u32>,
}

impl Chains {
    /// Reads those of one sweep. To read several sweeps, list the store once and use [`Chains::among`].
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn read(store: &Store, sweep: &Sweep) -> Result<Chains, Failure> {
        Chains::among(&Listing::read(store).await?, store, sweep).await
    }

    /// Takes a sweep's from among what lies in the store, and reads the commits of its units that are marked as split.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn among(listing: &Listing, store: &Store, sweep: &Sweep) -> Result<Chains, Failure> {
        let Listing { links, marked, released } = listing;
        let mut splits = BTreeMap::new();
        let mut open: Vec<(UnitKey, &PlannedUnit)> = sweep.plan.units.iter().map(|(key, planned)| (*key, planned)).collect();
        open.retain(|(key, _)| marked.contains(key));
        let mut open: Vec<(UnitKey, PlannedUnit)> = open.into_iter().map(|(key, planned)| (key, planned.clone())).collect();
        while let Some((unit, planned)) = open.pop() {
            let Some(link) = links.get(&unit).filter(|link| commit::stands(**link)) else { continue };
            let generation = commit::generation(*link);
            let commit = match store.commit(&unit, generation).await {
                // Whoever reads the unit finds the same, and has it computed again.
                Err(StoreError::Corrupt { .. }) => None,
                commit => commit?,
            };
            if let Some(Commit::Split { .. }) = commit {
                let halves = planned.split(&sweep.plan.versions);
                open.extend(halves.iter().map(|half| (half.unit.spec.key(), half.clone())).filter(|(key, _)| marked.contains(key)));
                splits.insert(unit, (generation, halves));
            }
        }
        let halves: BTreeSet<UnitKey> = splits.values().flat_map(|(_, halves)| halves).map(|half| half.unit.spec.key()).collect();
        // Its units, not all that are listed: it may have few among those of many sweeps.
        let known = |of: &BTreeMap<UnitKey, u32>| {
            let units = sweep.plan.units.keys().chain(&halves);
            units.filter_map(|key| Some((*key, *of.get(key)?))).collect::<BTreeMap<_, _>>()
        };
        let (links, mut released) = (known(links), known(released));
        released.retain(|key, _| links.contains_key(key));
        Ok(Chains { links, splits, released })
    }

    /// The generation of a unit's result that stands; of one that was split, too.
    pub fn standing(&self, unit: &UnitKey) -> Option<u32> {
        self.links.get(unit).filter(|link| commit::stands(**link)).map(|link| commit::generation(*link))
    }

    /// Whether a unit's result stands, or that of each of its halves.
    pub fn done(&self, unit: &UnitKey) -> bool {
        match self.splits.get(unit) {
            Some((_, halves)) => halves.iter().all(|half| self.done(&half.unit.spec.key())),
            None => self.standing(unit).is_some(),
        }
    }

    /// Whether the states of a unit whose result stands, or of one of its halves, were removed.
    pub fn was_released(&self, unit: &UnitKey) -> bool {
        match self.splits.get(unit) {
            Some((_, halves)) => halves.iter().any(|half| self.was_released(&half.unit.spec.key())),
            None => self.standing(unit).is_some_and(|generation| self.released.get(unit).is_some_and(|last| *last >= generation)),
        }
    }

    /// How many of a sweep's units are done.
    pub fn committed(&self, sweep: &Sweep) -> usize {
        sweep.plan.units.keys().filter(|key| self.done(key)).count()
    }

    /// How many units that run a model could be begun now, if there are any and they are most of what is missing. Otherwise that number
    /// says nothing of how many workers are of use: fits use several cores less well, the more so the more of them a worker has.
    pub fn long_at_once(&self, sweep: &Sweep, cores: usize) -> Option<usize> {
        let parts = self.parts(sweep).into_iter();
        let open: Vec<&PlannedUnit> = parts.filter(|(key, _)| !self.done(key)).map(|(_, planned)| planned).collect();
        let (long, fits): (Vec<&PlannedUnit>, Vec<&PlannedUnit>) =
            open.into_iter().partition(|planned| planned.unit.spec.model().is_some());
        let flops = |units: &[&PlannedUnit]| units.iter().map(|planned| planned.unit.hints.flops).sum::<f64>();
        let ready = |planned: &&&PlannedUnit| planned.unit.spec.dependencies().iter().all(|unit| self.done(unit));
        let at_once = long.iter().filter(ready).count();
        (at_once > 0 && flops(&long) > flops(&fits) * (cores as f64 / 4.0).max(1.0)).then_some(at_once)
    }

    /// How many units there are and how many of them are done, as a sweep's status counts: one that was split, and its halves
    /// too.
    pub fn counts(&self, sweep: &Sweep) -> (usize, usize) {
        self.counts_of(sweep.plan.units.keys().copied())
    }

    fn counts_of(&self, units: impl Iterator<Item = UnitKey>) -> (usize, usize) {
        let mut open: BTreeSet<UnitKey> = units.collect();
        let (mut all, mut done) = (0, 0);
        while let Some(unit) = open.pop_first() {
            all += 1;
            done += usize::from(self.done(&unit));
            open.extend(self.splits.get(&unit).into_iter().flat_map(|(_, halves)| halves).map(|half| half.unit.spec.key()));
        }
        (all, done)
    }

    /// A sweep's units in plan order, each that was split replaced by its halves, in their order.
    pub fn parts<'a>(&'a self, sweep: &'a Sweep) -> Vec<(UnitKey, &'a PlannedUnit)> {
        sweep.plan.order.iter().flat_map(|key| self.results(*key, &sweep.plan.units[key])).collect()
    }

    /// The units whose results are a unit's: itself, or where it was split its halves, in their order.
    pub fn results<'a>(&'a self, unit: UnitKey, planned: &'a PlannedUnit) -> Vec<(UnitKey, &'a PlannedUnit)> {
        let (mut parts, mut open) = (Vec::new(), vec![(unit, planned)]);
        while let Some((key, planned)) = open.pop() {
            match self.splits.get(&key) {
                Some((_, halves)) => open.extend(halves.iter().rev().map(|half| (half.unit.spec.key(), half))),
                None => parts.push((key, planned)),
            }
        }
        parts
    }

    /// What a machine is told before it takes the sweep up.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        let divided = |(unit, (generation, _)): (&UnitKey, &(u32, _))| (*unit, *generation);
        let divided = self.splits.iter().map(divided).map(|(unit, generation)| Event::Divided { unit, generation, stands: true });
        divided.chain(self.released.iter().map(|(unit, generation)| Event::ActivationsReleased { unit: *unit, generation: *generation }))
    }
}
