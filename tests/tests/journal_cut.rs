//! A journal is cut behind every record, and a new machine takes the sweep up with what is left: every prefix is legal,
//! nothing that is committed is leased again, and the sweep still ends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use limbic_core::history::History;
use limbic_core::machine::{Action, Event, Machine, Opening, Settings, SweepId, WorkerId};
use limbic_core::plan::{Plan, PlannedUnit};
use limbic_proto::commit;
use limbic_proto::journal::Record;
use limbic_proto::key::UnitKey;
use limbic_proto::spec::Spec;
use limbic_proto::takes::Takes;
use limbic_proto::unit::Versions;
use limbic_tests::Sandbox;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SWEEP: &str = "s";
const WORKERS: [&str; 3] = ["a", "b", "c"];

/// What stood when: records and links, in the order they came.
#[derive(Debug, Clone)]
enum Stood {
    Record(Record),
    Link(UnitKey, u32),
    Split(UnitKey, u32),
    Released(UnitKey, u32),
}

/// A machine, and the store and the workers around it.
struct World {
    machine: Machine,
    now: Duration,
    links: BTreeMap<UnitKey, u32>,
    /// Results whose activations are gone.
    released: BTreeSet<(UnitKey, u32)>,
    stood: Vec<Stood>,
    draws: ChaCha8Rng,
    /// How often something other than a commit comes of an attempt, of 100.
    trouble: u32,
    granted: usize,
}

fn plan() -> Plan {
    let shipped = Sandbox::repository().join("configs/quickstart");
    let text = format!(
        "name: cut\ndataset: {{group: group, limit: 210, source: {}}}\nmodels: [{{source: {}}}]\nconditions: [{{name: raw}}, {{name: said, template: 'So: {{text}}'}}]\n\
         offsets: [0]\nprobes: [{{kind: logistic, c: [0.01]}}]\nexecution: {{rows_per_unit: 70, activations: release}}\n",
        shipped.join("corpus.jsonl").display(),
        shipped.join("models/tiny-0.3m").display()
    );
    let spec = Spec::from_yaml(&text, Path::new("cut.yaml")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(limbic::sweep::prepare(spec)).unwrap().plan
}

impl World {
    /// Takes the sweep up with the journal and the markers that stood before, and with these links.
    fn open(plan: &Plan, before: &[Stood], links: BTreeMap<UnitKey, u32>, seed: u64, trouble: u32) -> World {
        let (records, splits, released) = (records(before), splits(before), released(before));
        let epoch = 1 + History::replay(&records).max_epoch();
        let taken = Record::Epoch { epoch, holder: "h".into(), software: "0".into(), at: 0 };
        let history = History::replay(records.iter().chain([&taken]));
        let settings = Settings { fail_budget: 3, lost_budget: 3, seed, ..Settings::default() };
        let mut world = World {
            machine: Machine::new(settings),
            now: Duration::ZERO,
            links: links.clone(),
            released: BTreeSet::new(),
            stood: vec![Stood::Record(taken)],
            draws: ChaCha8Rng::seed_from_u64(seed),
            trouble,
            granted: 0,
        };
        for (unit, generation) in splits {
            world.machine.handle(Duration::ZERO, Event::Divided { unit, generation, stands: true });
        }
        for (unit, generation) in released {
            world.machine.handle(Duration::ZERO, Event::ActivationsReleased { unit, generation });
            world.released.insert((unit, generation));
        }
        let opening = Opening { id: SWEEP.into(), name: "cut".into(), plan: plan.clone(), epoch, committed: links, history };
        world.machine.open_sweep(Duration::ZERO, opening);
        world.machine.handle(Duration::ZERO, Event::AllOpen);
        world.carry_out();
        world
    }

    fn handle(&mut self, event: Event) {
        self.machine.handle(self.now, event);
        self.carry_out();
    }

    /// Carries out what the machine asks for; attempts come to their end at once.
    fn carry_out(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Append { record, .. } => self.stood.push(Stood::Record(record)),
                Action::Void { unit, generation, .. } => {
                    self.link(unit, commit::void(generation));
                    self.machine.handle(self.now, Event::Voided { unit, generation });
                }
                Action::Split { unit, generation, .. } => {
                    // A result of a worker that could not say so may stand first.
                    let stands = self.links.get(&unit).is_none_or(|link| *link < commit::result(generation));
                    if stands {
                        self.links.insert(unit, commit::result(generation));
                        self.stood.push(Stood::Split(unit, generation));
                    }
                    self.machine.handle(self.now, Event::Divided { unit, generation, stands });
                }
                Action::Release { unit, generation } => {
                    self.released.insert((unit, generation));
                    self.stood.push(Stood::Released(unit, generation));
                }
                Action::Grant { worker, unit, attempt, generation, .. } => self.attempt(worker, unit, attempt, generation),
                Action::CancelAttempt { .. } | Action::Silent { .. } | Action::Changed { .. } => {}
            }
        }
    }

    /// The store keeps the highest link of each chain.
    fn link(&mut self, unit: UnitKey, link: u32) {
        let highest = self.links.entry(unit).or_insert(link);
        if *highest <= link {
            *highest = link;
            self.stood.push(Stood::Link(unit, link));
        }
    }

    fn attempt(&mut self, worker: WorkerId, unit: UnitKey, attempt: String, generation: u32) {
        self.granted += 1;
        let sweep = SweepId::from(SWEEP);
        assert!(!self.links.get(&unit).is_some_and(|link| commit::stands(*link)), "a committed unit is leased again");
        let dependencies = self.machine.unit(&sweep, &unit).unwrap().spec.dependencies().to_vec();
        for read in &dependencies {
            assert!(commit::stands(self.links[read]), "leased before what it reads");
            let gone = self.released.contains(&(*read, commit::generation(self.links[read])));
            assert!(!gone, "leased although what it reads was released");
        }
        if self.draws.random_range(0..100) >= self.trouble {
            self.link(unit, commit::result(generation));
            let event = Event::Committed { worker, sweep, unit, attempt, generation, mine: true, tokens: 1 };
            return self.machine.handle(self.now, event);
        }
        let event = match self.draws.random_range(0..5) {
            0 => Event::Released { worker, unit, attempt },
            1 => Event::Failed { worker, unit, attempt, error: "boom".into(), permanent: self.draws.random_bool(0.2) },
            2 if !dependencies.is_empty() => {
                let bad = *dependencies.choose(&mut self.draws).unwrap();
                let generation = commit::generation(self.links[&bad]);
                Event::Corrupt { worker, unit, attempt, bad, generation, error: "rot".into() }
            }
            // Committed, and its worker died before it could say so.
            3 => {
                self.link(unit, commit::result(generation));
                return;
            }
            // Silent for good.
            _ => return,
        };
        self.machine.handle(self.now, event);
    }

    /// Workers ask for work, and time passes, until nothing is left to do.
    fn finish(&mut self) {
        for round in 0..20_000 {
            if self.machine.finished() {
                return;
            }
            let worker = WorkerId::from(WORKERS[round % WORKERS.len()]);
            if !self.machine.known(&worker) {
                self.handle(Event::Register {
                    worker: worker.clone(),
                    device: "cpu".into(),
                    takes: Takes::All,
                    memory: 0,
                    held: Vec::new(),
                });
            }
            let before = self.granted;
            self.handle(Event::Ready { worker, loaded: Vec::new() });
            // A lost attempt whose commit stands is found done by whoever is granted the unit next: here, by looking.
            self.find();
            if self.granted == before {
                self.now = self.machine.poll_deadline().map_or(self.now, |due| due.max(self.now)) + Duration::from_millis(1);
                self.find();
                self.handle(Event::Tick);
            }
        }
        panic!("the sweep does not end");
    }

    /// Tells the machine of commits that it has not heard of.
    fn find(&mut self) {
        let unheard: Vec<(UnitKey, u32)> = self
            .links
            .iter()
            .filter(|(unit, link)| commit::stands(**link) && !self.machine.committed(unit))
            .map(|(u, l)| (*u, *l))
            .collect();
        for (unit, link) in unheard {
            let (worker, attempt) = (WorkerId::from("late"), "late".to_owned());
            let generation = commit::generation(link);
            self.handle(Event::Committed { worker, sweep: SWEEP.into(), unit, attempt, generation, mine: false, tokens: 0 });
        }
    }
}

fn records(stood: &[Stood]) -> Vec<Record> {
    stood.iter().filter_map(|s| if let Stood::Record(record) = s { Some(record.clone()) } else { None }).collect()
}

fn links(stood: &[Stood]) -> BTreeMap<UnitKey, u32> {
    let link = |stood: &Stood| match stood {
        Stood::Link(unit, link) => Some((*unit, *link)),
        Stood::Split(unit, generation) => Some((*unit, commit::result(*generation))),
        Stood::Record(_) | Stood::Released(..) => None,
    };
    stood.iter().filter_map(link).collect()
}

fn splits(stood: &[Stood]) -> Vec<(UnitKey, u32)> {
    stood.iter().filter_map(|s| if let Stood::Split(unit, generation) = s { Some((*unit, *generation)) } else { None }).collect()
}

fn released(stood: &[Stood]) -> Vec<(UnitKey, u32)> {
    stood.iter().filter_map(|s| if let Stood::Released(unit, generation) = s { Some((*unit, *generation)) } else { None }).collect()
}

/// A unit, its halves, and theirs.
fn family(unit: &PlannedUnit) -> BTreeSet<UnitKey> {
    unit.split(&Versions::CURRENT).iter().flat_map(family).chain([unit.unit.spec.key()]).collect()
}

#[test]
fn every_prefix_of_every_journal_can_be_taken_up() {
    let plan = plan();
    let families: BTreeMap<UnitKey, BTreeSet<UnitKey>> = plan.units.iter().map(|(key, unit)| (*key, family(unit))).collect();
    let (mut cuts, mut releases, mut kinds) = (0, 0, BTreeSet::new());
    for seed in 0..40 {
        let mut first = World::open(&plan, &[], BTreeMap::new(), seed, 55);
        first.finish();
        for cut in 0..=first.stood.len() {
            let (before, after) = first.stood.split_at(cut);
            let (records, mut links) = (records(before), links(before));
            releases += usize::from(!released(before).is_empty());
            kinds.extend(records.iter().map(|record| format!("{record:?}").split([' ', '{']).next().unwrap_or_default().to_owned()));
            // Workers commit without a coordinator: some of what was running then stands by now.
            let mut draws = ChaCha8Rng::seed_from_u64(seed ^ cut as u64);
            for stood in after {
                if let Stood::Link(unit, link) = stood
                    && commit::stands(*link)
                    && *link == links.get(unit).map_or(0, |now| if commit::stands(*now) { u32::MAX } else { now + 1 })
                    && draws.random_bool(0.3)
                    && let Some(planned) = plan.units.get(unit)
                    && planned.unit.spec.dependencies().iter().all(|d| links.get(d).is_some_and(|l| commit::stands(*l)))
                {
                    links.insert(*unit, *link);
                }
            }
            let mut second = World::open(&plan, before, links.clone(), seed + 1000, 0);
            second.finish();
            let quarantined: BTreeSet<UnitKey> = second.machine.quarantined(&SWEEP.into()).into_iter().collect();
            for unit in plan.units.keys() {
                let link = second.links.get(unit).copied();
                let hopeless = |key: &UnitKey| !families[key].is_disjoint(&quarantined);
                let given_up = hopeless(unit) || plan.units[unit].unit.spec.dependencies().iter().any(hopeless);
                assert!(link.is_some_and(commit::stands) || given_up, "unit {} is neither", unit.short());
                assert!(link >= links.get(unit).copied(), "a link was taken back");
            }
            cuts += 1;
        }
    }
    println!("{cuts} cuts, {releases} of them behind a release; records of kinds {kinds:?}");
    assert!(releases > 0);
    for kind in ["Epoch", "Fail", "Lost", "Void", "Split", "Quarantine"] {
        assert!(kinds.contains(kind), "no journal has a {kind}");
    }
}
