//! Random worlds: thousands of event sequences, sensible and senseless, against a second, simpler bookkeeping.

use std::sync::LazyLock;

use limbic_proto::spec::Activations;
use proptest::prelude::*;

use super::super::release::RELEASED;
use super::super::sweep::{Phase, Sweep};
use super::*;

/// One step. Numbers choose among workers, sweeps and all grants ever made, so that most outcomes are stale.
#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Register(u8, Vec<u8>),
    Ready(u8, bool),
    Unready(u8),
    Heartbeat(u8, Vec<u8>, bool),
    /// A worker that does what it is told asks for units, so many times; of what it reads, some is rotten.
    Serve(u8, u8, bool),
    Commit(u8, bool),
    CommitUnit(u8),
    Fail(u8, bool),
    Release(u8),
    /// Which grant, which of its dependencies, which generation.
    Corrupt(u8, u8, u8),
    VoidStands,
    SplitStands,
    ReleaseStands,
    /// Another coordinator releases what it takes for read; which unit.
    OthersRelease(u8),
    /// Which sweep, and which of its units.
    Retry(u8, Vec<u8>),
    Again(u8, Vec<u8>),
    /// The first sweep gets its second revision.
    Extend,
    Pause(u8),
    Resume(u8),
    Cancel(u8),
    /// Whether what was asked of the store in the meantime took effect.
    Restart(bool),
}

const WORKERS: [&str; 4] = ["u", "v", "w", "x"];
const SWEEPS: [&str; 2] = ["s", "t"];

/// What the two sweeps begin with; and what the first is extended to.
static PLANS: LazyLock<[Plan; 3]> = LazyLock::new(|| {
    let base = "layers: [0, 1]\nexecution: {rows_per_unit: 10}";
    let more = format!("{base}\nconditions: [{{name: raw}}, {{name: x, template: 'x {{text}}'}}]");
    [small_plan(&["a"], base), small_plan(&["a", "b"], &more), small_plan(&["a"], &more)]
});

fn step() -> impl Strategy<Value = Step> {
    let some = || prop::collection::vec(any::<u8>(), 0..4);
    prop_oneof![
        4 => prop_oneof![1u64..5_000, Just(15_000), 15_000u64..70_000].prop_map(Step::Pass),
        4 => (any::<u8>(), some()).prop_map(|(w, held)| Step::Register(w, held)),
        12 => (any::<u8>(), any::<bool>()).prop_map(|(w, loaded)| Step::Ready(w, loaded)),
        1 => any::<u8>().prop_map(Step::Unready),
        6 => (any::<u8>(), 1u8..8, prop::bool::weighted(0.3)).prop_map(|(w, times, rot)| Step::Serve(w, times, rot)),
        8 => (any::<u8>(), some(), prop::bool::weighted(0.1)).prop_map(|(w, held, drain)| Step::Heartbeat(w, held, drain)),
        8 => (any::<u8>(), prop::bool::weighted(0.9)).prop_map(|(g, mine)| Step::Commit(g, mine)),
        1 => any::<u8>().prop_map(Step::CommitUnit),
        6 => (any::<u8>(), prop::bool::weighted(0.1)).prop_map(|(g, permanent)| Step::Fail(g, permanent)),
        2 => any::<u8>().prop_map(Step::Release),
        3 => (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(g, bad, generation)| Step::Corrupt(g, bad, generation)),
        2 => Just(Step::VoidStands),
        2 => Just(Step::SplitStands),
        2 => Just(Step::ReleaseStands),
        2 => any::<u8>().prop_map(Step::OthersRelease),
        5 => (any::<u8>(), some()).prop_map(|(s, units)| Step::Retry(s, units)),
        1 => (any::<u8>(), some()).prop_map(|(s, units)| Step::Again(s, units)),
        1 => Just(Step::Extend),
        1 => any::<u8>().prop_map(Step::Pause),
        2 => any::<u8>().prop_map(Step::Resume),
        1 => (prop::bool::weighted(0.2), any::<u8>()).prop_map(|(cancel, s)| if cancel { Step::Cancel(s) } else { Step::Resume(s) }),
        1 => any::<bool>().prop_map(Step::Restart),
    ]
}

/// The world around a machine: store, journals, workers' memory, and leases as grants and heartbeats alone define them.
struct World {
    machine: Machine,
    /// [`PLANS`], with policies that the seed chooses.
    plans: [Plan; 3],
    now: Duration,
    epoch: u64,
    journals: BTreeMap<SweepId, Vec<Record>>,
    /// The highest link of each chain.
    store: BTreeMap<UnitKey, u32>,
    /// Results to be voided that are not yet.
    voids: VecDeque<(UnitKey, u32)>,
    /// Units to be split that are not yet.
    splits: VecDeque<(UnitKey, u32, Vec<UnitKey>)>,
    /// Units that were split, with the generation and their halves.
    halves: BTreeMap<UnitKey, (u32, Vec<UnitKey>)>,
    /// Results to be released that are not yet.
    releases: VecDeque<(UnitKey, u32)>,
    /// The store's markers.
    markers: BTreeSet<(UnitKey, u32)>,
    /// What the machine has asked to be released, or was told of.
    told: BTreeSet<(UnitKey, u32)>,
    /// How often a worker found states that another coordinator had released.
    late: usize,
    grants: Vec<Granted>,
    leases: BTreeMap<String, (UnitKey, WorkerId, Duration)>,
    /// When grants were made.
    since: BTreeMap<String, Duration>,
    trace: Vec<Action>,
    extended: bool,
    /// How often a straggler got a second attempt.
    seconds: usize,
    /// How often a lease began with a worker's word instead of a grant.
    adoptions: usize,
}

impl World {
    fn new(seed: u64) -> World {
        let policy = |n: usize| if seed >> n & 3 == 0 { Activations::Keep } else { Activations::Release };
        let plan = |n: usize| Plan { activations: policy(2 * n), ..PLANS[n].clone() };
        let mut world = World {
            plans: [plan(0), plan(1), plan(2)],
            // Stragglers are sought early, or hardly any world would have one.
            machine: Machine::new(Settings {
                seed,
                stragglers_from: 30,
                straggler_least: secs(5),
                fail_budget: 2,
                lost_budget: 5,
                ..Settings::default()
            }),
            now: Duration::ZERO,
            epoch: 0,
            journals: SWEEPS.iter().map(|id| (SweepId::from(*id), Vec::new())).collect(),
            store: BTreeMap::new(),
            voids: VecDeque::new(),
            splits: VecDeque::new(),
            halves: BTreeMap::new(),
            releases: VecDeque::new(),
            markers: BTreeSet::new(),
            told: BTreeSet::new(),
            late: 0,
            grants: Vec::new(),
            leases: BTreeMap::new(),
            since: BTreeMap::new(),
            trace: Vec::new(),
            extended: false,
            seconds: 0,
            adoptions: 0,
        };
        world.start();
        world
    }

    /// A coordinator takes both sweeps up.
    fn start(&mut self) {
        self.epoch += 1;
        self.machine = Machine::new(self.machine.settings.clone());
        self.leases.clear();
        for (unit, (generation, _)) in &self.halves {
            self.machine.handle(self.now, Event::Divided { unit: *unit, generation: *generation, stands: true });
        }
        for (unit, generation) in &self.markers {
            self.machine.handle(self.now, Event::ActivationsReleased { unit: *unit, generation: *generation });
        }
        self.told = self.markers.clone();
        let first = if self.extended { 2 } else { 0 };
        for (id, plan) in SWEEPS.iter().zip([&self.plans[first], &self.plans[1]]) {
            let journal = self.journals.get_mut(&SweepId::from(*id)).unwrap();
            journal.push(Record::Epoch { epoch: self.epoch, holder: "h".into(), software: "0".into(), at: 0 });
            let (history, committed) = (History::replay(&*journal), self.store.clone());
            let opening = Opening { id: (*id).into(), name: "name".into(), plan: plan.clone(), epoch: self.epoch, committed, history };
            self.machine.open_sweep(self.now, opening);
        }
        self.machine.handle(self.now, Event::AllOpen);
        self.carry_out(None);
    }

    /// Everything that must survive a restart.
    fn covered(&self) -> Vec<String> {
        let of = |sweep: &Sweep| {
            let head = format!("{} {} {}", sweep.id, sweep.paused, sweep.cancelled);
            // A half whose whole was voided belongs to nobody any more.
            let belongs = |slot: &&super::super::sweep::Slot| sweep.plan.units.contains_key(&slot.key) || !slot.parents.is_empty();
            let mut slots: Vec<_> = sweep.slots.iter().filter(belongs).collect();
            slots.sort_by_key(|slot| slot.key);
            let slots = slots.into_iter().map(|slot| {
                let budgets = (slot.fails, slot.losses, slot.voids);
                format!("{} {} {} {budgets:?} {:?}", sweep.id, slot.key.short(), slot.committed, slot.quarantined)
            });
            std::iter::once(head).chain(slots).collect::<Vec<_>>()
        };
        self.machine.sweeps.values().flat_map(of).collect()
    }

    /// The units that read a unit in a sweep, or what it is a half of.
    fn readers<'a>(sweep: &'a Sweep, unit: &'a UnitKey) -> impl Iterator<Item = &'a super::super::sweep::Slot> {
        sweep.slots.iter().filter(|slot| sweep.reads(&slot.key, unit))
    }

    /// Whether the machine takes the activations of the result that stands for released.
    fn released(&self, unit: &UnitKey) -> bool {
        self.store.get(unit).is_some_and(|link| commit::stands(*link) && self.told.contains(&(*unit, commit::generation(*link))))
    }

    fn stands(&self, unit: &UnitKey) -> bool {
        self.store.get(unit).is_some_and(|link| commit::stands(*link))
    }

    /// Whether the unit's result, or that of all its halves, stands.
    fn done(&self, unit: &UnitKey) -> bool {
        match self.halves.get(unit) {
            Some((_, halves)) => self.stands(unit) && halves.iter().all(|half| self.done(half)),
            None => self.stands(unit),
        }
    }

    /// The unit, and if it was split its halves, and theirs.
    fn parts(&self, unit: &UnitKey) -> Vec<UnitKey> {
        let halves = self.halves.get(unit).map(|(_, halves)| halves.as_slice()).unwrap_or_default();
        std::iter::once(*unit).chain(halves.iter().flat_map(|half| self.parts(half))).collect()
    }

    /// The store commits a unit as split, unless a result stands.
    fn divide(&mut self, unit: UnitKey, generation: u32, halves: Vec<UnitKey>) -> bool {
        let link = commit::result(generation);
        let known = self.halves.get(&unit).is_some_and(|(of, _)| *of == generation);
        if known || self.store.get(&unit).is_none_or(|highest| *highest < link) {
            self.write(unit, link);
            self.halves.insert(unit, (generation, halves));
            return true;
        }
        false
    }

    fn write(&mut self, unit: UnitKey, link: u32) {
        let highest = self.store.entry(unit).or_insert(link);
        *highest = link.max(*highest);
        if self.halves.get(&unit).is_some_and(|(generation, _)| commit::result(*generation) < link) {
            self.halves.remove(&unit);
        }
    }

    fn play(&mut self, step: &Step) {
        let worker = |w: u8| WorkerId::from(WORKERS[w as usize % WORKERS.len()]);
        let sweep = |s: u8| SweepId::from(SWEEPS[s as usize % SWEEPS.len()]);
        let units = |s: u8, list: &[u8]| {
            let order = &PLANS[s as usize % SWEEPS.len()].order;
            list.iter().map(|u| order[*u as usize % order.len()]).collect()
        };
        let granted = |g: u8| self.grants.get(self.grants.len().saturating_sub(1 + g as usize % 12)).cloned();
        // Mostly a worker names what it was granted, at times what another was.
        let named = |worker: &WorkerId, g: u8| match g % 8 {
            0 => granted(g),
            back => self.grants.iter().rev().filter(|granted| granted.worker == *worker).nth(back as usize / 3).cloned(),
        };
        let unit_of = |g: &Granted| self.machine.unit(&g.held.sweep, &g.held.unit);
        let reads = |g: &&Granted| unit_of(g).is_some_and(|unit| !unit.spec.dependencies().is_empty());
        // Mostly an attempt that reads something.
        let reader = |g: u8| if g < 230 { self.grants.iter().rev().filter(reads).nth(g as usize % 4).cloned() } else { granted(g) };
        let held = |worker: &WorkerId, list: &[u8]| list.iter().filter_map(|g| named(worker, *g)).map(|g| g.held).collect::<Vec<_>>();
        let event = match step {
            Step::Pass(ms) => {
                self.now += Duration::from_millis(*ms);
                Event::Tick
            }
            Step::Register(w, list) => Event::Register {
                worker: worker(*w),
                device: "cpu".into(),
                takes: [Takes::All, Takes::Passes, Takes::All, Takes::Fits][usize::from(*w % 4)],
                memory: u64::from(*w % 3) * 100_000,
                held: held(&worker(*w), list),
            },
            Step::Ready(w, loaded) => Event::Ready { worker: worker(*w), loaded: loaded.then(|| Digest::of(b"b")).into_iter().collect() },
            Step::Unready(w) => Event::Unready { worker: worker(*w) },
            Step::Heartbeat(w, list, draining) => {
                let held = held(&worker(*w), list).into_iter().map(|held| Progress { held, share: 0.5, tokens: 1 }).collect();
                Event::Heartbeat { worker: worker(*w), held, draining: *draining }
            }
            Step::Serve(w, times, rot) => {
                let worker = worker(*w);
                for _ in 0..*times {
                    self.serve(&worker, *rot);
                }
                return;
            }
            Step::Commit(g, mine) => match granted(*g) {
                // Nothing is committed before what it reads, and only what stands can be another's.
                Some(g) => {
                    let Held { sweep, unit, attempt, generation, .. } = g.held;
                    let taken = self.store.get(&unit).is_some_and(|highest| *highest >= commit::result(generation));
                    let mine = *mine && !taken;
                    let event = Event::Committed { worker: g.worker, sweep, unit, attempt, generation, mine, tokens: 1 };
                    if mine || taken { event } else { Event::Tick }
                }
                _ => Event::Tick,
            },
            Step::CommitUnit(u) => {
                let order = &PLANS[1].order;
                let unit = order[*u as usize % order.len()];
                let ready = PLANS[1].units[&unit].unit.spec.dependencies().iter().all(|d| self.done(d));
                let generation = self.store.get(&unit).map_or(0, |link| commit::generation(*link));
                let (worker, sweep, attempt) = ("y".into(), "t".into(), format!("foreign-{u}"));
                let mine = !self.stands(&unit);
                let event = Event::Committed { worker, sweep, unit, attempt, generation, mine, tokens: 1 };
                if ready { event } else { Event::Tick }
            }
            Step::Fail(g, permanent) => granted(*g).map_or(Event::Tick, |g| Event::Failed {
                worker: g.worker,
                unit: g.held.unit,
                attempt: g.held.attempt,
                error: "boom".into(),
                permanent: *permanent,
            }),
            Step::Release(g) => {
                granted(*g).map_or(Event::Tick, |g| Event::Released { worker: g.worker, unit: g.held.unit, attempt: g.held.attempt })
            }
            Step::Corrupt(g, bad, generation) => reader(*g).map_or(Event::Tick, |g| {
                let dependencies = unit_of(&g).map(|unit| unit.spec.dependencies()).unwrap_or_default();
                let parts: Vec<UnitKey> = dependencies.iter().flat_map(|d| self.parts(d)).collect();
                let bad = parts.get(*bad as usize % (parts.len() + 1)).copied().unwrap_or(g.held.unit);
                let generation = if *generation < 200 { self.machine.generation(&bad) } else { u32::from(*generation) % 3 };
                let Held { unit, attempt, .. } = g.held;
                Event::Corrupt { worker: g.worker, unit, attempt, bad, generation, error: "rotten".into() }
            }),
            Step::VoidStands => match self.voids.pop_front() {
                Some((unit, generation)) => Event::Voided { unit, generation },
                None => Event::Tick,
            },
            Step::SplitStands => match self.splits.pop_front() {
                Some((unit, generation, halves)) => {
                    let stands = self.divide(unit, generation, halves);
                    Event::Divided { unit, generation, stands }
                }
                None => Event::Tick,
            },
            Step::ReleaseStands => {
                self.markers.extend(self.releases.pop_front());
                return;
            }
            Step::OthersRelease(u) => {
                let whole = |unit: &UnitKey| self.stands(unit) && !self.halves.contains_key(unit);
                let parts = PLANS[1]
                    .order
                    .iter()
                    .filter(|unit| PLANS[1].units[*unit].unit.spec.kind() == UnitKind::Extract)
                    .flat_map(|unit| self.parts(unit));
                let standing: Vec<UnitKey> = parts.filter(whole).collect();
                let unit = standing.get(*u as usize % standing.len().max(1));
                self.markers.extend(unit.map(|unit| (*unit, commit::generation(self.store[unit]))));
                return;
            }
            Step::Retry(s, list) => Event::Retry { sweep: sweep(*s), units: units(*s, list) },
            Step::Again(s, list) => Event::Again { sweep: sweep(*s), units: units(*s, list) },
            Step::Extend => {
                self.extended = true;
                let before = self.leases.clone();
                self.machine.extend_sweep(self.now, &SWEEPS[0].into(), self.plans[2].clone(), self.store.clone());
                self.leases.retain(|_, (.., expires)| *expires > self.now);
                self.carry_out(None);
                assert!(before.keys().all(|attempt| self.leases.contains_key(attempt)), "what runs goes on");
                return self.check();
            }
            Step::Pause(s) => Event::Pause { sweep: sweep(*s), by: String::new() },
            Step::Resume(s) => Event::Resume { sweep: sweep(*s) },
            Step::Cancel(s) => Event::Cancel { sweep: sweep(*s) },
            Step::Restart(took_effect) => {
                // Of splits that took effect the machine hears, for the next one knows of them.
                // One by one: those that are still being written are waited for.
                while let Some((unit, generation, halves)) = self.splits.pop_front().filter(|_| *took_effect) {
                    let stands = self.divide(unit, generation, halves);
                    self.send(Event::Divided { unit, generation, stands });
                }
                self.splits.clear();
                let before = self.covered();
                for (unit, generation) in std::mem::take(&mut self.voids) {
                    if *took_effect {
                        self.write(unit, commit::void(generation));
                    }
                }
                let released = std::mem::take(&mut self.releases);
                self.markers.extend(released.into_iter().filter(|_| *took_effect));
                self.start();
                assert_eq!(before, self.covered(), "journal and store give the same state");
                return self.check();
            }
        };
        self.send(event);
    }

    fn send(&mut self, event: Event) {
        self.leases.retain(|_, (.., expires)| *expires > self.now);
        match &event {
            Event::Committed { unit, generation, .. } => self.write(*unit, commit::result(*generation)),
            Event::Voided { unit, generation } => self.write(*unit, commit::void(*generation)),
            Event::ActivationsReleased { unit, generation } => drop(self.told.insert((*unit, *generation))),
            _ => {}
        }
        self.machine.handle(self.now, event.clone());
        self.carry_out(Some(&event));
        self.check();
    }

    /// Carries actions out, and judges every grant by what the world knows.
    fn carry_out(&mut self, event: Option<&Event>) {
        match event {
            // Whoever else runs it is told to stop, which is seen below.
            Some(Event::Committed { attempt, .. }) => drop(self.leases.remove(attempt)),
            Some(
                Event::Failed { worker, attempt, .. } | Event::Released { worker, attempt, .. } | Event::Corrupt { worker, attempt, .. },
            ) => {
                self.leases.retain(|of, (_, holder, _)| of != attempt || holder != worker);
            }
            _ => {}
        }
        while let Some(action) = self.machine.poll_action() {
            match &action {
                Action::Grant { worker, sweep, unit, attempt, token, generation, inputs } => {
                    let state = self.machine.sweeps[sweep].state();
                    assert!(!state.terminal() && !self.machine.sweeps[sweep].paused, "granted while {state:?}");
                    let others: Vec<_> = self.leases.iter().filter(|(_, (of, ..))| of == unit).collect();
                    if let [(first, (_, holder, _))] = others.as_slice() {
                        let counts = self.machine.sweeps[sweep].units;
                        assert!((counts.committed + counts.quarantined) * 100 >= counts.total * 30, "second attempts come at the end");
                        assert_ne!(holder, worker, "second attempts are made elsewhere");
                        let late = self.since.get(*first).is_none_or(|since| self.now >= *since + secs(5));
                        assert!(late, "second attempts are for stragglers");
                        self.seconds += 1;
                    }
                    assert!(others.len() <= 1, "granted a third time");
                    self.since.insert(attempt.clone(), self.now);
                    assert!(!self.stands(unit), "granted although committed");
                    let next = self.store.get(unit).map_or(0, |link| commit::generation(*link));
                    assert_eq!(*generation, next, "the generation after the last void");
                    let dependencies = self.machine.unit(sweep, unit).unwrap().spec.dependencies();
                    assert!(dependencies.iter().all(|d| self.done(d)), "granted before its dependencies");
                    // One of a generation that was committed meanwhile, and voided, comes to nothing.
                    let splits = |(of, generation, _): &(UnitKey, u32, _)| of == unit && *generation == next;
                    assert!(!self.splits.iter().any(splits), "granted although it is being split");
                    let parts = || dependencies.iter().flat_map(|d| self.parts(d));
                    assert!(!parts().any(|d| self.released(&d)), "granted although what it reads is gone");
                    let later = parts().map(|d| (d, commit::generation(self.store[&d]))).filter(|(_, g)| *g > 0);
                    assert_eq!(*inputs, later.collect::<Vec<_>>(), "what stands is what it reads");
                    assert!(self.machine.known(worker) && !self.machine.workers[worker].draining);
                    assert!(!self.machine.workers[worker].ready, "one grant for each time it asked");
                    let kind = self.machine.unit(sweep, unit).unwrap().spec.kind();
                    assert!(self.machine.workers[worker].takes.includes(kind.runs_model()), "only what it takes");
                    assert!(self.grants.iter().all(|g| g.held.attempt != *attempt), "attempts are new");
                    self.leases.insert(attempt.clone(), (*unit, worker.clone(), self.now + self.machine.settings.lease_ttl));
                    let (sweep, attempt) = (sweep.clone(), attempt.clone());
                    let held = Held { sweep, unit: *unit, attempt, token: *token, generation: *generation };
                    self.grants.push(Granted { worker: worker.clone(), held });
                }
                Action::Append { sweep, record } => self.journals.get_mut(sweep).unwrap().push(record.clone()),
                Action::CancelAttempt { worker, attempt } => self.leases.retain(|of, (_, holder, _)| of != attempt || holder != worker),
                Action::Void { unit, generation, .. } => {
                    assert_eq!(self.store.get(unit), Some(&commit::result(*generation)), "only what stands is voided");
                    self.voids.push_back((*unit, *generation));
                }
                Action::Split { unit, generation, children } => {
                    assert!(!self.stands(unit) && children.len() == 2, "only what has no result is split");
                    self.splits.push_back((*unit, *generation, children.clone()));
                }
                Action::Release { unit, generation } => {
                    assert_eq!(self.store.get(unit), Some(&commit::result(*generation)), "only what stands is released");
                    assert!(self.told.insert((*unit, *generation)), "and once");
                    for sweep in self.machine.sweeps.values().filter(|sweep| sweep.slot(unit).is_some()) {
                        assert_eq!(sweep.plan.activations, Activations::Release);
                        let readers: Vec<_> = World::readers(sweep, unit).map(|slot| slot.key).collect();
                        let done = |reader: &UnitKey| self.done(reader) && !self.voids.iter().any(|(unit, _)| unit == reader);
                        assert!(!readers.is_empty() && readers.iter().all(done), "everything that reads it is done");
                    }
                    self.releases.push_back((*unit, *generation));
                }
                Action::Changed { sweep } => assert!(self.machine.sweeps.contains_key(sweep)),
                Action::Silent { worker } => {
                    let registers = matches!(event, Some(Event::Register { worker: new, .. }) if new == worker);
                    assert!(registers || !self.machine.known(worker), "who is silent is forgotten");
                }
            }
            self.trace.push(action);
        }
        if let Some(Event::Heartbeat { held, worker, .. }) = event {
            held.iter().for_each(|progress| self.renewed(worker, &progress.held));
        }
        if let Some(Event::Register { held, worker, .. }) = event {
            held.iter().for_each(|held| self.renewed(worker, held));
        }
    }

    /// The machine may have renewed or adopted; if so the world's lease is as long.
    fn renewed(&mut self, worker: &WorkerId, held: &Held) {
        let holds = |lease: &lease::Lease| lease.attempt == held.attempt && lease.worker == *worker;
        if self.machine.known(worker) && self.machine.leases.of_unit(&held.unit).any(holds) {
            let expires = self.now + self.machine.settings.lease_ttl;
            let before = self.leases.insert(held.attempt.clone(), (held.unit, worker.clone(), expires));
            self.adoptions += usize::from(before.is_none());
        }
    }

    /// What must hold in every state, counted anew from the facts.
    fn check(&self) {
        assert!(self.machine.poll_deadline().is_none_or(|due| due > self.now), "nothing is overdue");
        let mut running: Vec<_> = self.machine.leases.iter().map(|lease| (lease.attempt.clone(), lease.unit)).collect();
        running.sort();
        let known: Vec<_> = self.leases.iter().map(|(attempt, (unit, ..))| (attempt.clone(), *unit)).collect();
        assert_eq!(running, known, "leases are what grants and heartbeats say");
        for (id, sweep) in &self.machine.sweeps {
            let status = self.machine.status(self.now, id).unwrap();
            let units = status.units;
            assert_eq!(units.committed + units.running + units.pending + units.quarantined, units.total);
            let waits: u64 = status.waiting.iter().map(|waiting| waiting.count).sum();
            assert_eq!(waits, if status.state.terminal() { 0 } else { units.pending }, "all that is pending waits for something");
            let records = &self.journals[id];
            assert_eq!(sweep.history, History::replay(records), "the fold is what the journal says");
            let count = |of: &dyn Fn(Phase) -> bool| sweep.slots.iter().filter(|slot| of(slot.phase)).count() as u64;
            assert_eq!(units.committed, count(&Phase::done));
            assert_eq!(units.running, count(&|p| p == Phase::Running));
            assert_eq!(units.quarantined, count(&Phase::hopeless));
            let phase = |key: &UnitKey| sweep.slot(key).unwrap().phase;
            for (rank, slot) in sweep.slots.iter().enumerate() {
                assert_eq!(slot.phase, slot.due_phase(self.now), "phases follow from facts");
                let (voided, split) = (self.voids.iter().any(|v| v.0 == slot.key), self.splits.iter().any(|s| s.0 == slot.key));
                assert_eq!(slot.committed, self.stands(&slot.key) && !voided);
                assert_eq!(slot.released, slot.committed && self.released(&slot.key));
                let starved = slot.phase == Phase::Waiting && slot.recalls > 0 && slot.split.is_none();
                assert_eq!(sweep.starved.contains(&rank), starved);
                assert!(!starved || !sweep.grants(self.now), "what is needed again is computed again");
                assert!(slot.unsettled || !voided, "it waits until the void stands");
                assert!(!slot.unsettled || voided || split, "it waits for nothing else");
                if let Some(halves) = &slot.split {
                    let phases = || halves.ranks.iter().map(|rank| sweep.slots[*rank].phase);
                    assert_eq!(halves.open, phases().filter(|p| !p.done()).count());
                    assert_eq!(halves.released, phases().filter(|p| *p == Phase::Released).count());
                    assert_eq!(halves.hopeless, phases().filter(|p| p.hopeless()).count());
                }
                assert_eq!(slot.split.is_some(), self.halves.contains_key(&slot.key) && !voided);
                assert_eq!(slot.leased, self.machine.leases.runs(&slot.key));
                let dependencies = sweep.planned(&slot.key).unwrap().unit.spec.dependencies();
                assert_eq!(slot.waiting, dependencies.iter().filter(|d| phase(d) != Phase::Committed).count());
                assert_eq!(slot.recalls, dependencies.iter().filter(|d| phase(d) == Phase::Released).count());
                assert_eq!(slot.unread, slot.dependants.iter().filter(|rank| !sweep.slots[**rank].phase.done()).count());
                assert_eq!(slot.blocked, dependencies.iter().filter(|d| phase(d).hopeless()).count());
                assert_eq!(sweep.given_up.contains(&rank), slot.phase == Phase::Quarantined);
                let queued = sweep.queues.values().any(|queue| queue.ready.contains(&rank));
                assert_eq!(queued, slot.phase == Phase::Ready);
            }
            let cells = |of: &dyn Fn(&[Phase]) -> bool| {
                let phases = |keys: &[UnitKey]| keys.iter().map(phase).collect::<Vec<_>>();
                sweep.plan.cells.iter().filter(|cell| of(&phases(&cell.units))).count() as u64
            };
            assert_eq!(status.cells.done, cells(&|all| all.iter().all(|p| p.done())));
            assert_eq!(status.cells.quarantined, cells(&|all| all.iter().any(|p| p.hopeless())));
            let a = sweep.attempts;
            let leased = self.machine.leases.iter().filter(|lease| lease.sweep == *id).count() as u64;
            assert_eq!(a.started, a.committed + a.failed + a.lost + a.released + leased, "{a:?}");
        }
        self.check_released();
    }

    /// What nobody needs any more is released.
    fn check_released(&self) {
        let sweeps = || self.machine.sweeps.values();
        // In every sweep, what is read, and whether everything that reads it is done.
        let read = |sweep: &Sweep| {
            let mut read: BTreeMap<UnitKey, bool> = BTreeMap::new();
            for slot in &sweep.slots {
                let dependencies = sweep.planned(&slot.key).unwrap().unit.spec.dependencies();
                for part in dependencies.iter().flat_map(|unit| self.parts(unit)) {
                    *read.entry(part).or_insert(true) &= slot.phase.done();
                }
            }
            read
        };
        let read: Vec<(&Sweep, BTreeMap<UnitKey, bool>)> = sweeps().map(|sweep| (sweep, read(sweep))).collect();
        for unit in read.iter().flat_map(|(_, read)| read.keys()) {
            let lets_go = |sweep: &Sweep, read: &BTreeMap<UnitKey, bool>| {
                sweep.plan.activations == Activations::Release && read.get(unit).is_some_and(|done| *done)
            };
            let kept = read.iter().any(|(sweep, read)| sweep.slot(unit).is_some() && !lets_go(sweep, read));
            let whole = self.machine.committed(unit) && !self.halves.contains_key(unit);
            assert!(kept || !whole || self.released(unit), "kept for nobody");
        }
    }

    /// A worker asks for a unit and commits what it gets; false where it gets none.
    fn serve(&mut self, worker: &WorkerId, rot: bool) -> bool {
        let before = self.grants.len();
        self.send(Event::Ready { worker: worker.clone(), loaded: Vec::new() });
        let Some(g) = self.grants[before..].iter().find(|g| g.worker == *worker).cloned() else { return false };
        let Held { sweep, unit, attempt, generation, .. } = g.held;
        let mine = self.store.get(&unit).is_none_or(|highest| *highest < commit::result(generation));
        let worker = worker.clone();
        let dependencies = self.machine.unit(&sweep, &unit).unwrap().spec.dependencies().to_vec();
        let gone = |part: &UnitKey| self.markers.contains(&(*part, self.machine.generation(part)));
        if let Some(bad) = dependencies.iter().flat_map(|d| self.parts(d)).find(gone) {
            self.late += 1;
            let generation = self.machine.generation(&bad);
            if !rot {
                self.send(Event::ActivationsReleased { unit: bad, generation });
            }
            self.send(Event::Corrupt { worker, unit, attempt, bad, generation, error: "gone".into() });
            return true;
        }
        if let Some(bad) = dependencies.first().copied().filter(|_| rot) {
            let generation = self.machine.generation(&bad);
            self.send(Event::Corrupt { worker, unit, attempt, bad, generation, error: "rotten".into() });
            return true;
        }
        self.send(Event::Committed { worker, sweep, unit, attempt, generation, mine, tokens: 1 });
        true
    }

    /// A live worker that does what it is told, for as long as there is something to do.
    fn finish(&mut self) {
        for id in SWEEPS {
            self.send(Event::Resume { sweep: id.into() });
        }
        let worker = WorkerId::from("good");
        for _ in 0..10_000 {
            if self.machine.finished() {
                return;
            }
            if !self.machine.known(&worker) {
                self.send(Event::Register { worker: worker.clone(), device: "cpu".into(), takes: Takes::All, memory: 0, held: Vec::new() });
            }
            while let Some((unit, generation)) = self.voids.pop_front() {
                self.send(Event::Voided { unit, generation });
            }
            self.play(&Step::SplitStands);
            if !self.serve(&worker, false) {
                self.now = self.machine.poll_deadline().expect("something is due while a sweep is not finished");
                self.send(Event::Tick);
            }
        }
        panic!("a live cooperative worker did not bring the sweeps to their end");
    }
}

fn run(seed: u64, steps: &[Step]) -> World {
    let mut world = World::new(seed);
    for step in steps {
        world.play(step);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_and_every_world_ends(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..120)) {
        let mut world = run(seed, &steps);
        let again = run(seed, &steps);
        prop_assert_eq!(&world.trace, &again.trace, "the same seed and events give the same actions");
        world.finish();
        world.play(&Step::Restart(true));
        prop_assert!(world.machine.finished(), "what is finished stays finished");
    }
}

#[test]
fn worlds_are_eventful() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec(step(), 60..160);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..1000 {
        let mut world = run(seed, &steps.new_tree(&mut runner).unwrap().current());
        *seen.entry("adoption").or_default() += world.adoptions;
        *seen.entry("second attempt").or_default() += world.seconds;
        let inherited = |id: &SweepId| world.machine.sweeps[id].epoch > 1 && world.machine.sweeps[id].inherited_flops > 0.0;
        *seen.entry("restart with commits").or_default() += SWEEPS.iter().filter(|id| inherited(&SweepId::from(**id))).count();
        world.finish();
        *seen.entry("read too late").or_default() += world.late;
        for action in &world.trace {
            let what = match action {
                Action::Grant { generation: 1.., .. } => "later generation",
                Action::Grant { .. } => "grant",
                Action::CancelAttempt { .. } => "cancelled attempt",
                Action::Changed { .. } => "change",
                Action::Silent { .. } => "silent worker",
                Action::Void { .. } => "void",
                Action::Split { .. } => "split",
                Action::Release { .. } => "release",
                Action::Append { record, .. } => match record {
                    Record::Fail { .. } => "failure",
                    Record::Lost { .. } => "loss",
                    Record::Quarantine { .. } => "quarantine",
                    Record::Retry { .. } => "retry",
                    Record::Pause { .. } => "pause",
                    Record::Resume => "resume",
                    Record::Cancel => "cancel",
                    Record::Void { reason, .. } if reason == RELEASED => "computed again after a release",
                    Record::Void { asked: true, .. } => "asked again",
                    Record::Epoch { .. } | Record::Void { .. } | Record::Split { .. } => "other",
                },
            };
            *seen.entry(what).or_default() += 1;
        }
    }
    println!("{seen:?}");
    let expected = [
        "adoption",
        "second attempt",
        "restart with commits",
        "grant",
        "cancelled attempt",
        "void",
        "later generation",
        "split",
        "release",
        "computed again after a release",
        "read too late",
        "asked again",
        "change",
        "silent worker",
        "failure",
        "loss",
        "quarantine",
        "retry",
        "pause",
        "resume",
        "cancel",
    ];
    for what in expected {
        assert!(seen.get(what).is_some_and(|count| *count >= 50), "too little of `{what}` to test anything: {seen:?}");
    }
}
