//! Finding a model's chat template and special tokens beside its weights.

use std::path::Path;

use candle_core::quantized::gguf_file::Content;
use limbic_proto::gguf::Header;
use serde_json::Value;

use crate::template::{ChatTemplate, SPECIAL, SpecialTokens, TemplateError};
use crate::weights::LoadError;

/// A model's template, or why it has none that can be rendered: without one it still reads plain text.
pub(super) type Found = Result<ChatTemplate, TemplateError>;

/// The template of a folder: `chat_template.jinja`, or `chat_template` in `tokenizer_config.json`.
///
/// # Errors
/// A file that can't be read.
pub(super) fn of_folder(folder: &Path) -> Result<Found, LoadError> {
    let json = |name: &str| -> Result<Value, LoadError> {
        let path = folder.join(name);
        let Some(text) = read(&path)? else { return Ok(Value::Null) };
        serde_json::from_str(&text).map_err(|e| LoadError::Damaged { path, what: e.to_string() })
    };
    let (settings, map) = (json("tokenizer_config.json")?, json("special_tokens_map.json")?);
    let source = read(&folder.join("chat_template.jinja"))?.or_else(|| inside(&settings["chat_template"]));
    let special = SPECIAL.into_iter().filter_map(|name| Some((name, token(&settings[name]).or_else(|| token(&map[name]))?)));
    Ok(source.ok_or(TemplateError::Absent).and_then(|source| ChatTemplate::new(&source, special.collect())))
}

/// The template of a GGUF file, in its metadata.
pub(super) fn of_gguf(header: &Header, content: &Content) -> Found {
    let source = header.text("tokenizer.chat_template").ok_or(TemplateError::Absent)?;
    let tokens = content.metadata.get("tokenizer.ggml.tokens").and_then(|v| v.to_vec().ok());
    let token = |(name, key): (&'static str, &str)| {
        let id = header.number(&format!("tokenizer.ggml.{key}_token_id"))? as usize;
        Some((name, tokens?.get(id)?.to_string().ok()?.clone()))
    };
    let keys = ["bos", "eos", "unknown", "seperator", "padding", "cls", "mask"];
    let special: SpecialTokens = SPECIAL.into_iter().zip(keys).filter_map(token).collect();
    ChatTemplate::new(source, special)
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
