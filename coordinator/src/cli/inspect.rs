//! `limbic status`, `limbic list` and `limbic report`: what a store (or a coordinator) says about its sweeps.

use std::path::PathBuf;
use std::time::Duration;

use limbic_core::machine::{Machine, Opening, Settings, SweepId};
use limbic_proto::status::Status;
use limbic_store::Store;

use super::StoreArgs;
use super::remote::RemoteArgs;
use crate::coordinator::links;
use crate::failure::Failure;
use crate::sweep::{self, Sweep};
use crate::{collect, journal};

/// Where sweeps are looked up.
#[derive(Debug, clap::Args)]
pub(super) struct Where {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Asks a running coordinator instead of reading the store.
    #[arg(long, value_name = "URL", conflicts_with = "store")]
    pub(super) coordinator: Option<String>,
}

/// Arguments of `limbic status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// An id, a unique prefix of one, or a name; may be left out where there is only one sweep.
    sweep: Option<String>,
    #[command(flatten)]
    of: Where,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `limbic list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    of: Where,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `limbic report`.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// An id, a unique prefix of one, or a name; may be left out where there is only one sweep.
    sweep: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// The report's folder; default: limbic-out/NAME.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Where a sweep stands, from the store alone: commits and journal.
pub async fn stored_status(store: &Store, sweep: &Sweep) -> Result<Status, Failure> {
    let machine = stored_machine(store, sweep).await?;
    Ok(machine.status(Duration::ZERO, &SweepId(sweep.id.clone())).expect("the sweep was just opened"))
}

/// The machine as a coordinator would take the sweep up, from the store alone.
pub(super) async fn stored_machine(store: &Store, sweep: &Sweep) -> Result<Machine, Failure> {
    let history = journal::read(store, &sweep.id).await.map_err(Failure::again)?.history;
    let committed = links(store, sweep).await?;
    let mut machine = Machine::new(Settings::default());
    let (id, name, plan) = (SweepId(sweep.id.clone()), sweep.name().to_owned(), sweep.plan.clone());
    machine.open_sweep(Duration::ZERO, Opening { id, name, plan, epoch: 0, committed, history });
    Ok(machine)
}

async fn all(of: &Where) -> Result<Vec<Status>, Failure> {
    if let Some(url) = &of.coordinator {
        return RemoteArgs::at(url).list().await;
    }
    let store = of.store.open_existing().await?;
    let mut statuses = Vec::new();
    for id in sweep::ids(&store).await? {
        statuses.push(stored_status(&store, &sweep::open(&store, &id).await?).await?);
    }
    Ok(statuses)
}

fn pick(statuses: &[Status], wanted: Option<&str>) -> Result<String, Failure> {
    let names = statuses.iter().map(|s| (s.sweep.as_str(), s.name.as_str()));
    // Every id starts with the empty prefix, so leaving the name out works where there is one sweep.
    sweep::find(names, wanted.unwrap_or(""))
}

/// Says where a sweep stands.
pub async fn status(args: StatusArgs) -> Result<(), Failure> {
    let statuses = all(&args.of).await?;
    let id = pick(&statuses, args.sweep.as_deref())?;
    let status = statuses.iter().find(|s| s.sweep == id).expect("picked from these");
    if args.json {
        println!("{}", serde_json::to_string(status).expect("a status serializes"));
    } else {
        print!("{}", in_words(status));
    }
    Ok(())
}

/// A status for people.
pub fn in_words(status: &Status) -> String {
    let (c, u, a) = (&status.cells, &status.units, &status.attempts);
    let state = format!("{:?}", status.state).to_lowercase();
    let mut text = format!("sweep     {} ({}): {state}\n", status.sweep, status.name);
    text += &format!("cells     {} of {} done, {} quarantined\n", c.done, c.total, c.quarantined);
    text += &format!(
        "units     {} of {} committed, {} running, {} pending, {} quarantined\n",
        u.committed, u.total, u.running, u.pending, u.quarantined
    );
    text += &format!("attempts  {} started, {} committed, {} failed, {} lost\n", a.started, a.committed, a.failed, a.lost);
    for waiting in &status.waiting {
        text += &format!("waiting   {} x {}: {}\n", waiting.count, waiting.what, waiting.reason);
    }
    for worker in &status.workers {
        let running = if worker.running.is_empty() { "waiting".to_owned() } else { worker.running.join(", ") };
        text += &format!("worker    {} on {}: {running}\n", worker.id, worker.device);
    }
    for unit in &status.quarantined {
        text += &format!("failed    {}: {}\n", unit.title, unit.error);
    }
    text
}

/// Lists sweeps.
pub async fn list(args: ListArgs) -> Result<(), Failure> {
    let statuses = all(&args.of).await?;
    if args.json {
        println!("{}", serde_json::to_string(&statuses).expect("statuses serialize"));
        return Ok(());
    }
    for s in &statuses {
        let state = format!("{:?}", s.state).to_lowercase();
        println!("{}  {:<24} {:<10} {}/{} units", s.sweep, s.name, state, s.units.committed, s.units.total);
    }
    Ok(())
}

/// Writes a report from what is committed.
pub async fn report(args: ReportArgs) -> Result<(), Failure> {
    let store = args.store.open_existing().await?;
    let mut sweeps = Vec::new();
    for id in sweep::ids(&store).await? {
        sweeps.push(sweep::open(&store, &id).await?);
    }
    let id = sweep::find(sweeps.iter().map(|s| (s.id.as_str(), s.name())), args.sweep.as_deref().unwrap_or(""))?;
    let sweep = sweeps.into_iter().find(|s| s.id == id).expect("found among these");
    let status = stored_status(&store, &sweep).await?;
    let out = args.out.unwrap_or_else(|| PathBuf::from("limbic-out").join(sweep.name()));
    let links = links(&store, &sweep).await?;
    let study = collect::study(&store, &sweep, &links, status.quarantined).await.map_err(|e| e.explain(&sweep))?;
    collect::write_report(&study, &out)?;
    println!("{}", out.join("report.html").display());
    Ok(())
}
