//! `limbic pause`, `resume`, `cancel`, `retry` and `again`: what a user decides about a sweep that a coordinator leads.

use limbic_proto::answer;
use limbic_proto::status::{Status, SweepState};
use limbic_proto::wire::{Change, ChangeRequest};

use super::remote::{RemoteArgs, decode, said};
use super::status::{json, state};
use crate::failure::Failure;
use crate::progress::units_are;

/// Arguments of `limbic pause`, `limbic resume` and `limbic cancel`.
#[derive(Debug, clap::Args)]
pub struct ChangeArgs {
    /// An id, a unique prefix of one, or a name; may be left out where there is only one sweep.
    sweep: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Prints the sweep's status as JSON, with how many units are tried or computed again.
    #[arg(long)]
    json: bool,
}

/// Arguments of `limbic retry`.
#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    #[command(flatten)]
    of: ChangeArgs,
    /// Only these: terms such as `model=NAME layer=10..20 condition=calm offset=1 kind=fit`; default: all that failed for
    /// good.
    #[arg(long, value_name = "TERMS", default_value = "", hide_default_value = true)]
    select: String,
}

/// Arguments of `limbic again`.
#[derive(Debug, clap::Args)]
pub struct AgainArgs {
    #[command(flatten)]
    of: ChangeArgs,
    /// Which: terms such as `model=NAME layer=10..20 condition=calm offset=1 kind=fit`.
    #[arg(long, value_name = "TERMS")]
    select: String,
}

/// Pauses, resumes or cancels.
pub async fn change(args: ChangeArgs, change: Change) -> Result<(), Failure> {
    let (status, _) = ask(&args, change, String::new()).await?;
    let done = match change {
        Change::Pause => status.state == SweepState::Paused,
        Change::Cancel => status.state == SweepState::Cancelled,
        _ => matches!(status.state, SweepState::Running | SweepState::Complete),
    };
    if !done {
        let way = match status.state {
            SweepState::Cancelled => "`limbic resume` takes it up again",
            SweepState::Complete if status.units.quarantined > 0 => "nothing of it runs; `limbic retry` tries again what failed",
            SweepState::Complete => "nothing of it is left to run; `limbic again` computes parts of it anew",
            SweepState::Running | SweepState::Paused => "it stayed so: was something else asked of it meanwhile?",
        };
        return Err(Failure::user(format_args!("sweep {} ({}) is {}: {way}", status.sweep, status.name, state(&status))));
    }
    print(&args, &status, None, String::new());
    Ok(())
}

/// Gives units that failed for good fresh budgets.
pub async fn retry(args: RetryArgs) -> Result<(), Failure> {
    let (status, units) = ask(&args.of, Change::Retry, args.select).await?;
    print(&args.of, &status, Some(("tried_again", units)), format!("{} tried again: ", units_are(units)));
    Ok(())
}

/// Computes units again.
pub async fn again(args: AgainArgs) -> Result<(), Failure> {
    let (status, units) = ask(&args.of, Change::Again, args.select).await?;
    let said = format!("{} computed again, what was computed from the selected ones included: ", units_are(units));
    print(&args.of, &status, Some(("computed_again", units)), said);
    Ok(())
}

/// Who asks, as far as their computer knows: `user@host`.
fn asker() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("USERNAME")).unwrap_or_default();
    let host = limbic_store::host::name().unwrap_or_default();
    [user, host].iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("@")
}

async fn ask(args: &ChangeArgs, change: Change, select: String) -> Result<(Status, u64), Failure> {
    ask_of(&args.remote, args.sweep.clone().unwrap_or_default(), change, select).await
}

/// Asks a coordinator for a change: where the sweep stands then, and how many units it is about.
pub(super) async fn ask_of(remote: &RemoteArgs, sweep: String, change: Change, select: String) -> Result<(Status, u64), Failure> {
    let request = ChangeRequest { sweep, change: change.into(), select, by: asker() };
    let response = remote.connect().await?.change(request).await.map_err(said)?.into_inner();
    Ok((decode(&response.status)?, response.units))
}

/// Says where the sweep stands, and of how many units what was asked is.
fn print(args: &ChangeArgs, status: &Status, units: Option<(&str, u64)>, what: String) {
    if args.json {
        let mut status = json(status);
        units.into_iter().for_each(|(name, units)| status[name] = units.into());
        answer!("{status}");
    } else {
        answer!("{what}{}", in_words(status));
    }
}

fn in_words(status: &Status) -> String {
    let running = match status.units.running {
        0 => String::new(),
        n => format!(", {n} running"),
    };
    let then = match status.state {
        SweepState::Paused => ": what runs goes on, nothing more is leased until `limbic resume`",
        SweepState::Cancelled => ": workers stop with their next heartbeat, everything committed is kept",
        SweepState::Complete if status.units.quarantined > 0 => ": some units failed for good",
        _ => "",
    };
    let state = format!("is {}{then}", state(status));
    let units = &status.units;
    format!("sweep {} ({}) {state} ({} of {} units committed{running})", status.sweep, status.name, units.committed, units.total)
}
