//! A folder of its own for each test, with a small sweep in it, and the programs run there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// A folder with a store, specs and reports.
#[derive(Debug)]
pub struct Sandbox {
    folder: tempfile::TempDir,
    limbic: PathBuf,
    worker: PathBuf,
    env: Vec<(String, String)>,
}

/// A sweep of the smallest shipped model that still has every kind of unit in it.
const SMALL: &str = "\
name: small
dataset: {group: group, limit: 210, source: CORPUS}
models: [{source: MODEL}]
conditions: [{name: raw}, {name: calm, chat: {system: You always remain calm and composed.}}]
offsets: [0, 1, 3]
continuation: {controls: [masked-prompt], stop_at_eos: false}
probes: [{kind: logistic, c: [0.01]}, {kind: mlp, hidden: 8}]
execution: {rows_per_unit: 30}
report: {resamples: 100}
";

impl Sandbox {
    /// A new folder; `limbic` and `worker` are the programs under test.
    ///
    /// # Panics
    /// If no folder can be made.
    pub fn new(limbic: &str, worker: &str) -> Sandbox {
        Sandbox {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
            limbic: limbic.into(),
            worker: worker.into(),
            env: Vec::new(),
        }
    }

    /// The same folder, with variables that every program there gets.
    #[must_use]
    pub fn with_env(mut self, env: Vec<(String, String)>) -> Sandbox {
        self.env.extend(env);
        self
    }

    /// The repository's root.
    pub fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the repository").to_path_buf()
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder.
    ///
    /// # Panics
    /// If it can't be written.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder can be made");
        std::fs::write(&path, text).expect("a file can be written");
        path
    }

    /// Writes the small sweep's spec, with some text replaced.
    pub fn small(&self, replace: &[(&str, &str)]) -> PathBuf {
        let shipped = Self::repository().join("configs/quickstart");
        let mut text = SMALL.to_owned();
        for (from, to) in replace {
            assert!(text.contains(from), "the small spec has no `{from}`");
            text = text.replace(from, to);
        }
        text = text.replace("CORPUS", &shipped.join("corpus.jsonl").to_string_lossy());
        text = text.replace("MODEL", &shipped.join("models/tiny-0.3m").to_string_lossy());
        self.write("small.yaml", &text)
    }

    fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("LIMBIC_LOG", "warn")
            .env_remove("LIMBIC_STORE")
            .env_remove("LIMBIC_COORDINATOR")
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs `limbic` to its end.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn limbic(&self, args: &[&str]) -> Ended {
        ended(self.command(&self.limbic, args).output().expect("limbic starts"))
    }

    /// Runs `limbic` to its end, with further environment variables.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn limbic_in(&self, environment: &[(&str, &str)], args: &[&str]) -> Ended {
        ended(self.command(&self.limbic, args).envs(environment.iter().copied()).output().expect("limbic starts"))
    }

    /// Runs `limbic-worker` to its end.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn worker(&self, args: &[&str]) -> Ended {
        ended(self.command(&self.worker, args).output().expect("limbic-worker starts"))
    }

    /// Starts `limbic` in the background.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn spawn(&self, args: &[&str]) -> Running {
        Running(self.command(&self.limbic, args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("limbic starts"))
    }

    /// Starts `limbic-worker` in the background.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn spawn_worker(&self, args: &[&str]) -> Running {
        Running(self.command(&self.worker, args).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("limbic-worker starts"))
    }

    /// The JSON that a command prints.
    ///
    /// # Panics
    /// If the command fails or prints something else.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let ended = self.limbic(args);
        assert_eq!(ended.code, Some(0), "limbic {args:?}: {}", ended.stderr);
        serde_json::from_str(ended.stdout.trim()).unwrap_or_else(|e| panic!("limbic {args:?} printed {:?}: {e}", ended.stdout))
    }

    /// The names and bytes of all objects of the store under a prefix, sorted.
    pub fn objects(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() { walk(&path, into) } else { into.push(path) }
            }
        }
        let store = self.path("store");
        let mut paths = Vec::new();
        walk(&store.join(prefix), &mut paths);
        // Names with `#` are the local store's own unfinished writes.
        paths.retain(|p| !p.to_string_lossy().contains('#'));
        paths.sort();
        let name = |p: &Path| p.strip_prefix(&store).expect("under the store").to_string_lossy().into_owned();
        paths.iter().map(|p| (name(p), std::fs::read(p).unwrap_or_default())).collect()
    }

    /// The attempts of every unit that left something in the store, by `data/` folder.
    pub fn attempts(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut attempts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, _) in self.objects("data") {
            let [_, _, unit, attempt, _] = name.split('/').collect::<Vec<_>>()[..] else { continue };
            attempts.entry(unit.to_owned()).or_default().insert(attempt.to_owned());
        }
        attempts
    }

    /// The units whose commit stands.
    pub fn committed(&self) -> BTreeSet<String> {
        let unit = |name: &str| name.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or_default().to_owned();
        self.objects("commit").iter().map(|(name, _)| unit(name)).collect()
    }

    /// Waits until something holds.
    ///
    /// # Panics
    /// If it doesn't within two minutes.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(120), "waited two minutes until {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A program in the background; killed when dropped.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Kills it at once, as `kill -9` does.
    pub fn kill(mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits until it complains of something, in a line that holds `word`; only of programs whose complaints are not shown.
    ///
    /// # Panics
    /// If it ends without.
    pub fn complains(&mut self, word: &str) -> String {
        let stderr = self.0.stderr.as_mut().expect("its complaints are kept");
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        lines.find(|line| line.contains(word)).unwrap_or_else(|| panic!("it ended without a word of `{word}`"))
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.0.id()).expect("a process id fits");
        // SAFETY: kill takes plain numbers; the child has not been waited for, so its id is still its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "the process is there to be signalled");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it doesn't end within two minutes.
    pub fn wait(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("a child can be waited for") {
                return status.code();
            }
            assert!(start.elapsed() < Duration::from_secs(120), "the process goes on for more than two minutes");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// If the system doesn't say.
    pub fn runs(&mut self) -> bool {
        self.0.try_wait().expect("a child can be asked").is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
