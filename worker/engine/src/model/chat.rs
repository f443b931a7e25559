//! Finding a model's chat template and special tokens beside its weights.

use std::path::Path;

use candle_core::quantized::gguf_file::Content;
use limbic_proto::gguf::Header;
use serde_json::Value;

use crate::template::ChatTemplate;
use crate::weights::LoadError;

/// The template of a folder: `chat_template.jinja`, or `chat_template` in `tokenizer_config.json`.
pub(super) fn of_folder(folder: &Path) -> Result<Option<ChatTemplate>, LoadError> {
    let (own, config) = (folder.join("chat_template.jinja"), folder.join("tokenizer_config.json"));
    let settings: Value = match read(&config)? {
        Some(text) => serde_json::from_str(&text).map_err(|e| LoadError::Damaged { path: config.clone(), what: e.to_string() })?,
        None => Value::Null,
    };
    let (source, path) = match read(&own)? {
        Some(source) => (source, own),
        None => match inside(&settings["chat_template"]) {
            Some(source) => (source, config),
            None => return Ok(None),
        },
    };
    parsed(&source, token(&settings["bos_token"]), token(&settings["eos_token"]), &path).map(Some)
}

/// The template of a GGUF file, in its metadata.
pub(super) fn of_gguf(header: &Header, content: &Content, path: &Path) -> Result<Option<ChatTemplate>, LoadError> {
    let Some(source) = header.text("tokenizer.chat_template") else { return Ok(None) };
    let tokens = content.metadata.get("tokenizer.ggml.tokens").and_then(|v| v.to_vec().ok());
    let token = |key: &str| {
        let id = header.number(key)? as usize;
        tokens?.get(id)?.to_string().ok().cloned()
    };
    parsed(source, token("tokenizer.ggml.bos_token_id"), token("tokenizer.ggml.eos_token_id"), path).map(Some)
}

fn parsed(source: &str, bos: Option<String>, eos: Option<String>, path: &Path) -> Result<ChatTemplate, LoadError> {
    ChatTemplate::new(source, bos, eos).map_err(|e| LoadError::Damaged { path: path.to_owned(), what: e.to_string() })
}

/// A template as a string, or the one named `default` in a list.
fn inside(value: &Value) -> Option<String> {
    match value {
        Value::String(source) => Some(source.clone()),
        Value::Array(list) => {
            let default = list.iter().find(|t| t["name"] == "default").or(list.first())?;
            default["template"].as_str().map(str::to_owned)
        }
        _ => None,
    }
}

/// A special token as a string or as an object with its `content`.
fn token(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value["content"].as_str()).map(str::to_owned)
}

fn read(path: &Path) -> Result<Option<String>, LoadError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LoadError::Io { path: path.to_owned(), source }),
    }
}
