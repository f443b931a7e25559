//! Rebuilding a byte-level BPE tokenizer from GGUF metadata.

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use limbic_proto::gguf::Splitting;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{AddedToken, Tokenizer};

use super::TokenizerError;

const PRE: &str = "tokenizer.ggml.pre";

/// The tokenizer that `content` describes.
///
/// Candle builds vocabulary, merges and special tokens. What GGUF only names (`tokenizer.ggml.pre`) is filled in here:
/// LLaMA 3 files call themselves `llama-bpe`, begin with BOS and ignore merges for whole words; GPT-2 style files must
/// not put a space in front of the text.
pub(super) fn rebuilt(content: &mut Content, splitting: Splitting) -> Result<Tokenizer, TokenizerError> {
    let split = match splitting {
        Splitting::Llama3 => {
            set(content, PRE, Value::String("llama3".to_owned()));
            content.metadata.entry("tokenizer.ggml.add_bos_token".to_owned()).or_insert(Value::Bool(true));
            set(content, "tokenizer.ggml.ignore_merges", Value::Bool(true));
            None
        }
        Splitting::Qwen2 => {
            set(content, PRE, Value::String("qwen2".to_owned()));
            None
        }
        Splitting::SmolLm => {
            let parts = vec![PreTokenizerWrapper::Digits(Digits::new(true)), byte_level()];
            Some(PreTokenizerWrapper::Sequence(Sequence::new(parts)))
        }
        Splitting::Gpt2 => Some(byte_level()),
    };
    let user_defined = plain(content);
    let mut tokenizer = Tokenizer::from_gguf(content).map_err(|e| TokenizerError::Unreadable { what: e.to_string() })?;
    if let Some(split) = split {
        tokenizer.with_pre_tokenizer(Some(split));
        let adds = |key| matches!(content.metadata.get(key), Some(Value::Bool(true)));
        if !adds("tokenizer.ggml.add_bos_token") && !adds("tokenizer.ggml.add_eos_token") {
            tokenizer.with_post_processor(Some(PostProcessorWrapper::ByteLevel(ByteLevel::new(false, true, true))));
        }
    }
    let added: Vec<AddedToken> = user_defined.into_iter().map(|token| AddedToken::from(token, false).normalized(false)).collect();
    tokenizer.add_tokens(added).map_err(|e| TokenizerError::Unreadable { what: e.to_string() })?;
    Ok(tokenizer)
}

/// Makes user-defined and unused tokens normal ones, for candle takes them for special ones, which decoded replies leave out; and returns
/// the former, which are found in a text as they are (Qwen 3's `<think>` is one).
fn plain(content: &mut Content) -> Vec<String> {
    const NORMAL: i64 = 1;
    const USER_DEFINED: i64 = 4;
    const UNUSED: i64 = 5;
    let number = |value: &Value| match value {
        Value::I32(n) => Some(i64::from(*n)),
        Value::U32(n) => Some(i64::from(*n)),
        _ => None,
    };
    let mut found = Vec::new();
    if let Some(Value::Array(types)) = content.metadata.get_mut("tokenizer.ggml.token_type") {
        for (id, kind) in types.iter_mut().enumerate() {
            let of = number(kind);
            if of == Some(USER_DEFINED) {
                found.push(id);
            }
            if matches!(of, Some(USER_DEFINED | UNUSED)) {
                *kind = Value::I32(NORMAL as i32);
            }
        }
    }
    let Some(Value::Array(tokens)) = content.metadata.get("tokenizer.ggml.tokens") else { return Vec::new() };
    found.into_iter().filter_map(|id| tokens.get(id)?.to_string().ok().cloned()).collect()
}

fn set(content: &mut Content, key: &str, value: Value) {
    content.metadata.insert(key.to_owned(), value);
}

fn byte_level() -> PreTokenizerWrapper {
    PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true))
}
