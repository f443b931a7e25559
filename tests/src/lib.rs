//! What the tests over the whole share: small sweeps in a folder of their own, the programs run on them, an engine that
//! computes nothing, a store that fails on demand, chaos among real processes, the whole on a simulated clock and network,
//! forecasts of large sweeps, peers that do the same work, and the documentation's snippets.

pub mod chaos;
mod faulty_store;
pub mod forecast;
mod moto;
pub mod peers;
mod sandbox;
pub mod simulation;
pub mod snippets;
mod stand_in;
pub mod tables;

pub use faulty_store::{Fault, FaultyStore, Script};
pub use moto::{Moto, s3_env};
pub use sandbox::{Ended, Running, Sandbox};
pub use stand_in::StandIn;
