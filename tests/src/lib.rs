//! What the tests over the whole share: small sweeps in a folder of their own, and the programs run on them.

mod moto;
mod sandbox;

pub use moto::{Moto, s3_env};
pub use sandbox::{Ended, Running, Sandbox};
