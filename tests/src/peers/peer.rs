//! The peer: a Python process that keeps its models and does what it is told.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use serde_json::Value;

const SCRIPT: &str = include_str!("peer.py");

/// What an environment for it needs.
const NEEDS: &str = "python -m venv VENV && VENV/bin/pip install torch transformers accelerate gguf scikit-learn";

/// A running peer.
pub(super) struct Peer {
    python: PathBuf,
    folder: PathBuf,
    model: PathBuf,
    child: Child,
    pipes: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Peer {
    /// Starts it; its script and what it says go into `folder`.
    pub(super) fn start(python: &Path, model: &Path, folder: &Path) -> anyhow::Result<Peer> {
        std::fs::write(folder.join("peer.py"), SCRIPT)?;
        let said = std::fs::File::create(folder.join("peer.log"))?;
        let mut command = Command::new(python);
        command.arg(folder.join("peer.py")).arg("serve").arg(model).env("HF_HUB_OFFLINE", "1").env("TOKENIZERS_PARALLELISM", "false");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(said).spawn().map_err(|e| {
            anyhow!("--python {}: can't be started ({e}): name the Python of an environment made by {NEEDS}", python.display())
        })?;
        let pipes = (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
        let (python, model) = (python.to_owned(), model.to_owned());
        Ok(Peer { python, folder: folder.to_owned(), model, child, pipes: RefCell::new(pipes) })
    }

    /// Asks it something and waits for the answer.
    ///
    /// # Errors
    /// It failed, or has ended.
    pub(super) fn ask(&self, ask: &Value) -> anyhow::Result<Value> {
        let (stdin, stdout) = &mut *self.pipes.borrow_mut();
        let mut line = String::new();
        // Where it has ended, its log says why, which the pipe doesn't.
        let _ = writeln!(stdin, "{ask}").and_then(|()| stdin.flush());
        stdout.read_line(&mut line)?;
        let failed = |why: &str| {
            let log = std::fs::read_to_string(self.folder.join("peer.log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(5).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            anyhow!(
                "--python {}: the peer failed at `{}`: {why}; is its environment complete ({NEEDS})? It said last: {}",
                self.python.display(),
                ask["task"].as_str().unwrap_or_default(),
                last.join(" / ")
            )
        };
        if line.is_empty() {
            return Err(failed("it ended"));
        }
        let answer: Value = serde_json::from_str(&line).with_context(|| format!("the peer answered {line:?}"))?;
        match answer.get("error") {
            Some(error) => Err(failed(error.as_str().unwrap_or_default())),
            None => Ok(answer),
        }
    }

    /// The seconds that it took for something.
    pub(super) fn seconds(&self, ask: &Value) -> anyhow::Result<f64> {
        let answer = self.ask(ask)?;
        answer["seconds"].as_f64().ok_or_else(|| anyhow!("the peer answered {answer} without seconds"))
    }

    /// Runs the whole study on a file of rows, the model in that number format, as a process of its own; the seconds from its start to its end.
    pub(super) fn whole(&self, rows: &Path, out: &Path, batch: usize, dtype: &str) -> anyhow::Result<f64> {
        let said = std::fs::File::create(self.folder.join("whole.log"))?;
        let began = Instant::now();
        let mut command = Command::new(&self.python);
        command
            .arg(self.folder.join("peer.py"))
            .arg("whole")
            .arg(&self.model)
            .arg(rows)
            .arg(out)
            .arg(batch.to_string())
            .arg(dtype)
            .env("HF_HUB_OFFLINE", "1");
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).status()?;
        let seconds = began.elapsed().as_secs_f64();
        if !status.success() {
            let log = std::fs::read_to_string(self.folder.join("whole.log")).unwrap_or_default();
            bail!("--python {}: the whole study ended with {status}: {log}", self.python.display());
        }
        Ok(seconds)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
