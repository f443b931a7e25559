//! What goes wrong when: drawn from the seed, done between two steps of the simulated clock.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use turmoil::Sim;

use super::WORKERS;
use super::hosts::{COORDINATORS, worker_name};
use super::world::World;

/// The mean time between two disturbances.
const BETWEEN: f64 = 12.0;
/// How long a program that ended by itself stays away before it is started again.
const RESTART: Duration = Duration::from_secs(5);

/// Something that ends a disturbance.
enum Cure {
    Start(String),
    Repair(String, &'static str),
}

/// What goes wrong when.
pub(super) struct Schedule {
    draws: ChaCha8Rng,
    next: Duration,
    cures: Vec<(Duration, Cure)>,
    /// Hosts that are down, with their start ahead.
    down: Vec<String>,
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Schedule {
        let draws = ChaCha8Rng::seed_from_u64(seed ^ 0x5ced_01e0_0000_0000);
        Schedule { draws, next: Duration::from_secs(10), cures: Vec::new(), down: Vec::new() }
    }

    fn seconds(&mut self, from: f64, to: f64) -> Duration {
        Duration::from_secs_f64(self.draws.random_range(from..to))
    }

    /// Does what is due; after `disturbed`, nothing new goes wrong.
    pub(super) fn step(&mut self, sim: &mut Sim<'_>, world: &World, disturbed: Duration) {
        let now = sim.elapsed();
        world.tick(now);
        let (due, later) = std::mem::take(&mut self.cures).into_iter().partition(|(at, _)| *at <= now);
        self.cures = later;
        let due: Vec<(Duration, Cure)> = due;
        for (_, cure) in due {
            match cure {
                Cure::Start(host) => {
                    world.note("-", "starts", &host, "");
                    world.forget_ended(&host);
                    sim.bounce(host.as_str());
                    self.down.retain(|down| *down != host);
                }
                Cure::Repair(worker, coordinator) => {
                    world.note("-", "repairs", &worker, coordinator);
                    sim.repair(worker.as_str(), coordinator);
                }
            }
        }
        // With a program that ended its whole process is gone.
        world.ended(now, Duration::ZERO).iter().for_each(|host| world.crash(host, sim));
        for host in world.ended(now, RESTART) {
            if !self.down.contains(&host) {
                world.forget_ended(&host);
                self.cures.push((now, Cure::Start(host)));
            }
        }
        if now >= self.next && now < disturbed {
            self.next = now + self.seconds(0.0, 2.0 * BETWEEN);
            self.disturb(now, sim, world);
        }
    }

    fn disturb(&mut self, now: Duration, sim: &mut Sim<'_>, world: &World) {
        let worker = worker_name(self.draws.random_range(0..WORKERS));
        let leader = world.leader();
        match self.draws.random_range(0..100) {
            0..28 => self.crash(now, worker, "workers crashed", 60.0, sim, world),
            28..40 => self.crash(now, leader.to_owned(), "coordinators crashed", 30.0, sim, world),
            40..60 => {
                let time = self.seconds(5.0, 180.0);
                self.cut_off(now + time, worker, leader, sim, world);
            }
            60..65 => {
                let time = self.seconds(5.0, 60.0);
                (0..WORKERS).for_each(|number| self.cut_off(now + time, worker_name(number), leader, sim, world));
            }
            65..75 => {
                let until = now + self.seconds(5.0, 180.0);
                let host = if self.draws.random_bool(0.2) { leader.to_owned() } else { worker };
                world.note("-", "store away for", &host, "");
                world.count("store outages of one host");
                world.keep_store_away(&host, until);
            }
            75..80 => {
                let until = now + self.seconds(5.0, 60.0);
                world.note("-", "store away for all", "", "");
                world.count("store outages");
                (0..WORKERS).map(worker_name).for_each(|host| world.keep_store_away(&host, until));
                COORDINATORS.iter().for_each(|host| world.keep_store_away(host, until));
            }
            80..92 => {
                world.note("-", "drains", &worker, "");
                world.count("workers drained");
                world.drained(&worker).notify_one();
            }
            // The other place takes over while this one still believes that it leads; its workers hang on to their
            // connections.
            _ => {
                let other = if leader == COORDINATORS[0] { COORDINATORS[1] } else { COORDINATORS[0] };
                world.note("-", "takes over", other, "");
                world.count("takeovers");
                world.set_leader(other);
            }
        }
    }

    fn crash(&mut self, now: Duration, host: String, count: &'static str, longest: f64, sim: &mut Sim<'_>, world: &World) {
        if self.down.contains(&host) {
            return;
        }
        world.note("-", "crashes", &host, "");
        world.count(count);
        world.crash(&host, sim);
        self.down.push(host.clone());
        let time = self.seconds(1.0, longest);
        self.cures.push((now + time, Cure::Start(host)));
    }

    fn cut_off(&mut self, until: Duration, worker: String, coordinator: &'static str, sim: &mut Sim<'_>, world: &World) {
        world.note("-", "partitions", &worker, coordinator);
        world.count("workers cut off");
        sim.partition(worker.as_str(), coordinator);
        self.cures.push((until, Cure::Repair(worker, coordinator)));
    }
}
