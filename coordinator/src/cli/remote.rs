//! `limbic submit` and `limbic watch`: what is said to a running coordinator.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use limbic_proto::answer;
use limbic_proto::spec::secret;
use limbic_proto::status::{ShownUnit, Status, SweepState};
use limbic_proto::wire::control_client::ControlClient;
use limbic_proto::wire::{ListRequest, PROTOCOL, ShowRequest, StatusRequest, SubmitRequest};
use limbic_store::Store;
use tonic::transport::{Channel, Endpoint};

use super::status::{in_words, json, verdict};
use crate::failure::Failure;
use crate::journal;
use crate::progress::{SweepBar, units_are};
use crate::sweep::{Sweep, read_spec};

/// Where a coordinator is looked for if nothing else is said.
pub(super) const USUAL: &str = "http://127.0.0.1:7447";

/// The coordinator's address.
#[derive(Debug, Clone, clap::Args)]
pub struct RemoteArgs {
    /// The coordinator.
    #[arg(long, value_name = "URL", default_value = USUAL, env = "LIMBIC_COORDINATOR")]
    coordinator: String,
}

/// Arguments of `limbic submit`.
#[derive(Debug, clap::Args)]
pub struct SubmitArgs {
    /// The spec file.
    spec: PathBuf,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Adds what the spec asks beyond this sweep to it, instead of making a sweep of its own: an id, a unique prefix of one,
    /// or a name.
    #[arg(long, value_name = "SWEEP", value_parser = NonEmptyStringValueParser::new())]
    extend: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `limbic watch`.
#[derive(Debug, clap::Args)]
pub struct WatchArgs {
    /// An id, a unique prefix of one, or a name; may be left out where there is only one sweep.
    sweep: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Prints one JSON status a line, whenever anything but the clocks in it changes.
    #[arg(long)]
    json: bool,
}

/// How long a coordinator that may not be there is waited for.
const GLANCE: Duration = Duration::from_secs(5);

/// The longest answer that is taken: many units with the logs of their attempts.
const LARGEST_ANSWER: usize = 256 << 20;

impl RemoteArgs {
    /// The coordinator at that address.
    pub fn at(url: &str) -> RemoteArgs {
        RemoteArgs { coordinator: url.to_owned() }
    }

    /// The coordinator that commands turn to where none is named.
    pub(super) fn usual() -> RemoteArgs {
        RemoteArgs { coordinator: std::env::var("LIMBIC_COORDINATOR").unwrap_or_else(|_| USUAL.to_owned()) }
    }

    /// Where the sweep stands by this coordinator, if that leads it in this very store. One that doesn't answer leads nothing that this
    /// can know of.
    pub(super) async fn leads(&self, store: &Store, sweep: &Sweep) -> Result<Option<Status>, Failure> {
        let led = self.led(store, sweep).await?;
        Ok(led.filter(|(_, here)| *here).map(|(theirs, _)| theirs))
    }

    /// As `leads`, of a sweep in any store; and whether that is this store.
    async fn led(&self, store: &Store, sweep: &Sweep) -> Result<Option<(Status, bool)>, Failure> {
        // What is no address is never answered.
        self.endpoint()?;
        let Ok(Ok(statuses)) = tokio::time::timeout(GLANCE, self.list()).await else { return Ok(None) };
        let Some(theirs) = statuses.into_iter().find(|status| status.sweep == sweep.id && status.led) else { return Ok(None) };
        // The same spec is the same sweep in any store, but begins in each at a time of its own.
        let ours = journal::read(store, &sweep.id).await?.history.since;
        let here = ours.is_some() && ours == theirs.since;
        Ok(Some((theirs, here)))
    }

    /// Fails where this coordinator leads the sweep: whoever else takes the lead of it ends that one, with all that it leads. Otherwise
    /// what is worth saying, where it leads the same sweep in another store.
    pub(super) async fn spare(&self, store: &Store, sweep: &Sweep) -> Result<Option<String>, Failure> {
        let url = &self.coordinator;
        let Some((theirs, here)) = self.led(store, sweep).await? else { return Ok(None) };
        if !here {
            let (done, all) = (theirs.units.committed, theirs.units.total);
            return Ok(Some(format!(
                "the coordinator at {url} leads this sweep in another store, with {done} of {all} units committed; this computes it in {}, \
                 and --store names another one",
                store.url()
            )));
        }
        let how = match theirs.state {
            SweepState::Paused => format!("it is paused there, and `limbic resume {}` has it go on", sweep.id),
            SweepState::Cancelled => format!("it is cancelled there, and `limbic resume {}` takes it up again", sweep.id),
            SweepState::Running | SweepState::Complete => {
                "`limbic submit` hands it what is to be computed, and `limbic watch` shows how far it is".to_owned()
            }
        };
        Err(Failure::user(format_args!(
            "sweep {} ({}): the coordinator at {url} leads it, and would end with all that it leads: {how}; stop it to run the sweep here",
            sweep.id,
            sweep.name(),
        )))
    }

    /// The address, if it is one: connections are not encrypted, so it begins with `http://`.
    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let wrong = |what: &dyn std::fmt::Display| {
            Failure::user(format_args!("--coordinator {}: {what}: write http://HOST:PORT", self.coordinator))
        };
        if !self.coordinator.starts_with("http://") {
            return Err(wrong(&"doesn't begin with http://"));
        }
        if let Some(what) = secret(&self.coordinator) {
            return Err(Failure::user(format_args!("--coordinator {what}, and nothing is authenticated: write http://HOST:PORT")));
        }
        Endpoint::from_shared(self.coordinator.clone()).map_err(|e| wrong(&e))
    }

    pub(super) async fn connect(&self) -> Result<ControlClient<Channel>, Failure> {
        let channel = self
            .endpoint()?
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .tcp_keepalive(Some(Duration::from_secs(20)))
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            .connect()
            .await
            .map_err(|_| {
                Failure::again(format_args!("--coordinator {}: nothing answers there: is `limbic coordinator` running?", self.coordinator))
            })?;
        Ok(ControlClient::new(channel).max_decoding_message_size(LARGEST_ANSWER))
    }

    /// Hands over a sweep that stands in the coordinator's store.
    pub(super) async fn lead(&self, sweep: &str) -> Result<(), Failure> {
        let request = SubmitRequest { protocol: PROTOCOL, accepted: sweep.to_owned(), ..Default::default() };
        self.connect().await?.submit(request).await.map_err(said).map(|_| ())
    }

    /// Where a sweep stands, whenever it changes; at last where it stood when it was terminal, or when the coordinator went.
    pub(super) async fn follow(&self, sweep: String, mut show: impl FnMut(&Status)) -> Result<Status, Failure> {
        let mut stream = self.connect().await?.watch(StatusRequest { sweep }).await.map_err(said)?.into_inner();
        let mut last: Option<Status> = None;
        while let Some(message) = stream.message().await.map_err(said)? {
            let status = decode(&message.status)?;
            show(&status);
            last = Some(status);
        }
        last.ok_or_else(|| Failure::again("the coordinator said nothing"))
    }

    /// Where every sweep of the coordinator stands.
    pub async fn list(&self) -> Result<Vec<Status>, Failure> {
        let response = self.connect().await?.list(ListRequest {}).await.map_err(said)?;
        response.into_inner().statuses.iter().map(|s| decode(s)).collect()
    }
}

/// What a coordinator knows of some units.
pub async fn shown(remote: &RemoteArgs, request: ShowRequest) -> Result<Vec<ShownUnit>, Failure> {
    let response = remote.connect().await?.show(request).await.map_err(said)?.into_inner();
    response.units.iter().map(|unit| decode(unit)).collect()
}

/// What the coordinator refused, in its own words.
pub(super) fn said(status: tonic::Status) -> Failure {
    match status.code() {
        tonic::Code::Unavailable | tonic::Code::Cancelled => Failure::again(status.message()),
        // The service itself answers with neither: the connection broke.
        tonic::Code::Unknown | tonic::Code::Internal => {
            Failure::again(format_args!("the coordinator went away ({}): is `limbic coordinator` still running?", status.message()))
        }
        _ => Failure::user(status.message()),
    }
}

pub(super) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|e| Failure::user(format_args!("the coordinator's answer can't be read ({e}): run the same build on both sides")))
}

/// Makes a path absolute; URLs stay as they are.
pub(super) fn absolute(source: &mut String) {
    if !source.contains("://") {
        *source = std::path::absolute(&*source).map_or(source.clone(), |p| p.to_string_lossy().into_owned());
    }
}

/// Hands a sweep to a coordinator.
pub async fn submit(args: SubmitArgs) -> Result<(), Failure> {
    let mut spec = read_spec(&args.spec)?;
    // The coordinator has another current directory.
    spec.relocate(absolute);
    let extends = args.extend.is_some();
    let request = SubmitRequest {
        spec: serde_json::to_vec(&spec).expect("a spec serializes"),
        protocol: PROTOCOL,
        extend: args.extend.unwrap_or_default(),
        ..Default::default()
    };
    let response = args.remote.connect().await?.submit(request).await.map_err(said)?.into_inner();
    if args.json {
        answer!(
            "{}",
            serde_json::json!({
                "sweep": response.sweep, "name": response.name, "rows": response.rows, "cells": response.cells, "units": response.units,
                "committed": response.committed, "notes": response.notes,
            })
        );
        return Ok(());
    }
    for note in &response.notes {
        answer!("note    {note}");
    }
    let (id, url) = (&response.sweep, &args.remote.coordinator);
    let what = if extends { "now has what this spec asks, too" } else { "is accepted" };
    let at = if url == USUAL { String::new() } else { format!(" --coordinator {url}") };
    // A coordinator of an older release says neither.
    if !response.size.is_empty() {
        answer!("sweep   {id} ({}): {}; {} done already", response.name, response.size, units_are(response.committed));
    }
    answer!("sweep   {id} {what}; see it with `limbic watch {id}{at}`");
    Ok(())
}

/// How often it is looked whether standard output is still read.
const READER: Duration = Duration::from_millis(500);

/// Waits until nobody reads standard output any more, which is a pipe then.
async fn unread() {
    loop {
        tokio::time::sleep(READER).await;
        let mut out = libc::pollfd { fd: libc::STDOUT_FILENO, events: 0, revents: 0 };
        // SAFETY: it is one descriptor, which outlives the call, and that returns at once.
        if unsafe { libc::poll(&raw mut out, 1, 0) } == 1 && out.revents & libc::POLLERR != 0 {
            return;
        }
    }
}

/// Shows a sweep's progress until it is complete.
pub async fn watch(args: WatchArgs) -> Result<(), Failure> {
    let mut bar: Option<SweepBar> = None;
    let show = |status: &Status| {
        if args.json {
            answer!("{}", json(status));
        } else {
            bar.get_or_insert_with(|| SweepBar::new(&status.name)).show(status);
        }
    };
    let last = tokio::select! {
        last = args.remote.follow(args.sweep.unwrap_or_default(), show) => last?,
        // `limbic watch --json | head -1` has seen enough, also where nothing more happens.
        () = unread(), if args.json => return Ok(()),
    };
    if let Some(bar) = bar {
        bar.finish();
    }
    if !args.json {
        answer!("{}", in_words(&last).trim_end());
    }
    if last.state.terminal() {
        verdict(&last, &format!("everything else is computed; mend the cause, then `limbic retry {}`", last.sweep))
    } else {
        Err(Failure::again("the coordinator went away before the sweep was complete: `limbic watch` again"))
    }
}
