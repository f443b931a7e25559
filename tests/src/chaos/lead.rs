//! The coordinators: one leads behind the forwarder; at times there are two.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fleet::signal;
use super::forward::Forward;

/// How coordinators are started.
#[derive(Debug, Clone)]
pub struct Office {
    /// The program.
    pub program: PathBuf,
    /// The store.
    pub store: String,
    /// Seconds between heartbeats.
    pub heartbeat: f64,
    /// Seconds of a lease.
    pub lease_ttl: f64,
    /// Where the logs go.
    pub logs: PathBuf,
}

/// A coordinator's process.
#[derive(Debug)]
pub struct Member {
    child: Child,
    port: u16,
    log: PathBuf,
    began: Instant,
}

/// Who leads, and what was seen of it.
#[derive(Debug)]
pub struct Lead {
    office: Office,
    forward: Arc<Forward>,
    current: Option<Member>,
    starts: u32,
    /// Seconds from each start to the first grant.
    pub recoveries: Vec<f64>,
    /// How superseded coordinators ended.
    pub superseded: u32,
    /// What should not have happened.
    pub surprises: Vec<String>,
}

/// How long a coordinator may take to grant its first unit.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a superseded coordinator may take to notice.
const NOTICE: Duration = Duration::from_secs(25);
/// The exit code of a coordinator that was superseded.
const TRY_AGAIN: i32 = 75;

impl Lead {
    /// Starts the first coordinator.
    pub fn new(office: Office, forward: Arc<Forward>) -> Lead {
        let mut lead = Lead { office, forward, current: None, starts: 0, recoveries: Vec::new(), superseded: 0, surprises: Vec::new() };
        lead.restart();
        lead
    }

    fn spawn(&mut self) -> Member {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port is free");
        self.starts += 1;
        let log = self.office.logs.join(format!("coordinator-{}.log", self.starts));
        let child = Command::new(&self.office.program)
            .args(["coordinator", "--store", &self.office.store, "--listen", &free.to_string(), "--log-format", "json"])
            .args(["--heartbeat", &self.office.heartbeat.to_string(), "--lease-ttl", &self.office.lease_ttl.to_string()])
            .env("LIMBIC_LOG", "warn,limbic=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log can be written"))
            .spawn()
            .expect("limbic starts");
        Member { child, port: free.port(), log, began: Instant::now() }
    }

    /// Waits until a coordinator listens; false where it ended before (the store is away, or its port was taken).
    fn listens(member: &mut Member) -> bool {
        while member.child.try_wait().expect("a child can be waited for").is_none() {
            if std::net::TcpStream::connect(("127.0.0.1", member.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Starts a coordinator that listens; tries again while the store is away.
    fn listening(&mut self) -> Member {
        loop {
            let mut member = self.spawn();
            if Lead::listens(&mut member) {
                return member;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Starts a coordinator and sends the workers there.
    pub fn restart(&mut self) {
        let member = self.listening();
        self.forward.point(member.port);
        self.current = Some(member);
    }

    /// Waits for the first grant of the present coordinator, or until `over` says that there is nothing to grant.
    pub fn recover(&mut self, over: impl Fn() -> bool) {
        let Some(member) = &self.current else { return };
        loop {
            let log = std::fs::read_to_string(&member.log).unwrap_or_default();
            if log.contains("\"granted\"") {
                return self.recoveries.push(member.began.elapsed().as_secs_f64());
            }
            if over() {
                return;
            }
            if member.began.elapsed() > PATIENCE {
                return self.surprises.push(format!("coordinator {} granted nothing within {} s", self.starts, PATIENCE.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills the coordinator, unless it has ended by itself, which only the loss of the store or of the lead explains.
    pub fn kill(&mut self) {
        if let Some(mut member) = self.current.take() {
            if let Some(status) = member.child.try_wait().expect("a child can be waited for") {
                self.surprises.push(format!("coordinator {} ended by itself with {status}", self.starts));
            }
            // It may have ended by itself.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }

    /// Stops the coordinator for that long.
    pub fn stop(&mut self, time: Duration) {
        if let Some(member) = &self.current {
            signal(&member.child, libc::SIGSTOP);
            std::thread::sleep(time);
            signal(&member.child, libc::SIGCONT);
        }
    }

    /// Starts a second coordinator while the first goes on (or sleeps, and awakes after `sleep`); the first must end and
    /// say that it should be tried again.
    pub fn duel(&mut self, sleep: Option<Duration>, apart: Duration) {
        let Some(mut older) = self.current.take() else { return };
        if sleep.is_some() {
            signal(&older.child, libc::SIGSTOP);
        }
        let newer = self.listening();
        // For a while the workers are still the older one's.
        std::thread::sleep(apart);
        if let Some(sleep) = sleep {
            std::thread::sleep(sleep);
            signal(&older.child, libc::SIGCONT);
            std::thread::sleep(apart);
        }
        self.forward.point(newer.port);
        self.current = Some(newer);
        let since = Instant::now();
        loop {
            match older.child.try_wait().expect("a child can be waited for") {
                Some(status) if status.code() == Some(TRY_AGAIN) => return self.superseded += 1,
                Some(status) => return self.surprises.push(format!("a superseded coordinator ended with {status}")),
                None if since.elapsed() > NOTICE => {
                    self.surprises.push(format!("a superseded coordinator went on for {} s", NOTICE.as_secs()));
                    let _ = older.child.kill();
                    let _ = older.child.wait();
                    return;
                }
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Cuts the wire for that long.
    pub fn partition(&self, time: Duration) {
        self.forward.cut(true);
        std::thread::sleep(time);
        self.forward.cut(false);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if let Some(mut member) = self.current.take() {
            // It may have ended by itself.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}
