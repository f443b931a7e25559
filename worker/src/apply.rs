//! `limbic-worker apply`: a saved probe on new texts, read out at every token.

mod table;

use std::path::PathBuf;

use limbic_engine::probe::{Fitted, Matrix, NamedTensor, ProbeError, ProbeKind};
use limbic_engine::{ExtractError, LoadError, Model, Prompt, PromptError, Prompts, TokenizerError, token_states};
use limbic_proto::answer;
use limbic_proto::axis::Layer;
use limbic_proto::card::{CARD, ProbeCard};
use limbic_proto::spec::TooLong;
use limbic_store::ModelFiles;
use limbic_store::model::{ModelError, Need};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::execute::placements;
use crate::settings::SettingsError;
use crate::tensors::numbers;

/// What to read with which probe.
#[derive(Debug, Clone, clap::Args)]
pub struct ApplyArgs {
    /// A probe's file, as `limbic apply --save` writes it.
    pub probe: PathBuf,
    /// The texts.
    #[command(flatten)]
    pub texts: TextArgs,
    /// Where the model's files are now, if they are elsewhere: a folder, a `.gguf` file or `hf://OWNER/NAME`.
    #[arg(long, value_name = "SOURCE")]
    pub model: Option<String>,
    /// What to compute on: `cpu` or `cuda:N`.
    #[arg(long, env = "LIMBIC_DEVICE", default_value = "cpu", value_name = "DEVICE")]
    pub device: String,
    /// Show this class or scale at every token instead of the strongest.
    #[arg(long, value_name = "NAME")]
    pub class: Option<String>,
    /// Print one JSON object a text instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// The texts to read.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = true)]
pub struct TextArgs {
    /// A text; may be given several times.
    #[arg(long = "text", value_name = "TEXT")]
    pub text: Vec<String>,
    /// A file of lines `{"text": …}`.
    #[arg(long, value_name = "FILE.jsonl")]
    pub texts: Option<PathBuf>,
}

/// Why a probe can't be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A file can't be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no saved probe.
    #[error("{}: {message}; write one with `limbic apply --save`", path.display())]
    NoProbe {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// There is nothing to read.
    #[error("{}: holds no text; each line is an object such as {{\"text\": \"Oh!\"}}", path.display())]
    NoText {
        /// The file.
        path: PathBuf,
    },
    /// A line is not a text.
    #[error("{}, line {line}: {message}; each line is an object such as {{\"text\": \"Oh!\"}}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The model's files are not those that the probe was fitted on.
    #[error(
        "model `{source_name}` is not the one that the probe was fitted on: its digest is {found:?}, the probe's {expected:?}; name the right files with --model"
    )]
    OtherModel {
        /// Where the files are.
        source_name: String,
        /// The digest of the files.
        found: limbic_proto::key::Digest,
        /// The probe's.
        expected: limbic_proto::key::Digest,
    },
    /// The class is not one of the probe's.
    #[error("--class {class}: the probe's are {}", known.join(", "))]
    Class {
        /// The class.
        class: String,
        /// The probe's.
        known: Vec<String>,
    },
    /// The model's files can't be had.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A text has no prompt.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// A token has no text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The model failed.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The probe doesn't fit the states.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// There is no such device.
    #[error(transparent)]
    Device(#[from] SettingsError),
}

impl ApplyError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            ApplyError::Model(ModelError::Hub(_)) | ApplyError::Device(SettingsError::DeviceAway { .. }) => 75,
            _ => 2,
        }
    }
}

/// One line of a texts file; it may say more, of which the id is handed on.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(default)]
    id: Value,
    text: String,
}

/// What a probe says of one text.
#[derive(Debug, Serialize)]
struct Reading<'a> {
    /// That of the text's line, if it has one.
    #[serde(skip_serializing_if = "Value::is_null")]
    id: &'a Value,
    text: &'a str,
    model: &'a str,
    layer: Layer,
    fit: &'a str,
    classes: &'a [String],
    tokens: Vec<TokenReading>,
}

/// What it says at one token.
#[derive(Debug, Serialize)]
struct TokenReading {
    /// The token's text.
    token: String,
    /// Its id.
    id: u32,
    /// Whether it is part of the text, and not of the prompt around it.
    utterance: bool,
    /// One number per class: see [`limbic_proto::rows::Scheme`].
    values: Vec<f32>,
}

/// Reads the texts and prints what the probe says.
pub(crate) fn apply(args: &ApplyArgs) -> Result<(), ApplyError> {
    let (card, probe) = read_probe(&args.probe)?;
    let class = match &args.class {
        None => None,
        Some(class) => Some(
            card.classes
                .iter()
                .position(|known| known == class)
                .ok_or_else(|| ApplyError::Class { class: class.clone(), known: card.classes.clone() })?,
        ),
    };
    let (ids, texts): (Vec<Value>, Vec<String>) = texts(&args.texts)?.into_iter().map(|Line { id, text }| (id, text)).unzip();
    let source = args.model.as_ref().unwrap_or(&card.source);
    let failed = |source| ApplyError::File { path: args.probe.clone(), source };
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
    let files = runtime.block_on(ModelFiles::resolve(source, Need::Weights))?;
    let found = files.identity(card.random_weights);
    if found != card.digest {
        return Err(ApplyError::OtherModel { source_name: source.clone(), found, expected: card.digest });
    }
    let placements = placements(&args.device)?;
    let (_, placement) = placements.iter().find(|(dtype, _)| *dtype == card.dtype).ok_or_else(|| SettingsError::Device {
        device: args.device.clone(),
        message: format!("doesn't compute in {}", card.dtype.as_str()),
    })?;
    let model = Model::prepare(&files.path, card.random_weights, placement, None, &mut || std::ops::ControlFlow::Continue(()))?;
    let prompts = Prompts::new(&model, &card.prompt, &texts, 0, TooLong::Error)?;
    for (number, ((id, text), prompt)) in ids.iter().zip(&texts).zip(&prompts.prompts).enumerate() {
        let reading = Reading {
            id,
            text,
            model: &card.model,
            layer: card.layer,
            fit: &card.fit,
            classes: &card.classes,
            tokens: readings(&model, &card, &probe, prompt)?,
        };
        if args.json {
            answer!("{}", serde_json::to_string(&reading).expect("a reading serializes"));
        } else {
            answer!("{}{}", if number > 0 { "\n" } else { "" }, table::table(&reading, card.scheme, class).trim_end());
        }
    }
    Ok(())
}

fn readings(model: &Model, card: &ProbeCard, probe: &Fitted, prompt: &Prompt) -> Result<Vec<TokenReading>, ApplyError> {
    let states = token_states(model, prompt, card.layer)?;
    let tokens = prompt.ids.len();
    let values = probe.predict(&Matrix::new(&states, tokens, states.len() / tokens)?)?;
    let each = prompt.ids.iter().zip(values.chunks_exact(probe.outputs)).enumerate();
    each.map(|(at, (id, values))| {
        let utterance = prompt.utterance_tokens.contains(&at);
        Ok(TokenReading { token: model.tokenizer().shown(*id)?, id: *id, utterance, values: values.to_vec() })
    })
    .collect()
}

/// A saved probe and its card.
fn read_probe(path: &std::path::Path) -> Result<(ProbeCard, Fitted), ApplyError> {
    let bytes = std::fs::read(path).map_err(|source| ApplyError::File { path: path.to_path_buf(), source })?;
    let no = |message: String| ApplyError::NoProbe { path: path.to_path_buf(), message };
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| no(format!("it is no safetensors file ({e})")))?;
    let card = metadata.metadata().as_ref().and_then(|notes| notes.get(CARD)).ok_or_else(|| no("it holds no probe".to_owned()))?;
    let card: ProbeCard = serde_json::from_str(card).map_err(|e| no(format!("its `{CARD}` can't be read ({e})")))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| no(e.to_string()))?;
    let mut tensors = Vec::new();
    for (name, view) in file.iter().filter(|(_, view)| view.dtype() == Dtype::F32) {
        let data = numbers(view.data(), f32::from_le_bytes).collect();
        tensors.push(NamedTensor { name: name.to_owned(), shape: view.shape().to_vec(), data });
    }
    let kind = ProbeKind::named(&card.probe).ok_or_else(|| no(format!("`{}` is no probe on states", card.probe)))?;
    let fitted = Fitted::from_tensors(kind, card.scheme, &tensors)?;
    if fitted.outputs != card.classes.len() {
        return Err(no(format!("it has {} outputs for {} classes", fitted.outputs, card.classes.len())));
    }
    Ok((card, fitted))
}

fn texts(args: &TextArgs) -> Result<Vec<Line>, ApplyError> {
    let mut texts: Vec<Line> = args.text.iter().map(|text| Line { id: Value::Null, text: text.clone() }).collect();
    if let Some(path) = &args.texts {
        let file = std::fs::read_to_string(path).map_err(|source| ApplyError::File { path: path.clone(), source })?;
        for (i, line) in file.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let line = serde_json::from_str(line);
            texts.push(line.map_err(|e| ApplyError::Line { path: path.clone(), line: i + 1, message: e.to_string() })?);
        }
        if texts.is_empty() {
            return Err(ApplyError::NoText { path: path.clone() });
        }
    }
    Ok(texts)
}
