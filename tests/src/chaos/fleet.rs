//! The workers: processes that are started again whenever they end, each time under another name.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How the workers are started.
#[derive(Debug, Clone)]
pub struct Crew {
    /// The program.
    pub program: PathBuf,
    /// The address of the coordinator.
    pub coordinator: String,
    /// How long a unit takes.
    pub unit: Duration,
    /// Where the logs go.
    pub logs: PathBuf,
}

/// The workers.
#[derive(Debug)]
pub struct Fleet {
    crew: Crew,
    slots: Vec<Mutex<Slot>>,
    over: AtomicBool,
    /// Seconds from SIGTERM to the end, each.
    drains: Mutex<Vec<f64>>,
    /// Ends that nobody asked for.
    surprises: Mutex<Vec<String>>,
    /// While it is set, workers may end by themselves.
    excused: AtomicBool,
}

#[derive(Debug)]
struct Slot {
    child: Option<Child>,
    starts: u32,
    state: State,
    due: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Working,
    Stopped,
    Draining(Instant),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a signal to a child that has not been waited for.
pub fn signal(child: &Child, signal: i32) {
    let pid = i32::try_from(child.id()).expect("a process id fits");
    // SAFETY: kill takes plain numbers; the child has not been waited for, so its id is still its own.
    unsafe { libc::kill(pid, signal) };
}

impl Fleet {
    /// Starts `count` workers and keeps as many running.
    pub fn start(crew: Crew, count: usize) -> Arc<Fleet> {
        let slot = || Mutex::new(Slot { child: None, starts: 0, state: State::Working, due: Instant::now() });
        let fleet = Arc::new(Fleet {
            crew,
            slots: (0..count).map(|_| slot()).collect(),
            over: AtomicBool::new(false),
            drains: Mutex::default(),
            surprises: Mutex::default(),
            excused: AtomicBool::new(false),
        });
        let keeper = fleet.clone();
        std::thread::spawn(move || {
            while !keeper.over.load(Ordering::SeqCst) {
                (0..keeper.slots.len()).for_each(|number| keeper.keep(number));
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        fleet
    }

    /// Notes an end, and starts the next worker when it is due.
    fn keep(&self, number: usize) {
        let mut slot = lock(&self.slots[number]);
        let ended = slot.child.as_mut().and_then(|child| child.try_wait().expect("a child can be waited for"));
        if let Some(status) = ended {
            let name = format!("w{number}-{}", slot.starts);
            match slot.state {
                State::Draining(since) => {
                    lock(&self.drains).push(since.elapsed().as_secs_f64());
                    if status.code() != Some(75) && !self.excused.load(Ordering::SeqCst) {
                        lock(&self.surprises).push(format!("{name} ended its drain with {status}"));
                    }
                }
                _ if self.excused.load(Ordering::SeqCst) => {}
                _ => lock(&self.surprises).push(format!("{name} ended by itself with {status}")),
            }
            (slot.child, slot.state, slot.due) = (None, State::Working, Instant::now() + Duration::from_millis(500));
        }
        if slot.child.is_none() && slot.due <= Instant::now() && !self.over.load(Ordering::SeqCst) {
            slot.starts += 1;
            let name = format!("w{number}-{}", slot.starts);
            slot.child = Some(self.spawn(&name));
        }
    }

    fn spawn(&self, name: &str) -> Child {
        let log = File::create(self.crew.logs.join(format!("{name}.log"))).expect("a log can be written");
        Command::new(&self.crew.program)
            .args(["--coordinator", &self.crew.coordinator, "--id", name, "--log-format", "json"])
            .env("LIMBIC_LOG", "info")
            .env("LIMBIC_FAKE_ENGINE", self.crew.unit.as_millis().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("limbic-worker starts")
    }

    /// A worker that is at work, chosen by the draw.
    fn working(&self, draw: u64) -> Option<MutexGuard<'_, Slot>> {
        let count = self.slots.len();
        let first = usize::try_from(draw % count as u64).expect("small");
        (0..count).map(|i| lock(&self.slots[(first + i) % count])).find(|slot| slot.child.is_some() && slot.state == State::Working)
    }

    /// Kills a worker; false where none is at work.
    pub fn kill(&self, draw: u64) -> bool {
        let pause = Duration::from_millis(200 + draw % 1000);
        self.working(draw).is_some_and(|mut slot| slot.kill(pause))
    }

    /// Kills every worker, and says how many there were.
    pub fn kill_all(&self, draw: u64) -> usize {
        let pause = Duration::from_millis(500 + draw % 2000);
        self.slots.iter().filter(|slot| lock(slot).kill(pause)).count()
    }

    /// Stops a worker for that long.
    pub fn stop(self: &Arc<Fleet>, draw: u64, time: Duration) -> bool {
        let Some(mut slot) = self.working(draw) else { return false };
        let Some(child) = &slot.child else { return false };
        let id = child.id();
        signal(child, libc::SIGSTOP);
        slot.state = State::Stopped;
        drop(slot);
        let fleet = self.clone();
        std::thread::spawn(move || {
            std::thread::sleep(time);
            for slot in &fleet.slots {
                let mut slot = lock(slot);
                if let Some(child) = slot.child.as_ref().filter(|child| child.id() == id) {
                    signal(child, libc::SIGCONT);
                    slot.state = State::Working;
                }
            }
        });
        true
    }

    /// Asks a worker to leave.
    pub fn drain(&self, draw: u64) -> bool {
        let Some(mut slot) = self.working(draw) else { return false };
        let Some(child) = &slot.child else { return false };
        signal(child, libc::SIGTERM);
        slot.state = State::Draining(Instant::now());
        true
    }

    /// Whether workers may end by themselves, because the store is away.
    pub fn excuse(&self, excused: bool) {
        self.excused.store(excused, Ordering::SeqCst);
    }

    /// Ends all workers; gives the drains' seconds and the surprises.
    pub fn end(&self) -> (Vec<f64>, Vec<String>) {
        self.over.store(true, Ordering::SeqCst);
        for slot in &self.slots {
            lock(slot).kill(Duration::ZERO);
        }
        (lock(&self.drains).clone(), lock(&self.surprises).clone())
    }
}

impl Slot {
    /// Kills the worker there, if there is one that is not leaving.
    fn kill(&mut self, pause: Duration) -> bool {
        let Some(mut child) = self.child.take() else { return false };
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
        (self.state, self.due) = (State::Working, Instant::now() + pause);
        true
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.kill(Duration::ZERO);
    }
}
