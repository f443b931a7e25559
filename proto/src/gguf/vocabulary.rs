//! Which GGUF files' own tokenizers are rebuilt: one rule for planning and for loading.

use super::Header;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";

/// How a byte-level BPE vocabulary splits text before merging; GGUF only names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splitting {
    /// LLaMA 3: begins with BOS, ignores merges for whole words.
    Llama3,
    /// Qwen 2 and 2.5, which Qwen 3 shares.
    Qwen2,
    /// SmolLM: digits one by one, then as GPT-2.
    SmolLm,
    /// GPT-2.
    Gpt2,
}

/// A tokenizer that is not rebuilt; the model's `tokenizer.json` beside the file stands in for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the file's own tokenizer ({key} = `{found}`) is not supported; put the model's tokenizer.json beside the file")]
pub struct Unsupported {
    /// The metadata key.
    pub key: &'static str,
    /// Its value; `nothing` where it is absent.
    pub found: String,
}

impl Header {
    /// How the file's own vocabulary splits text, if its tokenizer can be rebuilt.
    ///
    /// # Errors
    /// It is of another kind (SentencePiece, WordPiece), splits in a way we don't know, or isn't there.
    pub fn splitting(&self) -> Result<Splitting, Unsupported> {
        let unsupported = |key, found: &str| Unsupported { key, found: found.to_owned() };
        match self.text(MODEL) {
            Some("gpt2") => {}
            other => return Err(unsupported(MODEL, other.unwrap_or("nothing"))),
        }
        for key in ["tokenizer.ggml.tokens", "tokenizer.ggml.merges"] {
            if !self.metadata.contains_key(key) {
                return Err(unsupported(key, "nothing"));
            }
        }
        // Without it, or by `default`, nobody knows how the model's own tokenizer split text.
        match self.text(PRE).unwrap_or("nothing") {
            "llama-bpe" | "llama3" | "llama-v3" => Ok(Splitting::Llama3),
            "qwen2" | "qwen25" => Ok(Splitting::Qwen2),
            "smollm" => Ok(Splitting::SmolLm),
            "gpt-2" => Ok(Splitting::Gpt2),
            other => Err(unsupported(PRE, other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Value;

    fn header(model: &str, pre: Option<&str>) -> Header {
        let mut header = Header::default();
        let mut set = |key: &str, value: &str| drop(header.metadata.insert(key.to_owned(), Value::Text(value.to_owned())));
        set(MODEL, model);
        pre.into_iter().for_each(|pre| set(PRE, pre));
        for key in ["tokenizer.ggml.tokens", "tokenizer.ggml.merges"] {
            header.metadata.insert(key.to_owned(), Value::Array { len: 100, items: vec![] });
        }
        header
    }

    #[test]
    fn byte_level_vocabularies_are_rebuilt_and_others_named() {
        assert_eq!(header("gpt2", Some("llama-bpe")).splitting(), Ok(Splitting::Llama3));
        assert_eq!(header("gpt2", Some("gpt-2")).splitting(), Ok(Splitting::Gpt2));
        let refused = |header: Header| header.splitting().unwrap_err().to_string();
        assert!(refused(header("llama", Some("default"))).contains("(tokenizer.ggml.model = `llama`)"));
        assert!(refused(header("gpt2", None)).contains("(tokenizer.ggml.pre = `nothing`)"));
        assert!(refused(header("gpt2", Some("default"))).contains("(tokenizer.ggml.pre = `default`)"));
        assert!(refused(header("gpt2", Some("tekken"))).contains("(tokenizer.ggml.pre = `tekken`)"));
        assert!(refused(Header::default()).contains("(tokenizer.ggml.model = `nothing`)"));
        let mut bare = header("gpt2", None);
        bare.metadata.remove("tokenizer.ggml.merges");
        assert!(refused(bare).contains("(tokenizer.ggml.merges = `nothing`)"));
    }
}
