//! The models in memory: at most two, the least recently used one goes.

use std::ops::ControlFlow;

use limbic_engine::{Backend, LoadError, Loaded, SharedFile};
use limbic_proto::key::Digest;
use limbic_proto::spec::Dtype;
use limbic_proto::unit::{ModelIdentity, Unit};
use limbic_store::model::Need;

use super::{Advice, ExecuteError};
use crate::inputs::Inputs;
use crate::log::seconds;
use crate::progress::Progress;

/// Models kept at once.
const KEPT: usize = 2;

struct Kept {
    identity: ModelIdentity,
    bytes: u64,
    model: Box<dyn Loaded>,
    /// Where its weights are shared with other workers, if they are.
    shared: Option<SharedFile>,
}

/// Loaded models, the most recently used first.
pub(super) struct Models {
    kept: Vec<Kept>,
    /// Bytes of weights that two models may have together.
    weights: u64,
}

impl Models {
    pub(super) fn new(weights: u64) -> Models {
        Models { kept: Vec::new(), weights }
    }

    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }

    pub(super) fn digests(&self) -> Vec<Digest> {
        self.kept.iter().map(|k| k.identity.digest).collect()
    }

    /// The model that a unit needs, loaded if it isn't.
    pub(super) fn get(
        &mut self,
        identity: &ModelIdentity,
        unit: &Unit,
        backends: &[(Dtype, Box<dyn Backend>)],
        inputs: &Inputs,
        progress: &Progress,
    ) -> Result<&dyn Loaded, ExecuteError> {
        if let Some(found) = self.kept.iter().position(|k| k.identity == *identity) {
            self.kept[..=found].rotate_right(1);
            if let Some(shared) = &self.kept[0].shared {
                inputs.use_weights(shared);
            }
            return Ok(&*self.kept[0].model);
        }
        let mismatch = |what, message| ExecuteError::Mismatch { unit: unit.spec.key(), what, message };
        let hint = unit.hints.model.as_ref().ok_or_else(|| mismatch("the model", "the unit doesn't say where its files are".to_owned()))?;
        let what = || format!("loading model `{}` from {}", hint.name, hint.source);
        let Some((_, backend)) = backends.iter().find(|(dtype, _)| *dtype == identity.dtype) else {
            return Err(ExecuteError::Format { model: hint.name.clone(), dtype: identity.dtype });
        };
        // What is drawn from a seed need not be fetched.
        let need = if hint.random_weights.is_some() { Need::Description } else { Need::Weights };
        let files = inputs.model(&hint.source, need)?;
        let found = files.identity(hint.random_weights);
        if found != identity.digest {
            return Err(ExecuteError::ModelChanged { source_name: hint.source.clone(), expected: identity.digest, found });
        }
        let bytes = files.architecture.parameters() * identity.dtype.bytes();
        while self.kept.len() >= KEPT || self.kept.iter().map(|k| k.bytes).sum::<u64>() + bytes > self.weights {
            if self.kept.pop().is_none() {
                break;
            }
        }
        let began = std::time::Instant::now();
        // What is read must be what the digest names; it is asked last before weights are shared under that name.
        let mut heed = || if progress.cancelled() || files.touched() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let shared = inputs.shared_weights(identity, bytes);
        let model = match backend.load(&files.path, hint.random_weights, shared.as_ref(), &mut heed) {
            // What the other models take may be what is missing.
            Err(LoadError::Device(error)) if !self.kept.is_empty() => {
                tracing::warn!(%error, "the model can't be placed beside the others; they go");
                self.kept.clear();
                backend.load(&files.path, hint.random_weights, shared.as_ref(), &mut heed)
            }
            loaded => loaded,
        };
        if files.touched() {
            let message = "its files changed while they were read; let them stay as they are for as long as a sweep needs them";
            return Err(ExecuteError::Engine { what: what(), message: message.to_owned(), advice: Advice::Retry });
        }
        let model = model.map_err(|error| failed(what(), error))?;
        tracing::info!(model = %hint.name, digest = ?identity.digest, seconds = seconds(began.elapsed()), "model loaded");
        if let Some(shared) = &shared {
            inputs.use_weights(shared);
        }
        self.kept.insert(0, Kept { identity: identity.clone(), bytes, model, shared });
        Ok(&*self.kept[0].model)
    }
}

fn failed(what: String, error: LoadError) -> ExecuteError {
    let message = error.to_string();
    match error {
        LoadError::Cancelled => ExecuteError::Cancelled,
        LoadError::Device(_) => ExecuteError::Device { what, message, lost: false },
        LoadError::Io { .. } => ExecuteError::Engine { what, message, advice: Advice::Retry },
        _ => ExecuteError::Engine { what, message, advice: Advice::Reject },
    }
}
