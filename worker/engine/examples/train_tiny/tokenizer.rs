//! The byte-level BPE tokenizer that the three models share, trained on the same text as they are.

use anyhow::{Context, Result, ensure};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use crate::corpus::{CALM, CLASSES, Corpus, EMOTIONAL, QUESTION};

/// Entries in the vocabulary, the 3 special tokens and the 256 bytes included.
pub(crate) const VOCABULARY: usize = 2048;
/// The special tokens; their place here is their id.
pub(crate) const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// How text is cut before merging: the pattern of the Qwen tokenizers (words with their leading space, single digits, runs of marks).
const PATTERN: &str =
    concat!(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}", r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+");
/// How often the fixed wording is repeated, so that its words become single tokens.
const WORDING_REPEATS: usize = 2000;

/// Trains the tokenizer on the training rows and the fixed wording of the chat documents.
pub(crate) fn train(corpus: &Corpus) -> Result<Tokenizer> {
    let split = Split::new(SplitPattern::Regex(PATTERN.into()), SplitDelimiterBehavior::Isolated, false);
    let split = split.map_err(anyhow::Error::from_boxed).context("pre-tokenizer pattern")?;
    let bytes = ByteLevel::new(false, false, false);
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer
        .with_pre_tokenizer(Some(Sequence::new(vec![PreTokenizerWrapper::Split(split), PreTokenizerWrapper::ByteLevel(bytes)])))
        .with_decoder(Some(bytes));
    let trainer = BpeTrainer::builder()
        .vocab_size(VOCABULARY)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(SPECIAL.iter().map(|token| AddedToken::from(*token, true)).collect())
        .build();
    let wording = ["system\nuser\nassistant\n", EMOTIONAL, CALM, QUESTION];
    let wording = wording.into_iter().chain(CLASSES).cycle().take(WORDING_REPEATS * (4 + CLASSES.len()));
    let texts = corpus.train.iter().map(|row| row.text.as_str());
    tokenizer
        .train(&mut TrainerWrapper::from(trainer), texts.chain(wording))
        .map_err(anyhow::Error::from_boxed)
        .context("tokenizer training")?;
    ensure!(tokenizer.get_vocab_size(true) == VOCABULARY, "the text yields only {} tokens", tokenizer.get_vocab_size(true));
    for (id, token) in SPECIAL.iter().enumerate() {
        ensure!(tokenizer.token_to_id(token) == Some(id as u32), "special token {token} has another id than {id}");
    }
    for class in CLASSES {
        ensure!(tokenizer.token_to_id(class).is_some(), "label {class} is not one token");
    }
    Ok(tokenizer)
}
