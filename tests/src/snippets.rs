//! Code in the documentation: the fenced blocks of a Markdown page, and the Python that runs them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the interpreter of `LIMBIC_PYTHON` must be able to import.
const PACKAGES: &str = "duckdb numpy pandas polars pyarrow safetensors";

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The word behind the opening fence, such as `python`.
    pub language: String,
    /// The line of the page on which the code begins, counted from 1.
    pub line: usize,
    /// What stands between the fences.
    pub code: String,
}

/// All fenced blocks of a page, in order.
///
/// # Panics
/// If the last one isn't closed.
pub fn fences(page: &str) -> Vec<Fence> {
    let mut found: Vec<Fence> = Vec::new();
    let mut inside = false;
    for (at, line) in page.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(language) => {
                inside = true;
                found.push(Fence { language: language.trim().to_owned(), line: at + 2, code: String::new() });
            }
            None if inside => {
                let code = &mut found.last_mut().expect("a block is open").code;
                code.push_str(line);
                code.push('\n');
            }
            None => {}
        }
    }
    assert!(!inside, "the fence before line {} is not closed", found.last().map_or(0, |fence| fence.line));
    found
}

/// A Python interpreter with the packages that the documentation's snippets import.
#[derive(Debug)]
pub struct Python(PathBuf);

impl Python {
    /// The interpreter that `LIMBIC_PYTHON` names; without the variable says on standard error that `what` is skipped.
    pub fn find(what: &str) -> Option<Python> {
        let Some(program) = std::env::var_os("LIMBIC_PYTHON") else {
            // Straight to standard error: what a passing test prints is not shown.
            let said = format!("SKIPPED {what}: set LIMBIC_PYTHON to a Python that has {PACKAGES}\n");
            let _ = std::io::stderr().write_all(said.as_bytes());
            return None;
        };
        Some(Python(program.into()))
    }

    /// Runs a program in a folder and gives what it prints; or what it complained of, if it failed.
    ///
    /// # Errors
    /// The program's standard error.
    ///
    /// # Panics
    /// If the interpreter can't be started.
    pub fn run(&self, folder: &Path, code: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.0);
        // Tables are drawn with more than ASCII, whatever the locale is.
        command.current_dir(folder).env("PYTHONUTF8", "1").args(["-c", code]).args(arguments);
        let output = command.output().unwrap_or_else(|e| panic!("LIMBIC_PYTHON = {}: can't be started: {e}", self.0.display()));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }
}
