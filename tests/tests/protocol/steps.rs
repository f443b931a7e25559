//! What can happen: ordinary steps without bound, misfortunes as often as the bounds allow; and the rules that mutants break.

use super::explore::Model;
use super::world::{Body, Coordinator, Key, Misfortunes, Request, Sender, TWO, Worker, World};

/// The protocol, or one with a rule taken out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mutant {
    /// As it should be.
    #[default]
    None,
    /// `AlreadyExists` counts as another's, whatever the nonce says.
    NonceTakenForLost,
    /// `AlreadyExists` counts as our own, whatever the nonce says.
    NonceTakenForWon,
    /// A coordinator whose place in the journal is taken appends at the next one.
    NoFence,
    /// A create overwrites.
    Overwrite,
    /// Garbage is whatever no commit names, however young.
    YoungGarbage,
    /// A void goes on top of the chain, instead of above the result that was meant.
    VoidOnTop,
    /// A void is not written into the journal first.
    SilentVoid,
}

/// The protocol with bounds on misfortune.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    /// How often each misfortune may happen.
    pub left: Misfortunes,
    /// What is taken out.
    pub mutant: Mutant,
}

/// The steps out of a state.
struct Steps<'a> {
    protocol: &'a Protocol,
    world: &'a World,
    steps: Vec<(String, World)>,
}

impl Steps<'_> {
    fn step(&mut self, what: impl Into<String>, change: impl FnOnce(&mut World)) {
        let mut world = self.world.clone();
        change(&mut world);
        self.steps.push((what.into(), world));
    }

    fn coordinators(&mut self) {
        let running = self.world.coordinators.iter().any(|c| *c != Coordinator::Down);
        for c in 0..TWO as u8 {
            match self.world.coordinators[c as usize].clone() {
                Coordinator::Down if !running || self.world.left.duels > 0 => self.step(format!("coordinator {c} starts"), |w| {
                    w.left.duels -= u8::from(running);
                    w.lead(c);
                }),
                Coordinator::Down | Coordinator::Opening { .. } => {}
                Coordinator::Leading { epoch, next, known, leases, waits } => {
                    for unit in 0..TWO as u8 {
                        let (links, lease) = (known[unit as usize], leases[unit as usize]);
                        if links % 2 == 0 && lease.is_none() {
                            self.grant(c, unit, links);
                        }
                        if let Some(attempt) = lease
                            && !waits
                        {
                            self.lose(c, unit, attempt, Key::Log(next), epoch);
                        }
                        if links % 2 == 1 && !waits {
                            self.void(c, unit, links - 1, next, epoch);
                        }
                    }
                }
            }
            if self.world.coordinators[c as usize] != Coordinator::Down && self.world.left.crashes > 0 {
                self.step(format!("coordinator {c} dies"), |w| {
                    w.left.crashes -= 1;
                    w.fall(c);
                });
            }
        }
    }

    fn grant(&mut self, c: u8, unit: u8, links: u8) {
        for worker in 0..TWO {
            if self.world.workers[worker] == Worker::Idle {
                self.step(format!("coordinator {c} grants unit {unit} (link {links}) to worker {worker}"), |w| {
                    let attempt = w.attempts;
                    w.attempts += 1;
                    w.workers[worker] = Worker::Computing { unit, link: links, attempt };
                    w.lease(c, unit, Some(attempt));
                });
            }
        }
    }

    /// A result is voided: first the journal says so, then the chain. Who takes the lead finishes what the journal says.
    fn void(&mut self, c: u8, unit: u8, seen: u8, next: u8, epoch: u8) {
        let (key, void) = (Key::Commit { unit, link: seen + 1 }, Body::Void { by: c, epoch, seen });
        if self.world.announced(next, unit, seen) {
            self.step(format!("coordinator {c} finishes to void link {seen} of unit {unit}"), |w| {
                w.send(Sender::Coordinator(c), key, void);
                w.wait(c, true);
            });
        } else if self.world.left.voids > 0 {
            let silent = self.protocol.mutant == Mutant::SilentVoid;
            self.step(format!("coordinator {c} is asked to void link {seen} of unit {unit}"), |w| {
                w.left.voids -= 1;
                let intent = (Key::Log(next), Body::Intent { by: c, epoch, unit, seen });
                let (key, body) = if silent { (key, void) } else { intent };
                w.send(Sender::Coordinator(c), key, body);
                w.wait(c, true);
            });
        }
    }

    /// A lease runs out: its worker is dead, or (as a misfortune) only silent.
    fn lose(&mut self, c: u8, unit: u8, attempt: u8, key: Key, epoch: u8) {
        let lives = self.world.workers.iter().any(|worker| match worker {
            Worker::Reporting { unit: of, .. } => *of == unit,
            worker => worker.attempt() == Some(attempt),
        });
        if lives && self.world.left.stalls == 0 {
            return;
        }
        self.step(format!("the lease of attempt {attempt} runs out at coordinator {c}"), |w| {
            w.left.stalls -= u8::from(lives);
            w.lease(c, unit, None);
            w.send(Sender::Coordinator(c), key, Body::Lost { by: c, epoch, attempt });
            w.wait(c, true);
        });
    }

    fn workers(&mut self) {
        for i in 0..TWO as u8 {
            let worker = self.world.workers[i as usize];
            match worker {
                Worker::Idle => {}
                Worker::Computing { unit, link, attempt } => self.step(format!("worker {i} uploads attempt {attempt}"), |w| {
                    w.artifacts.push(attempt);
                    w.workers[i as usize] = Worker::Uploaded { unit, link, attempt };
                }),
                Worker::Uploaded { unit, link, .. } if self.world.at(Key::Commit { unit, link }).is_some() => {
                    self.step(format!("worker {i} finds the commit of another"), |w| {
                        w.workers[i as usize] = Worker::Reporting { unit, link }
                    });
                }
                Worker::Uploaded { unit, link, attempt } => self.step(format!("worker {i} commits attempt {attempt}"), |w| {
                    w.workers[i as usize] = Worker::Committing { unit, link, attempt };
                    w.send(Sender::Worker(i), Key::Commit { unit, link }, Body::Done { attempt });
                }),
                // It waits for the answer.
                Worker::Committing { .. } => {}
                Worker::Reporting { unit, link } => self.step(format!("worker {i} reports unit {unit}"), |w| {
                    w.workers[i as usize] = Worker::Idle;
                    (0..TWO as u8).for_each(|c| w.learn(c, unit, link + 1));
                }),
            }
            if worker != Worker::Idle && self.world.left.crashes > 0 {
                self.step(format!("worker {i} dies"), |w| {
                    w.left.crashes -= 1;
                    w.workers[i as usize] = Worker::Idle;
                    w.forget(Sender::Worker(i));
                });
            }
        }
    }

    fn requests(&mut self) {
        for (at, request) in self.world.flying.iter().enumerate() {
            let what = format!("{:?} of {:?} for {:?}", request.body, request.sender, request.key);
            let mutant = self.protocol.mutant;
            self.step(format!("the store takes {what}"), |w| {
                let request = w.flying.remove(at);
                let outcome = w.create(request, mutant);
                w.answer(request, outcome, mutant);
            });
            if self.world.left.faults == 0 {
                continue;
            }
            if request.sender == Sender::Nobody {
                self.step(format!("nobody sees the end of {what}"), |w| {
                    w.left.faults -= 1;
                    w.flying.remove(at);
                });
                continue;
            }
            // A request that is lost before it takes effect is sent again as it was: the state is the same as before.
            self.step(format!("took effect, and the answer is lost: {what}"), |w| {
                w.left.faults -= 1;
                w.create(*request, mutant);
            });
            self.step(format!("delayed, and sent again: {what}"), |w| {
                w.left.faults -= 1;
                w.flying.push(Request { sender: Sender::Nobody, ..*request });
            });
        }
    }

    fn garbage(&mut self) {
        if !self.world.garbage.is_empty() {
            self.step("garbage is deleted", |w| {
                let garbage = std::mem::take(&mut w.garbage);
                w.artifacts.retain(|attempt| !garbage.contains(attempt));
            });
        } else if self.world.left.collections > 0 {
            // Nothing lives, and no request is on its way, for as long as garbage must be old.
            let young = self.protocol.mutant == Mutant::YoungGarbage;
            let old = |attempt: &u8| young || !self.world.alive(*attempt);
            let garbage: Vec<u8> =
                self.world.artifacts.iter().filter(|attempt| !self.world.referenced(**attempt) && old(attempt)).copied().collect();
            if !garbage.is_empty() {
                self.step(format!("attempts {garbage:?} are found to be garbage"), |w| {
                    w.left.collections -= 1;
                    w.garbage = garbage;
                });
            }
        }
    }
}

impl World {
    fn send(&mut self, sender: Sender, key: Key, body: Body) {
        self.flying.push(Request { sender, key, body });
    }

    /// A coordinator reads the journal and asks for the lead.
    fn lead(&mut self, c: u8) {
        let epoch = self.epoch() + 1;
        self.coordinators[c as usize] = Coordinator::Opening { epoch };
        self.send(Sender::Coordinator(c), Key::Log(u8::try_from(self.log.len()).expect("short")), Body::Epoch { by: c, epoch });
    }

    /// Nobody waits for the sender's requests any more.
    fn forget(&mut self, sender: Sender) {
        self.flying.iter_mut().filter(|request| request.sender == sender).for_each(|request| request.sender = Sender::Nobody);
    }

    fn fall(&mut self, c: u8) {
        self.coordinators[c as usize] = Coordinator::Down;
        self.forget(Sender::Coordinator(c));
    }

    fn wait(&mut self, c: u8, on: bool) {
        if let Coordinator::Leading { waits, .. } = &mut self.coordinators[c as usize] {
            *waits = on;
        }
    }

    fn lease(&mut self, c: u8, unit: u8, attempt: Option<u8>) {
        if let Coordinator::Leading { leases, .. } = &mut self.coordinators[c as usize] {
            leases[unit as usize] = attempt;
        }
    }

    /// A coordinator hears that a unit has that many links.
    fn learn(&mut self, c: u8, unit: u8, links: u8) {
        if let Coordinator::Leading { known, leases, .. } = &mut self.coordinators[c as usize]
            && known[unit as usize] < links
        {
            known[unit as usize] = links;
            leases[unit as usize] = None;
        } else if let Coordinator::Leading { leases, .. } = &mut self.coordinators[c as usize] {
            leases[unit as usize] = None;
        }
    }

    /// What the store does; whether it put the body there now, and whether it stands there.
    fn create(&mut self, request: Request, mutant: Mutant) -> (bool, bool) {
        let mut key = request.key;
        if mutant == Mutant::VoidOnTop
            && let (Key::Commit { unit, .. }, Body::Void { .. }) = (key, request.body)
        {
            let link = u8::try_from(self.chains[unit as usize].len()).expect("short");
            key = Key::Commit { unit, link };
        }
        match self.at(key) {
            Some(there) if mutant != Mutant::Overwrite => (false, there == request.body),
            _ => {
                self.put(key, request.body);
                (true, true)
            }
        }
    }

    /// What the sender makes of the answer.
    fn answer(&mut self, request: Request, (put, stands): (bool, bool), mutant: Mutant) {
        let Request { sender, key, body } = request;
        let told = match mutant {
            Mutant::NonceTakenForWon => true,
            Mutant::NonceTakenForLost => put,
            _ => stands,
        };
        if sender != Sender::Nobody {
            self.told = Some((key, body, told));
        }
        match (sender, body) {
            (Sender::Nobody, _) => {}
            (Sender::Worker(i), _) => {
                if let Worker::Committing { unit, link, .. } = self.workers[i as usize] {
                    self.workers[i as usize] = Worker::Reporting { unit, link };
                }
            }
            (Sender::Coordinator(c), Body::Epoch { epoch, .. }) if told => {
                let known = [0, 1].map(|unit: usize| u8::try_from(self.chains[unit].len()).expect("short"));
                let next = if let Key::Log(at) = key { at + 1 } else { 0 };
                self.coordinators[c as usize] = Coordinator::Leading { epoch, next, known, leases: [None, None], waits: false };
            }
            // Somebody appended between reading and writing: read again.
            (Sender::Coordinator(c), Body::Epoch { .. }) => self.lead(c),
            (Sender::Coordinator(c), Body::Void { seen, .. }) => {
                self.wait(c, false);
                if let Key::Commit { unit, .. } = key {
                    self.learn(c, unit, seen + 2);
                }
            }
            (Sender::Coordinator(c), _) if told => {
                self.wait(c, false);
                if let Coordinator::Leading { next, .. } = &mut self.coordinators[c as usize] {
                    *next += 1;
                }
            }
            (Sender::Coordinator(c), body) if mutant == Mutant::NoFence => {
                let end = u8::try_from(self.log.len()).expect("short");
                if let Coordinator::Leading { next, .. } = &mut self.coordinators[c as usize] {
                    *next = end;
                }
                self.send(sender, Key::Log(end), body);
            }
            // Another one leads.
            (Sender::Coordinator(c), _) => self.fall(c),
        }
    }
}

impl Model for Protocol {
    type State = World;

    fn start(&self) -> World {
        World::new(self.left)
    }

    fn steps(&self, world: &World) -> Vec<(String, World)> {
        let mut steps = Steps { protocol: self, world, steps: Vec::new() };
        steps.coordinators();
        steps.workers();
        steps.requests();
        steps.garbage();
        steps.steps
    }

    fn wrong(&self, before: &World, after: &World) -> Option<String> {
        for (at, body) in before.log.iter().enumerate() {
            if after.log.get(at) != Some(body) {
                return Some(format!("journal entry {at} was overwritten"));
            }
        }
        for (unit, chain) in before.chains.iter().enumerate() {
            for (link, body) in chain.iter().enumerate().filter(|(_, body)| body.is_some()) {
                if after.chains[unit].get(link) != Some(body) {
                    return Some(format!("link {link} of unit {unit} was overwritten"));
                }
            }
        }
        let epochs = after.log.iter().map(|body| match body {
            Body::Epoch { epoch, .. } | Body::Lost { epoch, .. } | Body::Intent { epoch, .. } => *epoch,
            Body::Done { .. } | Body::Void { .. } => 0,
        });
        if !epochs.is_sorted() {
            return Some("a superseded coordinator's entry took effect".to_owned());
        }
        if let Some((key, body, told)) = &after.told
            && *told != (after.at(*key) == Some(*body))
        {
            return Some(format!("who sent {body:?} was told that it {}", if *told { "stands" } else { "was too late" }));
        }
        for (unit, chain) in after.chains.iter().enumerate() {
            for (link, body) in chain.iter().enumerate() {
                match body {
                    Some(Body::Done { attempt }) if link % 2 == 1 => return Some(format!("attempt {attempt} stands at an odd link")),
                    Some(Body::Done { attempt }) if !after.artifacts.contains(attempt) => {
                        return Some(format!("unit {unit} names attempt {attempt}, whose artifacts are gone"));
                    }
                    Some(Body::Void { seen, .. }) if link != *seen as usize + 1 => {
                        return Some(format!("link {link} of unit {unit} voids what nobody asked to void"));
                    }
                    _ => {}
                }
            }
        }
        None
    }

    fn settled(&self, world: World) -> World {
        world.settled()
    }

    fn complete(&self, world: &World) -> bool {
        world.complete()
    }
}
