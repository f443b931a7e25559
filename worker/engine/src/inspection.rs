//! A look into a model on a few texts: all layers, in Hugging Face's order, for comparison with transformers.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use limbic_proto::axis::{Layer, ReadOut};
use limbic_proto::spec::{self, TooLong};
use serde_json::json;

use crate::extraction::{Continuation, ExtractError, Extraction, Request, extract};
use crate::model::Model;
use crate::prompt::{PromptError, Prompts};

/// What to look at.
#[derive(Debug, Clone, Default)]
pub struct InspectionRequest {
    /// The texts.
    pub texts: Vec<String>,
    /// Put them as chat messages instead of bare.
    pub chat: bool,
    /// The system message of the chats.
    pub system: Option<String>,
    /// How many tokens to generate greedily behind each chat or text; the end-of-sequence token does not stop them.
    pub reply_tokens: usize,
}

/// Why an inspection failed.
#[derive(Debug, thiserror::Error)]
pub enum InspectionError {
    /// A text has no prompt.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The model failed.
    #[error(transparent)]
    Extract(#[from] ExtractError),
}

/// States of a few texts, named as `make_reference.py` names them.
///
/// `raw.{i}.hidden` (or `chat.{i}.hidden`) is `[L + 1, d]` at the last prompt token: embeddings, the residual stream
/// after blocks 1 to L - 1, and after the final norm; `.resid_L` is `[d]`, the residual stream after block L;
/// `.reply` is `[K, L + 1, d]`, the same layers at each generated token.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Token ids, prompts and the model's sizes.
    pub meta: serde_json::Value,
    /// Shape and numbers by name.
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Inspection {
    /// Runs the model on the texts.
    pub fn new(model: &Model, request: &InspectionRequest) -> Result<Inspection, InspectionError> {
        let condition = match request.chat {
            true => spec::Prompt::Chat(spec::Chat { system: request.system.clone(), ..spec::Chat::default() }),
            false => spec::Prompt::Template("{text}".to_owned()),
        };
        let replies = request.reply_tokens;
        let prompts = Prompts::new(model, &condition, &request.texts, replies, TooLong::Error)?.prompts;
        let layers = model.architecture().layers;
        let hub = hub_layers(layers);
        let wanted = Request {
            layers: hub.iter().copied().chain([Layer::Block(layers as u32)]).collect(),
            read_outs: (0..=replies as u32).map(ReadOut::at).collect(),
            continuation: (replies > 0).then_some(Continuation::Generated {
                tokens: replies,
                temperature: 0.0,
                seeds: Vec::new(),
                stop_at_eos: false,
            }),
            ..Request::new(Vec::new(), Vec::new())
        };
        let found = extract(model, &prompts, &wanted, &mut |_| ControlFlow::Continue(()))?;
        let kind = if request.chat { "chat" } else { "raw" };
        let width = found.width;
        let mut tensors = BTreeMap::new();
        for row in 0..prompts.len() {
            let at = |offset: u32| hub.iter().flat_map(|&l| state(&found, row, l, offset).to_vec()).collect::<Vec<f32>>();
            tensors.insert(format!("{kind}.{row}.hidden"), (vec![layers + 1, width], at(0)));
            let last = state(&found, row, Layer::Block(layers as u32), 0).to_vec();
            tensors.insert(format!("{kind}.{row}.resid_L"), (vec![width], last));
            if replies > 0 {
                let numbers = (1..=replies as u32).flat_map(at).collect();
                tensors.insert(format!("{kind}.{row}.reply"), (vec![replies, layers + 1, width], numbers));
            }
        }
        let ids: Vec<_> = prompts.iter().map(|p| &p.ids).collect();
        let texts: Vec<_> = prompts.iter().map(|p| &p.text).collect();
        let mut meta = json!({
            "texts": request.texts, "reply_ids": found.replies, "layers": layers, "hidden_size": width,
            "model_type": model.architecture().family.as_str(),
        });
        meta[format!("{kind}_ids")] = json!(ids);
        meta[format!("{kind}_prompts")] = json!(texts);
        Ok(Inspection { meta, tensors })
    }
}

/// The layers of Hugging Face's `hidden_states`.
fn hub_layers(layers: usize) -> Vec<Layer> {
    (0..layers as u32).map(Layer::Block).chain([Layer::Final]).collect()
}

fn state(found: &Extraction, row: usize, layer: Layer, offset: u32) -> &[f32] {
    found.get(layer, ReadOut::at(offset)).map_or(&[], |s| &s.values[row * found.width..][..found.width])
}
