//! `limbic export`: rows, tokens, answers and hidden states of a sweep, for other programs.

use std::path::PathBuf;

use limbic_proto::answer;
use limbic_proto::logs::tell;
use tracing::Level;

use super::StoreArgs;
use crate::catalogue;
use crate::chains::Chains;
use crate::export::{Wanted, export as write};
use crate::failure::Failure;

/// Arguments of `limbic export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// An id, a unique prefix of one, or a name; may be left out where there is only one sweep.
    sweep: Option<String>,
    /// Whose hidden states to write, too, as NumPy arrays: terms such as `model=NAME condition=raw layer=10..20 offset=0`, or `all`.
    #[arg(long, value_name = "TERMS")]
    states: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// The folder; default: `export` in the report's, limbic-out/NAME.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Writes what is committed.
pub async fn export(args: ExportArgs) -> Result<(), Failure> {
    let wanted = match args.states.as_deref() {
        None => Wanted::Nothing,
        Some("all") => Wanted::All,
        Some(terms) => Wanted::Meant(terms.parse().map_err(|e| Failure::user(format_args!("--states: {e}")))?),
    };
    let store = args.store.open_existing(None).await?;
    let sweep = catalogue::open(&store, args.sweep.as_deref().unwrap_or("")).await?;
    let chains = Chains::read(&store, &sweep).await?;
    let out = args.out.unwrap_or_else(|| catalogue::report_folder(&sweep.id, sweep.name()).join("export"));
    let (folder, id) = (out.clone(), sweep.id.clone());
    let done = tokio::task::spawn_blocking(move || write(store, &sweep, &chains, &wanted, &folder)).await;
    let done = done.expect("writing an export doesn't panic")?;
    done.notes.iter().for_each(|note| tell(Level::INFO, &format_args!("note: {note}")));
    match args.json {
        true => answer!("{}", serde_json::json!({"sweep": id, "out": out.to_string_lossy(), "files": done.files, "notes": done.notes})),
        false => answer!("{}", out.display()),
    }
    Ok(())
}
