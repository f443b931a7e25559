//! One attempt from grant to report: is it done already, compute, is it done meanwhile, upload, commit.

use std::sync::Arc;

use limbic_proto::key::UnitKey;
use limbic_proto::wire::Grant;
use limbic_store::Store;

use super::holding::{Held, Outcome};
use super::publish::{Publication, Publish};
use super::{SessionError, Shared};
use crate::device;
use crate::execute::{Advice, ExecuteError};
use crate::inputs::Inputs;

/// A granted unit on its way.
pub(super) struct Attempt {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Store,
    pub(super) held: Arc<Held>,
    pub(super) grant: Grant,
}

/// What came of computing.
pub(super) enum Computed {
    /// Artifacts to be published.
    Output { key: UnitKey, computed: device::Computed },
    /// The attempt ended without.
    Ended(Outcome),
    /// The device is of no more use.
    Broken { message: String },
}

impl Attempt {
    /// Computes the unit, unless a commit stands already.
    pub(super) async fn compute(&self) -> Computed {
        let unit = match self.grant.unit() {
            Ok(unit) => Arc::new(unit),
            Err(error) => return Computed::Ended(Outcome::Failed { error: error.to_string(), permanent: true }),
        };
        let key = unit.spec.key();
        if let Some(ended) = self.committed_already(&key).await {
            return Computed::Ended(ended);
        }
        tracing::info!(unit = self.held.unit(), attempt = %self.held.attempt, title = %unit.hints.title, "begun");
        let inputs = Inputs::new(self.store.clone(), self.shared.shelf.clone(), tokio::runtime::Handle::current());
        let result = tokio::select! {
            result = self.shared.device.execute(unit, inputs, self.held.progress.clone()) => result,
            () = self.shared.drain.over() => Err(ExecuteError::Cancelled),
        };
        match result {
            Ok(computed) => Computed::Output { key, computed },
            Err(error) => Self::failed(&error),
        }
    }

    fn failed(error: &ExecuteError) -> Computed {
        if matches!(error, ExecuteError::Cancelled) {
            return Computed::Ended(Outcome::Released);
        }
        tracing::warn!(%error, "the unit failed");
        match error.advice() {
            Advice::Abort => Computed::Broken { message: error.to_string() },
            advice => Computed::Ended(Outcome::Failed { error: error.to_string(), permanent: advice == Advice::Reject }),
        }
    }

    /// The outcome where a commit stands. A store that can't be asked is no reason not to compute.
    async fn committed_already(&self, key: &UnitKey) -> Option<Outcome> {
        match self.store.commit(key).await {
            Ok(commit) => commit.map(|_| Outcome::Committed { mine: false, tokens: 0, seconds: 0.0 }),
            Err(error) => {
                tracing::warn!(unit = self.held.unit(), %error, "can't see whether the unit is committed");
                None
            }
        }
    }

    /// Uploads and commits what was computed, and reports.
    pub(super) async fn publish(&self, computed: Computed) -> Result<(), SessionError> {
        let outcome = match computed {
            Computed::Ended(outcome) => outcome,
            Computed::Broken { message } => Outcome::Failed { error: message, permanent: false },
            Computed::Output { key, computed } => match self.committed_already(&key).await {
                Some(ended) => ended,
                None => self.upload(key, computed).await,
            },
        };
        self.end(outcome).await
    }

    async fn upload(&self, key: UnitKey, computed: device::Computed) -> Outcome {
        let settings = &self.shared.settings;
        let publication = Publication { key, attempt: &self.held.attempt, worker: &settings.id, device: &settings.device, computed };
        let publish = Publish { store: &self.store, timing: &settings.timing };
        // Uploads stop when the coordinator says so; a create that is on its way does not.
        let artifacts = tokio::select! {
            artifacts = publish.artifacts(&publication) => artifacts,
            () = self.held.progress.cancellation() => return Outcome::Released,
            () = self.shared.drain.over() => return Outcome::Released,
        };
        let created = match artifacts {
            Ok(artifacts) => publish.commit(&publication, artifacts).await,
            Err(error) => Err(error),
        };
        match created {
            Ok(mine) => Outcome::Committed { mine, tokens: publication.computed.output.tokens, seconds: publication.computed.seconds },
            Err(error) => Outcome::Failed { error: error.to_string(), permanent: false },
        }
    }

    /// Reports the outcome.
    pub(super) async fn end(&self, outcome: Outcome) -> Result<(), SessionError> {
        self.shared.end(&self.held, outcome).await
    }
}
