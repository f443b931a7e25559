//! `limbic pause`, `limbic resume` and `limbic cancel`: what a user decides about a sweep that a coordinator leads.

use limbic_proto::status::{Status, SweepState};
use limbic_proto::wire::{Change, ChangeRequest};

use super::remote::{RemoteArgs, decode, said};
use crate::failure::Failure;

/// Arguments of `limbic pause`, `limbic resume` and `limbic cancel`.
#[derive(Debug, clap::Args)]
pub struct ChangeArgs {
    /// An id, a unique prefix of one, or a name; may be left out where there is only one sweep.
    sweep: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Prints the sweep's status as JSON.
    #[arg(long)]
    json: bool,
}

/// Asks for the change, and says where the sweep stands then.
pub async fn change(args: ChangeArgs, change: Change) -> Result<(), Failure> {
    let request = ChangeRequest { sweep: args.sweep.unwrap_or_default(), change: change.into() };
    let response = args.remote.connect().await?.change(request).await.map_err(said)?.into_inner();
    let status = decode(&response.status)?;
    let wanted = match change {
        Change::Pause => status.state == SweepState::Paused,
        Change::Cancel => status.state == SweepState::Cancelled,
        Change::Resume | Change::Unspecified => matches!(status.state, SweepState::Running | SweepState::Complete),
    };
    if !wanted {
        let state = format!("{:?}", status.state).to_lowercase();
        return Err(Failure::user(format_args!("sweep {} ({}) is {state}: that can't be changed any more", status.sweep, status.name)));
    }
    if args.json {
        println!("{}", serde_json::to_string(&status).expect("a status serializes"));
    } else {
        println!("{}", in_words(&status));
    }
    Ok(())
}

fn in_words(status: &Status) -> String {
    let running = match status.units.running {
        0 => String::new(),
        n => format!(", {n} running"),
    };
    let state = match status.state {
        SweepState::Running => "is running",
        SweepState::Paused => "is paused: what runs goes on, nothing more is leased until `limbic resume`",
        SweepState::Cancelled => "is cancelled: workers stop with their next heartbeat, everything committed is kept",
        SweepState::Complete => "is complete",
    };
    let units = &status.units;
    format!("sweep {} ({}) {state} ({} of {} units committed{running})", status.sweep, status.name, units.committed, units.total)
}
