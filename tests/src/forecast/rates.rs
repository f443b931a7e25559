//! How fast workers, their network and their disks are taken to be; each rate is a flag.

use std::collections::{BTreeMap, BTreeSet};

use limbic::catalogue;
use limbic::chains::{Chains, Listing};
use limbic::failure::Failure;
use limbic_proto::commit::{self, Commit};
use limbic_proto::unit::UnitKind;
use limbic_store::Store;
use serde::Serialize;

/// How fast a worker is. No GPU has been measured: what concerns one is assumed, and so is the network.
#[derive(Debug, Clone, PartialEq, clap::Args, Serialize)]
pub struct Rates {
    /// TFLOP/s of a worker's GPU over tokens that are there already (prompts, given replies, questions). Assumed: 40 % of
    /// what an H100 does in bf16 at best, 990, as `limbic plan` does.
    #[arg(long, value_name = "N", default_value_t = 396.0, value_parser = above_zero)]
    pub gpu_tflops: f64,
    /// TB/s at which a worker's GPU reads a model's weights for every token of the replies that it writes together.
    /// Assumed: 60 % of an H100's 3.35.
    #[arg(long, value_name = "N", default_value_t = 2.0, value_parser = above_zero)]
    pub gpu_memory: f64,
    /// GFLOP/s of a worker's processor: probes, and models in f32, by the plan's count of operations. The default is 16
    /// cores at 165, which a fit of the paper's probes at width 2048 was measured at (docs/scale.md); `--measured` takes it from a store.
    #[arg(long, value_name = "N", default_value_t = 2640.0, value_parser = above_zero)]
    pub gflops: f64,
    /// GB/s between a worker and the store, and at which it loads models. Assumed.
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = above_zero)]
    pub network: f64,
    /// Milliseconds that coordinator and store take to answer a request. Assumed.
    #[arg(long, value_name = "N", default_value_t = 20.0, value_parser = above_zero)]
    pub latency: f64,
}

/// A number that can be divided by.
pub fn above_zero(text: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0).ok_or_else(|| format!("`{text}` is no number above 0"))
}

impl Default for Rates {
    fn default() -> Rates {
        Rates { gpu_tflops: 396.0, gpu_memory: 2.0, gflops: 2640.0, network: 1.0, latency: 20.0 }
    }
}

impl Rates {
    /// Seconds of an answer.
    pub fn answer(&self) -> f64 {
        self.latency / 1e3
    }

    /// Seconds in which so many bytes pass the network.
    pub fn passing(&self, bytes: f64) -> f64 {
        bytes / (self.network * 1e9)
    }
}

/// What the committed units of a store took of processors: by kind, planned operations and measured seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Measured {
    /// Units, operations and seconds.
    pub kinds: BTreeMap<&'static str, (u64, f64, f64)>,
}

impl Measured {
    /// Reads every commit of every sweep in a store. Units that a GPU computed are left out.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn read(address: &str) -> Result<Measured, Failure> {
        let store = Store::open_existing(address)?;
        let mut kinds: BTreeMap<&'static str, (u64, f64, f64)> = BTreeMap::new();
        // Sweeps share units.
        let mut seen = BTreeSet::new();
        let listing = Listing::read(&store).await?;
        for sweep in catalogue::open_all(&store).await? {
            let links = Chains::among(&listing, &store, &sweep).await?.links;
            for (unit, planned) in &sweep.plan.units {
                let Some(link) = links.get(unit).filter(|link| commit::stands(**link) && seen.insert(*unit)) else { continue };
                let Some(Commit::Done(done)) = store.commit(unit, commit::generation(*link)).await? else { continue };
                if !done.provenance.device.starts_with("cuda") {
                    let (units, flops, seconds) = kinds.entry(planned.unit.spec.kind().as_str()).or_default();
                    (*units, *flops, *seconds) = (*units + 1, *flops + planned.unit.hints.flops, *seconds + done.provenance.seconds);
                }
            }
        }
        Ok(Measured { kinds })
    }

    /// GFLOP/s of a kind of unit, if any was measured.
    pub fn gflops(&self, kind: UnitKind) -> Option<f64> {
        self.kinds.get(kind.as_str()).filter(|(.., seconds)| *seconds > 0.0).map(|(_, flops, seconds)| flops / seconds / 1e9)
    }
}
