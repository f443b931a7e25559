//! Making a result durable: upload all artifacts, then create the commit that names them. Needs no coordinator.

use bytes::Bytes;
use limbic_proto::commit::{self, Artifact, Commit, Done, Provenance};
use limbic_proto::key::UnitKey;
use limbic_proto::layout;
use limbic_store::create::nonce;
use limbic_store::{Content, Created, Store, StoreError};

use super::SessionError;
use super::link::SOFTWARE;
use crate::device::Computed;
use crate::log::seconds;
use crate::pause::Proven;
use crate::settings::Timing;

/// How often artifacts that are not there are uploaded again; a store that loses them each time is no store.
const UPLOADS: usize = 3;

/// What is to be made durable.
pub(super) struct Publication<'a> {
    pub(super) key: UnitKey,
    pub(super) generation: u32,
    pub(super) attempt: &'a str,
    pub(super) worker: &'a str,
    pub(super) device: &'a str,
    pub(super) computed: Computed,
}

/// Writes publications. A store that is away, or takes nothing any more, is waited for as long as the patience lasts: computing again
/// costs more.
pub(super) struct Publish<'a> {
    pub(super) store: &'a Store,
    pub(super) timing: &'a Timing,
    pub(super) proven: &'a Proven,
}

impl Publish<'_> {
    /// Does what publishing takes, as soon as the store lets it.
    async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        publication: &Publication<'_>,
        operation: impl Fn() -> F,
    ) -> Result<T, SessionError> {
        let look = || async { self.store.commit(&publication.key, publication.generation).await.map(drop) };
        let done = self.proven.writing(self.timing, operation, look).await;
        done.map_err(|(error, passing)| SessionError::Store { error: Box::new(error), passing })
    }

    /// Uploads the artifacts.
    pub(super) async fn artifacts(&self, publication: &Publication<'_>) -> Result<Vec<Artifact>, SessionError> {
        let mut artifacts: Vec<Artifact> = Vec::new();
        let began = tokio::time::Instant::now();
        for (name, bytes) in &publication.computed.output.artifacts {
            artifacts.push(self.upload(publication, name, bytes).await?);
        }
        let bytes: u64 = artifacts.iter().map(|artifact| artifact.len).sum();
        tracing::info!(artifacts = artifacts.len(), bytes, seconds = seconds(began.elapsed()), "uploaded");
        Ok(artifacts)
    }

    async fn upload(&self, publication: &Publication<'_>, name: &str, bytes: &Content) -> Result<Artifact, SessionError> {
        self.patiently(publication, || self.store.put_artifact(&publication.key, publication.attempt, name, bytes.clone())).await
    }

    /// Uploads again what is not there. A worker that was suspended for hours may find that somebody took its artifacts for
    /// garbage, and a commit must name nothing that is missing.
    async fn complete(&self, publication: &Publication<'_>, artifacts: &[Artifact]) -> Result<(), SessionError> {
        for _ in 0..UPLOADS {
            let look = || self.store.lacking(&publication.key, publication.attempt, artifacts);
            let lacking = self.proven.reading(self.timing, look).await.map_err(|error| {
                let passing = self.proven.reads_again(&error);
                SessionError::Store { error: Box::new(error), passing }
            })?;
            if lacking.is_empty() {
                return Ok(());
            }
            tracing::warn!(artifacts = %lacking.join(", "), "not there as they were written; uploaded again");
            let again = publication.computed.output.artifacts.iter().filter(|(name, _)| lacking.iter().any(|lacks| lacks == name));
            for (name, bytes) in again {
                self.upload(publication, name, bytes).await?;
            }
        }
        let failed = format!("artifacts of attempt {} are not there although they were written", publication.attempt);
        let error = Box::new(StoreError::Unfit { url: self.store.url().to_owned(), failed });
        Err(SessionError::Store { error, passing: false })
    }

    /// Creates the commit; false where another attempt's stood first.
    pub(super) async fn commit(&self, publication: &Publication<'_>, artifacts: Vec<Artifact>) -> Result<bool, SessionError> {
        self.complete(publication, &artifacts).await?;
        let nonce = nonce();
        let (output, seconds) = (&publication.computed.output, publication.computed.seconds);
        let commit = Commit::Done(Done {
            nonce: nonce.clone(),
            attempt: publication.attempt.to_owned(),
            artifacts,
            provenance: Provenance {
                worker: publication.worker.to_owned(),
                software: SOFTWARE.to_owned(),
                device: publication.device.to_owned(),
                seconds,
                tokens: output.tokens,
                counts: output.counts.clone(),
            },
        });
        let body = Bytes::from(serde_json::to_vec(&commit).expect("a commit serializes"));
        let path = layout::commit(&publication.key, commit::result(publication.generation));
        // The same bytes every time, so that an earlier try of unknown outcome is recognised as ours.
        let created = self.patiently(publication, || self.store.create(&path, &nonce, body.clone())).await?;
        Ok(created == Created::Won)
    }
}
