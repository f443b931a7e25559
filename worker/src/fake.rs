//! An executor without an engine: deterministic artifacts, as slow and as faulty as a test wants it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use limbic_proto::key::Digest;
use limbic_proto::unit::{FITS, PREDICTIONS, SCORES, STATES, TOKENS, Unit, UnitKind, WEIGHTS};

use crate::execute::{ExecuteError, Executor, Output};
use crate::inputs::Inputs;
use crate::progress::Progress;

/// What a fake executor does instead of computing, given how many units it executed before.
pub type Fault = Box<dyn FnMut(&Unit, usize) -> Option<ExecuteError> + Send>;

/// Executes every unit in the same time and reads none of its inputs. The bytes of an artifact depend on the unit's key
/// and the artifact's name alone.
#[derive(Default)]
pub struct FakeExecutor {
    delay: Duration,
    fault: Option<Fault>,
    executed: Arc<AtomicUsize>,
    loaded: Vec<Digest>,
    keeps_blocks: bool,
}

impl FakeExecutor {
    /// One that takes that long for each unit.
    pub fn new(delay: Duration) -> FakeExecutor {
        FakeExecutor { delay, ..FakeExecutor::default() }
    }

    /// Fails where `fault` says so.
    #[must_use]
    pub fn with_fault(self, fault: impl FnMut(&Unit, usize) -> Option<ExecuteError> + Send + 'static) -> FakeExecutor {
        FakeExecutor { fault: Some(Box::new(fault)), ..self }
    }

    /// Keeps a finished block of every unit in the store before it goes on, as for the case that it is interrupted.
    #[must_use]
    pub fn keeping_blocks(self) -> FakeExecutor {
        FakeExecutor { keeps_blocks: true, ..self }
    }

    /// Counts the units that were begun, from outside.
    pub fn executed(&self) -> Arc<AtomicUsize> {
        self.executed.clone()
    }

    /// The bytes that it makes of a unit's artifact.
    pub fn artifact(unit: &Unit, name: &str) -> Bytes {
        Bytes::from(format!("{} {name}\n", unit.spec.key()))
    }
}

impl Executor for FakeExecutor {
    fn execute(&mut self, unit: &Unit, inputs: &Inputs, progress: &Progress) -> Result<Output, ExecuteError> {
        let before = self.executed.fetch_add(1, Ordering::SeqCst);
        let parts = inputs.parts(unit.spec.key(), Duration::ZERO);
        if self.keeps_blocks {
            parts.put("0000", &FakeExecutor::artifact(unit, "block").into());
        }
        if let Some(error) = self.fault.as_mut().and_then(|fault| fault(unit, before)) {
            return Err(error);
        }
        let began = Instant::now();
        while began.elapsed() < self.delay {
            if progress.cancelled() {
                return Err(ExecuteError::Cancelled);
            }
            progress.set(began.elapsed().as_secs_f64() / self.delay.as_secs_f64(), 1);
            std::thread::sleep(Duration::from_millis(2).min(self.delay));
        }
        if let Some(model) = unit.spec.model() {
            self.loaded = vec![model.digest];
        }
        let names: &[&'static str] = match unit.spec.kind() {
            UnitKind::Extract => &[STATES, TOKENS],
            UnitKind::Fit => &[PREDICTIONS, FITS, WEIGHTS],
            UnitKind::Prompt | UnitKind::Judge => &[SCORES],
            UnitKind::Transfer => &[PREDICTIONS, FITS],
        };
        let artifacts = names.iter().map(|name| (*name, FakeExecutor::artifact(unit, name).into())).collect();
        Ok(Output { artifacts, tokens: 1, blocks: parts.any(), ..Output::default() })
    }

    fn loaded(&self) -> Vec<Digest> {
        self.loaded.clone()
    }
}
