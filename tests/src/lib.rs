//! What the tests over the whole share: small sweeps in a folder of their own, and the programs run on them.

mod sandbox;

pub use sandbox::{Ended, Running, Sandbox};
