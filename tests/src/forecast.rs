//! How long a sweep takes, what it costs and what first becomes scarce, against the number of workers: the real plan, run by
//! the real machine over simulated workers whose rates are stated: `cargo run --release -p limbic-tests --bin forecast -- --help`.

mod fleet;
mod limits;
mod minutes;
mod outcome;
mod rates;
mod table;
mod unit;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use limbic::sweep::{self, Sweep};
use limbic_core::plan::Plan;
use limbic_proto::key::UnitKey;
use limbic_proto::spec::Facts;
use serde::Serialize;

pub use fleet::{Fleet, simulate};
pub use limits::{Limit, Room, limits, peak_memory};
pub use minutes::{Counted, Minutes};
pub use outcome::Outcome;
pub use rates::{Measured, Rates, above_zero};
pub use table::{Forecast, json, markdown};
pub use unit::Work;

/// Plans a spec as `limbic plan` does; with facts, over rows and models that are not there, and so many times the rows.
///
/// # Errors
/// What is wrong with the spec, its dataset, models or facts.
pub async fn planned(spec: &Path, facts: Option<&Path>, times: usize) -> anyhow::Result<Sweep> {
    let spec = sweep::read_spec(spec)?;
    let Some(file) = facts else {
        anyhow::ensure!(times == 1, "--times takes rows that are assumed: name a file of facts with --assume");
        return Ok(sweep::prepare(spec).await?);
    };
    let text =
        std::fs::read_to_string(file).with_context(|| format!("--assume {}: can't be read; name a file of facts", file.display()))?;
    let mut facts = Facts::from_yaml(&text, file)?;
    facts.dataset.classes.values_mut().for_each(|rows| *rows *= times);
    Ok(sweep::prepare_assuming(spec, &facts).await?)
}

/// What a plan takes altogether, whoever computes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Total {
    /// Seconds of all units, each on a worker that has its model already, published while something else is computed.
    pub seconds: f64,
    /// Those of units that run no model.
    pub fit_seconds: f64,
    /// Those in which a GPU computes.
    pub gpu_seconds: f64,
    /// Seconds of all units from grant to commit, where each loads its model.
    pub longest_seconds: f64,
    /// Seconds of the longest chain of units that wait for one another: no number of workers is faster.
    pub chain_seconds: f64,
    /// Seconds of the longest unit.
    pub unit_seconds: f64,
    /// Requests for reading.
    pub gets: f64,
    /// Requests for writing.
    pub puts: f64,
    /// Bytes read.
    pub read: f64,
    /// Bytes written.
    pub written: f64,
    /// Bytes of hidden states.
    pub states: f64,
    /// Bytes of states at one read-out, of the fit that has the most in memory.
    pub held: f64,
}

impl Total {
    /// Adds a plan up.
    pub fn of(plan: &Plan, rates: &Rates) -> Total {
        let mut total = Total::default();
        // When the results of units are there at the earliest, from grants without a model to load.
        let mut ends: BTreeMap<UnitKey, f64> = BTreeMap::new();
        for key in &plan.order {
            let planned = &plan.units[key];
            let work = Work::of(planned, plan, rates);
            let (own, publishing) = (work.fetching(rates) + work.seconds, work.publishing(rates));
            let from = planned.unit.spec.dependencies().iter().filter_map(|key| ends.get(key)).fold(0.0, |a: f64, b| a.max(*b));
            ends.insert(*key, from + own + publishing);
            total.chain_seconds = total.chain_seconds.max(from + own + publishing);
            total.seconds += own;
            total.fit_seconds += if work.kind.runs_model() { 0.0 } else { own };
            total.gpu_seconds += if work.gpu { work.seconds } else { 0.0 };
            total.longest_seconds += work.longest(rates);
            total.unit_seconds = total.unit_seconds.max(own);
            total.gets += work.gets + work.closing_gets;
            total.puts += work.puts;
            total.read += work.read;
            total.written += work.written;
            total.states += work.states;
            total.held = total.held.max(work.held);
        }
        total
    }

    /// Seconds that a fleet takes at least, were its work divided evenly and nothing lost.
    pub fn ideal(&self, fleet: &Fleet) -> f64 {
        let Fleet { workers, apart, fit_workers, .. } = *fleet;
        let (passes, all) = (self.seconds - self.fit_seconds, (workers + fit_workers) as f64);
        let shared = if apart { self.fit_seconds } else { self.seconds };
        (passes / workers as f64).max(shared / all)
    }
}
