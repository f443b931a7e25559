//! The worker: a session with the coordinator, a thread that owns the device, artifacts that are written once.
//!
//! [`run`] is the whole worker as a future; [`main`] is the same behind a command line. What computes is injected as an
//! [`Executor`]: [`EngineExecutor`] in production, [`fake::FakeExecutor`] where only the protocol is of interest.

pub mod apply;
mod args;
mod device;
pub mod execute;
pub mod fake;
pub mod inputs;
mod inspect;
mod log;
mod machine;
mod pause;
mod progress;
mod run;
mod session;
mod settings;
mod tensors;

pub use args::{Args, Command, cli, main, main_with};
pub use execute::{Advice, EngineExecutor, ExecuteError, Executor, Output};
pub use inputs::Inputs;
pub use inspect::{InspectArgs, InspectError};
pub use log::attempt_logs;
pub use machine::memory_bytes;
pub use progress::Progress;
pub use run::{Components, ExitKind, FITS, Simulated, WorkerError, run};
pub use session::{SessionError, endpoint};
pub use settings::{Settings, SettingsError, Timing};
