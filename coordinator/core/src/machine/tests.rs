//! The machine under test: a bench that plays shell and workers, tables of every timer and budget, random worlds.

mod budgets;
mod extension;
mod placing;
mod recovery;
mod releasing;
mod retry;
mod rot;
mod sharing;
mod splitting;
mod stragglers;
mod waiting;
mod world;

use limbic_proto::journal::Record;
use limbic_proto::key::Digest;
use limbic_proto::status::{Status, UnitCounts};
use limbic_proto::takes::Takes;
use limbic_proto::unit::{UnitKind, Versions};

use super::*;
use crate::testkit::small_plan;

/// A grant as the worker got it.
#[derive(Debug, Clone, PartialEq)]
struct Granted {
    worker: WorkerId,
    held: Held,
}

/// A machine with one sweep `s`, and what it asked for so far.
struct Bench {
    machine: Machine,
    now: Duration,
    epoch: u64,
    /// All records but those of epochs.
    journal: Vec<Record>,
    cancelled: Vec<String>,
    /// Workers that were said to be silent.
    silent: Vec<WorkerId>,
    grants: VecDeque<Granted>,
    /// The highest link of each chain in the store.
    store: BTreeMap<UnitKey, u32>,
    /// Links that are asked for and don't stand yet.
    voids: VecDeque<(UnitKey, u32)>,
    /// Units that are to be split and are not yet.
    splits: VecDeque<(UnitKey, u32, Vec<UnitKey>)>,
    /// Units that were split, with the generation.
    divided: BTreeMap<UnitKey, u32>,
    /// Results whose activations are to be released.
    releases: Vec<(UnitKey, u32)>,
    /// Markers in the store.
    markers: Vec<(UnitKey, u32)>,
    /// What the last grant said of its inputs.
    inputs: Vec<(UnitKey, u32)>,
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn one() -> SweepId {
    SweepId::from("s")
}

/// Two shards and four layers of one model: two extracts, four fits, nothing else.
fn six_units() -> Plan {
    small_plan(&["a"], "execution: {rows_per_unit: 10}\nbaselines: []")
}

/// Twenty rows and four layers of one model: an extract of every row, which can't be split, four fits, nothing else.
fn single_rows() -> Plan {
    small_plan(&["a"], "execution: {rows_per_unit: 1}\nbaselines: []")
}

impl Bench {
    fn new(plan: Plan) -> Bench {
        Bench::with(plan, Settings::default())
    }

    fn with(plan: Plan, settings: Settings) -> Bench {
        let mut bench = Bench {
            machine: Machine::new(settings),
            now: Duration::ZERO,
            epoch: 1,
            journal: Vec::new(),
            cancelled: Vec::new(),
            silent: Vec::new(),
            grants: VecDeque::new(),
            store: BTreeMap::new(),
            voids: VecDeque::new(),
            splits: VecDeque::new(),
            divided: BTreeMap::new(),
            releases: Vec::new(),
            markers: Vec::new(),
            inputs: Vec::new(),
        };
        bench.open("s", plan);
        bench.send(Event::AllOpen);
        bench
    }

    fn open(&mut self, id: &str, plan: Plan) {
        let (name, committed) = ("name".to_owned(), self.store.clone());
        let opening = Opening { id: id.into(), name, plan, epoch: 1, committed, history: History::default() };
        self.machine.open_sweep(self.now, opening);
        self.carry_out();
    }

    /// The coordinator dies and another takes the sweep up from journal and store.
    fn restart(&mut self, plan: Plan) {
        self.reopen(plan);
        self.send(Event::AllOpen);
    }

    /// Takes the sweep up anew; others are still to be opened.
    fn reopen(&mut self, plan: Plan) {
        let epochs = (1..=self.epoch).map(|epoch| Record::Epoch { epoch, holder: "h".into(), software: "0".into(), at: 0 });
        let records: Vec<Record> = epochs.chain(self.journal.iter().cloned()).collect();
        self.epoch += 1;
        let mut machine = Machine::new(self.machine.settings.clone());
        for (unit, generation) in &self.divided {
            machine.handle(self.now, Event::Divided { unit: *unit, generation: *generation, stands: true });
        }
        for (unit, generation) in &self.markers {
            machine.handle(self.now, Event::ActivationsReleased { unit: *unit, generation: *generation });
        }
        let (name, committed, history) = ("name".to_owned(), self.store.clone(), History::replay(&records));
        machine.open_sweep(self.now, Opening { id: one(), name, plan, epoch: self.epoch, committed, history });
        self.voids.clear();
        self.splits.clear();
        self.releases.clear();
        self.machine = machine;
        self.carry_out();
    }

    fn send(&mut self, event: Event) {
        if let Event::Committed { unit, generation, .. } = &event {
            self.stand(*unit, commit::result(*generation));
        }
        self.machine.handle(self.now, event);
        self.carry_out();
    }

    fn stand(&mut self, unit: UnitKey, link: u32) {
        let known = self.store.entry(unit).or_insert(link);
        *known = link.max(*known);
    }

    /// The store has carried out every void that was asked for.
    fn void(&mut self) {
        while let Some((unit, generation)) = self.voids.pop_front() {
            self.stand(unit, commit::void(generation));
            self.send(Event::Voided { unit, generation });
        }
    }

    /// The store has carried out every split that was asked for, unless a result stood first.
    fn divide(&mut self) {
        while let Some((unit, generation, _)) = self.splits.pop_front() {
            let link = commit::result(generation);
            let stands = self.store.get(&unit).is_none_or(|known| *known < link);
            if stands {
                self.stand(unit, link);
                self.divided.insert(unit, generation);
            }
            self.send(Event::Divided { unit, generation, stands });
        }
    }

    /// The store has released everything that was asked for; what that was.
    fn shed(&mut self) -> Vec<(UnitKey, u32)> {
        self.markers.extend(&self.releases);
        std::mem::take(&mut self.releases)
    }

    fn corrupt(&mut self, g: &Granted, bad: UnitKey, generation: u32) {
        let (worker, attempt) = (g.worker.clone(), g.held.attempt.clone());
        self.send(Event::Corrupt { worker, unit: g.held.unit, attempt, bad, generation, error: "a byte flipped".into() });
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Grant { worker, sweep, unit, attempt, token, generation, inputs } => {
                    self.inputs = inputs;
                    self.grants.push_back(Granted { worker, held: Held { sweep, unit, attempt, token, generation } });
                }
                Action::Split { unit, generation, children } => self.splits.push_back((unit, generation, children)),
                Action::Void { unit, generation, .. } => self.voids.push_back((unit, generation)),
                Action::Release { unit, generation } => self.releases.push((unit, generation)),
                Action::Append { record, .. } => self.journal.push(record),
                Action::CancelAttempt { attempt, .. } => self.cancelled.push(attempt),
                Action::Silent { worker } => self.silent.push(worker),
                Action::Changed { .. } => {}
            }
        }
    }

    /// Time passes, in which these workers send heartbeats with what they hold.
    fn pass(&mut self, time: Duration, alive: &[(&str, &[&Granted])]) {
        let end = self.now + time;
        while self.now < end {
            self.now = end.min(self.now + secs(10));
            for (worker, held) in alive {
                let held = held.iter().map(|g| Progress { held: g.held.clone(), share: 0.5, tokens: 1 }).collect();
                self.send(Event::Heartbeat { worker: (*worker).into(), held, draining: false });
            }
            self.send(Event::Tick);
        }
    }

    fn register(&mut self, worker: &str) {
        self.register_taking(worker, Takes::All);
    }

    fn register_taking(&mut self, worker: &str, takes: Takes) {
        self.send(Event::Register { worker: worker.into(), device: "cpu".into(), takes, memory: 0, held: Vec::new() });
    }

    fn ready(&mut self, worker: &str, loaded: &[&str]) {
        let loaded = loaded.iter().map(|name| Digest::of(name.as_bytes())).collect();
        self.send(Event::Ready { worker: worker.into(), loaded });
    }

    /// Registers a worker and lets it ask until it is granted something.
    fn grant(&mut self, worker: &str) -> Option<Granted> {
        if !self.machine.known(&worker.into()) {
            self.register(worker);
        }
        self.ready(worker, &["a"]);
        let granted = self.grants.pop_front();
        if granted.is_none() {
            self.send(Event::Unready { worker: worker.into() });
        }
        granted
    }

    fn commit(&mut self, g: &Granted) {
        self.send(Event::Committed {
            worker: g.worker.clone(),
            sweep: g.held.sweep.clone(),
            unit: g.held.unit,
            attempt: g.held.attempt.clone(),
            generation: g.held.generation,
            mine: true,
            tokens: 7,
        });
    }

    fn fail(&mut self, g: &Granted, permanent: bool) {
        self.send(Event::Failed {
            worker: g.worker.clone(),
            unit: g.held.unit,
            attempt: g.held.attempt.clone(),
            error: "boom".into(),
            permanent,
        });
    }

    fn release(&mut self, g: &Granted) {
        self.send(Event::Released { worker: g.worker.clone(), unit: g.held.unit, attempt: g.held.attempt.clone() });
    }

    fn status(&self) -> Status {
        self.machine.status(self.now, &one()).unwrap()
    }

    fn units(&self) -> UnitCounts {
        self.status().units
    }

    fn kind(&self, g: &Granted) -> UnitKind {
        self.machine.unit(&g.held.sweep, &g.held.unit).unwrap().spec.kind()
    }

    fn records(&self, of: impl Fn(&Record) -> bool) -> usize {
        self.journal.iter().filter(|record| of(record)).count()
    }
}

fn is_quarantine(record: &Record) -> bool {
    matches!(record, Record::Quarantine { .. })
}

fn is_lost(record: &Record) -> bool {
    matches!(record, Record::Lost { .. })
}
