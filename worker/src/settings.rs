//! What a worker is told from outside: flags over environment variables over defaults.

use std::path::PathBuf;
use std::time::Duration;

use limbic_proto::takes::Takes;
use limbic_store::pauses::Pauses;

/// Why the settings make no sense.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The coordinator's address means nothing.
    #[error("--coordinator `{url}`: {message}")]
    Coordinator {
        /// What was given.
        url: String,
        /// What is wrong and what to write.
        message: String,
    },
    /// The device doesn't exist or this build can't use it.
    #[error("--device `{device}`: {message}")]
    Device {
        /// What was given.
        device: String,
        /// What is wrong and what to write.
        message: String,
    },
    /// The device can't be opened here and now, though this build could use it.
    #[error("--device `{device}` can't be opened: {message}; look at it with nvidia-smi, or let the worker start elsewhere")]
    DeviceAway {
        /// What was given.
        device: String,
        /// What the driver said.
        message: String,
    },
    /// The number of threads can't be set.
    #[error("--threads {threads}: {message}")]
    Threads {
        /// What was given.
        threads: usize,
        /// What is wrong.
        message: String,
    },
}

/// How many bytes a cache folder holds unless another size is set: 20 GiB.
pub const CACHE_SIZE: u64 = 20 << 30;

/// A worker's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The coordinator's address, such as `http://127.0.0.1:7447`.
    pub coordinator: String,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Which units the worker takes. One on a GPU that takes all computes two at a time: see [`crate::run`].
    pub takes: Takes,
    /// Threads of computation; the default is one per core.
    pub threads: Option<usize>,
    /// The worker's name, unique among all workers of the coordinator.
    pub id: String,
    /// Whether to leave once every sweep is finished, instead of waiting for the next.
    pub exit_when_finished: bool,
    /// A folder where verified artifacts and prepared weights are kept between runs.
    pub cache_dir: Option<PathBuf>,
    /// How many bytes of them.
    pub cache_size: u64,
    /// How many bytes of models the hub's cache may hold; no limit by default, for other programs may share it.
    pub hub_size: Option<u64>,
    /// All durations.
    pub timing: Timing,
}

impl Settings {
    /// The settings of a worker of that coordinator on the CPU.
    pub fn new(coordinator: &str) -> Settings {
        Settings {
            coordinator: coordinator.to_owned(),
            device: "cpu".to_owned(),
            takes: Takes::All,
            threads: None,
            id: crate::machine::worker_id(),
            exit_when_finished: false,
            cache_dir: None,
            cache_size: CACHE_SIZE,
            hub_size: None,
            timing: Timing::default(),
        }
    }
}

/// How long the worker waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long the coordinator (or, with results in hand, the store) may be away before the worker gives up.
    pub patience: Duration,
    /// How long a lease request may wait for work.
    pub poll: Duration,
    /// How long an answer to any other request may take.
    pub answer: Duration,
    /// The first pause after a failed request; it doubles up to `longest_pause`, with jitter.
    pub first_pause: Duration,
    /// The longest pause between two tries.
    pub longest_pause: Duration,
    /// How long a draining worker may still compute and upload before it gives its units back; it is gone two seconds
    /// later.
    pub drain: Duration,
}

impl Timing {
    /// The pauses of one request that is tried again.
    pub(crate) fn pauses(&self) -> Pauses {
        Pauses::new(self.first_pause, self.longest_pause, self.patience)
    }
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            patience: Duration::from_secs(600),
            poll: Duration::from_secs(20),
            answer: Duration::from_secs(15),
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(15),
            drain: Duration::from_secs(12),
        }
    }
}
