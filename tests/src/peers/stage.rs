//! What all cases share: the rows, the model in this process, and the peer in its own.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use limbic_engine::{Extraction, Model, Placement, Prompt, Prompts, Request, extract};
use limbic_proto::axis::{Layer, ReadOut};
use limbic_proto::spec::{self, Execution, TooLong};
use serde_json::{Value, json};

use super::peer::Peer;
use super::{Case, Options};

/// A labelled row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) text: String,
    pub(super) label: String,
    pub(super) split: String,
}

/// Everything that a case needs.
pub(super) struct Stage {
    pub(super) rounds: usize,
    pub(super) continuation_rows: usize,
    pub(super) prefix_rows: usize,
    pub(super) memory_rows: usize,
    /// Rows of a batch of the peer.
    pub(super) peer_batch: usize,
    pub(super) rows: Vec<Row>,
    /// The labels' names, sorted.
    pub(super) classes: Vec<String>,
    pub(super) model: Model,
    /// The rows' bare texts.
    pub(super) prompts: Vec<Prompt>,
    pub(super) peer: Option<Peer>,
    pub(super) device: String,
    pub(super) device_tokens: usize,
    /// Whether the weights are drawn from a seed.
    pub(super) blank: bool,
    source: PathBuf,
    /// Processes that ran or waited to run in the minute before.
    load: f64,
    states: OnceCell<Extraction>,
    folder: tempfile::TempDir,
}

impl Stage {
    pub(super) fn set(options: &Options) -> anyhow::Result<Stage> {
        let load_before = busy();
        let model = options.model.canonicalize().with_context(|| format!("--model {}", options.model.display()))?;
        let rows = read(&options.data, options.limit).with_context(|| format!("--data {}", options.data.display()))?;
        let mut classes: Vec<String> = rows.iter().map(|row| row.label.clone()).collect();
        classes.sort_unstable();
        classes.dedup();
        let folder = tempfile::tempdir()?;
        let source = match &options.shape {
            None => model,
            Some(shape) => {
                ensure!(options.cases == [Case::Device], "--shape goes with the case `device` alone: write --only device");
                shaped(&model, shape, folder.path())?
            }
        };
        let peer = options.python.as_deref().map(|python| Peer::start(python, &source, folder.path())).transpose()?;
        let blank = options.shape.is_some();
        let model = load(&source, blank, &Placement::cpu())?;
        let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
        let prompts = prompts(&model, &spec::Prompt::Template(spec::TEXT.to_owned()), &texts, 0)?;
        let (rounds, states) = (options.rounds, OnceCell::new());
        if load_before > BUSY {
            eprintln!("warning: the machine is busy (load {load_before}): torch's threads wait for one another, so the ratios say little");
        }
        let Options { continuation_rows, prefix_rows, memory_rows, peer_batch, .. } = *options;
        Ok(Stage {
            rounds,
            continuation_rows,
            prefix_rows,
            memory_rows,
            peer_batch,
            rows,
            classes,
            model,
            prompts,
            peer,
            device: options.device.clone(),
            device_tokens: options.device_tokens,
            blank,
            source,
            load: load_before,
            states,
            folder,
        })
    }

    /// What the figures hang on.
    pub(super) fn about(&self) -> anyhow::Result<Vec<(&'static str, Value)>> {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("unknown", |name| name.trim_start_matches([':', ' ', '\t']));
        let mut about = vec![
            ("processor", json!(cpu)),
            ("cores", json!(cores())),
            ("model", json!(self.source.file_name().unwrap_or_default().to_string_lossy())),
            ("rows", json!(self.rows.len())),
            ("tokens", json!(self.tokens())),
            ("rounds", json!(self.rounds)),
            ("load before", json!(self.load)),
        ];
        if let Some(peer) = &self.peer {
            about.push(("peer", peer.ask(&json!({"task": "versions"}))?));
        }
        Ok(about)
    }

    /// A file of this run.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the model lies, as spec files name it.
    pub(super) fn source(&self) -> String {
        self.source.to_string_lossy().into_owned()
    }

    /// Tokens of all prompts.
    pub(super) fn tokens(&self) -> usize {
        self.prompts.iter().map(|p| p.ids.len()).sum()
    }

    /// The layers that transformers lists: the embeddings, every block but the last, and the final norm.
    pub(super) fn layers(&self) -> Vec<Layer> {
        let blocks = self.model.architecture().layers as u32;
        (0..blocks).map(Layer::Block).chain([Layer::Final]).collect()
    }

    /// The last token's state at each of these layers.
    pub(super) fn request(&self) -> Request {
        Request { batch_tokens: Some(budget()), ..Request::new(self.layers(), vec![ReadOut::LAST]) }
    }

    /// The model once more, elsewhere or in another number format.
    pub(super) fn load(&self, placement: &Placement) -> anyhow::Result<Model> {
        load(&self.source, self.blank, placement)
    }

    /// Our extraction of some prompts.
    pub(super) fn extract(&self, prompts: &[Prompt], request: &Request) -> anyhow::Result<Extraction> {
        self.extract_with(&self.model, prompts, request)
    }

    /// The same by a model that was loaded once more.
    pub(super) fn extract_with(&self, model: &Model, prompts: &[Prompt], request: &Request) -> anyhow::Result<Extraction> {
        Ok(extract(model, prompts, request, &mut |_| ControlFlow::Continue(()))?)
    }

    /// The last token's states of all rows, computed when they are first asked for.
    pub(super) fn states(&self) -> anyhow::Result<&Extraction> {
        if self.states.get().is_none() {
            let states = self.extract(&self.prompts, &self.request())?;
            let _ = self.states.set(states);
        }
        Ok(self.states.get().expect("it was just set"))
    }

    /// Writes token ids for the peer.
    pub(super) fn write_ids(&self, name: &str, prompts: &[Prompt]) -> anyhow::Result<PathBuf> {
        let ids: Vec<&[u32]> = prompts.iter().map(|p| p.ids.as_slice()).collect();
        let path = self.path(name);
        std::fs::write(&path, serde_json::to_vec(&ids)?)?;
        Ok(path)
    }

    /// Indices of the rows of a split.
    pub(super) fn split(&self, name: &str) -> anyhow::Result<Vec<usize>> {
        let rows: Vec<usize> = (0..self.rows.len()).filter(|row| self.rows[*row].split == name).collect();
        ensure!(!rows.is_empty(), "--data has no row whose `split` is `{name}`: add some, or set a higher --limit");
        Ok(rows)
    }

    /// Each row's class.
    pub(super) fn labels(&self) -> Vec<u32> {
        let class = |row: &Row| self.classes.binary_search(&row.label).expect("every label is a class") as u32;
        self.rows.iter().map(class).collect()
    }
}

/// A load from which on measurements say little.
const BUSY: f64 = 0.5;

/// The model, or one of its shape before training.
fn load(source: &Path, blank: bool, placement: &Placement) -> anyhow::Result<Model> {
    let loaded = if blank { Model::random(source, SEED, placement) } else { Model::load(source, placement) };
    loaded.with_context(|| format!("--model {}", source.display()))
}

/// Of what weights are drawn.
const SEED: u64 = 1;

/// A folder that has a model's tokenizer beside another config, and no weights.
fn shaped(model: &Path, config: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let name = config.file_stem().with_context(|| format!("--shape {}: is no file", config.display()))?;
    let out = folder.join(name);
    std::fs::create_dir(&out)?;
    let copied = |from: &Path, name: &str| std::fs::copy(from, out.join(name)).map(drop);
    copied(config, "config.json").with_context(|| format!("--shape {}", config.display()))?;
    let words = "tokenizer.json";
    copied(&model.join(words), words)
        .with_context(|| format!("--model {}: --shape takes its {words}, so it must be a folder that has one", model.display()))?;
    Ok(out)
}

/// The system's load over the last minute.
fn busy() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

/// So many of some, evenly spaced.
pub(super) fn spaced<T: Clone>(all: &[T], count: usize) -> Vec<T> {
    let count = count.min(all.len());
    (0..count).map(|at| all[at * all.len() / count].clone()).collect()
}

/// Tokens per pass, as sweeps have them unless they say otherwise.
pub(super) fn budget() -> usize {
    Execution::default().token_budget
}

/// Cores that this process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The prompts of texts, cut where they don't leave `reserve` tokens of the model's context.
pub(super) fn prompts(model: &Model, condition: &spec::Prompt, texts: &[&str], reserve: usize) -> anyhow::Result<Vec<Prompt>> {
    Ok(Prompts::new(model, condition, texts, reserve, TooLong::Truncate)?.prompts)
}

fn read(path: &Path, limit: Option<usize>) -> anyhow::Result<Vec<Row>> {
    let text = std::fs::read_to_string(path)?;
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        rows.push(row(line).with_context(|| format!("line {}", number + 1))?);
    }
    ensure!(!rows.is_empty(), "has no rows");
    let wanted = limit.unwrap_or(rows.len());
    ensure!(wanted > 0, "--limit 0 leaves no rows");
    Ok(share(&rows, wanted))
}

/// About so many of the rows, evenly spaced within every class of every split, so that none is left without rows.
pub(super) fn share(rows: &[Row], count: usize) -> Vec<Row> {
    let mut strata: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    rows.iter().enumerate().for_each(|(at, row)| strata.entry((&row.split, &row.label)).or_default().push(at));
    let some = |stratum: &Vec<usize>| spaced(stratum, (stratum.len() * count).div_ceil(rows.len()));
    let mut chosen: Vec<usize> = strata.values().flat_map(some).collect();
    chosen.sort_unstable();
    chosen.into_iter().map(|at| rows[at].clone()).collect()
}

fn row(line: &str) -> anyhow::Result<Row> {
    let value: Value = serde_json::from_str(line)?;
    let field = |name: &str| value[name].as_str().map(str::to_owned);
    let label = match (&value["labels"], field("label")) {
        (Value::Array(labels), _) if labels.len() == 1 => labels[0].as_str().map(str::to_owned),
        (Value::Array(labels), None) => bail!("`labels` has {} entries: peers compares rows of one label", labels.len()),
        (_, label) => label,
    };
    let missing = |name: &str| anyhow!("there is no text in `{name}`: every row needs `text`, `label` (or `labels` of one) and `split`");
    Ok(Row {
        text: field("text").ok_or_else(|| missing("text"))?,
        label: label.ok_or_else(|| missing("label"))?,
        split: field("split").ok_or_else(|| missing("split"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_evenly_spaced() {
        let all: Vec<usize> = (0..10).collect();
        assert_eq!((spaced(&all, 3), spaced(&all, 99).len()), (vec![0, 3, 6], 10));
    }

    #[test]
    fn a_share_has_rows_of_every_class_in_every_split() {
        let row = |at: usize| Row {
            text: at.to_string(),
            label: ["joy", "fear", "calm"][at % 3].to_owned(),
            split: if at < 24 { "train" } else { "test" }.to_owned(),
        };
        let rows: Vec<Row> = (0..30).map(row).collect();
        let texts = |count| share(&rows, count).into_iter().map(|row| row.text).collect::<Vec<_>>();
        assert_eq!(texts(15).len(), 15);
        assert_eq!(texts(1), ["0", "1", "2", "24", "25", "26"]);
        assert_eq!(texts(99).len(), 30);
    }

    #[test]
    fn a_row_says_what_it_lacks() {
        let found = row(r#"{"text": "Oh!", "labels": ["joy"], "split": "train"}"#).unwrap();
        assert_eq!((found.label.as_str(), found.split.as_str()), ("joy", "train"));
        for (line, name) in [(r#"{"text": "Oh!", "split": "train"}"#, "label"), (r#"{"text": "Oh!", "label": "joy"}"#, "split")] {
            assert!(row(line).unwrap_err().to_string().contains(&format!("`{name}`")));
        }
        assert!(row(r#"{"text": "Oh!", "labels": ["joy", "fear"], "split": "train"}"#).is_err());
    }
}
