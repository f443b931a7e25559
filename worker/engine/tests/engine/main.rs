//! The engine against reference values of transformers, against itself, and against damaged models.

#![allow(missing_docs)]

mod continuation;
mod damage;
mod gguf;
mod invariance;
mod parity;
mod prompts;
mod reference;
mod smollm2;
mod speed;
