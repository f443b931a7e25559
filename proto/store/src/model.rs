//! A model's files: resolved to local paths, named by content, described without loading a tensor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use limbic_proto::architecture::{Architecture, ArchitectureError};
use limbic_proto::gguf::{GgufError, Header, Unsupported};
use limbic_proto::key::Digest;
use tokio::task::spawn_blocking;

use crate::hub::{HubError, HubId};
use crate::source::local;

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
    /// The GGUF file's tokenizer can't be rebuilt, and none lies beside it.
    #[error("model `{path}`: {error}", path = path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// Why.
        error: Unsupported,
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
    /// What the file system said of each file before it was digested.
    stamps: Vec<(PathBuf, Option<Stamp>)>,
}

/// Length, time of the last change and number of a file: another of any means other content, perhaps.
type Stamp = (u64, SystemTime, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    let about = std::fs::metadata(path).ok()?;
    Some((about.len(), about.modified().ok()?, number(&about)))
}

#[cfg(unix)]
fn number(about: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(about)
}

#[cfg(not(unix))]
fn number(_: &std::fs::Metadata) -> u64 {
    0
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
        spawn_blocking(move || if source.starts_with("hf://") { from_hub(&source, need) } else { from_path(&source) })
            .await
            .expect("resolving a model doesn't panic")
    }

    /// Whether a file was written or replaced since its digest was begun, so that what is read of it may not be what the digest
    /// names. Files from the hub are named by their content and never are.
    pub fn touched(&self) -> bool {
        self.stamps.iter().any(|(path, before)| stamp(path) != *before)
    }

    /// What a model's results depend on: its files, or where its weights are drawn from a seed the seed besides.
    pub fn identity(&self, random_weights: Option<u64>) -> Digest {
        match random_weights {
            None => self.digest,
            Some(seed) => Digest::of_json(&("random weights", self.digest, seed)),
        }
    }
}

/// The files of a folder that determine results, besides the weights.
const DESCRIPTION: [&str; 6] =
    ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"];

fn from_path(source: &str) -> Result<ModelFiles, ModelError> {
    let fail = |message: String| ModelError::File { path: source.into(), message };
    let path = local(source).ok_or_else(|| {
        fail(
            "models are read from a folder in Hugging Face layout, a .gguf file or the hub (hf://OWNER/NAME), not from other addresses: \
             copy it to a folder that every worker sees"
                .to_owned(),
        )
    })?;
    let path = path
        .canonicalize()
        .map_err(|e| fail(format!("can't be opened ({e}): give a folder in Hugging Face layout, a .gguf file or hf://OWNER/NAME")))?;
    let pinned = path.to_string_lossy().into_owned();
    if path.is_file() {
        return from_gguf(path, pinned);
    }
    let names: Vec<String> = std::fs::read_dir(&path)
        .map_err(|e| fail(e.to_string()))?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    let (architecture, chat_template) = describe(&path)?;
    let index = std::fs::read_to_string(path.join(INDEX)).ok();
    let mut digested = choose(&names, index.as_deref()).map_err(fail)?;
    digested.extend(index.is_some().then(|| INDEX.to_owned()));
    digested.sort();
    let description = DESCRIPTION.iter().filter(|n| path.join(n).is_file()).map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let stamps = description.iter().chain(&digested).map(|name| path.join(name)).map(|file| (file.clone(), stamp(&file))).collect();
    let parts =
        description.iter().chain(&digested).map(|n| Ok((n, digest_file(&path.join(n))?))).collect::<Result<Vec<_>, ModelError>>()?;
    let digest = Digest::of_json(&parts);
    Ok(ModelFiles { path, pinned, digest, architecture, chat_template, stamps })
}

/// A GGUF file; where its own tokenizer can't be rebuilt, the `tokenizer.json` beside it is part of what it computes.
fn from_gguf(path: PathBuf, pinned: String) -> Result<ModelFiles, ModelError> {
    let mut stamps = vec![(path.clone(), stamp(&path))];
    let (architecture, chat_template) = describe(&path)?;
    let weights = digest_file(&path)?;
    let digest = match beside(&path)? {
        None => weights,
        Some(tokenizer) => {
            stamps.push((tokenizer.clone(), stamp(&tokenizer)));
            Digest::of_json(&("gguf", weights, "tokenizer.json", digest_file(&tokenizer)?))
        }
    };
    Ok(ModelFiles { path, pinned, digest, architecture, chat_template, stamps })
}

/// The `tokenizer.json` beside a GGUF file, if its own tokenizer can't be rebuilt.
fn beside(path: &Path) -> Result<Option<PathBuf>, ModelError> {
    let Err(error) = header(path)?.splitting() else { return Ok(None) };
    let tokenizer = path.with_file_name("tokenizer.json");
    if tokenizer.is_file() { Ok(Some(tokenizer)) } else { Err(ModelError::Tokenizer { path: path.to_path_buf(), error }) }
}

/// The index of a model in several files.
const INDEX: &str = "model.safetensors.index.json";

/// The weight files among a folder's or a repository's names: `model.safetensors`, else those of the index, as in transformers. Other
/// copies of the weights, such as `consolidated.safetensors`, are left alone. Fails with what is missing and what to do.
fn choose(names: &[String], index: Option<&str>) -> Result<Vec<String>, String> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let there = |name: &str| names.iter().any(|n| n == name);
    let weights: Vec<String> = match index {
        _ if there("model.safetensors") => vec!["model.safetensors".to_owned()],
        Some(text) => {
            let index: Index = serde_json::from_str(text).map_err(|e| format!("{INDEX} can't be read ({e}): fetch it again"))?;
            let mut files: Vec<String> = index.weight_map.into_values().collect();
            files.sort();
            files.dedup();
            files
        }
        None if names.iter().any(|n| n.ends_with(".safetensors")) => {
            return Err(format!("has .safetensors files, but neither model.safetensors nor {INDEX}, which says what is in which: add it"));
        }
        None => return Err("has no .safetensors file: add the weights, or convert them (pickled .bin files are never read)".to_owned()),
    };
    if let Some(missing) = weights.iter().find(|name| !there(name)) {
        return Err(format!("has no {missing}, which {INDEX} names: add it"));
    }
    if !there("tokenizer.json") {
        return Err(
            "has no tokenizer.json: add it; transformers writes one with `AutoTokenizer.from_pretrained(…).save_pretrained(…)`".to_owned()
        );
    }
    Ok(weights)
}

fn from_hub(source: &str, need: Need) -> Result<ModelFiles, ModelError> {
    let (id, files) = source.parse::<HubId>()?.pin()?;
    // A commit names its content, so the weights need not be here to be named.
    let digest = Digest::of_json(&("hub", &id.repository, &id.revision, &id.file));
    let pinned = id.to_string();
    let fail = |message: String| ModelError::File { path: PathBuf::from(&pinned), message };
    if let Some(file) = &id.file {
        let path = id.file()?;
        // A repository's folder is the place beside the file; the commit names both.
        let tokenizer = Path::new(file).with_file_name("tokenizer.json").to_string_lossy().into_owned();
        if header(&path)?.splitting().is_err() && files.contains(&tokenizer) {
            id.get(&tokenizer)?;
        }
        beside(&path)?;
        let (architecture, chat_template) = describe(&path)?;
        return Ok(ModelFiles { path, pinned, digest, architecture, chat_template, stamps: Vec::new() });
    }
    if !files.iter().any(|f| f == "config.json") {
        return Err(fail(
            "the repository has no config.json: name one in Hugging Face layout, or a file, as in hf://OWNER/NAME/FILE.gguf".to_owned(),
        ));
    }
    let index = match files.iter().any(|f| f == INDEX) {
        true => Some(std::fs::read_to_string(id.get(INDEX)?).map_err(|e| fail(format!("{INDEX} can't be read: {e}")))?),
        false => None,
    };
    let weights = choose(&files, index.as_deref()).map_err(fail)?;
    for file in files.iter().filter(|f| DESCRIPTION.contains(&f.as_str())) {
        id.get(file)?;
    }
    if need == Need::Weights {
        for file in &weights {
            id.get(file)?;
        }
    }
    let path = id.get("config.json")?.parent().map(Path::to_path_buf).expect("a file lies in a folder");
    let (architecture, chat_template) = describe(&path)?;
    Ok(ModelFiles { path, pinned, digest, architecture, chat_template, stamps: Vec::new() })
}

/// The header of a GGUF file.
fn header(path: &Path) -> Result<Header, ModelError> {
    let file = std::fs::File::open(path).map_err(|e| ModelError::File { path: path.to_path_buf(), message: e.to_string() })?;
    Header::read(std::io::BufReader::new(file)).map_err(|error| ModelError::Gguf { path: path.to_path_buf(), error })
}

/// What the model looks like, and whether it has a chat template.
fn describe(path: &Path) -> Result<(Architecture, bool), ModelError> {
    if path.is_file() {
        let header = header(path)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    const MAP: &str = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}"#;

    #[tokio::test]
    async fn files_that_are_written_or_replaced_later_are_told() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/quickstart/models/tiny-0.3m");
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(shipped).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        let resolve = || ModelFiles::resolve(folder.path().to_str().unwrap(), Need::Weights);
        let files = resolve().await.unwrap();
        assert!(!files.touched());
        let weights = folder.path().join("model.safetensors");
        // The same bytes, but other ones for all that is known.
        std::fs::copy(&weights, folder.path().join("copy")).unwrap();
        std::fs::rename(folder.path().join("copy"), &weights).unwrap();
        assert!(files.touched());
        let again = resolve().await.unwrap();
        assert!(!again.touched() && again.digest == files.digest);
        std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
        assert!(again.touched());
    }

    #[test]
    fn the_index_says_which_weights_count() {
        let there =
            names(&["config.json", "tokenizer.json", "consolidated.safetensors", INDEX, "model-1.safetensors", "model-2.safetensors"]);
        assert_eq!(choose(&there, Some(MAP)).unwrap(), names(&["model-1.safetensors", "model-2.safetensors"]));
        let one = names(&["model.safetensors", "consolidated.safetensors", "tokenizer.json"]);
        assert_eq!(choose(&one, None).unwrap(), names(&["model.safetensors"]));
    }

    #[test]
    fn what_is_missing_is_named_before_anything_is_fetched() {
        let refused = |there: &[&str], index| choose(&names(there), index).unwrap_err();
        assert!(
            refused(&["tokenizer.json", "model-1.safetensors"], Some(MAP))
                .contains("no model-2.safetensors, which model.safetensors.index.json names")
        );
        assert!(refused(&["model.safetensors"], None).contains("has no tokenizer.json"));
        assert!(refused(&["tokenizer.json", "pytorch_model.bin"], None).contains("has no .safetensors file"));
        assert!(refused(&["tokenizer.json", "consolidated.safetensors"], None).contains("neither model.safetensors nor"));
        assert!(refused(&["tokenizer.json"], Some("{")).contains("can't be read"));
    }
}
