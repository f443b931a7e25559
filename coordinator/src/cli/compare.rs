//! `limbic compare`: two sweeps of one store side by side.

use std::path::PathBuf;

use super::StoreArgs;
use super::report::collected;
use crate::failure::Failure;
use crate::sweep::Sweep;
use crate::{catalogue, collect};
use limbic_proto::answer;

/// Arguments of `limbic compare`.
#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// The first sweep: an id, a unique prefix of one, or a name.
    a: String,
    /// The second; differences are this one minus the first.
    b: String,
    #[command(flatten)]
    store: StoreArgs,
    /// The folder that the comparison is written to; default: limbic-out/A-and-B, by their names.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Writes a comparison from what is committed of both.
pub async fn compare(args: CompareArgs) -> Result<(), Failure> {
    let store = args.store.open_existing(None).await?;
    let (first, _, a) = collected(&store, &args.a).await?;
    let (second, _, b) = collected(&store, &args.b).await?;
    if first.id == second.id {
        return Err(Failure::user(format_args!("{} and {} are the same sweep, {}: name another", args.a, args.b, first.id)));
    }
    let files = limbic_report::compare(&a, &b).map_err(Failure::user)?;
    // Sweeps of one name are told apart by their ids.
    let named = |sweep: &Sweep, other: &Sweep| {
        if sweep.name() == other.name() { catalogue::apart(&sweep.id, sweep.name()) } else { sweep.name().to_owned() }
    };
    let names = [named(&first, &second), named(&second, &first)];
    let out = args.out.unwrap_or_else(|| PathBuf::from("limbic-out").join(names.join("-and-")));
    collect::write_files(&files, &out)?;
    let page = out.join("compare.html");
    if args.json {
        answer!("{}", serde_json::json!({"sweeps": [first.id, second.id], "out": out.to_string_lossy(), "page": page.to_string_lossy()}));
    } else {
        answer!("{}", page.display());
    }
    Ok(())
}
