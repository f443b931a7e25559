//! Text to token ids and back, from `tokenizer.json` or a GGUF file's own vocabulary.

mod gguf;

use std::path::Path;

use candle_core::quantized::gguf_file::Content;
use limbic_proto::gguf::{Splitting, Unsupported};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{Encoding, ModelWrapper};

/// Why a tokenizer can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file can't be read or is not a tokenizer.
    #[error("not a usable tokenizer: {what}")]
    Unreadable {
        /// Why.
        what: String,
    },
    /// The vocabulary has ids beyond the embedding matrix: tokenizer and weights belong to different models.
    #[error("the tokenizer has token id {largest} (`{token}`), but the model embeds only {vocab} tokens")]
    LargerThanModel {
        /// The largest id.
        largest: u32,
        /// Its token.
        token: String,
        /// Rows of the embedding matrix.
        vocab: usize,
    },
    /// A GGUF file's vocabulary is of a kind that is not rebuilt.
    #[error(transparent)]
    Kind(#[from] Unsupported),
    /// Another file by which the tokens would be others.
    #[error("{what}")]
    Contradicted {
        /// What it says.
        what: String,
    },
    /// Encoding one text failed.
    #[error("encoding a text of {chars} characters: {what}")]
    Encoding {
        /// Its length.
        chars: usize,
        /// Why.
        what: String,
    },
}

/// A tokenizer that is known to fit its model.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    pub(crate) fn from_file(path: &Path, vocab: usize) -> Result<Tokenizer, TokenizerError> {
        let mut inner = tokenizers::Tokenizer::from_file(path).map_err(|e| TokenizerError::Unreadable { what: e.to_string() })?;
        let plain = inner.with_truncation(None).map(|_| ());
        plain.map_err(|e| TokenizerError::Unreadable { what: e.to_string() })?;
        inner.with_padding(None);
        if let ModelWrapper::BPE(model) = inner.get_model()
            && let Some(dropout) = model.dropout.filter(|dropout| *dropout > 0.0)
        {
            let what = format!("its `model.dropout` is {dropout}, so that a text has other tokens each time: set it to null");
            return Err(TokenizerError::Contradicted { what: format!("tokenizer.json: {what}") });
        }
        Tokenizer { inner }.fitting(vocab)
    }

    /// Rebuilds the tokenizer of a GGUF file.
    pub(crate) fn from_gguf(content: &mut Content, splitting: Splitting, vocab: usize) -> Result<Tokenizer, TokenizerError> {
        Tokenizer { inner: gguf::rebuilt(content, splitting)? }.fitting(vocab)
    }

    /// The same with these tokens before and behind every text that special ones are added to, whatever its file says.
    pub(crate) fn framed(mut self, first: Option<&str>, last: Option<&str>) -> Result<Tokenizer, TokenizerError> {
        let known = |token: &str| {
            let id = self.inner.token_to_id(token);
            id.ok_or_else(|| TokenizerError::Contradicted {
                what: format!("`{token}` goes with every text, and is none of tokenizer.json's tokens"),
            })
        };
        let mut special = Vec::new();
        for token in first.iter().chain(&last) {
            special.push(((*token).to_owned(), known(token)?));
        }
        let piece = |token: &&str| format!("{token}:0");
        let pieces = first.iter().map(piece).chain(["$A:0".to_owned()]).chain(last.iter().map(piece));
        let unreadable = |e: String| TokenizerError::Unreadable { what: e };
        let mut builder = TemplateProcessing::builder();
        builder.try_single(pieces.collect::<Vec<_>>()).map_err(unreadable)?.special_tokens(special);
        let processor = builder.build().map_err(|e| unreadable(e.to_string()))?;
        self.inner.with_post_processor(Some(processor));
        Ok(self)
    }

    fn fitting(self, vocab: usize) -> Result<Tokenizer, TokenizerError> {
        match self.inner.get_vocab(true).into_iter().max_by_key(|(_, id)| *id) {
            Some((token, largest)) if largest as usize >= vocab => Err(TokenizerError::LargerThanModel { largest, token, vocab }),
            Some(_) => Ok(self),
            None => Err(TokenizerError::Unreadable { what: "its vocabulary is empty".to_owned() }),
        }
    }

    /// Encodes a text; offsets of the encoding count characters. `special` adds the tokenizer's own special tokens
    /// (such as BOS), as transformers does for plain text but not for rendered chats.
    pub(crate) fn encode(&self, text: &str, special: bool) -> Result<Encoding, TokenizerError> {
        self.inner
            .encode_char_offsets(text, special)
            .map_err(|e| TokenizerError::Encoding { chars: text.chars().count(), what: e.to_string() })
    }

    /// Token ids of a text; `special` as in transformers' `add_special_tokens`.
    pub fn ids(&self, text: &str, special: bool) -> Result<Vec<u32>, TokenizerError> {
        Ok(self.encode(text, special)?.get_ids().to_vec())
    }

    /// The text of token ids, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(ids, true).map_err(|e| TokenizerError::Unreadable { what: e.to_string() })
    }

    /// The text of one token, be it a special one.
    pub fn shown(&self, id: u32) -> Result<String, TokenizerError> {
        self.inner.decode(&[id], false).map_err(|e| TokenizerError::Unreadable { what: e.to_string() })
    }

    /// The id of a token, if it is one.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }
}
