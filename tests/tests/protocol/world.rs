//! The protocol of commits and of the journal, without everything else: what can be in the store, in flight and in the
//! heads of two coordinators and two workers.

/// How many there are of each: coordinators, workers, units.
pub const TWO: usize = 2;

/// The body of an object. Its fields together are its nonce: no two requests have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Body {
    /// A journal entry in which a coordinator takes the lead.
    Epoch { by: u8, epoch: u8 },
    /// A journal entry that says that an attempt was lost.
    Lost { by: u8, epoch: u8, attempt: u8 },
    /// A journal entry that says that a result is about to be voided.
    Intent { by: u8, epoch: u8, unit: u8, seen: u8 },
    /// A unit's result.
    Done { attempt: u8 },
    /// A result doesn't count any more; `seen` is the link whose result was meant.
    Void { by: u8, epoch: u8, seen: u8 },
}

/// Where an object goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A place in the journal.
    Log(u8),
    /// A link of a unit's chain of commits.
    Commit { unit: u8, link: u8 },
}

/// Who waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sender {
    /// A coordinator.
    Coordinator(u8),
    /// A worker.
    Worker(u8),
    /// Nobody any more: it crashed, or stopped waiting and sent the same bytes again.
    Nobody,
}

/// A create on its way to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Request {
    pub sender: Sender,
    pub key: Key,
    pub body: Body,
}

/// A coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Coordinator {
    /// It doesn't run.
    Down,
    /// It has read the journal and wants to lead.
    Opening { epoch: u8 },
    /// It leads, as far as it knows.
    Leading {
        epoch: u8,
        /// Its next place in the journal.
        next: u8,
        /// Per unit, how many links of its chain it knows of: odd = committed.
        known: [u8; TWO],
        /// Per unit, the attempt that it has leased.
        leases: [Option<u8>; TWO],
        /// Whether it waits for the answer to a create.
        waits: bool,
    },
}

/// A worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Worker {
    /// It waits for work.
    Idle,
    /// It computes.
    Computing { unit: u8, link: u8, attempt: u8 },
    /// Its artifacts are in the store, and it has not looked for a commit yet.
    Uploaded { unit: u8, link: u8, attempt: u8 },
    /// Its commit is on its way.
    Committing { unit: u8, link: u8, attempt: u8 },
    /// It knows that the unit's link stands, and wants to say so.
    Reporting { unit: u8, link: u8 },
}

impl Worker {
    /// The attempt that it may still commit.
    pub fn attempt(&self) -> Option<u8> {
        match self {
            Worker::Computing { attempt, .. } | Worker::Uploaded { attempt, .. } | Worker::Committing { attempt, .. } => Some(*attempt),
            Worker::Idle | Worker::Reporting { .. } => None,
        }
    }
}

/// How often each misfortune may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Misfortunes {
    /// A process dies between two steps.
    pub crashes: u8,
    /// A request is lost, or its answer is, or its sender stops waiting while it is still on its way.
    pub faults: u8,
    /// A lease runs out although its worker lives (it was stopped, or cut off).
    pub stalls: u8,
    /// A coordinator starts while another one runs.
    pub duels: u8,
    /// Garbage is collected.
    pub collections: u8,
    /// Somebody asks for a result to be computed again (or it was found corrupt).
    pub voids: u8,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct World {
    pub log: Vec<Body>,
    /// Per unit, its chain: links that stand, by number.
    pub chains: [Vec<Option<Body>>; TWO],
    /// Attempts whose artifacts are in the store.
    pub artifacts: Vec<u8>,
    pub flying: Vec<Request>,
    pub coordinators: [Coordinator; TWO],
    pub workers: [Worker; TWO],
    /// Attempts that a collection has found to be garbage and is about to delete.
    pub garbage: Vec<u8>,
    /// Attempts granted so far.
    pub attempts: u8,
    pub left: Misfortunes,
    /// What a sender was told of its create in the last step: whether the body stands. What stands stays, so one look
    /// at the time is enough.
    pub told: Option<(Key, Body, bool)>,
}

impl World {
    /// Nothing has happened.
    pub fn new(left: Misfortunes) -> World {
        World {
            log: Vec::new(),
            chains: [Vec::new(), Vec::new()],
            artifacts: Vec::new(),
            flying: Vec::new(),
            coordinators: [Coordinator::Down, Coordinator::Down],
            workers: [Worker::Idle, Worker::Idle],
            garbage: Vec::new(),
            attempts: 0,
            left,
            told: None,
        }
    }

    /// What stands at a key.
    pub fn at(&self, key: Key) -> Option<Body> {
        match key {
            Key::Log(at) => self.log.get(at as usize).copied(),
            Key::Commit { unit, link } => self.chains[unit as usize].get(link as usize).copied().flatten(),
        }
    }

    /// Puts a body there, whatever stands there.
    pub fn put(&mut self, key: Key, body: Body) {
        match key {
            // Nobody knows a place in the journal beyond the next one.
            Key::Log(at) if (at as usize) < self.log.len() => self.log[at as usize] = body,
            Key::Log(_) => self.log.push(body),
            Key::Commit { unit, link } => {
                let chain = &mut self.chains[unit as usize];
                chain.resize(chain.len().max(link as usize + 1), None);
                chain[link as usize] = Some(body);
            }
        }
    }

    /// The largest epoch in the journal.
    pub fn epoch(&self) -> u8 {
        self.log.iter().map(|body| if let Body::Epoch { epoch, .. } = body { *epoch } else { 0 }).max().unwrap_or(0)
    }

    /// Whether a result names the attempt.
    pub fn referenced(&self, attempt: u8) -> bool {
        self.chains.iter().flatten().any(|body| *body == Some(Body::Done { attempt }))
    }

    /// Whether somebody may still commit the attempt, now or by a request that is on its way.
    pub fn alive(&self, attempt: u8) -> bool {
        self.workers.iter().any(|worker| worker.attempt() == Some(attempt))
            || self.flying.iter().any(|request| request.body == Body::Done { attempt })
    }

    /// Whether the first entries of the journal say that a result is voided.
    pub fn announced(&self, entries: u8, unit: u8, seen: u8) -> bool {
        let meant = |body: &Body| matches!(body, Body::Intent { unit: of, seen: link, .. } if (*of, *link) == (unit, seen));
        self.log.iter().take(entries as usize).any(meant)
    }

    /// Whether every unit's highest link is a result.
    pub fn complete(&self) -> bool {
        self.chains.iter().all(|chain| chain.len() % 2 == 1)
    }

    /// One way to write down each state: what has no order is sorted, and of two states that differ only in who is called
    /// 0 and who 1 one is taken. So names may change from step to step of a way.
    pub fn settled(mut self) -> World {
        self.told = None;
        let other = self.units_swapped().sorted();
        self.sorted().min(other)
    }

    fn sorted(mut self) -> World {
        if self.workers[0] > self.workers[1] {
            self.workers.swap(0, 1);
            self.flying.iter_mut().for_each(|request| {
                if let Sender::Worker(i) = &mut request.sender {
                    *i = 1 - *i;
                }
            });
        }
        if self.coordinators[0] > self.coordinators[1] {
            self.coordinators.swap(0, 1);
            let chains = self.chains.iter_mut().flatten().flatten();
            chains.chain(&mut self.log).chain(self.flying.iter_mut().map(|request| &mut request.body)).for_each(Body::swap_coordinators);
            self.flying.iter_mut().for_each(|request| {
                if let Sender::Coordinator(c) = &mut request.sender {
                    *c = 1 - *c;
                }
            });
        }
        self.flying.sort_unstable();
        self.artifacts.sort_unstable();
        self.garbage.sort_unstable();
        self
    }

    fn units_swapped(&self) -> World {
        let mut world = self.clone();
        world.chains.swap(0, 1);
        for coordinator in &mut world.coordinators {
            if let Coordinator::Leading { known, leases, .. } = coordinator {
                known.swap(0, 1);
                leases.swap(0, 1);
            }
        }
        for worker in &mut world.workers {
            match worker {
                Worker::Idle => {}
                Worker::Computing { unit, .. }
                | Worker::Uploaded { unit, .. }
                | Worker::Committing { unit, .. }
                | Worker::Reporting { unit, .. } => *unit = 1 - *unit,
            }
        }
        for request in &mut world.flying {
            if let Key::Commit { unit, .. } = &mut request.key {
                *unit = 1 - *unit;
            }
        }
        for body in world.log.iter_mut().chain(world.flying.iter_mut().map(|request| &mut request.body)) {
            if let Body::Intent { unit, .. } = body {
                *unit = 1 - *unit;
            }
        }
        world
    }
}

impl Body {
    fn swap_coordinators(&mut self) {
        match self {
            Body::Epoch { by, .. } | Body::Lost { by, .. } | Body::Intent { by, .. } | Body::Void { by, .. } => *by = 1 - *by,
            Body::Done { .. } => {}
        }
    }
}
