//! The engine against reference values of transformers, against itself, and against damaged models.

#![allow(missing_docs)]

mod bf16;
mod contexts;
mod continuation;
mod damage;
mod gguf;
mod invariance;
mod parity;
mod prompts;
mod random;
mod reference;
mod shared;
mod smollm2;
mod speed;
mod weak;

/// Says on the terminal that a test was skipped; `println!` of a test that passes is never seen.
fn skipped(what: &str) {
    use std::io::Write;
    writeln!(std::io::stderr(), "SKIPPED {what}").expect("standard error is open");
}
