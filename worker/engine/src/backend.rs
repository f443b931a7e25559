//! The small surface a worker needs of an engine, so that its tests can put a fake one in its place.

use std::path::Path;

use candle_core::Device;
use limbic_proto::architecture::Architecture;
use limbic_proto::spec;

use crate::extraction::{ExtractError, Extraction, OnProgress, Request, extract};
use crate::likelihood::{Labels, Likelihoods, label_log_likelihoods};
use crate::model::{Model, Placement};
use crate::prompt::{Prompt, PromptError, Prompts, RowPolicy, following};
use crate::tokenizer::TokenizerError;
use crate::weights::{LoadError, OnTensor, SharedFile};

/// Something that loads models.
pub trait Backend: Send + Sync {
    /// Loads a folder or a `.gguf` file; see [`Model::prepare`].
    fn load(
        &self,
        path: &Path,
        random: Option<u64>,
        shared: Option<&SharedFile>,
        on_tensor: OnTensor<'_>,
    ) -> Result<Box<dyn Loaded>, LoadError>;
}

/// A loaded model.
pub trait Loaded: Send + Sync {
    /// Its shape.
    fn architecture(&self) -> &Architecture;

    /// The kind of device that it computes on: `cpu` or `cuda`. The bits of its numbers are that kind's.
    fn device(&self) -> &'static str;

    /// See [`following`].
    fn following(&self, condition: &spec::Prompt, text: &str) -> Result<Vec<u32>, PromptError>;

    /// The text of token ids.
    fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError>;

    /// See [`Prompts::new`].
    fn prompts(&self, condition: &spec::Prompt, utterances: &[&str], reserve: usize, policy: RowPolicy) -> Result<Prompts, PromptError>;

    /// See [`extract`].
    fn extract(&self, prompts: &[Prompt], request: &Request, on_progress: OnProgress<'_>) -> Result<Extraction, ExtractError>;

    /// See [`label_log_likelihoods`].
    fn score(&self, prompts: &[Prompt], labels: Labels<'_>, on_progress: OnProgress<'_>) -> Result<Likelihoods, ExtractError>;
}

impl Backend for Placement {
    fn load(
        &self,
        path: &Path,
        random: Option<u64>,
        shared: Option<&SharedFile>,
        on_tensor: OnTensor<'_>,
    ) -> Result<Box<dyn Loaded>, LoadError> {
        if !self.swift() {
            tracing::warn!("this CPU has no AVX512-BF16: in bf16 it computes the numbers that others do, but slower than in f32");
        }
        Ok(Box::new(Model::prepare(path, random, self, shared, on_tensor)?))
    }
}

impl Loaded for Model {
    fn architecture(&self) -> &Architecture {
        Model::architecture(self)
    }

    fn device(&self) -> &'static str {
        match self.decoder.device {
            Device::Cpu => "cpu",
            Device::Cuda(_) => "cuda",
            Device::Metal(_) => "metal",
        }
    }

    fn following(&self, condition: &spec::Prompt, text: &str) -> Result<Vec<u32>, PromptError> {
        following(self, condition, text)
    }

    fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.tokenizer().decode(ids)
    }

    fn prompts(&self, condition: &spec::Prompt, utterances: &[&str], reserve: usize, policy: RowPolicy) -> Result<Prompts, PromptError> {
        Prompts::new(self, condition, utterances, reserve, policy)
    }

    fn extract(&self, prompts: &[Prompt], request: &Request, on_progress: OnProgress<'_>) -> Result<Extraction, ExtractError> {
        extract(self, prompts, request, on_progress)
    }

    fn score(&self, prompts: &[Prompt], labels: Labels<'_>, on_progress: OnProgress<'_>) -> Result<Likelihoods, ExtractError> {
        label_log_likelihoods(self, prompts, labels, on_progress)
    }
}
