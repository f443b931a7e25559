//! A store, a dataset, a tiny model and an executor, put together for one test.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use limbic_engine::{
    Backend, ExtractError, Extraction, Labels, Likelihoods, LoadError, Loaded, OnProgress, OnTensor, Placement, PromptError, Prompts,
    Request, RowPolicy, SharedFile, TokenizerError,
};
use limbic_proto::architecture::Architecture;
use limbic_proto::axis::{Layer, ReadOut};
use limbic_proto::commit::{Commit, Done, Provenance};
use limbic_proto::key::Digest;
use limbic_proto::layout;
use limbic_proto::rows::{Row, Rows, Scheme, Split};
use limbic_proto::spec::{BadRows, Continuation, Dtype, ProbeSpec, Prompt, TooLong};
use limbic_proto::unit::{
    Asking, ENGINE_VERSION, ExtractUnit, Features, FitUnit, Hints, JudgeUnit, ModelHint, ModelIdentity, PROBE_VERSION, PromptUnit,
    RowsIdentity, TransferUnit, Unit, UnitSpec, Versions,
};
use limbic_store::model::Need;
use limbic_store::{Content, ModelFiles, Store};
use limbic_worker::inputs::Shelf;
use limbic_worker::{EngineExecutor, ExecuteError, Executor, Inputs, Output, Progress, Timing};
use tokio::runtime::Runtime;

pub struct Bench {
    runtime: Runtime,
    folder: tempfile::TempDir,
    store: Store,
    shelf: Arc<Shelf>,
    model: ModelFiles,
    rows: Rows,
    executor: EngineExecutor,
    pub bad_rows: BadRows,
    pub progress: Progress,
    pub random_weights: Option<u64>,
    pub dtype: Dtype,
}

pub fn fixture(model: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("engine/tests/fixtures").join(model)
}

/// So many tokens of the model's own after every prompt.
pub fn generated(tokens: u32, temperature: f64, seed: u64, stop_at_eos: bool) -> Continuation {
    let (tokens, seed) = (Some(tokens), Some(seed));
    Continuation { tokens, temperature, seed, seeds: Vec::new(), filler: None, stop_at_eos, controls: Vec::new() }
}

/// A copy of a model, to be changed.
pub fn copied(model: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(fixture(model)).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    folder
}

/// A copy of a model with weights so large that the first block's output is infinite.
pub fn oversized(model: &str) -> tempfile::TempDir {
    let folder = copied(model);
    let path = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let from =
        safetensors::SafeTensors::deserialize(&bytes).unwrap().tensor("model.layers.0.mlp.down_proj.weight").unwrap().data().as_ptr_range();
    let start = from.start as usize - bytes.as_ptr() as usize;
    let end = from.end as usize - bytes.as_ptr() as usize;
    for number in bytes[start..end].chunks_exact_mut(4) {
        number.copy_from_slice(&3e38f32.to_le_bytes());
    }
    std::fs::write(path, bytes).unwrap();
    folder
}

const WORDS: [&str; 3] = ["what a wonderful sunny day", "there is something in the dark attic", "the meeting is at three"];

impl Bench {
    /// The reference's texts first, then sentences whose words tell their class.
    pub fn new(model: &str, rows: usize) -> Bench {
        Bench::over(&fixture(model), rows)
    }

    /// The same with a model elsewhere.
    pub fn over(model: &Path, rows: usize) -> Bench {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().to_string_lossy()).unwrap();
        let reference: serde_json::Value = serde_json::from_slice(&std::fs::read(model.join("reference.json")).unwrap()).unwrap();
        let texts = reference["texts"].as_array().unwrap();
        let row = |i: usize| {
            let class = i % 3;
            let text = if rows == texts.len() { texts[i].as_str().unwrap().to_owned() } else { format!("{} {i}", WORDS[class]) };
            let split = if i < rows * 2 / 3 {
                Split::Train
            } else if i < rows * 5 / 6 {
                Split::Validation
            } else {
                Split::Test
            };
            Row {
                id: format!("r{i}"),
                text,
                class: class as u32,
                group: format!("g{i}"),
                split,
                weight: 1 + u32::from(i.is_multiple_of(5)),
                values: Vec::new(),
            }
        };
        let rows = Rows {
            scheme: Scheme::Single,
            classes: vec!["joy".into(), "fear".into(), "neutral".into()],
            rows: (0..rows).map(row).collect(),
        };
        let model = runtime.block_on(ModelFiles::resolve(&model.to_string_lossy(), Need::Weights)).unwrap();
        let executor = EngineExecutor::new("cpu", None).unwrap();
        let shelf = Arc::new(Shelf::new(1 << 20));
        let (bad_rows, progress, random_weights, dtype) = (BadRows::Stop, Progress::new(), None, Dtype::F32);
        let bench = Bench { runtime, folder, store, shelf, model, rows, executor, bad_rows, progress, random_weights, dtype };
        bench.store_rows();
        bench
    }

    fn store_rows(&self) {
        let bytes = Bytes::from(self.rows.to_bytes());
        self.runtime.block_on(self.store.put_content(&layout::rows(&self.rows.digest()), bytes)).unwrap();
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows.rows
    }

    pub fn texts(&self) -> Digest {
        Rows::texts_digest(&self.rows.rows)
    }

    /// Makes a row's text longer than the model's context.
    pub fn lengthen(&mut self, row: usize) {
        self.rows.rows[row].text = "word ".repeat(2000);
        self.store_rows();
    }

    /// Replaces a row's text.
    pub fn say(&mut self, row: usize, text: &str) {
        self.rows.rows[row].text = text.to_owned();
        self.store_rows();
    }

    /// Computes on a CPU that holds passes of at most so many tokens.
    pub fn cramp(&mut self, tokens: usize) {
        let placement: Box<dyn Backend> = Box::new(Placement::cpu().with_room(tokens));
        self.executor = EngineExecutor::over(vec![(Dtype::F32, placement)], u64::MAX);
    }

    /// Computes on a device that is slow, keeps every finished block, and is gone when it begins block `dies_in` (if any).
    pub fn doom(&mut self, dies_in: Option<usize>) {
        let backend: Box<dyn Backend> = Box::new(Doomed { dies_in: dies_in.unwrap_or(usize::MAX), begun: Arc::default(), device: "cpu" });
        self.executor = EngineExecutor::over(vec![(Dtype::F32, backend)], u64::MAX).keeping_after(Duration::ZERO);
    }

    /// Another worker takes over, which remembers nothing and says that it computes on a GPU.
    pub fn relieve_on_cuda(&mut self) {
        let backend: Box<dyn Backend> = Box::new(Doomed { dies_in: usize::MAX, begun: Arc::default(), device: "cuda" });
        self.executor = EngineExecutor::over(vec![(Dtype::F32, backend)], u64::MAX);
    }

    /// Another worker takes over, which remembers nothing.
    pub fn relieve(&mut self) {
        self.executor = EngineExecutor::new("cpu", None).unwrap();
    }

    /// The paths of the verdicts that were left for others, sorted.
    pub fn verdicts(&self) -> Vec<String> {
        let root = self.folder.path();
        let list = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        let asked = list(root.join("data")).flat_map(list).map(|unit| unit.join(layout::VERDICTS));
        let mut paths: Vec<String> =
            asked.flat_map(list).map(|path| path.strip_prefix(root).unwrap().to_string_lossy().into_owned()).collect();
        paths.sort();
        paths
    }

    /// An object's bytes.
    pub fn object(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(path)).unwrap()
    }

    /// Puts an object there, whatever was in its place.
    pub fn plant(&self, path: &str, bytes: &[u8]) {
        let path = self.folder.path().join(path);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::write(path, bytes).unwrap();
    }

    /// The paths of a unit's kept blocks.
    pub fn parts(&self, unit: &Unit) -> Vec<String> {
        let key = unit.spec.key();
        let names = self.runtime.block_on(self.store.list(&layout::parts(&key))).unwrap();
        names.iter().map(|name| layout::part(&key, name)).collect()
    }

    pub fn shelve(&mut self, shelf: Shelf) {
        self.shelf = Arc::new(shelf);
    }

    fn unit(&self, spec: UnitSpec, rows: (usize, usize)) -> Unit {
        let (source, random_weights) = (self.model.pinned.clone(), self.random_weights);
        let model = ModelHint { name: "tiny".into(), source, architecture: self.model.architecture.clone(), random_weights };
        let model = Some(Arc::new(model));
        let hints = Hints { model, dataset: self.rows.digest(), rows, token_budget: 64, flops: 1.0, title: "a unit".into() };
        Unit { spec, hints }
    }

    fn identity(&self, rows: &Range<usize>) -> (ModelIdentity, RowsIdentity) {
        let texts = Rows::texts_digest(&self.rows.rows[rows.clone()]);
        (self.model(), RowsIdentity { texts, count: rows.len(), part: None })
    }

    fn model(&self) -> ModelIdentity {
        ModelIdentity { digest: self.model.identity(self.random_weights), dtype: self.dtype }
    }

    pub fn extract(
        &mut self,
        rows: Range<usize>,
        prompt: Prompt,
        read_outs: Vec<ReadOut>,
        continuation: Option<Continuation>,
        too_long: TooLong,
    ) -> Unit {
        let (model, identity) = self.identity(&rows);
        let layers = crate::LAYERS.to_vec();
        let spec = ExtractUnit {
            version: ENGINE_VERSION,
            model,
            prompt,
            rows: identity,
            layers,
            read_outs,
            continuation,
            too_long,
            bad_rows: self.bad_rows,
            moments: None,
        };
        self.unit(UnitSpec::Extract(spec), (rows.start, rows.end))
    }

    pub fn prompt(&mut self, rows: Range<usize>, prompt: Prompt, answers: &[&str], too_long: TooLong) -> Unit {
        let (model, identity) = self.identity(&rows);
        let answers = answers.iter().map(|a| (*a).to_owned()).collect();
        let spec = PromptUnit {
            version: ENGINE_VERSION,
            model,
            prompt,
            asking: Asking::Likelihood,
            answers,
            content_free: Vec::new(),
            rows: identity,
            too_long,
            bad_rows: self.bad_rows,
        };
        self.unit(UnitSpec::Prompt(spec), (rows.start, rows.end))
    }

    /// A unit that has the model write its answers.
    pub fn answers(&mut self, rows: Range<usize>, prompt: Prompt, tokens: u32, too_long: TooLong) -> Unit {
        let mut unit = self.prompt(rows, prompt, &[], too_long);
        let UnitSpec::Prompt(spec) = &mut unit.spec else { unreachable!("it is a prompt unit") };
        spec.asking = Asking::Answer { tokens };
        unit
    }

    /// A unit that judges another one's replies.
    pub fn judge(&mut self, replies: &Unit, prompt: Prompt, answers: &[&str], too_long: TooLong) -> Unit {
        let answers = answers.iter().map(|a| (*a).to_owned()).collect();
        let (model, replies_of) = (self.model(), replies.spec.key());
        let bad_rows = self.bad_rows;
        let (version, content_free) = (ENGINE_VERSION, Vec::new());
        let spec = JudgeUnit { version, model, prompt, answers, content_free, replies: replies_of, too_long, bad_rows };
        self.unit(UnitSpec::Judge(spec), replies.hints.rows)
    }

    pub fn fit(&self, features: Features, read_outs: Vec<ReadOut>, probes: Vec<ProbeSpec>, seeds: Vec<u64>) -> Unit {
        let targets = self.rows.targets_digest();
        let (controls, transfer, geometry) = (Vec::new(), false, false);
        let version = Versions::CURRENT.fit(&probes, self.rows.repeat());
        let spec = FitUnit { version, features, targets, read_outs, probes, seeds, controls, transfer, geometry };
        self.unit(UnitSpec::Fit(spec), (0, self.rows.rows.len()))
    }

    /// A fit unit with something about it changed.
    pub fn fit_with(&self, features: Features, read_outs: Vec<ReadOut>, probes: Vec<ProbeSpec>, change: impl FnOnce(&mut FitUnit)) -> Unit {
        let mut unit = self.fit(features, read_outs, probes, vec![0]);
        let UnitSpec::Fit(spec) = &mut unit.spec else { unreachable!("it is a fit unit") };
        change(spec);
        unit
    }

    pub fn transfer(&self, fits: &[&Unit], extracts: &[&Unit], layer: Layer, read_outs: Vec<ReadOut>) -> Unit {
        let keys = |units: &[&Unit]| units.iter().map(|unit| unit.spec.key()).collect();
        let targets = self.rows.targets_digest();
        let spec = TransferUnit { version: PROBE_VERSION, fits: keys(fits), extracts: keys(extracts), layer, targets, read_outs };
        self.unit(UnitSpec::Transfer(spec), (0, self.rows.rows.len()))
    }

    /// Gives every row other labels.
    pub fn relabel(&mut self, scheme: Scheme, values: impl Fn(usize) -> Vec<f32>) {
        self.rows.scheme = scheme;
        self.rows.rows.iter_mut().enumerate().for_each(|(i, row)| row.values = values(i));
        self.store_rows();
    }

    pub fn execute(&mut self, unit: &Unit) -> Result<Output, ExecuteError> {
        self.execute_again(unit, 0)
    }

    /// Computes a unit's generation.
    pub fn execute_again(&mut self, unit: &Unit, generation: u32) -> Result<Output, ExecuteError> {
        let inputs = Inputs::new(self.store.clone(), self.shelf.clone(), self.runtime.handle().clone(), Timing::default(), Arc::default());
        let inputs = inputs.in_generations(generation, BTreeMap::new());
        self.executor.execute(unit, &inputs, &self.progress)
    }

    /// Does what a session does with an output.
    pub fn commit(&self, unit: &Unit, attempt: &str, output: &Output) {
        let key = unit.spec.key();
        let put = |(name, content): &(&str, Content)| {
            self.runtime.block_on(self.store.put_artifact(&key, attempt, name, content.clone())).unwrap()
        };
        let artifacts = output.artifacts.iter().map(put).collect();
        let provenance = Provenance {
            worker: "w".into(),
            software: "s".into(),
            device: "cpu".into(),
            seconds: 1.0,
            tokens: output.tokens,
            counts: output.counts.clone(),
        };
        self.create_commit(unit, &Commit::Done(Done { nonce: "n".into(), attempt: attempt.into(), artifacts, provenance }));
    }

    pub fn create_commit(&self, unit: &Unit, commit: &Commit) {
        let body = Bytes::from(serde_json::to_vec(commit).unwrap());
        self.runtime.block_on(self.store.create(&layout::commit(&unit.spec.key(), 0), commit.nonce(), body)).unwrap();
    }

    /// Flips a bit of an object, counted from its end if `at` is below 0.
    pub fn damage(&self, path: &str, at: isize) {
        let file = self.folder.path().join(path);
        let mut bytes = std::fs::read(&file).unwrap();
        let at = if at < 0 { bytes.len() - at.unsigned_abs() } else { at as usize };
        bytes[at] ^= 1;
        std::fs::write(file, bytes).unwrap();
    }
}

/// A backend whose models take their time, and panic at one of their extractions.
struct Doomed {
    dies_in: usize,
    begun: Arc<AtomicUsize>,
    device: &'static str,
}

struct DoomedModel {
    model: Box<dyn Loaded>,
    dies_in: usize,
    begun: Arc<AtomicUsize>,
    device: &'static str,
}

impl Backend for Doomed {
    fn load(
        &self,
        path: &Path,
        random: Option<u64>,
        shared: Option<&SharedFile>,
        on_tensor: OnTensor<'_>,
    ) -> Result<Box<dyn Loaded>, LoadError> {
        let model = Placement::cpu().load(path, random, shared, on_tensor)?;
        Ok(Box::new(DoomedModel { model, dies_in: self.dies_in, begun: self.begun.clone(), device: self.device }))
    }
}

impl Loaded for DoomedModel {
    fn architecture(&self) -> &Architecture {
        self.model.architecture()
    }

    fn device(&self) -> &'static str {
        self.device
    }

    fn following(&self, condition: &Prompt, text: &str) -> Result<Vec<u32>, PromptError> {
        self.model.following(condition, text)
    }

    fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.model.decode(ids)
    }

    fn prompts(&self, condition: &Prompt, utterances: &[&str], reserve: usize, policy: RowPolicy) -> Result<Prompts, PromptError> {
        self.model.prompts(condition, utterances, reserve, policy)
    }

    fn extract(
        &self,
        prompts: &[limbic_engine::Prompt],
        request: &Request,
        on_progress: OnProgress<'_>,
    ) -> Result<Extraction, ExtractError> {
        let begun = self.begun.fetch_add(1, Ordering::SeqCst);
        assert!(begun != self.dies_in, "the worker is killed");
        std::thread::sleep(Duration::from_millis(20));
        self.model.extract(prompts, request, on_progress)
    }

    fn score(
        &self,
        prompts: &[limbic_engine::Prompt],
        labels: Labels<'_>,
        on_progress: OnProgress<'_>,
    ) -> Result<Likelihoods, ExtractError> {
        self.model.score(prompts, labels, on_progress)
    }
}

pub fn tensor_f64(file: &[u8], name: &str) -> (Vec<usize>, Vec<f64>) {
    let read = safetensors::SafeTensors::deserialize(file).unwrap();
    let tensor = read.tensor(name).unwrap();
    assert_eq!(tensor.dtype(), safetensors::Dtype::F64);
    (tensor.shape().to_vec(), tensor.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect())
}

pub fn tensor_f32(file: &[u8], name: &str) -> (Vec<usize>, Vec<f32>) {
    let read = safetensors::SafeTensors::deserialize(file).unwrap();
    let tensor = read.tensor(name).unwrap();
    assert_eq!(tensor.dtype(), safetensors::Dtype::F32);
    (tensor.shape().to_vec(), tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect())
}

pub fn tensor_i64(file: &[u8], name: &str) -> Vec<i64> {
    let read = safetensors::SafeTensors::deserialize(file).unwrap();
    let tensor = read.tensor(name).unwrap();
    assert_eq!(tensor.dtype(), safetensors::Dtype::I64);
    tensor.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
}
