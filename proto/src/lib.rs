//! The shared vocabulary of Limbic: what a sweep asks for ([`spec`]), what a worker leases ([`mod@unit`]), what makes a
//! unit done ([`commit`]), where everything lies in the store ([`layout`]) and what the services say ([`wire`]).
//!
//! This crate is plain data and pure functions: no runtime, no clock, no tensors. Whatever bytes come from outside (a
//! spec file, a model's config, a journal object, a message) are judged here and nowhere else.

pub mod architecture;
pub mod axis;
pub mod card;
pub mod commit;
#[cfg(feature = "logs")]
pub mod environment;
pub mod gguf;
pub mod journal;
pub mod key;
pub mod layout;
#[cfg(feature = "logs")]
pub mod logs;
pub mod rows;
pub mod spec;
pub mod status;
pub mod takes;
pub mod unit;
#[cfg(feature = "grpc")]
pub mod wire;
