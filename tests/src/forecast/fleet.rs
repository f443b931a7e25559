//! Simulated workers around the real machine, in virtual time: what they are granted takes as long as its [`Work`] says, some
//! of them vanish, and everything that coordinator and store are asked is counted.
//!
//! A worker that is preempted says nothing: its leases run out, and another one, which has no model in memory, comes in its place.
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
use super::worker::{Attempt, Worker};

/// The one sweep.
const SWEEP: &str = "forecast";
/// One in so many heartbeats reaches the machine, so that long runs take minutes; all are counted. Three intervals are well within
/// a lease's time, but a lost lease then runs out up to half a minute sooner.
const THINNED: f64 = 3.0;
/// How often the coordinator looks whether it still leads.
const CHECK: f64 = 15.0;
/// How long a lease request waits before it is made again.
const POLL: f64 = 20.0;
/// How much computing a kept block saves.
const KEPT: f64 = 5.0;

/// How many workers there are, and how long they live.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fleet {
    /// Workers at a time.
    pub workers: usize,
    /// How often each is preempted in an hour, on average.
    pub preempted_per_hour: f64,
    /// Seconds until another worker comes in the place of one that was.
    pub replaced_after: f64,
    /// Draws preemptions and the jitter of heartbeats.
    pub seed: u64,
}

/// What happens to a worker, by its slot; what was meant for the one before it in the slot no longer counts.
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
    next: BTreeMap<(Duration, u64), (usize, u64, Happening)>,
    number: u64,
    workers: Vec<Worker>,
    slots: BTreeMap<WorkerId, usize>,
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
    let workers = (0..fleet.workers).map(|slot| Worker::new(slot, fleet.seed)).collect();
    let mut world = World {
        plan,
        rates,
        fleet,
        settings,
        machine,
        now: Duration::ZERO,
        next: BTreeMap::new(),
        number: 0,
        workers,
        slots: BTreeMap::new(),
        halves: BTreeMap::new(),
        kept: BTreeMap::new(),
        states: BTreeMap::new(),
        standing: 0.0,
        jitter: ChaCha8Rng::seed_from_u64(fleet.seed),
        outcome: Outcome::new(fleet.workers),
    };
    (0..fleet.workers).for_each(|slot| world.arrive(slot));
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
                    let (slot, life, what) = self.next.remove(&due).expect("it was just seen");
                    if self.workers[slot].life == life {
                        self.happen(slot, what);
                    }
                }
                None => {
                    self.now = deadline.expect("something is left to do, so something is due");
                    self.tell(Event::Tick);
                }
            }
        }
    }

    fn happen(&mut self, slot: usize, what: Happening) {
        match what {
            Happening::Arrives => self.arrive(slot),
            Happening::Beats => self.beat(slot),
            Happening::Computed(attempt) => self.computed(slot, &attempt),
            Happening::Published(attempt) => self.published(slot, &attempt),
            Happening::Vanishes => self.vanish(slot),
        }
    }

    fn later(&mut self, slot: usize, seconds: f64, what: Happening) {
        self.number += 1;
        let life = self.workers[slot].life;
        self.next.insert((self.now + Duration::from_secs_f64(seconds), self.number), (slot, life, what));
    }

    fn arrive(&mut self, slot: usize) {
        let worker = self.workers[slot].arrive(self.now);
        if let Some(seconds) = self.workers[slot].lifetime(self.fleet.preempted_per_hour) {
            self.later(slot, seconds, Happening::Vanishes);
        }
        self.slots.insert(worker.clone(), slot);
        self.outcome.minutes.add(Counted::Calls, self.now, 1.0);
        self.tell(Event::Register { worker, device: "simulated".to_owned(), takes: Takes::All, memory: 0, held: Vec::new() });
        self.beat_later(slot);
        self.ready(slot);
    }

    fn vanish(&mut self, slot: usize) {
        let worker = &mut self.workers[slot];
        for attempt in worker.attempts() {
            let spent = (self.now - attempt.began).as_secs_f64();
            let computed = (self.now.as_secs_f64() - attempt.computes_from.as_secs_f64()).max(0.0);
            let mut saved = 0.0;
            if attempt.work.keeps_blocks() && self.now < attempt.computed_at {
                saved = (computed / KEPT).floor() * KEPT;
                *self.kept.entry(attempt.held.unit).or_default() += saved;
            }
            self.outcome.lost_seconds += spent - saved;
            self.outcome.lost_attempts += 1;
            self.outcome.used(&attempt, self.now);
        }
        // Its connection is gone: what it waited for is granted to others.
        let (id, waited) = (worker.id.clone(), worker.running.is_none());
        self.slots.remove(&id);
        self.outcome.alive_seconds += worker.vanish(self.now);
        self.outcome.preemptions += 1;
        if waited {
            self.tell(Event::Unready { worker: id });
        }
        self.later(slot, self.fleet.replaced_after, Happening::Arrives);
    }

    fn beat_later(&mut self, slot: usize) {
        let interval = self.settings.heartbeat.as_secs_f64() * (0.8 + 0.4 * self.jitter.random::<f64>());
        self.later(slot, THINNED * interval, Happening::Beats);
    }

    /// A heartbeat, whose answer says which attempts are to stop.
    fn beat(&mut self, slot: usize) {
        let worker = &mut self.workers[slot];
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
                self.ready(slot);
            }
        }
        self.beat_later(slot);
    }

    fn ready(&mut self, slot: usize) {
        let (worker, loaded) = self.workers[slot].wait(self.now);
        self.outcome.minutes.add(Counted::Calls, self.now, 1.0);
        self.tell(Event::Ready { worker, loaded });
    }

    fn granted(&mut self, slot: usize, held: limbic_core::machine::Held) {
        let (plan, rates, now) = (self.plan, self.rates, self.now);
        let planned = self.halves.get(&held.unit).or_else(|| plan.units.get(&held.unit)).expect("what is granted was planned");
        let work = Work::of(planned, plan, rates);
        let worker = &mut self.workers[slot];
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
        let running = self.workers.iter().map(Worker::leases).sum();
        self.outcome.in_flight = self.outcome.in_flight.max(running);
        self.later(slot, (computed_at - now).as_secs_f64(), Happening::Computed(name));
    }

    fn computed(&mut self, slot: usize, attempt: &str) {
        let Some(mut running) = self.workers[slot].running.take_if(|running| running.held.attempt == attempt) else { return };
        let seconds = running.work.publishing(self.rates);
        running.published_at = self.now + Duration::from_secs_f64(seconds);
        self.outcome.read(&running, self.now);
        let minutes = &mut self.outcome.minutes;
        minutes.spread(Counted::Puts, self.now, running.published_at, running.work.puts);
        minutes.spread(Counted::Gets, self.now, running.published_at, running.work.closing_gets);
        minutes.spread(Counted::BytesWritten, self.now, running.published_at, running.work.written);
        self.workers[slot].publishing = Some(running);
        self.later(slot, seconds, Happening::Published(attempt.to_owned()));
        self.ready(slot);
    }

    fn published(&mut self, slot: usize, attempt: &str) {
        let Some(done) = self.workers[slot].publishing.take_if(|publishing| publishing.held.attempt == attempt) else { return };
        let worker = self.workers[slot].id.clone();
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
                    let slot = self.slots[&worker];
                    self.granted(slot, limbic_core::machine::Held { sweep, unit, attempt, token, generation });
                }
                Action::CancelAttempt { worker, attempt } => {
                    if let Some(slot) = self.slots.get(&worker) {
                        self.workers[*slot].cancels.push(attempt);
                    }
                }
                Action::Append { record, .. } => {
                    records += serde_json::to_vec(&record).map_or(0, |json| json.len()) as f64;
                }
                Action::Void { unit, generation, .. } => stands.push(Event::Voided { unit, generation }),
                Action::Split { unit, generation, .. } => {
                    let planned = self.halves.get(&unit).or_else(|| self.plan.units.get(&unit)).expect("what is split was planned");
                    let halves: Vec<PlannedUnit> = planned.split();
                    self.halves.extend(halves.into_iter().map(|half| (half.unit.spec.key(), half)));
                    stands.push(Event::Divided { unit, generation, stands: true });
                }
                Action::Release { unit, .. } => drop(released.insert(unit)),
                Action::Changed { .. } => {}
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
        for slot in 0..self.workers.len() {
            for attempt in self.workers[slot].attempts() {
                self.outcome.overtaken(&attempt, end);
            }
            self.outcome.alive_seconds += self.workers[slot].vanish(end);
        }
        self.outcome.minutes.spread(Counted::Gets, Duration::ZERO, end, (end.as_secs_f64() / CHECK).floor());
        self.outcome.wall_seconds = end.as_secs_f64();
        let status = self.machine.status(end, &SweepId::from(SWEEP)).expect("the sweep is open");
        self.outcome.units = status.units;
        self.outcome.attempts = status.attempts;
        self.outcome
    }
}
