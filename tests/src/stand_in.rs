//! An engine that computes nothing: it reads what a real one would read, verifies it, and writes artifacts that the
//! report can read, made up from the unit's key alone.

use std::time::{Duration, Instant};

use bytes::Bytes;
use limbic_proto::key::{Digest, UnitKey};
use limbic_proto::rows::Split;
use limbic_proto::unit::{
    ExtractUnit, FITS, Features, FitName, FitRecord, FitUnit, PREDICTIONS, PromptUnit, SCORES, STATES, TOKENS, Unit, UnitSpec, WEIGHTS,
};
use limbic_worker::{ExecuteError, Executor, Inputs, Output, Progress};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// One unit in so many takes [`HEAVY`] times as long, so that some outlast a lease or a drain.
const HEAVY_EACH: u64 = 101;
/// How much longer heavy units take.
const HEAVY: u32 = 6;
/// How often the stand-in looks whether it should stop.
const LOOK: Duration = Duration::from_millis(20);

/// Takes a set time for each unit.
#[derive(Debug)]
pub struct StandIn {
    delay: Duration,
    loaded: Vec<Digest>,
}

/// Numbers in 0..1 that follow from the unit's key and a name.
struct Draws(Digest);

impl Draws {
    fn new(unit: &UnitKey, name: &str) -> Draws {
        Draws(Digest::of_json(&(unit, name)))
    }

    fn next(&mut self) -> f64 {
        self.0 = Digest::of_json(&self.0);
        (self.0.seed() >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl StandIn {
    /// One that takes that long for each unit.
    pub fn new(delay: Duration) -> StandIn {
        StandIn { delay, loaded: Vec::new() }
    }

    fn pass_time(&self, key: &UnitKey, progress: &Progress) -> Result<(), ExecuteError> {
        let total = if key.seed().is_multiple_of(HEAVY_EACH) { self.delay * HEAVY } else { self.delay };
        let began = Instant::now();
        while began.elapsed() < total {
            if progress.cancelled() {
                return Err(ExecuteError::Cancelled);
            }
            progress.set(began.elapsed().as_secs_f64() / total.as_secs_f64(), 1);
            std::thread::sleep(LOOK.min(total - began.elapsed().min(total)));
        }
        Ok(())
    }

    fn extract(key: &UnitKey, spec: &ExtractUnit) -> Vec<(&'static str, Bytes)> {
        let mut draws = Draws::new(key, STATES);
        let tokens: Vec<u8> = (0..spec.rows.count).flat_map(|_| (1 + (draws.next() * 9.0) as i64).to_le_bytes()).collect();
        let states = file(&[("prompt_tokens".to_owned(), Dtype::I64, vec![spec.rows.count], tokens)]);
        vec![(STATES, states), (TOKENS, Bytes::from_static(b"[]"))]
    }

    fn fit(key: &UnitKey, spec: &FitUnit, unit: &Unit, inputs: &Inputs) -> Result<Vec<(&'static str, Bytes)>, ExecuteError> {
        let rows = inputs.rows(&unit.hints.dataset)?;
        let test = rows.rows.iter().filter(|row| row.split == Split::Test).count();
        let mut read: Vec<i64> = Vec::new();
        if let Features::States { extracts, .. } = &spec.features {
            for found in inputs.shards(extracts)?.read_i64(&["prompt_tokens".to_owned()]) {
                read.extend(found?.concat());
            }
        }
        // What was read is in the result: a dependency with other bytes would show in the report.
        let mut draws = Draws::new(key, &Digest::of_json(&read).hex());
        let names: Vec<FitName> = match &spec.features {
            Features::Majority => vec![FitName::new("majority", None, 0)],
            Features::BagOfWords { .. } => vec![FitName::new("bag-of-words", None, 0)],
            Features::States { .. } => {
                spec.read_outs.iter().flat_map(|at| spec.probes.iter().map(|probe| FitName::new(probe.name(), Some(*at), 0))).collect()
            }
        };
        let mut tensors = Vec::new();
        for name in &names {
            let mut values = Vec::new();
            for _ in 0..test {
                let raw: Vec<f64> = rows.classes.iter().map(|_| 0.01 + draws.next()).collect();
                let sum: f64 = raw.iter().sum();
                values.extend(raw.iter().flat_map(|x| ((x / sum) as f32).to_le_bytes()));
            }
            tensors.push((name.tensor(), Dtype::F32, vec![test, rows.classes.len()], values));
        }
        let record = |name: &FitName| FitRecord {
            name: name.clone(),
            train: rows.rows.len() - test,
            validation: 0,
            test,
            strength: None,
            validation_log_loss: None,
            validation_score: None,
            commonest: None,
            iterations: 1,
            converged: true,
            absent: None,
            mdl: None,
        };
        let records: Vec<FitRecord> = names.iter().map(record).collect();
        let fits = serde_json::to_vec(&records).expect("records serialize").into();
        Ok(vec![(PREDICTIONS, file(&tensors)), (FITS, fits), (WEIGHTS, file(&[]))])
    }

    fn prompt(key: &UnitKey, spec: &PromptUnit) -> Vec<(&'static str, Bytes)> {
        let mut draws = Draws::new(key, SCORES);
        let shape = vec![spec.rows.count, spec.answers.len()];
        let values = (0..shape[0] * shape[1]).flat_map(|_| (-0.1 - draws.next()).to_le_bytes()).collect();
        let tokens = (0..shape[0]).flat_map(|_| 1i64.to_le_bytes()).collect();
        let rows = vec![shape[0]];
        vec![(
            SCORES,
            file(&[("log_likelihood".to_owned(), Dtype::F64, shape, values), ("prompt_tokens".to_owned(), Dtype::I64, rows, tokens)]),
        )]
    }
}

fn file(tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)]) -> Bytes {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).expect("shapes are right")));
    Bytes::from(safetensors::serialize(views, None).expect("tensors serialize"))
}

impl Executor for StandIn {
    fn execute(&mut self, unit: &Unit, inputs: &Inputs, progress: &Progress) -> Result<Output, ExecuteError> {
        let key = unit.spec.key();
        self.pass_time(&key, progress)?;
        let artifacts = match &unit.spec {
            UnitSpec::Extract(spec) => Self::extract(&key, spec),
            UnitSpec::Fit(spec) => Self::fit(&key, spec, unit, inputs)?,
            UnitSpec::Prompt(spec) => Self::prompt(&key, spec),
            UnitSpec::Transfer(_) | UnitSpec::Judge(_) => unreachable!("no sweep under chaos has such units"),
        };
        self.loaded = unit.spec.model().iter().map(|model| model.digest).collect();
        let artifacts = artifacts.into_iter().map(|(name, bytes)| (name, bytes.into())).collect();
        Ok(Output { artifacts, tokens: 1, ..Output::default() })
    }

    fn loaded(&self) -> Vec<Digest> {
        self.loaded.clone()
    }
}
