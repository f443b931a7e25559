//! `limbic show`: what is known of single units.

use std::time::Duration;

use limbic_core::machine::SweepId;
use limbic_proto::answer;
use limbic_proto::key::UnitKey;
use limbic_proto::status::ShownUnit;
use limbic_proto::wire::ShowRequest;
use limbic_store::Store;

use super::place::Where;
use super::remote::shown;
use super::status::stored_machine;
use crate::failure::Failure;
use crate::{catalogue, show as units};

/// Arguments of `limbic show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The beginning of a unit's key, or terms such as `model=NAME layer=10..20 condition=calm offset=1 kind=fit`.
    unit: String,
    /// An id, a unique prefix of one, or a name; may be left out where there is only one sweep.
    #[arg(long, value_name = "SWEEP", default_value = "", hide_default_value = true)]
    sweep: String,
    #[command(flatten)]
    of: Where,
    /// Shows what attempts said from beginning to end, not only their last lines.
    #[arg(long)]
    logs: bool,
    /// Prints one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// How many last lines of an attempt's log are shown.
const LOG_LINES: u32 = 6;

/// Shows units.
pub async fn show(args: ShowArgs) -> Result<(), Failure> {
    let log_lines = if args.logs { u32::MAX } else { LOG_LINES };
    let found = match &args.of {
        Where::Coordinator(remote) => shown(remote, ShowRequest { sweep: args.sweep, unit: args.unit, log_lines }).await?,
        Where::Store(store) => stored(&store.look().await?, &args.sweep, &args.unit, log_lines).await?,
    };
    for (number, unit) in found.iter().enumerate() {
        if args.json {
            answer!("{}", serde_json::to_string(unit).expect("a unit serializes"));
            continue;
        }
        let gap = if number > 0 { "\n" } else { "" };
        answer!("{gap}{}", units::in_words(unit).trim_end());
    }
    Ok(())
}

/// What the store says; leases, and attempts that were given back, are known to a coordinator only.
async fn stored(store: &Store, sweep: &str, unit: &str, log_lines: u32) -> Result<Vec<ShownUnit>, Failure> {
    let sweep = catalogue::open(store, sweep).await?;
    let machine = stored_machine(store, &sweep).await?;
    let id = SweepId(sweep.id.clone());
    let view = |key: UnitKey| (key, machine.show(Duration::ZERO, &id, &key).expect("it is one of the machine's"));
    let views = units::meant(&sweep.plan, machine.units(&id), unit)?.into_iter().map(view).collect();
    Ok(units::with_objects(store, views, log_lines).await?)
}
