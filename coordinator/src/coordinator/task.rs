//! The task that owns the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use limbic_core::history::History;
use limbic_core::machine::{self, Action, Event, Machine, Progress, SweepId, WorkerId};
use limbic_proto::commit::Commit;
use limbic_proto::journal::Record;
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::status::{Status, SweepState, UnitView};
use limbic_proto::unit::Versions;
use limbic_proto::wire::{Grant, LeaseResponse, Token};
use limbic_store::Store;
use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::ledger::{self, Note};
use super::release::{self, Wish};
use super::{LOOK, Options, chain, told};
use crate::chains::Chains;
use crate::failure::Failure;
use crate::journal::Journal;
use crate::show;
use crate::sweep::Sweep;

/// The pause before a store that failed is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// A sweep that is about to be led.
#[derive(Debug)]
pub(super) struct Opening {
    pub sweep: Sweep,
    pub journal: Journal,
    /// What the store says of its units.
    pub chains: Chains,
    pub history: History,
}

/// What the task is asked.
#[derive(Debug)]
pub(super) enum Command {
    Event { event: Event, done: oneshot::Sender<()> },
    Wish { wish: Event, reply: oneshot::Sender<usize> },
    Written { sweep: SweepId, done: oneshot::Sender<()> },
    Lease { worker: WorkerId, loaded: Vec<Digest>, reply: oneshot::Sender<LeaseResponse> },
    LeaseOver { worker: WorkerId },
    Knows { worker: WorkerId, reply: oneshot::Sender<bool> },
    Finished { reply: oneshot::Sender<bool> },
    Versions { sweep: SweepId, reply: oneshot::Sender<Option<Versions>> },
    Heartbeat { worker: WorkerId, held: Vec<Progress>, draining: bool, reply: oneshot::Sender<Vec<String>> },
    Status { sweep: String, reply: oneshot::Sender<Option<Status>> },
    List { reply: oneshot::Sender<Vec<Status>> },
    Meant { sweep: SweepId, wanted: String, reply: oneshot::Sender<Result<Vec<UnitKey>, Failure>> },
    Show { sweep: SweepId, unit: UnitKey, reply: oneshot::Sender<Option<UnitView>> },
    Inputs { sweep: SweepId, unit: UnitKey, reply: oneshot::Sender<Vec<(UnitKey, u32)>> },
    Extend { sweep: Box<Sweep>, chains: Chains, done: oneshot::Sender<()> },
    Dismissed { reply: oneshot::Sender<bool> },
    Open { opening: Box<Opening>, done: oneshot::Sender<()> },
    Releases { done: oneshot::Sender<()> },
}

pub(super) struct Task {
    machine: Machine,
    store: Store,
    dismiss_workers: bool,
    session: u64,
    clock: Clock,
    /// Workers that wait for a unit.
    waiting: BTreeMap<WorkerId, Waiting>,
    /// Workers that were told that there is no more to do, and have not asked since.
    dismissed: BTreeSet<WorkerId>,
    /// Attempts to stop, until the worker's next heartbeat.
    cancels: BTreeMap<WorkerId, Vec<String>>,
    journals: BTreeMap<SweepId, mpsc::UnboundedSender<Note>>,
    /// Where each sweep stood when that was last logged.
    states: BTreeMap<SweepId, SweepState>,
    /// Which revision of each sweep is led.
    revisions: BTreeMap<SweepId, usize>,
    /// Activations to be released.
    releases: mpsc::UnboundedSender<Wish>,
    superseded: (mpsc::UnboundedSender<Failure>, mpsc::UnboundedReceiver<Failure>),
    /// What the store has carried out.
    stands: (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
    /// Grants for which the store has been asked whether the unit is committed already.
    offers: (mpsc::UnboundedSender<Offer>, mpsc::UnboundedReceiver<Offer>),
}

/// A worker that waits for a unit.
struct Waiting {
    loaded: Vec<Digest>,
    reply: oneshot::Sender<LeaseResponse>,
}

/// A grant on its way to its worker.
struct Offer {
    worker: WorkerId,
    sweep: SweepId,
    unit: UnitKey,
    attempt: String,
    grant: Grant,
    found: Found,
}

/// What the store says of a unit that is about to be granted.
#[derive(Debug)]
enum Found {
    /// The generation's commit, so that there is nothing to be computed.
    Committed(Commit),
    /// No commit stands.
    Nothing,
    /// It gave no answer. Without one nothing is granted: no worker can do anything without the store, and who computes a unit
    /// that is committed already does it for nothing.
    Unknown,
}

impl Task {
    pub fn new(store: Store, options: Options, session: u64) -> Task {
        let (releases, wishes) = mpsc::unbounded_channel();
        tokio::spawn(release::release(store.clone(), wishes));
        let clock = Clock::new(options.machine.heartbeat);
        Task {
            releases,
            machine: Machine::new(options.machine),
            store,
            dismiss_workers: options.dismiss_workers,
            session,
            clock,
            waiting: BTreeMap::new(),
            dismissed: BTreeSet::new(),
            cancels: BTreeMap::new(),
            journals: BTreeMap::new(),
            states: BTreeMap::new(),
            revisions: BTreeMap::new(),
            superseded: mpsc::unbounded_channel(),
            stands: mpsc::unbounded_channel(),
            offers: mpsc::unbounded_channel(),
        }
    }

    /// Runs until every handle is gone, or until a journal says that another coordinator leads.
    pub async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>, fatal: oneshot::Sender<Failure>) {
        loop {
            let (now, nap) = (self.now(), self.clock.nap());
            let sleep = self.machine.poll_deadline().map_or(nap, |due| due.saturating_sub(now).min(nap));
            tokio::select! {
                // In this order: an end of the lead first, and what the store carried out before new wishes.
                biased;
                failure = self.superseded.1.recv() => {
                    let failure = failure.expect("the task holds a sender itself");
                    // If nobody listens there is nobody to stop.
                    let _ = fatal.send(failure);
                    return;
                }
                event = self.stands.1.recv() => self.handle(event.expect("the task holds a sender itself")),
                offer = self.offers.1.recv() => self.deliver(offer.expect("the task holds a sender itself")),
                command = inbox.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                () = tokio::time::sleep(sleep) => self.handle(Event::Tick),
            }
            self.act();
        }
    }

    fn now(&mut self) -> Duration {
        self.clock.now()
    }

    fn handle(&mut self, event: Event) {
        let now = self.now();
        self.machine.handle(now, event);
    }

    fn command(&mut self, command: Command) {
        // A reply that nobody waits for any more is no failure: the caller's connection broke.
        match command {
            Command::Event { event, done } => {
                self.handle(event);
                let _ = done.send(());
            }
            Command::Wish { wish, reply } => {
                let reached = self.machine.reach(&wish);
                self.handle(wish);
                let _ = reply.send(reached);
            }
            Command::Written { sweep, done } => {
                if let Some(journal) = self.journals.get(&sweep) {
                    let _ = journal.send(Note::Written(done));
                }
            }
            Command::Lease { worker, loaded, reply } => {
                // An older wait of the same worker is over: its connection broke or its call was repeated.
                self.dismissed.remove(&worker);
                if let Some(older) = self.waiting.insert(worker.clone(), Waiting { loaded: loaded.clone(), reply })
                    && older.reply.send(LeaseResponse::default()).is_ok()
                {
                    tracing::warn!(%worker, "asks for a unit while it waits for one: have two processes this name (--id)?");
                }
                self.handle(Event::Ready { worker, loaded });
            }
            Command::LeaseOver { worker } => {
                // Whoever is dismissed is told so right after this.
                let finished = self.finished();
                if !(finished && self.dismiss_workers)
                    && let Some(Waiting { reply, .. }) = self.waiting.remove(&worker)
                {
                    let _ = reply.send(LeaseResponse { grant: None, finished, dismissed: false });
                    self.handle(Event::Unready { worker });
                }
            }
            Command::Versions { sweep, reply } => drop(reply.send(self.machine.plan(&sweep).map(|plan| plan.versions))),
            Command::Finished { reply } => drop(reply.send(self.finished())),
            Command::Knows { worker, reply } => drop(reply.send(self.machine.known(&worker))),
            Command::Heartbeat { worker, held, draining, reply } => {
                self.handle(Event::Heartbeat { worker: worker.clone(), held, draining });
                self.act();
                let _ = reply.send(self.cancels.remove(&worker).unwrap_or_default());
            }
            Command::Status { sweep, reply } => {
                let now = self.now();
                drop(reply.send(self.machine.status(now, &SweepId(sweep))));
            }
            Command::List { reply } => {
                let now = self.now();
                drop(reply.send(self.machine.sweeps().filter_map(|id| self.machine.status(now, id)).collect()));
            }
            Command::Meant { sweep, wanted, reply } => {
                let found = self.machine.plan(&sweep).ok_or_else(|| Failure::user(format_args!("sweep {sweep} is not open")));
                let _ = reply.send(found.and_then(|plan| show::meant(plan, self.machine.units(&sweep), &wanted)));
            }
            Command::Show { sweep, unit, reply } => {
                let now = self.now();
                drop(reply.send(self.machine.show(now, &sweep, &unit)));
            }
            Command::Inputs { sweep, unit, reply } => drop(reply.send(self.machine.inputs(&sweep, &unit))),
            Command::Extend { sweep, chains, done } => {
                let id = SweepId(sweep.id.clone());
                // Whoever read an earlier revision and comes later must not take anything back.
                let revision = sweep.earlier.len();
                if self.revisions.get(&id).is_some_and(|led| *led < revision) {
                    self.revisions.insert(id.clone(), revision);
                    chains.events().for_each(|event| self.handle(event));
                    let now = self.now();
                    self.machine.extend_sweep(now, &id, sweep.plan, chains.links);
                }
                let _ = done.send(());
            }
            Command::Dismissed { reply } => drop(reply.send(self.dismissed())),
            Command::Open { opening, done } => {
                self.open(*opening);
                let _ = done.send(());
            }
            Command::Releases { done } => {
                // The task behind it ends only with this one.
                let _ = self.releases.send(Wish::Tell(done));
            }
        }
    }

    fn open(&mut self, opening: Opening) {
        let Opening { sweep, journal, chains, history } = opening;
        let id = SweepId(sweep.id.clone());
        let epoch = journal.epoch();
        let (notes, inbox) = mpsc::unbounded_channel();
        tokio::spawn(ledger::write(journal, inbox, self.superseded.0.clone()));
        self.journals.insert(id.clone(), notes);
        self.revisions.insert(id.clone(), sweep.earlier.len());
        let name = sweep.name().to_owned();
        chains.events().for_each(|event| self.handle(event));
        let opening = machine::Opening { id, name, plan: sweep.plan, epoch, committed: chains.links, history };
        let now = self.now();
        self.machine.open_sweep(now, opening);
    }

    /// Whether all is done and every worker that doesn't leave anyway was told so.
    fn dismissed(&self) -> bool {
        self.finished() && self.machine.staying().all(|worker| self.dismissed.contains(worker))
    }

    /// Carries out what the machine asks for.
    fn act(&mut self) {
        loop {
            for action in self.decided() {
                match action {
                    Action::Grant { worker, sweep, unit, attempt, token, generation, inputs } => {
                        let granted = self.machine.unit(&sweep, &unit).expect("granted units are planned");
                        let token = Token { epoch: token.0, counter: token.1 };
                        let grant = Grant::of(granted, &sweep.0, &attempt, token, generation, &inputs);
                        tokio::spawn(look(
                            self.store.clone(),
                            self.offers.0.clone(),
                            Offer { worker, sweep, unit, attempt, grant, found: Found::Unknown },
                        ));
                    }
                    Action::Void { unit, generation, reason } => {
                        let written = self.written();
                        tokio::spawn(chain::void(self.store.clone(), unit, generation, reason, written, self.stands.0.clone()));
                    }
                    Action::Split { unit, generation, children } => {
                        let written = self.written();
                        tokio::spawn(chain::split(self.store.clone(), unit, generation, children, written, self.stands.0.clone()));
                    }
                    Action::Release { unit, generation } => {
                        let written = self.written();
                        // The task behind it ends only with this one.
                        let _ = self.releases.send(Wish::Release { unit, generation, written });
                    }
                    Action::Append { .. } => unreachable!("records have gone to the journals"),
                    Action::CancelAttempt { worker, attempt } => self.cancels.entry(worker).or_default().push(attempt),
                    Action::Silent { worker } => {
                        let missed = !(self.dismissed.contains(&worker) || self.finished());
                        told::silent(&worker, missed);
                    }
                    Action::Changed { sweep } => self.log(sweep),
                }
            }
            if !(self.dismiss_workers && self.finished()) {
                return;
            }
            let Some((worker, Waiting { reply, .. })) = self.waiting.pop_first() else { return };
            let told = reply.send(LeaseResponse { grant: None, finished: true, dismissed: true }).is_ok();
            self.handle(Event::Unready { worker: worker.clone() });
            if told {
                self.dismissed.insert(worker);
            }
        }
    }

    /// Logs where a sweep stands, if it stood elsewhere before.
    fn log(&mut self, sweep: SweepId) {
        let state = self.machine.state(&sweep).expect("what changed is open");
        if self.states.insert(sweep.clone(), state) != Some(state) {
            let now = self.now();
            let status = self.machine.status(now, &sweep).expect("what changed is open");
            told::standing(&status);
        }
    }

    /// Takes what the machine asks for. Its records go to the journals first, those of a sweep together: half of a decision
    /// must not survive the coordinator.
    fn decided(&mut self) -> Vec<Action> {
        let (mut records, mut others) = (BTreeMap::<SweepId, Vec<Record>>::new(), Vec::new());
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Append { sweep, record } => {
                    told::record(&self.machine, &sweep, &record);
                    records.entry(sweep).or_default().push(record);
                }
                action => others.push(action),
            }
        }
        for (sweep, records) in records {
            let journal = self.journals.get(&sweep).expect("every open sweep has a journal");
            // The journal's task ends only with the coordinator.
            let _ = journal.send(Note::Records(records));
        }
        others
    }

    /// Resolve once every record so far stands in its journal; or fail, if another coordinator leads.
    fn written(&self) -> Vec<oneshot::Receiver<()>> {
        let ask = |journal: &mpsc::UnboundedSender<Note>| {
            let (done, written) = oneshot::channel();
            // A journal whose task has ended drops the question, and that is the answer.
            let _ = journal.send(Note::Written(done));
            written
        };
        self.journals.values().map(ask).collect()
    }

    /// Whether there is nothing more to do: not before the first sweep, which workers wait for.
    fn finished(&self) -> bool {
        self.machine.sweeps().next().is_some() && self.machine.finished()
    }

    /// Hands a grant to its worker. Nothing is granted if the unit turns out to be committed, or if the store doesn't answer: the
    /// worker keeps waiting.
    fn deliver(&mut self, offer: Offer) {
        let Offer { worker, sweep, unit, attempt, grant, found } = offer;
        let generation = grant.generation;
        match found {
            Found::Nothing => self.hand_over(worker, unit, attempt, grant),
            Found::Committed(Commit::Split { .. }) => {
                tracing::debug!(%worker, unit = %unit.short(), generation, "found split");
                self.handle(Event::Divided { unit, generation, stands: true });
                self.wait_on(worker);
            }
            Found::Committed(_) => {
                tracing::debug!(%worker, unit = %unit.short(), generation, "found committed");
                let (finder, mine, tokens) = (worker.clone(), false, 0);
                self.handle(Event::Committed { worker: finder, sweep, unit, attempt, generation, mine, tokens });
                self.wait_on(worker);
            }
            Found::Unknown => {
                tracing::debug!(%worker, unit = %unit.short(), generation, "the store doesn't say whether it is committed");
                self.handle(Event::Withdrawn { unit, attempt });
                self.wait_on(worker);
            }
        }
    }

    /// A worker that got nothing waits for something else.
    fn wait_on(&mut self, worker: WorkerId) {
        if let Some(Waiting { loaded, .. }) = self.waiting.get(&worker) {
            let loaded = loaded.clone();
            self.handle(Event::Ready { worker, loaded });
        }
    }

    fn hand_over(&mut self, worker: WorkerId, unit: UnitKey, attempt: String, grant: Grant) {
        let generation = grant.generation;
        tracing::debug!(session = self.session, %worker, unit = %unit.short(), %attempt, generation, "granted");
        let response = LeaseResponse { grant: Some(grant), ..LeaseResponse::default() };
        let delivered = self.waiting.remove(&worker).is_some_and(|waiting| waiting.reply.send(response).is_ok());
        if !delivered {
            self.handle(Event::Withdrawn { unit, attempt });
        }
    }
}

/// Asks the store whether a unit that is about to be granted is committed already: by a worker that died before it could
/// say so, or by one of another coordinator, one that leads no more and doesn't know it yet. The worker looks itself, too.
async fn look(store: Store, offers: mpsc::UnboundedSender<Offer>, mut offer: Offer) {
    let answer = async {
        loop {
            match store.commit(&offer.unit, offer.grant.generation).await {
                Ok(found) => return found.map_or(Found::Nothing, Found::Committed),
                Err(error) if error.out_of_reach() => tracing::debug!(%error, unit = %offer.unit.short(), "the store is asked again"),
                // What stands there can't be read: the worker that looks next fails by it, and says why.
                Err(_) => return Found::Nothing,
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    offer.found = tokio::time::timeout(LOOK, answer).await.unwrap_or(Found::Unknown);
    // If nobody listens the coordinator has ended.
    let _ = offers.send(offer);
}
