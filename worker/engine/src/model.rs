//! A loaded model: decoder, tokenizer and chat template.

mod chat;
mod decoder;
mod load;
pub(crate) mod rope;

use std::ops::ControlFlow;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use limbic_proto::architecture::Architecture;

pub(crate) use decoder::{Decoder, Plan, Tap};
use load::{Weights, Whereto};

use crate::kernel::Steps;
use crate::kernel::bf16::Kernel;
use crate::template::{ChatTemplate, TemplateError};
use crate::tokenizer::Tokenizer;
use crate::weights::layout::Form;
use crate::weights::{LoadError, OnTensor, SharedFile};

/// Where a model's weights and activations live, and in which number format.
#[derive(Debug, Clone)]
pub struct Placement {
    device: Device,
    dtype: DType,
    steps: Steps,
    /// What multiplies with bf16 weights under f32 activations, where that is asked for.
    packed: Option<Kernel>,
    room: Option<usize>,
}

impl Placement {
    /// The CPU in f32: the reference, and the default.
    pub fn cpu() -> Placement {
        Placement { device: Device::Cpu, dtype: DType::F32, steps: Steps::Fused, packed: None, room: None }
    }

    /// The CPU in f32 through the same tensor operations that run on GPUs: slow, for checking one against the other.
    pub fn cpu_composed() -> Placement {
        Placement { steps: Steps::Composed, ..Placement::cpu() }
    }

    /// The CPU in bf16: weights, and what they are multiplied with, are rounded to bf16; sums and everything else are f32.
    ///
    /// Made for CPUs with AVX512-BF16, where it is faster than f32. Others compute the same numbers bit for bit, but slower than
    /// f32; see [`Placement::swift`].
    pub fn cpu_bf16() -> Placement {
        Placement { packed: Some(Kernel::best()), ..Placement::cpu() }
    }

    /// [`Placement::cpu_bf16`] as on a CPU without AVX512-BF16: slow, for checking one against the other.
    pub fn cpu_bf16_portable() -> Placement {
        Placement { packed: Some(Kernel::Portable), ..Placement::cpu() }
    }

    /// Whether the device has instructions for the number format: false for bf16 on a CPU without AVX512-BF16.
    pub fn swift(&self) -> bool {
        self.packed != Some(Kernel::Portable)
    }

    fn form(&self) -> Form {
        match (self.steps, self.packed) {
            (Steps::Composed, _) => Form::Plain,
            (Steps::Fused, None) => Form::Dense,
            (Steps::Fused, Some(kernel)) => Form::Packed(kernel),
        }
    }

    /// A CUDA device in bf16.
    ///
    /// # Errors
    /// Without the `cuda` feature, where the device is absent, or where it doesn't compute in bf16.
    pub fn cuda(ordinal: usize) -> Result<Placement, LoadError> {
        let device = Device::new_cuda(ordinal)?;
        // One that is too old for the build, or whose driver is, opens all the same, and fails at its first operation.
        let ones = Tensor::ones((2, 2), DType::BF16, &device)?;
        (ones.matmul(&ones)? + &ones)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        Ok(Placement { device, dtype: DType::BF16, steps: Steps::Composed, packed: None, room: None })
    }

    /// The same device as if its memory held passes of at most so many tokens: to see what becomes of larger ones.
    #[must_use]
    pub fn with_room(self, tokens: usize) -> Placement {
        Placement { room: Some(tokens), ..self }
    }

    /// The same device in f32.
    pub fn in_f32(self) -> Placement {
        Placement { dtype: DType::F32, packed: None, ..self }
    }
}

/// A model that is ready to run.
#[derive(Debug)]
pub struct Model {
    pub(crate) decoder: Decoder,
    tokenizer: Tokenizer,
    template: chat::Found,
}

impl Model {
    /// Loads a Hugging Face folder (safetensors, sharded or not) or a single `.gguf` file.
    ///
    /// # Errors
    /// [`LoadError`] names the file, and the tensor with its expected and found shape where one is wrong.
    pub fn load(path: &Path, placement: &Placement) -> Result<Model, LoadError> {
        Model::prepare(path, None, placement, None, &mut || ControlFlow::Continue(()))
    }

    /// The same model as it was before training: config, tokenizer and chat template of the files, and weights drawn from a
    /// seed as that architecture's are initialised (normal with the config's `initializer_range`, 0.02 for a GGUF file; norms
    /// are 1, biases 0). The numbers depend on the seed and each tensor's name alone.
    ///
    /// # Errors
    /// As [`Model::load`]. Of a folder no weight file is needed.
    pub fn random(path: &Path, seed: u64, placement: &Placement) -> Result<Model, LoadError> {
        Model::prepare(path, Some(seed), placement, None, &mut || ControlFlow::Continue(()))
    }

    /// [`Model::random`] where there is a seed, else [`Model::load`]; `on_tensor` is asked before every tensor.
    ///
    /// Where a file is given, the weights are laid out in it once, and every process on the machine that loads them maps it
    /// instead of having a copy. The numbers are the same. A file that can't be used is made again, and where it can't be written
    /// (a full disk, a folder without permission) a warning is logged and the weights are this process's own, as they always are
    /// on a GPU and in [`Placement::cpu_composed`].
    ///
    /// # Errors
    /// As there, and [`LoadError::Cancelled`].
    pub fn prepare(
        path: &Path,
        random: Option<u64>,
        placement: &Placement,
        shared: Option<&SharedFile>,
        on_tensor: OnTensor<'_>,
    ) -> Result<Model, LoadError> {
        let load = if path.is_dir() { load::folder } else { load::gguf };
        load(path, random.map_or(Weights::Stored, Weights::Random), Whereto { placement, shared }, on_tensor)
    }

    /// The model's shape.
    pub fn architecture(&self) -> &Architecture {
        &self.decoder.architecture
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The model's chat template.
    ///
    /// # Errors
    /// [`TemplateError::Absent`] for a model that has none, [`TemplateError::Syntax`] for one whose own doesn't parse.
    pub fn template(&self) -> Result<&ChatTemplate, TemplateError> {
        self.template.as_ref().map_err(Clone::clone)
    }
}
