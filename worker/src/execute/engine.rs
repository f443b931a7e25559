//! The executor in production: the engine's models and probes on one device.

use std::time::Duration;

use limbic_engine::{Backend, Placement};
use limbic_proto::key::Digest;
use limbic_proto::spec::Dtype;
use limbic_proto::unit::{ENGINE_VERSION, PROBE_VERSION, Unit, UnitSpec, Versions};

use super::judge::{self, Verdicts};
use super::models::Models;
use super::{ExecuteError, Executor, Output, extract, fit, prompt};
use crate::inputs::Inputs;
use crate::machine::part_of_memory;
use crate::progress::Progress;
use crate::settings::SettingsError;

/// So many failures of the device one after another mean that it won't recover.
const STRIKES: u32 = 3;

/// Bytes of weights kept on a GPU at once, where two models are.
const GPU_WEIGHTS: u64 = 24 << 30;

/// Computes units with `limbic-engine`.
pub struct EngineExecutor {
    /// The number formats that the device computes in.
    backends: Vec<(Dtype, Box<dyn Backend>)>,
    models: Models,
    verdicts: Verdicts,
    /// Failures of the device since its last success.
    strikes: u32,
    /// How much computing on an unfinished unit is worth keeping.
    keep_after: Duration,
}

/// Computing that a killed worker may lose, unless keeping more of it costs too much.
const KEEP_AFTER: Duration = Duration::from_secs(5);

/// Where a device's models are put, for each number format that it computes in; its default comes first.
pub(crate) fn placements(device: &str) -> Result<Vec<(Dtype, Placement)>, SettingsError> {
    let bad = |message: String| SettingsError::Device { device: device.to_owned(), message };
    if device == "cpu" {
        return Ok(vec![(Dtype::F32, Placement::cpu()), (Dtype::Bf16, Placement::cpu_bf16())]);
    }
    let ordinal = device.strip_prefix("cuda:").and_then(|n| n.parse().ok());
    let ordinal = ordinal.ok_or_else(|| bad("write cpu, or cuda:N such as cuda:0".to_owned()))?;
    if !cfg!(feature = "cuda") {
        return Err(bad("this worker is built without CUDA: build it with `--features cuda`, or write cpu".to_owned()));
    }
    // The next computer's may be fine, so this is no setting of the user's.
    let placement =
        Placement::cuda(ordinal).map_err(|e| SettingsError::DeviceAway { device: device.to_owned(), message: e.to_string() })?;
    let in_f32 = placement.clone().in_f32();
    Ok(vec![(Dtype::Bf16, placement), (Dtype::F32, in_f32)])
}

impl EngineExecutor {
    /// An executor on `cpu` or `cuda:N`, with so many threads (the default is one per core).
    ///
    /// # Errors
    /// There is no such device, or this build can't use it.
    pub fn new(device: &str, threads: Option<usize>) -> Result<EngineExecutor, SettingsError> {
        if let Some(threads) = threads {
            let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
            built.map_err(|e| SettingsError::Threads { threads, message: e.to_string() })?;
        }
        // What two models may have together; one is loaded in any case.
        let weights = if device == "cpu" { part_of_memory(threads.unwrap_or(usize::MAX)) } else { GPU_WEIGHTS };
        Ok(EngineExecutor::placed(placements(device)?, weights))
    }

    /// An executor on the processor, in whichever threads its caller has.
    pub(crate) fn on_processor(threads: Option<usize>) -> EngineExecutor {
        let placements = placements("cpu").expect("there is always a processor");
        EngineExecutor::placed(placements, part_of_memory(threads.unwrap_or(usize::MAX)))
    }

    fn placed(placements: Vec<(Dtype, Placement)>, weights: u64) -> EngineExecutor {
        let boxed = |(dtype, placement)| (dtype, Box::new(placement) as Box<dyn Backend>);
        EngineExecutor::over(placements.into_iter().map(boxed).collect(), weights)
    }

    /// An executor over any backends; `weights` is how many bytes of weights may be in memory where two models are.
    pub fn over(backends: Vec<(Dtype, Box<dyn Backend>)>, weights: u64) -> EngineExecutor {
        EngineExecutor { backends, models: Models::new(weights), verdicts: Verdicts::default(), strikes: 0, keep_after: KEEP_AFTER }
    }

    /// The same executor, but finished blocks of an extract unit are kept each time that so much was spent on them.
    #[must_use]
    pub fn keeping_after(self, spent: Duration) -> EngineExecutor {
        EngineExecutor { keep_after: spent, ..self }
    }

    fn compute(&mut self, unit: &Unit, inputs: &Inputs, progress: &Progress) -> Result<Output, ExecuteError> {
        let version = |what, asked, known| match asked == known {
            true => Ok(()),
            false => Err(ExecuteError::Version { unit: unit.spec.key(), what, asked, known }),
        };
        let parts = inputs.parts(unit.spec.key(), self.keep_after);
        let output = match &unit.spec {
            UnitSpec::Extract(spec) => {
                version("the engine", spec.version, ENGINE_VERSION)?;
                let rows = super::rows(unit, &spec.rows, inputs)?;
                super::check_moments(unit, spec.moments, &rows)?;
                let model = self.models.get(&spec.model, unit, &self.backends, inputs, progress)?;
                extract::extract(spec, unit, model, &rows, &parts, progress)
            }
            UnitSpec::Prompt(spec) => {
                version("the engine", spec.version, ENGINE_VERSION)?;
                let rows = super::rows(unit, &spec.rows, inputs)?;
                let model = self.models.get(&spec.model, unit, &self.backends, inputs, progress)?;
                prompt::prompt(spec, unit, model, rows.slice(), &parts, progress)
            }
            UnitSpec::Judge(spec) => {
                version("the engine", spec.version, ENGINE_VERSION)?;
                let replies = inputs.tokens(spec.replies)?;
                let model = self.models.get(&spec.model, unit, &self.backends, inputs, progress)?;
                judge::judge(spec, unit.hints.token_budget, model, &replies, inputs, &mut self.verdicts, progress)
            }
            UnitSpec::Fit(spec) => {
                let repeated = inputs.rows(&unit.hints.dataset)?.repeat();
                version("the probes", spec.version, Versions::CURRENT.fit(&spec.probes, repeated))?;
                fit::fit(spec, unit, inputs, &parts, progress)
            }
            UnitSpec::Transfer(spec) => {
                version("the probes", spec.version, PROBE_VERSION)?;
                fit::transfer(spec, unit, inputs, progress)
            }
        };
        output.map(|output| Output { blocks: parts.any(), ..output })
    }
}

impl Executor for EngineExecutor {
    fn execute(&mut self, unit: &Unit, inputs: &Inputs, progress: &Progress) -> Result<Output, ExecuteError> {
        let mut result = self.compute(unit, inputs, progress);
        match &mut result {
            Err(ExecuteError::Device { lost, .. }) => {
                // What failed for lack of memory may work once the models are out of it.
                self.models.clear();
                self.strikes += 1;
                *lost = self.strikes >= STRIKES;
            }
            // Probes are fitted without it.
            Ok(_) if unit.spec.kind().runs_model() => self.strikes = 0,
            Ok(_) | Err(_) => {}
        }
        result
    }

    fn loaded(&self) -> Vec<Digest> {
        self.models.digests()
    }
}
