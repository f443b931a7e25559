//! The durable state over any object store: conditional creates, commits, artifacts, and where model and data bytes
//! come from.
//!
//! `limbic-proto` says what the objects are and where they lie; this crate moves the bytes. Both the coordinator and
//! the workers stand on it.

pub mod chance;
pub mod check;
pub mod content;
pub mod create;
pub mod error;
pub mod garbage;
pub mod host;
pub mod hub;
pub mod logs;
pub mod model;
pub mod open;
pub mod pauses;
pub mod release;
pub mod source;
pub mod store;
pub mod verdicts;
pub mod whole;

pub use content::Content;
pub use create::Created;
pub use error::StoreError;
pub use model::ModelFiles;
pub use store::Store;
