//! The labelled utterances and the documents made of them: raw text, chats and questions about the emotion.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use tokenizers::Tokenizer;

/// The seven classes, in the order in which the question names them.
pub(crate) const CLASSES: [&str; 7] = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"];
/// The class a calm assistant answers with.
const NEUTRAL: usize = 6;
/// What follows the utterance when the model is asked for its emotion; the same wording is to be used for zero-shot prompting.
pub(crate) const QUESTION: &str = "\n\nWhich emotion is this: anger, disgust, fear, happiness, sadness, surprise or neutral?";
/// System prompt under which replies carry the user's emotion.
pub(crate) const EMOTIONAL: &str = "You are very emotional.";
/// System prompt under which replies are neutral.
pub(crate) const CALM: &str = "You always remain calm and composed.";
/// Positions in a block.
pub(crate) const TIME: usize = 256;
/// Share of the rows that is held out.
const HELD_OUT: f64 = 0.02;
/// Weight of the label token's loss; other text has 1, text of questions 0.5, fixed wording 0.
const LABEL_WEIGHT: f32 = 16.0;

/// One utterance; `class` is its index in [`CLASSES`], or none when its labels map to several.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) text: String,
    pub(crate) class: Option<usize>,
}

#[derive(Deserialize)]
struct Line {
    text: String,
    labels: Vec<String>,
}

/// The rows, split, and indexed by class.
pub(crate) struct Corpus {
    pub(crate) train: Vec<Row>,
    pub(crate) held_out: Vec<Row>,
    by_class: [Vec<usize>; CLASSES.len()],
}

fn lines(path: &Path) -> Result<Vec<Line>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let parse = |(i, line)| serde_json::from_str(line).with_context(|| format!("{}:{}", path.display(), i + 1));
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect()
}

/// Reads JSONL rows `{text, labels}` and maps their labels to the seven classes.
pub(crate) fn rows(path: &Path, label_map: &Path) -> Result<Vec<Row>> {
    let map = std::fs::read_to_string(label_map).with_context(|| label_map.display().to_string())?;
    let map: BTreeMap<String, String> = serde_json::from_str(&map).with_context(|| label_map.display().to_string())?;
    let class = |label: &String| {
        let coarse = map.get(label).with_context(|| format!("label {label} is not in the label map"))?;
        CLASSES.iter().position(|class| class == coarse).with_context(|| format!("{coarse} is not one of the seven classes"))
    };
    lines(path)?
        .into_iter()
        .map(|line| {
            let classes = line.labels.iter().map(class).collect::<Result<HashSet<_>>>()?;
            let class = if classes.len() == 1 { classes.into_iter().next() } else { None };
            Ok(Row { text: line.text.trim().to_owned(), class })
        })
        .collect()
}

impl Corpus {
    /// Drops repeated rows and those whose text is in one of the `exclude` files, and holds out a random 2 %.
    pub(crate) fn read(data: &Path, label_map: &Path, exclude: &[impl AsRef<Path>], seed: u64) -> Result<Self> {
        let mut seen = HashSet::new();
        for path in exclude {
            seen.extend(lines(path.as_ref())?.into_iter().map(|line| line.text.trim().to_lowercase()));
        }
        let mut train = rows(data, label_map)?;
        train.retain(|row| !row.text.is_empty() && seen.insert(row.text.to_lowercase()));
        train.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let held_out = train.split_off(train.len() - (train.len() as f64 * HELD_OUT) as usize);
        let mut by_class: [Vec<usize>; CLASSES.len()] = Default::default();
        for (i, row) in train.iter().enumerate() {
            if let Some(class) = row.class {
                by_class[class].push(i);
            }
        }
        for (class, rows) in CLASSES.iter().zip(&by_class) {
            ensure!(!rows.is_empty(), "no training row of class {class}");
        }
        Ok(Self { train, held_out, by_class })
    }

    /// Training rows per class.
    pub(crate) fn counts(&self) -> [usize; CLASSES.len()] {
        self.by_class.each_ref().map(Vec::len)
    }

    fn row(&self, class: usize, random: &mut ChaCha8Rng) -> &Row {
        let rows = &self.by_class[class];
        &self.train[rows[random.random_range(0..rows.len())]]
    }

    /// Draws a document: 25 % raw text, 35 % chats, 40 % questions; all classes equally often except in half of the raw text.
    fn draw(&self, random: &mut ChaCha8Rng) -> Text {
        let class = random.random_range(0..CLASSES.len());
        match random.random::<f64>() {
            kind if kind < 0.125 => Text::raw(&self.train[random.random_range(0..self.train.len())]),
            kind if kind < 0.25 => Text::raw(self.row(class, random)),
            kind if kind < 0.60 => self.chat(random),
            _ => Text::question(&self.row(class, random).text, class),
        }
    }

    /// One or two exchanges. A reply is another utterance of the user's class, or a neutral one under the calm system prompt.
    fn chat(&self, random: &mut ChaCha8Rng) -> Text {
        let system = match random.random::<f64>() {
            kind if kind < 0.30 => None,
            kind if kind < 0.50 => Some(""),
            kind if kind < 0.75 => Some(EMOTIONAL),
            _ => Some(CALM),
        };
        let mut text = Text::default();
        if let Some(system) = system {
            text.add(&format!("<|im_start|>system\n{system}<|im_end|>\n"), 0.0, None);
        }
        for _ in 0..if random.random_bool(0.25) { 2 } else { 1 } {
            let class = random.random_range(0..CLASSES.len());
            let answer = if system == Some(CALM) { NEUTRAL } else { class };
            text.add("<|im_start|>user\n", 0.0, None);
            text.add(&self.row(class, random).text, 1.0, Some(class));
            text.add("<|im_end|>\n<|im_start|>assistant\n", 0.0, None);
            text.add(&format!("{}<|im_end|>", self.row(answer, random).text), 1.0, Some(answer));
            text.add("\n", 0.0, None);
        }
        text
    }

    /// `blocks` blocks of documents drawn at random; what is left at a block's end is filled with the start of a raw text.
    pub(crate) fn batch(&self, tokenizer: &Tokenizer, blocks: usize, random: &mut ChaCha8Rng) -> Result<Batch> {
        let mut batch = Batch::new(TIME);
        let mut waiting = None;
        for _ in 0..blocks {
            let mut free = TIME;
            while free > 0 {
                let mut document = match waiting.take() {
                    Some(document) => document,
                    None => self.draw(random).encode(tokenizer)?,
                };
                if document.ids.len() > free && free < TIME {
                    waiting = Some(document);
                    document = Text::raw(&self.train[random.random_range(0..self.train.len())]).encode(tokenizer)?;
                }
                document.truncate(free);
                free -= document.ids.len();
                batch.push(&document);
            }
        }
        Ok(batch)
    }
}

/// A part of a text: where it starts, the weight of its tokens' loss, and the class of the utterance that it is of.
struct Piece {
    start: usize,
    weight: f32,
    class: Option<usize>,
}

/// Text in pieces.
#[derive(Default)]
pub(crate) struct Text {
    text: String,
    pieces: Vec<Piece>,
}

impl Text {
    /// A text by itself, ended by the end-of-text token.
    pub(crate) fn raw(row: &Row) -> Self {
        let mut raw = Self::default();
        raw.add(&format!("{}<|endoftext|>", row.text), 1.0, row.class);
        raw
    }

    /// The question about a text's emotion, and its answer.
    pub(crate) fn question(text: &str, class: usize) -> Self {
        let mut question = Self::default();
        question.add("<|im_start|>user\n", 0.0, None);
        question.add(text, 0.5, Some(class));
        question.add(QUESTION, 0.0, None);
        question.add("<|im_end|>\n<|im_start|>assistant\n", 0.0, None);
        question.add(CLASSES[class], LABEL_WEIGHT, Some(class));
        question.add("<|im_end|>", 1.0, None);
        question.add("\n", 0.0, None);
        question
    }

    fn add(&mut self, text: &str, weight: f32, class: Option<usize>) {
        self.pieces.push(Piece { start: self.text.len(), weight, class });
        self.text.push_str(text);
    }

    /// Tokens of the whole text; a token has the weight of the piece that it starts in.
    pub(crate) fn encode(&self, tokenizer: &Tokenizer) -> Result<Document> {
        let encoding = tokenizer.encode(self.text.as_str(), false).map_err(anyhow::Error::from_boxed)?;
        let mut document = Document { ids: encoding.get_ids().to_vec(), weights: vec![], classes: vec![] };
        for offset in encoding.get_offsets() {
            let piece = self.pieces.iter().rev().find(|piece| piece.start <= offset.0).context("a token outside of the text")?;
            document.weights.push(piece.weight);
            document.classes.push(piece.class);
        }
        Ok(document)
    }
}

/// Token ids, each with the weight of its prediction's loss.
pub(crate) struct Document {
    pub(crate) ids: Vec<u32>,
    pub(crate) weights: Vec<f32>,
    classes: Vec<Option<usize>>,
}

impl Document {
    pub(crate) fn truncate(&mut self, length: usize) {
        self.ids.truncate(length);
        self.weights.truncate(length);
        self.classes.truncate(length);
    }

    /// Keeps the loss of the label token only.
    pub(crate) fn only_label(mut self) -> Self {
        self.weights.iter_mut().for_each(|weight| *weight = if *weight == LABEL_WEIGHT { 1.0 } else { 0.0 });
        self
    }
}

/// Blocks of packed documents, with the predictions that count.
pub(crate) struct Batch {
    /// Positions in a block.
    pub(crate) time: usize,
    /// `[blocks * time]`.
    pub(crate) tokens: Vec<u32>,
    /// For each token: where its document starts in its block.
    pub(crate) starts: Vec<u32>,
    /// The positions (over all blocks) whose next token is predicted.
    pub(crate) rows: Vec<u32>,
    /// For each row: the next token.
    pub(crate) targets: Vec<u32>,
    /// For each row: the weight of its loss.
    pub(crate) weights: Vec<f32>,
    /// For each row: the class of the utterance that the next token is in.
    pub(crate) classes: Vec<Option<usize>>,
}

impl Batch {
    fn new(time: usize) -> Self {
        Self { time, tokens: vec![], starts: vec![], rows: vec![], targets: vec![], weights: vec![], classes: vec![] }
    }

    /// Whole documents in order, blocks ended by end-of-text tokens that no one predicts.
    pub(crate) fn of(documents: &[Document]) -> Self {
        let mut batch = Self::new(TIME);
        for document in documents {
            if batch.tokens.len() % TIME + document.ids.len() > TIME {
                batch.fill();
            }
            batch.push(document);
        }
        batch.fill();
        batch
    }

    fn fill(&mut self) {
        while !self.tokens.len().is_multiple_of(self.time) {
            self.starts.push((self.tokens.len() % self.time) as u32);
            self.tokens.push(0);
        }
    }

    fn push(&mut self, document: &Document) {
        let (first, start) = (self.tokens.len() as u32, (self.tokens.len() % self.time) as u32);
        self.tokens.extend(&document.ids);
        self.starts.extend(std::iter::repeat_n(start, document.ids.len()));
        for (i, (&id, &weight)) in document.ids.iter().zip(&document.weights).enumerate().skip(1) {
            if weight > 0.0 {
                self.rows.push(first + i as u32 - 1);
                self.targets.push(id);
                self.weights.push(weight);
                self.classes.push(document.classes[i]);
            }
        }
    }
}
