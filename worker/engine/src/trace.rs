//! The states at every token of a prompt, at one layer.

use limbic_proto::axis::Layer;

use crate::extraction::ExtractError;
use crate::kernel::rows;
use crate::model::{Model, Plan};
use crate::pass::Pass;
use crate::prompt::Prompt;

/// States `[tokens, d]`, row-major, at every token of one prompt after that many blocks (or after the final norm).
///
/// # Errors
/// The model has no such layer, or the device failed.
pub fn token_states(model: &Model, prompt: &Prompt, layer: Layer) -> Result<Vec<f32>, ExtractError> {
    let (mut pass, layers) = (Pass::default(), model.architecture().layers as u32);
    if layer.blocks(layers) > layers {
        return Err(ExtractError::Layer { layer, layers: layers as usize });
    }
    pass.push(&prompt.ids, Vec::new());
    let all: Vec<u32> = (0..prompt.ids.len() as u32).collect();
    let plan = Plan { blocks: layer.blocks(layers) as usize, ..Plan::default() };
    let mut states = None;
    model.decoder.forward(&pass, &plan, |tap| {
        if tap.layer == layer {
            states = Some(rows(tap.states, &all)?);
        }
        Ok(())
    })?;
    Ok(states.expect("a layer that the model has is shown"))
}
