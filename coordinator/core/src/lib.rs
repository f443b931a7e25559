//! The pure machine behind a sweep: axes become units ([`plan`]), units become leases and outcomes ([`machine`]), and
//! a journal becomes the state it was written from ([`history`]).
//!
//! Nothing here waits, reads a clock, draws a random number or touches a store: time is an argument (the
//! [`std::time::Duration`] since any fixed moment), randomness is a seed, every map is ordered. The same inputs give the
//! same outputs, so a whole run can be replayed in a test.

pub mod history;
pub mod machine;
pub mod plan;
pub mod selector;
#[cfg(test)]
mod testkit;
