//! Tensors in, numbers out: decoder models, their hidden states on prompts and continuations, and answer likelihoods.
//!
//! One implementation of the decoder family (LLaMA, Qwen 2 and 3, Mistral) with taps at every layer. Prompts are
//! packed without padding, and on a CPU a row's numbers are bit for bit the same whatever batch it is in.
//!
//! ```no_run
//! use std::{ops::ControlFlow, path::Path};
//! use limbic_engine::{Model, Placement, Prompts, Request, extract};
//! use limbic_proto::axis::{Layer, ReadOut};
//! use limbic_proto::spec::{Prompt, TooLong};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = Model::load(Path::new("models/SmolLM2-135M-Instruct"), &Placement::cpu())?;
//! let condition = Prompt::Template("{text}".to_owned());
//! let prompts = Prompts::new(&model, &condition, &["Oh!", "I miss her."], 0, TooLong::Error)?;
//! let request = Request::new(vec![Layer::Block(15), Layer::Final], vec![ReadOut::LAST]);
//! let found = extract(&model, &prompts.prompts, &request, &mut |_| ControlFlow::Continue(()))?;
//! let states = &found.states[0]; // layer 15: [2 rows, d]
//! assert_eq!(states.values.len(), 2 * found.width);
//! # Ok(())
//! # }
//! ```
//!
//! Layer 0 is the embeddings, layer l the residual stream after block l, `final` after the final norm.

mod backend;
mod extraction;
mod inspection;
mod kernel;
mod likelihood;
mod model;
mod pass;
pub mod probe;
mod product;
mod prompt;
mod slab;
mod template;
mod tokenizer;
mod trace;
mod weights;

pub use backend::{Backend, Loaded};
pub use extraction::{Continuation, DECODING, ExtractError, Extraction, OnProgress, Progress, Request, States, extract, partners};
pub use inspection::{Inspection, InspectionError, InspectionRequest};
pub use likelihood::{Labels, Likelihoods, label_log_likelihoods};
pub use model::{Model, Placement};
pub use prompt::{Prompt, PromptError, Prompts, RowPolicy, following};
pub use template::{ChatTemplate, Message, SpecialTokens, TemplateError};
pub use tokenizer::{Tokenizer, TokenizerError};
pub use trace::token_states;
pub use weights::{LoadError, OnTensor, SharedFile, WEIGHTS_VERSION};
