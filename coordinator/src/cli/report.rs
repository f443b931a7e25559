//! `limbic report`: what is committed of a sweep, as tables, figures and pages.

use std::path::PathBuf;

use limbic_proto::answer;
use limbic_proto::logs::tell;
use limbic_proto::status::Status;
use limbic_report::Study;
use limbic_store::Store;
use tracing::Level;

use super::StoreArgs;
use super::status::stored_status;
use crate::chains::Chains;
use crate::failure::Failure;
use crate::sweep::Sweep;
use crate::{catalogue, collect};

/// Arguments of `limbic report`.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// An id, a unique prefix of one, or a name; may be left out where there is only one sweep.
    sweep: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// The report's folder; default: limbic-out/NAME, or limbic-out/NAME-ID where that has another sweep's.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// A sweep, where it stands, and everything committed of it.
pub(super) async fn collected(store: &Store, wanted: &str) -> Result<(Sweep, Status, Study), Failure> {
    let sweep = catalogue::open(store, wanted).await?;
    let status = stored_status(store, &sweep).await?;
    let chains = Chains::read(store, &sweep).await?;
    let study = collect::study(store, &sweep, &chains, status.quarantined.clone()).await.map_err(|e| e.explain(&sweep))?;
    Ok((sweep, status, study))
}

/// Writes a report from what is committed.
pub async fn report(args: ReportArgs) -> Result<(), Failure> {
    if args.store.store.is_none() && std::env::var_os("LIMBIC_COORDINATOR").is_some() {
        tell(Level::INFO, &"note: reports are written from a store, not by the coordinator: --store names it");
    }
    let store = args.store.open_existing(None).await?;
    let (sweep, status, study) = collected(&store, args.sweep.as_deref().unwrap_or("")).await?;
    let out = args.out.unwrap_or_else(|| catalogue::report_folder(&sweep.id, sweep.name()));
    collect::write_report(&study, &out)?;
    let report = out.join("report.html");
    if args.json {
        answer!(
            "{}",
            serde_json::json!({
                "sweep": sweep.id, "state": super::status::state(&status), "units": status.units, "out": out.to_string_lossy(),
                "report": report.to_string_lossy(),
            })
        );
    } else {
        answer!("{}", report.display());
    }
    Ok(())
}
