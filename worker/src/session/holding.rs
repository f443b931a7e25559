//! The attempts that this worker holds: what heartbeats carry and what a restarted coordinator is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use limbic_proto::key::UnitKey;
use limbic_proto::wire::{self, Grant};

use crate::log::AttemptLog;
use crate::progress::Progress;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// A commit stands.
    Committed { mine: bool, tokens: u64 },
    /// It failed.
    Failed { error: String, permanent: bool },
    /// A dependency's result is corrupt.
    Corrupt { bad: UnitKey, generation: u32, error: String },
    /// It was given back.
    Released,
}

impl Outcome {
    pub(super) fn to_wire(&self) -> wire::report_request::Outcome {
        use wire::report_request::Outcome as Wire;
        match self {
            Outcome::Committed { mine, tokens } => Wire::Committed(wire::Committed { mine: *mine, tokens: *tokens }),
            Outcome::Failed { error, permanent } => Wire::Failed(wire::Failed { error: error.clone(), permanent: *permanent }),
            Outcome::Corrupt { bad, generation, error } => {
                Wire::Corrupt(wire::Corrupt { key: bad.hex(), generation: *generation, error: error.clone() })
            }
            Outcome::Released => Wire::Released(wire::Released {}),
        }
    }
}

/// One held attempt.
#[derive(Debug)]
pub(crate) struct Held {
    pub(super) sweep: String,
    pub(super) key: String,
    pub(super) attempt: String,
    token: Option<wire::Token>,
    /// Which generation of the unit it computes.
    pub(super) generation: u32,
    /// The store that the coordinator named which granted it.
    store: String,
    pub(super) progress: Arc<Progress>,
    pub(super) log: AttemptLog,
}

impl Held {
    pub(super) fn to_wire(&self) -> wire::Held {
        wire::Held {
            sweep: self.sweep.clone(),
            key: self.key.clone(),
            attempt: self.attempt.clone(),
            token: self.token,
            progress: self.progress.share(),
            tokens: self.progress.tokens(),
            generation: self.generation,
            store: self.store.clone(),
        }
    }

    /// Says how it ends; an error was said when it came.
    pub(super) fn say(&self, outcome: &Outcome) {
        self.log.span().in_scope(|| match outcome {
            Outcome::Committed { mine, .. } => tracing::info!(outcome = "committed", mine, "attempt ended"),
            Outcome::Failed { permanent, .. } => tracing::info!(outcome = "failed", permanent, "attempt ended"),
            Outcome::Corrupt { bad, generation, .. } => {
                tracing::info!(outcome = "corrupt", dependency = %bad.short(), generation, "attempt ended");
            }
            Outcome::Released => tracing::info!(outcome = "given back", "attempt ended"),
        });
    }
}

/// All held attempts, by attempt.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    held: Mutex<BTreeMap<String, Arc<Held>>>,
}

impl Holding {
    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds an attempt granted by a coordinator of that store.
    pub(super) fn take(&self, grant: &Grant, store: &str) -> Arc<Held> {
        // The first digits are enough for people.
        let unit = grant.key.get(..12).unwrap_or(&grant.key);
        let held = Arc::new(Held {
            log: AttemptLog::new(unit, &grant.attempt),
            sweep: grant.sweep.clone(),
            key: grant.key.clone(),
            attempt: grant.attempt.clone(),
            token: grant.token,
            generation: grant.generation,
            store: store.to_owned(),
            progress: Arc::new(Progress::new()),
        });
        self.held().insert(held.attempt.clone(), held.clone());
        held
    }

    /// Lets go of an attempt whose outcome is known.
    pub(super) fn let_go(&self, held: &Held) {
        self.held().remove(&held.attempt);
    }

    /// Asks attempts to stop.
    pub(super) fn cancel(&self, attempts: &[String]) {
        let held = self.held();
        for attempt in attempts.iter().filter_map(|a| held.get(a)) {
            attempt.log.span().in_scope(|| tracing::info!("the coordinator asks to stop"));
            attempt.progress.cancel();
        }
    }

    /// Asks all attempts to stop.
    pub(super) fn cancel_all(&self) {
        self.held().values().for_each(|held| held.progress.cancel());
    }

    pub(super) fn to_wire(&self) -> Vec<wire::Held> {
        self.held().values().map(|held| held.to_wire()).collect()
    }
}
