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
    let settings = json("tokenizer_config.json")?;
    let source = match read(&folder.join("chat_template.jinja"))? {
        Some(source) => Ok(source),
        None => inside(&settings["chat_template"]),
    };
    let special = special(&settings, &json("special_tokens_map.json")?);
    Ok(source.and_then(|source| ChatTemplate::new(&source, special)))
}

/// The special tokens of a `tokenizer_config.json` and a `special_tokens_map.json`. As in transformers the map counts, unless the settings
/// are of the kind that holds everything.
pub(super) fn special(settings: &Value, map: &Value) -> SpecialTokens {
    let (first, second) = if settings["added_tokens_decoder"].is_null() { (map, settings) } else { (settings, map) };
    let named = |name: &'static str| Some((name, token(&first[name]).or_else(|| token(&second[name]))?));
    SPECIAL.into_iter().filter_map(named).collect()
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

/// A template as a string, or the one named `default` of several.
fn inside(value: &Value) -> Result<String, TemplateError> {
    let named: Vec<(&str, &Value)> = match value {
        Value::String(source) => return Ok(source.clone()),
        Value::Array(list) => list.iter().filter_map(|t| Some((t["name"].as_str()?, &t["template"]))).collect(),
        Value::Object(map) => map.iter().map(|(name, template)| (name.as_str(), template)).collect(),
        _ => Vec::new(),
    };
    match named.iter().find(|(name, _)| *name == "default").and_then(|(_, template)| template.as_str()) {
        Some(source) => Ok(source.to_owned()),
        None if named.is_empty() => Err(TemplateError::Absent),
        None => Err(TemplateError::Undecided(named.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "))),
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
