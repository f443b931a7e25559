//! `limbic-worker inspect`: a model's hidden states on some texts, named as the reference script names them.

use std::path::{Path, PathBuf};

use limbic_engine::{Inspection, InspectionError, InspectionRequest, LoadError, Model};
use limbic_proto::answer;
use limbic_store::ModelFiles;
use limbic_store::model::{ModelError, Need};
use serde::Deserialize;

use crate::execute::placements;
use crate::settings::SettingsError;
use crate::tensors::{TensorFile, TensorFileError};

/// What to inspect.
#[derive(Debug, Clone, clap::Args)]
pub struct InspectArgs {
    /// A folder in Hugging Face layout, a `.gguf` file or `hf://OWNER/NAME`.
    pub model: String,
    /// A file of lines `{"text": …, "system": …}`; `system` may be absent.
    #[arg(long, value_name = "FILE.jsonl")]
    pub texts: PathBuf,
    /// Put the texts as chat messages, rendered by the model's own template.
    #[arg(long)]
    pub chat: bool,
    /// The system message of the chats whose line has none.
    #[arg(long, requires = "chat", value_name = "TEXT")]
    pub system: Option<String>,
    /// Generate so many tokens greedily, and write their states, too.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub reply: usize,
    /// Where the states go; token ids and prompts go beside it, into a file of the same name ending in `.json`.
    #[arg(long, value_name = "FILE.safetensors")]
    pub out: PathBuf,
    /// What to compute on: `cpu` or `cuda:N`.
    #[arg(long, env = "LIMBIC_DEVICE", default_value = "cpu", value_name = "DEVICE")]
    pub device: String,
    /// The number format, `f32` or `bf16` (on a CPU faster only where it has AVX512-BF16).
    #[arg(long, default_value = "f32", value_name = "FORMAT", value_parser = ["f32", "bf16"])]
    pub dtype: String,
    /// Print a summary as JSON instead of a sentence.
    #[arg(long)]
    pub json: bool,
}

/// Why a model can't be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is not a text.
    #[error("{}, line {line}: {message}; each line is an object such as {{\"text\": \"Oh!\"}}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The model's files can't be had.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The engine failed.
    #[error(transparent)]
    Inspection(#[from] InspectionError),
    /// There is no such device.
    #[error(transparent)]
    Device(#[from] SettingsError),
    /// The states can't be put into a file.
    #[error(transparent)]
    Tensors(#[from] TensorFileError),
}

impl InspectError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            InspectError::Model(ModelError::Hub(_)) | InspectError::Device(SettingsError::DeviceAway { .. }) => 75,
            _ => 2,
        }
    }
}

/// One line of the texts file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    text: String,
    #[serde(default)]
    system: Option<String>,
}

/// Writes the states and prints what was written.
pub(crate) fn inspect(args: &InspectArgs) -> Result<(), InspectError> {
    let lines = lines(&args.texts)?;
    let failed = |source| InspectError::File { path: args.model.clone().into(), source };
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
    let files = runtime.block_on(ModelFiles::resolve(&args.model, Need::Weights))?;
    let placements = placements(&args.device)?;
    let (_, placement) = placements
        .iter()
        .find(|(dtype, _)| dtype.as_str() == args.dtype)
        .ok_or_else(|| SettingsError::Device { device: args.device.clone(), message: format!("doesn't compute in {}", args.dtype) })?;
    let model = Model::load(&files.path, placement)?;
    let kind = if args.chat { "chat" } else { "raw" };
    let mut file = TensorFile::default();
    let (mut ids, mut prompts, mut replies) = (Vec::new(), Vec::new(), Vec::new());
    let mut meta = serde_json::json!({ "model": files.pinned, "digest": files.digest });
    for (row, line) in lines.iter().enumerate() {
        let request = InspectionRequest {
            texts: vec![line.text.clone()],
            chat: args.chat,
            system: line.system.clone().or_else(|| args.system.clone()),
            reply_tokens: args.reply,
        };
        let found = Inspection::new(&model, &request)?;
        for (name, (shape, values)) in found.tensors {
            // Every text is inspected on its own (each may have its system message), so the engine calls each one 0.
            file.f32(name.replacen(".0.", &format!(".{row}."), 1), shape, values);
        }
        ids.push(found.meta[format!("{kind}_ids")][0].clone());
        prompts.push(found.meta[format!("{kind}_prompts")][0].clone());
        replies.push(found.meta["reply_ids"][0].clone());
        for key in ["layers", "hidden_size", "model_type"] {
            meta[key] = found.meta[key].clone();
        }
    }
    meta["texts"] = lines.iter().map(|l| l.text.as_str()).collect();
    meta["reply_ids"] = replies.into();
    meta[format!("{kind}_ids")] = ids.into();
    meta[format!("{kind}_prompts")] = prompts.into();
    let beside = args.out.with_extension("json");
    let (texts, tensors) = (lines.len(), file.len());
    write(&args.out, &file.content()?.to_bytes())?;
    write(&beside, format!("{meta:#}\n").as_bytes())?;
    if args.json {
        let layers = &meta["layers"];
        answer!(
            "{}",
            serde_json::json!({ "model": files.pinned, "texts": texts, "tensors": tensors, "layers": layers, "out": args.out, "ids": beside })
        );
    } else {
        answer!("{texts} texts through {}: {tensors} tensors in {}, token ids in {}", files.pinned, args.out.display(), beside.display());
    }
    Ok(())
}

fn lines(path: &Path) -> Result<Vec<Line>, InspectError> {
    let text = std::fs::read_to_string(path).map_err(|source| InspectError::File { path: path.to_path_buf(), source })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(i, line)| {
            serde_json::from_str(line).map_err(|e| InspectError::Line { path: path.to_path_buf(), line: i + 1, message: e.to_string() })
        })
        .collect()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), InspectError> {
    std::fs::write(path, bytes).map_err(|source| InspectError::File { path: path.to_path_buf(), source })
}
