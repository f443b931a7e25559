//! `limbic doctor`: tries everything that a sweep will rest on, and says what to mend.

use std::path::{Path, PathBuf};
use std::time::Instant;

use limbic_proto::answer;
use limbic_store::check::Depth;
use limbic_store::{Store, StoreError};
use serde_json::json;

use super::StoreArgs;
use super::remote::{RemoteArgs, USUAL};
use crate::failure::Failure;
use crate::progress::{bytes, counted};

/// Free bytes of a folder's disk below which a sweep is likely to fill it.
const LITTLE: u64 = 1 << 30;

/// Arguments of `limbic doctor`.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// A coordinator that should answer; without it the usual address is tried, and silence there is no fault.
    #[arg(long, value_name = "URL", env = "LIMBIC_COORDINATOR")]
    coordinator: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Line {
    what: &'static str,
    says: String,
    failure: Option<Failure>,
}

fn ok(what: &'static str, says: impl Into<String>) -> Line {
    Line { what, says: says.into(), failure: None }
}

fn failed(what: &'static str, failure: Failure) -> Line {
    Line { what, says: failure.to_string(), failure: Some(failure) }
}

/// Tries store, computer and coordinator.
pub async fn doctor(args: DoctorArgs) -> Result<(), Failure> {
    let mut lines = store_lines(&args.store.address(None)).await;
    lines.extend(computer());
    lines.push(coordinator(args.coordinator.as_deref()).await);
    let wrong = lines.iter().filter(|l| l.failure.is_some()).count();
    if args.json {
        let said = lines.iter().map(|l| json!({"check": l.what, "ok": l.failure.is_none(), "says": l.says})).collect::<Vec<_>>();
        answer!("{}", json!({"ok": wrong == 0, "checks": said}));
    } else {
        for line in &lines {
            answer!("{:<6}  {:<19}  {}", if line.failure.is_none() { "ok" } else { "FAILED" }, line.what, line.says);
        }
    }
    let all = format!("{wrong} of {} checks failed; each says what to do", lines.len());
    let failures: Vec<Failure> = lines.into_iter().filter_map(|l| l.failure).collect();
    match failures.iter().any(|f| matches!(f, Failure::User(_))) {
        true => Err(Failure::user(all)),
        false if failures.is_empty() => Ok(()),
        false => Err(Failure::again(all)),
    }
}

/// What is to be said of the store.
async fn store_lines(address: &str) -> Vec<Line> {
    let folder = (!address.contains("://")).then(|| PathBuf::from(address));
    let new = folder.as_deref().is_some_and(|f| !f.exists());
    let mut lines = Vec::new();
    match Store::open(address) {
        Err(error) => lines.push(failed("store", error.into())),
        Ok(store) => {
            let made = if new { " (not there yet; the first run makes it)" } else { "" };
            lines.push(ok("store", format!("{}{made}", store.url())));
            match latency(&store).await {
                Ok(milliseconds) => {
                    lines.push(ok("store answers", format!("in {milliseconds:.1} ms")));
                    lines.extend(promises(&store).await);
                }
                Err(error) => lines.push(failed("store answers", error.into())),
            }
            if let Some(folder) = &folder {
                lines.extend(room(folder));
            }
        }
    }
    if let Some(folder) = folder.filter(|_| new) {
        // A store that was only looked at is not left behind; this removes nothing but an empty folder.
        let _ = std::fs::remove_dir(folder);
    }
    lines
}

/// The median time of five small requests, in milliseconds.
async fn latency(store: &Store) -> Result<f64, StoreError> {
    store.probe().await?;
    let mut times = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        store.list("check").await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[2])
}

async fn promises(store: &Store) -> Vec<Line> {
    match store.check(Depth::Full).await {
        Err(error) => vec![failed("store takes writes", error.into())],
        Ok(findings) => findings
            .iter()
            .map(|finding| match finding.failed {
                None => ok(finding.property.name(), format!("{}, {:.2} s", finding.tried, finding.took.as_secs_f64())),
                Some(_) => failed(finding.property.name(), Failure::user(finding)),
            })
            .collect(),
    }
}

/// The room that is left on a folder's disk.
fn room(folder: &Path) -> Option<Line> {
    let free = free_bytes(folder)?;
    Some(match free < LITTLE {
        true => failed(
            "free space",
            Failure::user(format_args!("{} left on the disk of {}: free some, or choose another store", bytes(free), folder.display())),
        ),
        false => ok("free space", bytes(free)),
    })
}

/// Bytes that may still be written to a folder's disk.
fn free_bytes(folder: &Path) -> Option<u64> {
    let path = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes()).ok()?;
    // SAFETY: all fields are plain numbers, for which zero is a value.
    let mut disk: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero and, like the struct, lives until the call returns.
    (unsafe { libc::statvfs(path.as_ptr(), &raw mut disk) } == 0).then(|| disk.f_bavail as u64 * disk.f_frsize as u64)
}

/// What workers on this computer could use.
#[cfg(feature = "local")]
fn computer() -> Vec<Line> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = match limbic_worker::memory_bytes() {
        0 => "an unknown amount of memory".to_owned(),
        known => format!("{} of memory", bytes(known)),
    };
    let mut lines = vec![ok("this computer", format!("{cores} cores, {memory}"))];
    #[cfg(feature = "cuda")]
    lines.push(match limbic_worker::EngineExecutor::new("cuda:0", None) {
        Ok(_) => ok("device cuda:0", "can be used"),
        Err(error) => failed("device cuda:0", Failure::user(format_args!("{error}: is the driver there? nvidia-smi says"))),
    });
    #[cfg(not(feature = "cuda"))]
    lines[0].says.push_str("; built without CUDA, so it computes on the CPU");
    lines
}

/// Without the engine there is nothing to be said of workers here.
#[cfg(not(feature = "local"))]
fn computer() -> Vec<Line> {
    Vec::new()
}

async fn coordinator(asked: Option<&str>) -> Line {
    let url = asked.unwrap_or(USUAL);
    match RemoteArgs::at(url).list().await {
        Ok(sweeps) => ok("coordinator", format!("{url} answers and leads {}", counted(sweeps.len(), "sweep"))),
        Err(failure) if asked.is_some() => failed("coordinator", failure),
        Err(_) => ok("coordinator", format!("none at {url}; `limbic run` needs none")),
    }
}
