//! Rebuilding a byte-level BPE tokenizer from GGUF metadata.

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use limbic_proto::gguf::Splitting;
use tokenizers::Tokenizer;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::processors::PostProcessorWrapper;

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
    let mut tokenizer = Tokenizer::from_gguf(content).map_err(|e| TokenizerError::Unreadable { what: e.to_string() })?;
    if let Some(split) = split {
        tokenizer.with_pre_tokenizer(Some(split));
        if !matches!(content.metadata.get("tokenizer.ggml.add_bos_token"), Some(Value::Bool(true))) {
            tokenizer.with_post_processor(Some(PostProcessorWrapper::ByteLevel(ByteLevel::new(false, true, true))));
        }
    }
    Ok(tokenizer)
}

fn set(content: &mut Content, key: &str, value: Value) {
    content.metadata.insert(key.to_owned(), value);
}

fn byte_level() -> PreTokenizerWrapper {
    PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true))
}
