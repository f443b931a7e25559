//! Limbic's coordinator: accepts sweeps, leases their units to workers over gRPC, collects results into reports; and
//! the command line around it.
//!
//! The deciding is done by `limbic-core`, which is pure; this crate is the shell: [`coordinator`] is the one task that
//! owns the machine, [`service`] what workers and people reach it through, [`journal`] what it writes down,
//! [`sweep`] how a spec becomes an accepted sweep, [`catalogue`] which of them a store holds, [`show`] what is known of
//! single units, [`chains`] which results stand, [`collect`] how committed artifacts become a report, `export` how they become files for
//! other programs, [`corpus`] how models make labelled corpora of raw comments.

pub mod catalogue;
pub mod chains;
pub mod cli;
pub mod collect;
pub mod coordinator;
pub mod corpus;
pub mod dataset;
#[cfg(feature = "local")]
pub mod export;
pub mod failure;
pub mod journal;
#[cfg(feature = "local")]
pub mod local;
pub mod patience;
pub mod progress;
pub mod saved;
pub mod server;
pub mod service;
pub mod show;
pub mod sweep;

/// The program and its version, as it stands in journals, commits and reports.
pub const SOFTWARE: &str = concat!("limbic ", env!("CARGO_PKG_VERSION"));
