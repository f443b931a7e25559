//! `limbic show`: what is known of single units.

use std::time::Duration;

use limbic_core::machine::SweepId;
use limbic_proto::status::ShownUnit;

use super::inspect::{Where, stored_machine};
use super::remote::{RemoteArgs, shown};
use crate::failure::Failure;
use crate::{catalogue, show as units};

/// Arguments of `limbic show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The beginning of a unit's key, or terms such as `model=NAME layer=10..20 condition=calm offset=1 kind=fit`.
    unit: String,
    /// An id, a unique prefix of one, or a name; may be left out where there is only one sweep.
    #[arg(long, value_name = "SWEEP", default_value = "")]
    sweep: String,
    #[command(flatten)]
    of: Where,
    /// Prints one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Shows units.
pub async fn show(args: ShowArgs) -> Result<(), Failure> {
    let found = match &args.of.coordinator {
        Some(url) => shown(&RemoteArgs::at(url), args.sweep, args.unit).await?,
        None => stored(&args).await?,
    };
    for (number, unit) in found.iter().enumerate() {
        if args.json {
            println!("{}", serde_json::to_string(unit).expect("a unit serializes"));
            continue;
        }
        let gap = if number > 0 { "\n" } else { "" };
        print!("{gap}{}", units::in_words(unit));
    }
    Ok(())
}

/// What the store says; leases, and attempts that were given back, are known to a coordinator only.
async fn stored(args: &ShowArgs) -> Result<Vec<ShownUnit>, Failure> {
    let store = args.of.store.open_existing().await?;
    let sweep = catalogue::open(&store, &args.sweep).await?;
    let machine = stored_machine(&store, &sweep).await?;
    let mut found = Vec::new();
    for key in units::meant(&sweep.plan, &args.unit)? {
        let view = machine.show(Duration::ZERO, &SweepId(sweep.id.clone()), &key).expect("it is in the plan");
        found.push(units::with_commit(&store, &key, view).await?);
    }
    Ok(found)
}
