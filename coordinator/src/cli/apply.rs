//! `limbic apply`: a saved probe of a sweep on new texts, token by token.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::StoreArgs;
use crate::failure::{Failure, exit};
use crate::{catalogue, saved};
use limbic_proto::answer;
use limbic_proto::logs::LogFormat;

/// Arguments of `limbic apply`.
#[derive(Debug, clap::Args)]
pub struct ApplyArgs {
    /// The fit unit: the beginning of its key, or terms such as `model=NAME condition=raw layer=15`.
    unit: String,
    /// The fit, such as `logistic.k0.s0` [default: the logistic (or ridge, or first) probe at the last prompt token].
    #[arg(long, value_name = "NAME")]
    fit: Option<String>,
    /// An id, a unique prefix of one, or a name; may be left out where there is only one sweep.
    #[arg(long, value_name = "SWEEP", default_value = "", hide_default_value = true)]
    sweep: String,
    #[command(flatten)]
    store: StoreArgs,
    /// A text to read; may be given several times.
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["texts", "save"])]
    text: Vec<String>,
    /// A file of lines `{"text": …}`.
    #[arg(long, value_name = "FILE.jsonl")]
    texts: Option<PathBuf>,
    /// Keep the probe in this file, for `limbic-worker apply FILE`.
    #[arg(long, value_name = "FILE.safetensors")]
    save: Option<PathBuf>,
    /// Where the model's files are now, if they are elsewhere: a folder, a `.gguf` file or `hf://OWNER/NAME`.
    #[arg(long, value_name = "SOURCE")]
    model: Option<String>,
    /// What to compute on: `cpu` or `cuda:N`.
    #[arg(long, env = "LIMBIC_DEVICE", default_value = "cpu", value_name = "DEVICE")]
    device: String,
    /// Show this class or scale at every token instead of the strongest.
    #[arg(long, value_name = "NAME", conflicts_with = "json")]
    class: Option<String>,
    /// Prints one JSON object a text, with all classes; of `--save` alone, where the probe was saved.
    #[arg(long)]
    json: bool,
}

/// Takes the probe out of the store and has a worker read the texts.
pub async fn apply(args: ApplyArgs, log_format: LogFormat) -> Result<(), Failure> {
    let store = args.store.open_existing(None).await?;
    let sweep = catalogue::open(&store, &args.sweep).await?;
    let probe = saved::probe(&store, &sweep, &args.unit, args.fit.as_deref()).await?;
    let reads = !args.text.is_empty() || args.texts.is_some();
    let Some(path) = &args.save else {
        let kept = tempfile::Builder::new().prefix("limbic-probe-").suffix(".safetensors").tempfile();
        let kept = kept.and_then(|file| std::fs::write(file.path(), probe).map(|()| file)).map_err(|e| {
            let folder = std::env::temp_dir();
            Failure::user(format_args!(
                "{}: the probe can't be kept there ({e}): set TMPDIR to a folder that can be written",
                folder.display()
            ))
        })?;
        return read(&args, kept.path(), log_format).await;
    };
    std::fs::write(path, probe).map_err(|e| Failure::user(format_args!("--save {}: it can't be written ({e})", path.display())))?;
    match (reads, args.json) {
        (true, _) => return read(&args, path, log_format).await,
        (false, false) => answer!("{}", path.display()),
        (false, true) => answer!("{}", serde_json::json!({ "saved": path.to_string_lossy() })),
    }
    Ok(())
}

async fn read(args: &ApplyArgs, probe: &Path, log_format: LogFormat) -> Result<(), Failure> {
    let mut command = worker();
    command.arg("apply").arg(probe).args(["--device", &args.device]).stdin(Stdio::piped());
    command.env("LIMBIC_LOG_FORMAT", log_format.as_str());
    command.args(args.text.iter().map(|text| format!("--text={text}")));
    if let Some(texts) = &args.texts {
        command.arg("--texts").arg(texts);
    }
    for (flag, value) in [("--model", &args.model), ("--class", &args.class)] {
        if let Some(value) = value {
            command.args([flag, value]);
        }
    }
    if args.json {
        command.arg("--json");
    }
    let failed =
        |e: std::io::Error| Failure::user(format_args!("limbic-worker can't be started ({e}): put it beside `limbic` or on the PATH"));
    let mut child = command.kill_on_drop(true).spawn().map_err(failed)?;
    // A worker that is this very program ends when its standard input closes.
    let _lifeline = child.stdin.take();
    let status = child.wait().await.map_err(failed)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) if code == i32::from(exit::USER) => Err(Failure::user("the texts were not read; why stands above")),
        _ => Err(Failure::again(format_args!("the texts were not read ({status})"))),
    }
}

/// What has the engine: this program, where it was built with it.
#[cfg(feature = "local")]
fn worker() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| "limbic".into()));
    command.arg(crate::local::WORKER);
    command
}

/// What has the engine: the program `limbic-worker`, beside this one or on the PATH.
#[cfg(not(feature = "local"))]
fn worker() -> Command {
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name("limbic-worker")).filter(|path| path.exists());
    Command::new(beside.unwrap_or_else(|| "limbic-worker".into()))
}
