//! Simulated workers around the real machine, in virtual time: what they are granted takes as long as its [`Work`] says, some
//! of them vanish, and everything that coordinator and store are asked is counted.
//!
//! A computer that is preempted says nothing: the leases of its workers run out, and another one, which has no model in memory, comes in its place.
//! Failures, faults of the store and restarts of the coordinator are not simulated here; see `simulation` for those.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use limbic_core::history::History;
use limbic_core::machine::{Action, Event, Machine, Opening, Progress, Settings, SweepId, WorkerId};
use limbic_core::plan::{Plan, PlannedUnit};
use limbic_proto::key::UnitKey;
use limbic_proto::takes::Takes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::minutes::Counted;
use super::outcome::Outcome;
use super::rates::Rates;
use super::unit::Work;
use super::worker::{Attempt, Computer, Worker};

/// The one sweep.
const SWEEP: &str = "forecast";
/// One in so many heartbeats reaches the machine, so that long runs take minutes; all are counted. Three intervals are well within
/// a lease's time, but a lost lease then runs out up to half a minute sooner.
const THINNED: f64 = 3.0;
/// How often the coordinator looks whether it still leads.
const CHECK: f64 = 15.0;
/// How long a lease request waits before it is made again.
const POLL: f64 = 20.0;

/// How many workers there are, and how long they live.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fleet {
    /// Workers at a time.
    pub workers: usize,
    /// Whether each computes fits beside passes, as one on a GPU does.
    pub apart: bool,
    /// Further workers at a time, which have no GPU and take fits alone.
    pub fit_workers: usize,
    /// How often each is preempted in an hour, on average.
    pub preempted_per_hour: f64,
    /// Seconds until another worker comes in the place of one that was.
    pub replaced_after: f64,
    /// Draws preemptions and the jitter of heartbeats.
    pub seed: u64,
}

impl Fleet {
    /// Which units the workers of a slot take; those that take fits alone come last.
    fn takes(&self, slot: usize) -> &'static [Takes] {
        match (slot < self.workers, self.apart) {
            (true, true) => &[Takes::Passes, Takes::Fits],
            (true, false) => &[Takes::All],
            (false, _) => &[Takes::Fits],
        }
    }
}

/// A worker, by its slot in the fleet and its number there.
type At = (usize, usize);

/// What happens to a worker or to its whole slot; what was meant for the one before it there no longer counts.
#[derive(Debug, Clone, PartialEq)]
enum Happening {
    Arrives,
    Beats,
    Computed(String),
    Published(String),
    Vanishes,
}

/// The machine, its workers, and what is to happen.
struct World<'a> {
    plan: &'a Plan,
    rates: &'a Rates,
    fleet: Fleet,
    settings: Settings,
    machine: Machine,
    now: Duration,
    next: BTreeMap<(Duration, u64), (At, u64, Happening)>,
    number: u64,
    computers: Vec<Computer>,
    places: BTreeMap<WorkerId, At>,
    /// Halves of units that were split.
    halves: BTreeMap<UnitKey, PlannedUnit>,
    /// Seconds of computing that finished blocks of units save.
    kept: BTreeMap<UnitKey, f64>,
    states: BTreeMap<UnitKey, f64>,
    standing: f64,
    jitter: ChaCha8Rng,
    outcome: Outcome,
}

/// Runs a plan to its end.
pub fn simulate(plan: &Plan, rates: &Rates, fleet: Fleet) -> Outcome {
    let settings = Settings { seed: fleet.seed, ..Settings::default() };
    let mut machine = Machine::new(settings.clone());
    let (id, name, committed) = (SweepId::from(SWEEP), SWEEP.to_owned(), BTreeMap::new());
    machine.open_sweep(Duration::ZERO, Opening { id, name, plan: plan.clone(), epoch: 1, committed, history: History::default() });
    machine.handle(Duration::ZERO, Event::AllOpen);
    let slots = fleet.workers + fleet.fit_workers;
    let computers = (0..slots).map(|slot| Computer::new(slot, fleet.takes(slot), fleet.seed)).collect();
    let mut world = World {
        plan,
        rates,
        fleet,
        settings,
        machine,
        now: Duration::ZERO,
        next: BTreeMap::new(),
        number: 0,
        computers,
        places: BTreeMap::new(),
        halves: BTreeMap::new(),
        kept: BTreeMap::new(),
        states: BTreeMap::new(),
        standing: 0.0,
        jitter: ChaCha8Rng::seed_from_u64(fleet.seed),
        outcome: Outcome::new(),
    };
    (0..slots).for_each(|slot| world.arrive(slot));
    world.run();
    world.ended()
}

impl World<'_> {
    fn run(&mut self) {
        while !self.machine.finished() {
            let (due, deadline) = (self.next.keys().next().copied(), self.machine.poll_deadline());
            match due.filter(|(at, _)| deadline.is_none_or(|deadline| *at <= deadline)) {
                Some(due) => {
                    self.now = due.0;
                    let (at, life, what) = self.next.remove(&due).expect("it was just seen");
                    if self.computers[at.0].life == life {
                        self.happen(at, what);
                    }
                }
                None => {
                    self.now = deadline.expect("something is left to do, so something is due");
                    self.tell(Event::Tick);
                }
            }
        }
    }

    fn happen(&mut self, at: At, what: Happening) {
        match what {
            Happening::Arrives => self.arrive(at.0),
            Happening::Beats => self.beat(at),
            Happening::Computed(attempt) => self.computed(at, &attempt),
            Happening::Published(attempt) => self.published(at, &attempt),
            Happening::Vanishes => self.vanish(at.0),
        }
    }

    fn later(&mut self, at: At, seconds: f64, what: Happening) {
        self.number += 1;
        let life = self.computers[at.0].life;
        self.next.insert((self.now + Duration::from_secs_f64(seconds), self.number), (at, life, what));
    }

    fn worker(&mut self, (slot, number): At) -> &mut Worker {
        &mut self.computers[slot].workers[number]
    }

    fn arrive(&mut self, slot: usize) {
        self.computers[slot].arrive(self.now);
        if let Some(seconds) = self.computers[slot].lifetime(self.fleet.preempted_per_hour) {
            self.later((slot, 0), seconds, Happening::Vanishes);
        }
        for number in 0..self.computers[slot].workers.len() {
            let at = (slot, number);
            let Worker { id, takes, .. } = self.worker(at);
            let (worker, takes) = (id.clone(), *takes);
            self.places.insert(worker.clone(), at);
            self.outcome.minutes.add(Counted::Calls, self.now, 1.0);
            self.tell(Event::Register { worker, device: "simulated".to_owned(), takes, memory: 0, held: Vec::new() });
            self.beat_later(at);
            self.ready(at);
        }
    }

    fn vanish(&mut self, slot: usize) {
        for attempt in self.computers[slot].workers.iter().flat_map(Worker::attempts) {
            let spent = (self.now - attempt.began).as_secs_f64();
            let computed = (self.now.as_secs_f64() - attempt.computes_from.as_secs_f64()).max(0.0);
            let mut saved = 0.0;
            if let Some(each) = attempt.work.kept_each().filter(|_| self.now < attempt.computed_at) {
                saved = (computed / each).floor() * each;
                *self.kept.entry(attempt.held.unit).or_default() += saved;
            }
            self.outcome.lost_seconds += spent - saved;
            self.outcome.lost_attempts += 1;
            self.outcome.used(&attempt, self.now);
        }
        // Their connections are gone: what they waited for is granted to others.
        let gone = self.computers[slot].workers.iter().map(|worker| (worker.id.clone(), worker.running.is_none()));
        let gone: Vec<(WorkerId, bool)> = gone.collect();
        self.leaves(slot);
        self.outcome.preemptions += 1;
        for (worker, waited) in gone {
            self.places.remove(&worker);
            if waited {
                self.tell(Event::Unready { worker });
            }
        }
        self.later((slot, 0), self.fleet.replaced_after, Happening::Arrives);
    }

    /// A slot is empty from now on.
    fn leaves(&mut self, slot: usize) {
        let seconds = self.computers[slot].vanish(self.now);
        let alive = if slot < self.fleet.workers { &mut self.outcome.alive_seconds } else { &mut self.outcome.fit_alive_seconds };
        *alive += seconds;
    }

    fn beat_later(&mut self, at: At) {
        let interval = self.settings.heartbeat.as_secs_f64() * (0.8 + 0.4 * self.jitter.random::<f64>());
        self.later(at, THINNED * interval, Happening::Beats);
    }

    /// A heartbeat, whose answer says which attempts are to stop.
    fn beat(&mut self, at: At) {
        let worker = self.worker(at);
        let held = worker.held().cloned().map(|held| Progress { held, share: 0.0, tokens: 0 }).collect();
        let (id, stopped) = (worker.id.clone(), worker.stop());
        self.outcome.minutes.add(Counted::Heartbeats, self.now, THINNED);
        self.outcome.minutes.add(Counted::Calls, self.now, THINNED);
        self.tell(Event::Heartbeat { worker: id.clone(), held, draining: false });
        for (attempt, computing) in stopped {
            self.outcome.overtaken(&attempt, self.now);
            let held = attempt.held;
            let (worker, unit, attempt) = (id.clone(), held.unit, held.attempt);
            self.outcome.minutes.add(Counted::Calls, self.now, 1.0);
            self.tell(Event::Released { worker, unit, attempt });
            if computing {
                self.ready(at);
            }
        }
        self.beat_later(at);
    }

    fn ready(&mut self, at: At) {
        let now = self.now;
        let (worker, loaded) = self.worker(at).wait(now);
        self.outcome.minutes.add(Counted::Calls, self.now, 1.0);
        self.tell(Event::Ready { worker, loaded });
    }

    fn granted(&mut self, at: At, held: limbic_core::machine::Held) {
        let (plan, rates, now) = (self.plan, self.rates, self.now);
        let planned = self.halves.get(&held.unit).or_else(|| plan.units.get(&held.unit)).expect("what is granted was planned");
        let work = Work::of(planned, plan, rates);
        let worker = &mut self.computers[at.0].workers[at.1];
        let idle = worker.begin(now);
        let load = if worker.load(&work) { work.loading(rates) } else { 0.0 };
        let from = now + Duration::from_secs_f64(work.fetching(rates) + load);
        let left = (work.seconds - self.kept.get(&held.unit).copied().unwrap_or(0.0)).max(0.0);
        let computed_at = (from + Duration::from_secs_f64(left)).max(worker.publishes_until());
        let name = held.attempt.clone();
        let minutes = &mut self.outcome.minutes;
        minutes.add(Counted::Grants, now, 1.0);
        minutes.spread(Counted::Calls, now - idle, now, (idle.as_secs_f64() / POLL).floor());
        minutes.add(Counted::Lists, now, work.lists);
        self.outcome.loads += u64::from(load > 0.0);
        worker.running = Some(Attempt { held, began: now, computes_from: from, computed_at, published_at: computed_at, work });
        let running = self.computers.iter().flat_map(|computer| &computer.workers).map(Worker::leases).sum();
        self.outcome.in_flight = self.outcome.in_flight.max(running);
        self.later(at, (computed_at - now).as_secs_f64(), Happening::Computed(name));
    }

    fn computed(&mut self, at: At, attempt: &str) {
        let Some(mut running) = self.worker(at).running.take_if(|running| running.held.attempt == attempt) else { return };
        let seconds = running.work.publishing(self.rates);
        running.published_at = self.now + Duration::from_secs_f64(seconds);
        self.outcome.read(&running, self.now);
        let minutes = &mut self.outcome.minutes;
        minutes.spread(Counted::Puts, self.now, running.published_at, running.work.puts);
        minutes.spread(Counted::Gets, self.now, running.published_at, running.work.closing_gets);
        minutes.spread(Counted::BytesWritten, self.now, running.published_at, running.work.written);
        self.worker(at).publishing = Some(running);
        self.later(at, seconds, Happening::Published(attempt.to_owned()));
        self.ready(at);
    }

    fn published(&mut self, at: At, attempt: &str) {
        let Some(done) = self.worker(at).publishing.take_if(|publishing| publishing.held.attempt == attempt) else { return };
        let worker = self.worker(at).id.clone();
        let held = done.held.clone();
        let mine = !self.machine.committed(&held.unit);
        if mine {
            self.states.insert(held.unit, done.work.states);
            self.standing += done.work.states;
            self.outcome.standing = self.outcome.standing.max(self.standing);
            self.outcome.used(&done, self.now);
        } else {
            self.outcome.overtaken(&done, self.now);
        }
        self.outcome.minutes.add(Counted::Calls, self.now, 1.0);
        let (sweep, unit, attempt, generation) = (held.sweep, held.unit, held.attempt, held.generation);
        self.tell(Event::Committed { worker, sweep, unit, attempt, generation, mine, tokens: 0 });
    }

    /// Tells the machine, and does what it asks for.
    fn tell(&mut self, event: Event) {
        self.machine.handle(self.now, event);
        let (mut records, mut stands, mut released) = (0.0, Vec::new(), BTreeSet::new());
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Grant { worker, sweep, unit, attempt, token, generation, .. } => {
                    let at = self.places[&worker];
                    self.granted(at, limbic_core::machine::Held { sweep, unit, attempt, token, generation });
                }
                Action::CancelAttempt { worker, attempt } => {
                    if let Some(at) = self.places.get(&worker).copied() {
                        self.worker(at).cancels.push(attempt);
                    }
                }
                Action::Append { record, .. } => {
                    records += serde_json::to_vec(&record).map_or(0, |json| json.len()) as f64;
                }
                Action::Void { unit, generation, .. } => stands.push(Event::Voided { unit, generation }),
                Action::Split { unit, generation, .. } => {
                    let planned = self.halves.get(&unit).or_else(|| self.plan.units.get(&unit)).expect("what is split was planned");
                    let halves: Vec<PlannedUnit> = planned.split(&self.plan.versions);
                    self.halves.extend(halves.into_iter().map(|half| (half.unit.spec.key(), half)));
                    stands.push(Event::Divided { unit, generation, stands: true });
                }
                Action::Release { unit, .. } => drop(released.insert(unit)),
                Action::Silent { .. } | Action::Changed { .. } => {}
            }
        }
        let minutes = &mut self.outcome.minutes;
        for unit in released {
            self.standing -= self.states.remove(&unit).unwrap_or(0.0);
            // Its commit is read, a marker written, its blocks listed, its states deleted.
            minutes.add(Counted::Gets, self.now, 1.0);
            minutes.add(Counted::Puts, self.now, 1.0);
            minutes.add(Counted::Lists, self.now, 1.0);
        }
        if records > 0.0 {
            // What comes together is one entry.
            minutes.add(Counted::Puts, self.now, 1.0);
            minutes.add(Counted::JournalBytes, self.now, records);
        }
        stands.into_iter().for_each(|event| self.tell(event));
    }

    fn ended(mut self) -> Outcome {
        let end = self.now;
        for slot in 0..self.computers.len() {
            for attempt in self.computers[slot].workers.iter().flat_map(Worker::attempts) {
                self.outcome.overtaken(&attempt, end);
            }
            self.leaves(slot);
        }
        self.outcome.minutes.spread(Counted::Gets, Duration::ZERO, end, (end.as_secs_f64() / CHECK).floor());
        self.outcome.wall_seconds = end.as_secs_f64();
        let status = self.machine.status(end, &SweepId::from(SWEEP)).expect("the sweep is open");
        self.outcome.units = status.units;
        self.outcome.attempts = status.attempts;
        self.outcome
    }
}
