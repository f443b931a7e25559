//! This program as `limbic`: what runs as a process of its own is then always the code that was just built.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

/// Set in processes that are `limbic`, or workers that it has started.
const ROLE: &str = "LIMBIC_PEERS_ROLE";

/// How often it is looked how much memory processes have had.
const GLANCE: Duration = Duration::from_millis(50);

/// A command of `limbic`.
pub struct Program {
    command: Command,
    log: std::path::PathBuf,
}

/// How a program ran.
pub(super) struct Ran {
    /// From its start to its end.
    pub(super) seconds: f64,
    /// The most memory that it and each of the processes that it started have had, in MiB, by what they are.
    pub(super) peaks: BTreeMap<&'static str, f64>,
}

impl Program {
    /// Is `limbic` where this process was started to be that.
    pub fn play() -> Option<ExitCode> {
        std::env::var_os(ROLE).map(|_| limbic::cli::main())
    }

    /// `limbic ARGS`, whose complaints go to a file in `folder`.
    pub(super) fn limbic(folder: &Path, args: &[&str]) -> anyhow::Result<Program> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args).current_dir(folder).env(ROLE, "limbic");
        for variable in ["LIMBIC_STORE", "LIMBIC_COORDINATOR", "LIMBIC_THREADS", "LIMBIC_LOG", "LIMBIC_CACHE_DIR"] {
            command.env_remove(variable);
        }
        Ok(Program { command, log: folder.join("limbic.log") })
    }

    /// Runs it to its end.
    pub(super) fn run(mut self) -> anyhow::Result<Ran> {
        let log = std::fs::File::create(&self.log)?;
        let began = Instant::now();
        let mut child = self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let mut peaks = BTreeMap::new();
        let status = loop {
            glance(&child, &mut peaks);
            if let Some(status) = child.try_wait()? {
                break status;
            }
            std::thread::sleep(GLANCE);
        };
        let seconds = began.elapsed().as_secs_f64();
        let said = std::fs::read_to_string(&self.log).context("what it said")?;
        anyhow::ensure!(status.success(), "{:?} ended with {status}: {said}", self.command);
        Ok(Ran { seconds, peaks })
    }
}

/// Takes note of what the process and its children have had at most so far.
fn glance(child: &Child, peaks: &mut BTreeMap<&'static str, f64>) {
    let mut note = |who, pid: u32| {
        let peak: &mut f64 = peaks.entry(who).or_default();
        *peak = peak.max(peak_of(pid));
    };
    note("coordinator", child.id());
    let path = format!("/proc/{0}/task", child.id());
    for task in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).for_each(|pid| note("worker", pid));
    }
}

/// The most memory that a process has had, in MiB; 0 where the system doesn't say.
fn peak_of(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap_or(0.0) / 1024.0
}
