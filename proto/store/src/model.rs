//! A model's files: resolved to local paths, named by content, described without loading a tensor.

use std::path::{Path, PathBuf};

use limbic_proto::architecture::{Architecture, ArchitectureError};
use limbic_proto::gguf::{GgufError, Header};
use limbic_proto::key::Digest;
use tokio::task::spawn_blocking;

use crate::hub::{HubError, HubId};

/// Why a model's files can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No such file or folder, or it can't be read.
    #[error("model `{path}`: {message}", path = path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// The hub can't be read.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The config describes a model that the engine can't compute.
    #[error("model `{path}`: {error}", path = path.display())]
    Architecture {
        /// The config or GGUF file.
        path: PathBuf,
        /// Why.
        error: ArchitectureError,
    },
    /// The GGUF header can't be read.
    #[error("model `{path}`: {error}", path = path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// Why.
        error: GgufError,
    },
}

/// A model's files.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFiles {
    /// A folder in Hugging Face layout, or a `.gguf` file.
    pub path: PathBuf,
    /// The source with its revision pinned; opening it anywhere gives the same bytes.
    pub pinned: String,
    /// Names the content: weights, config, tokenizer, chat template.
    pub digest: Digest,
    /// What the model looks like.
    pub architecture: Architecture,
    /// Whether it carries a chat template.
    pub chat_template: bool,
}

/// How much of a model is needed locally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Config and tokenizer, to plan.
    Description,
    /// The weights too, to compute.
    Weights,
}

impl ModelFiles {
    /// Finds (and for `hf://` downloads) a model's files.
    ///
    /// # Errors
    /// The source doesn't exist, or isn't a model that the engine can compute.
    pub async fn resolve(source: &str, need: Need) -> Result<ModelFiles, ModelError> {
        let source = source.to_owned();
        spawn_blocking(move || if source.starts_with("hf://") { from_hub(&source, need) } else { from_path(Path::new(&source)) })
            .await
            .expect("resolving a model doesn't panic")
    }
}

/// The files of a folder that determine results, besides the weights.
const DESCRIPTION: [&str; 6] =
    ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"];

fn from_path(path: &Path) -> Result<ModelFiles, ModelError> {
    let fail = |message: String| ModelError::File { path: path.to_path_buf(), message };
    let path = path
        .canonicalize()
        .map_err(|e| fail(format!("can't be opened ({e}): give a folder in Hugging Face layout, a .gguf file or hf://OWNER/NAME")))?;
    let pinned = path.to_string_lossy().into_owned();
    if path.is_file() {
        let digest = digest_file(&path)?;
        let (architecture, chat_template) = describe(&path)?;
        return Ok(ModelFiles { path, pinned, digest, architecture, chat_template });
    }
    let mut names: Vec<String> = DESCRIPTION.iter().map(|s| (*s).to_owned()).filter(|n| path.join(n).is_file()).collect();
    names.extend(weights(&path).map_err(|e| fail(e.to_string()))?);
    if !names.iter().any(|n| n.ends_with(".safetensors")) {
        return Err(fail("has no .safetensors file: add the weights, or convert them (pickled .bin files are never read)".to_owned()));
    }
    if !path.join("tokenizer.json").is_file() {
        return Err(fail(
            "has no tokenizer.json: add it; transformers writes one with `AutoTokenizer.from_pretrained(…).save_pretrained(…)`".to_owned(),
        ));
    }
    let parts = names.iter().map(|n| Ok((n, digest_file(&path.join(n))?))).collect::<Result<Vec<_>, ModelError>>()?;
    let digest = Digest::of_json(&parts);
    let (architecture, chat_template) = describe(&path)?;
    Ok(ModelFiles { path, pinned, digest, architecture, chat_template })
}

/// The weight files of a folder and their index, sorted.
fn weights(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn from_hub(source: &str, need: Need) -> Result<ModelFiles, ModelError> {
    let (id, files) = source.parse::<HubId>()?.pin()?;
    // A commit names its content, so the weights need not be here to be named.
    let digest = Digest::of_json(&("hub", &id.repository, &id.revision, &id.file));
    let pinned = id.to_string();
    if id.file.is_some() {
        let path = id.file()?;
        let (architecture, chat_template) = describe(&path)?;
        return Ok(ModelFiles { path, pinned, digest, architecture, chat_template });
    }
    let wanted = |f: &&String| {
        DESCRIPTION.contains(&f.as_str())
            || (need == Need::Weights && !f.contains('/') && (f.ends_with(".safetensors") || f.ends_with(".safetensors.index.json")))
    };
    let mut folder = None;
    for file in files.iter().filter(wanted) {
        folder = id.get(file)?.parent().map(Path::to_path_buf);
    }
    let path = folder.ok_or_else(|| HubError::Api { id: pinned.clone(), message: "the repository has no config.json".to_owned() })?;
    let (architecture, chat_template) = describe(&path)?;
    Ok(ModelFiles { path, pinned, digest, architecture, chat_template })
}

/// What the model looks like, and whether it has a chat template.
fn describe(path: &Path) -> Result<(Architecture, bool), ModelError> {
    if path.is_file() {
        let file = std::fs::File::open(path).map_err(|e| ModelError::File { path: path.to_path_buf(), message: e.to_string() })?;
        let header = Header::read(std::io::BufReader::new(file)).map_err(|error| ModelError::Gguf { path: path.to_path_buf(), error })?;
        let architecture =
            Architecture::from_gguf(&header).map_err(|error| ModelError::Architecture { path: path.to_path_buf(), error })?;
        return Ok((architecture, header.text("tokenizer.chat_template").is_some()));
    }
    let config = path.join("config.json");
    let text = std::fs::read_to_string(&config).map_err(|e| ModelError::File {
        path: path.to_path_buf(),
        message: format!("config.json can't be read ({e}): give a folder in Hugging Face layout, a .gguf file or hf://OWNER/NAME"),
    })?;
    let architecture = Architecture::from_config(&text).map_err(|error| ModelError::Architecture { path: config, error })?;
    let in_config = std::fs::read_to_string(path.join("tokenizer_config.json"))
        .ok()
        .and_then(|t| serde_json::from_str::<serde_json::Value>(&t).ok())
        .is_some_and(|v| v.get("chat_template").is_some_and(|t| !t.is_null()));
    Ok((architecture, in_config || path.join("chat_template.jinja").is_file()))
}

fn digest_file(path: &Path) -> Result<Digest, ModelError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap_rayon(path).map_err(|e| ModelError::File { path: path.to_path_buf(), message: e.to_string() })?;
    Ok(Digest::from_hasher(&hasher))
}
