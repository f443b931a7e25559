//! Fits that outlive a worker that is killed. Every few seconds, what was fitted since is kept under `data/{hh}/{unit}/parts/` as one sealed
//! safetensors file; the next attempt takes what is there, and fits the rest. Nothing but the time depends on it.
//!
//! A *job* is what is fitted in one go: a probe at a read-out with all its seeds and controls, or the offset-aware networks of one pooling
//! and context. Jobs end on several threads. Nothing is held while bytes are made or written, for a thread that waits for others takes up
//! further jobs meanwhile, which end here, too.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use limbic_engine::probe::{Fitted, NamedTensor, ProbeKind};
use limbic_proto::key::Digest;
use limbic_proto::rows::Scheme;
use limbic_proto::unit::FitRecord;
use limbic_store::Content;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

use super::Study;
use super::results::Fit;
use crate::execute::ExecuteError;
use crate::inputs::{Inputs, Parts};
use crate::tensors::{TensorFile, TensorFileError, numbers, sealed, unsealed};

/// Bytes that are kept in any case: writing them takes no longer than a request.
const SMALL: usize = 2 << 20;

/// The fits of a unit that earlier attempts have kept, and those that this one keeps.
pub(super) struct Kept<'a> {
    parts: &'a Parts<'a>,
    /// What determines the fits beside the unit: which generations of the states they are of.
    of: Digest,
    /// What was there, by job.
    found: Mutex<BTreeMap<String, Vec<Fit>>>,
    resumed: AtomicUsize,
    pending: Mutex<Pending>,
    writing: AtomicBool,
}

/// Finished and not kept yet.
struct Pending {
    jobs: Vec<Job>,
    bytes: usize,
    since: Instant,
}

impl Pending {
    fn new() -> Pending {
        Pending { jobs: Vec::new(), bytes: 0, since: Instant::now() }
    }
}

/// What came of a job, as it is written.
struct Job {
    name: String,
    fits: Vec<Written>,
}

/// One fit as numbers.
struct Written {
    record: FitRecord,
    rows: Vec<i64>,
    predictions: Vec<f32>,
    fitted: Vec<NamedTensor>,
    beside: Vec<NamedTensor>,
}

impl Written {
    fn of(fit: &Fit) -> Written {
        Written {
            record: fit.record.clone(),
            rows: fit.predictions.iter().map(|(row, _)| *row as i64).collect(),
            predictions: fit.predictions.iter().flat_map(|(_, values)| values).copied().collect(),
            fitted: fit.fitted.iter().flat_map(Fitted::to_tensors).collect(),
            beside: fit.beside.clone(),
        }
    }

    fn bytes(&self) -> usize {
        let tensors = self.fitted.iter().chain(&self.beside).map(|tensor| tensor.data.len()).sum::<usize>();
        8 * self.rows.len() + 4 * (self.predictions.len() + tensors)
    }
}

impl<'a> Kept<'a> {
    /// Reads what is there.
    pub(super) fn open(study: &Study, inputs: &Inputs, parts: &'a Parts<'a>) -> Kept<'a> {
        let (scheme, outputs) = (study.scheme(), study.classes().len());
        let found = parts.list().into_iter().filter_map(|name| read(&parts.get(&name)?, scheme, outputs)).flatten();
        Kept {
            parts,
            of: Digest::of_json(inputs.generations()),
            found: Mutex::new(found.collect()),
            resumed: AtomicUsize::new(0),
            pending: Mutex::new(Pending::new()),
            writing: AtomicBool::new(false),
        }
    }

    /// A job's fits: those that are there, else what `fit` makes.
    pub(super) fn or(&self, job: impl Serialize, fit: impl FnOnce() -> Result<Vec<Fit>, ExecuteError>) -> Result<Vec<Fit>, ExecuteError> {
        let name = Digest::of_json(&(self.of, job)).short();
        if let Some(fits) = lock(&self.found).remove(&name) {
            self.resumed.fetch_add(fits.len(), Ordering::Relaxed);
            return Ok(fits);
        }
        let fits = fit()?;
        self.add(Job { name, fits: fits.iter().map(Written::of).collect() });
        Ok(fits)
    }

    /// Takes note of a job, and writes what has come together if it is time, worth it, and nobody else does.
    fn add(&self, job: Job) {
        let due = {
            let mut pending = lock(&self.pending);
            pending.bytes += job.fits.iter().map(Written::bytes).sum::<usize>();
            pending.jobs.push(job);
            let time = pending.since.elapsed();
            if time < self.parts.after() || self.writing.swap(true, Ordering::Acquire) {
                return;
            }
            let due = std::mem::replace(&mut *pending, Pending::new());
            (due.bytes <= SMALL || Parts::worth(due.bytes, time)).then_some(due.jobs)
        };
        if let Some(jobs) = due {
            let name = Digest::of_json(&jobs.iter().map(|job| &job.name).collect::<Vec<_>>()).short();
            // What can't be written down is fitted again.
            if let Ok(content) = content(jobs) {
                self.parts.put(&name, &content);
            }
        }
        self.writing.store(false, Ordering::Release);
    }

    /// How many fits were there.
    pub(super) fn resumed(&self) -> usize {
        self.resumed.load(Ordering::Relaxed)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The note in which jobs and records stand.
const JOBS: &str = "jobs";

/// A job and the records of its fits, which are numbered through all jobs of a file.
#[derive(Serialize, Deserialize)]
struct Noted {
    job: String,
    records: Vec<FitRecord>,
}

/// The bytes to be kept.
fn content(jobs: Vec<Job>) -> Result<Content, TensorFileError> {
    let (mut file, mut noted, mut at) = (TensorFile::default(), Vec::new(), 0);
    for Job { name, fits } in jobs {
        let mut records = Vec::new();
        for Written { record, rows, predictions, fitted, beside } in fits {
            file.i64(format!("{at}.rows"), vec![rows.len()], rows);
            file.f32(format!("{at}.predictions"), vec![predictions.len()], predictions);
            for (what, tensors) in [("fitted", fitted), ("beside", beside)] {
                tensors.into_iter().for_each(|tensor| file.f32(format!("{at}.{what}.{}", tensor.name), tensor.shape, tensor.data));
            }
            records.push(record);
            at += 1;
        }
        noted.push(Noted { job: name, records });
    }
    file.note(JOBS, serde_json::to_string(&noted).expect("records serialize"));
    file.content().map(sealed)
}

/// The jobs and their fits, if the bytes are what was written.
fn read(bytes: &[u8], scheme: Scheme, outputs: usize) -> Option<Vec<(String, Vec<Fit>)>> {
    let bytes = unsealed(bytes)?;
    let file = SafeTensors::deserialize(bytes).ok()?;
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let noted: Vec<Noted> = serde_json::from_str(header.metadata().as_ref()?.get(JOBS)?).ok()?;
    // By fit, and by what they are.
    let mut tensors: BTreeMap<(usize, String), Vec<NamedTensor>> = BTreeMap::new();
    for (name, tensor) in file.iter().filter(|(_, tensor)| tensor.dtype() == Dtype::F32) {
        let (at, name) = name.split_once('.')?;
        let (what, name) = name.split_once('.').unwrap_or((name, ""));
        let data = numbers(tensor.data(), f32::from_le_bytes).collect();
        let tensor = NamedTensor { name: name.to_owned(), shape: tensor.shape().to_vec(), data };
        tensors.entry((at.parse().ok()?, what.to_owned())).or_default().push(tensor);
    }
    let mut at = 0..;
    let mut fit = |record: FitRecord| {
        let at = at.next()?;
        let mut take = |what: &str| tensors.remove(&(at, what.to_owned()));
        let rows = file.tensor(&format!("{at}.rows")).ok()?;
        let rows: Vec<usize> = numbers(rows.data(), i64::from_le_bytes).map(usize::try_from).collect::<Result<_, _>>().ok()?;
        let values = take("predictions")?.pop()?.data;
        if values.len() != rows.len() * outputs {
            return None;
        }
        let predictions = rows.into_iter().zip(values.chunks_exact(outputs.max(1)).map(<[f32]>::to_vec)).collect();
        let fitted = match take("fitted") {
            None => None,
            Some(tensors) => Some(Fitted::from_tensors(ProbeKind::named(&record.name.probe)?, scheme, &tensors).ok()?),
        };
        Some(Fit { record, predictions, fitted, beside: take("beside").unwrap_or_default() })
    };
    noted.into_iter().map(|Noted { job, records }| Some((job, records.into_iter().map(&mut fit).collect::<Option<_>>()?))).collect()
}

#[cfg(test)]
mod tests {
    use limbic_engine::probe::{Labels, Matrix, Split, Targets, mean_difference};
    use limbic_proto::axis::ReadOut;
    use limbic_proto::unit::FitName;

    use super::*;

    #[test]
    fn fits_are_read_as_they_were_written_and_not_with_a_bit_flipped() {
        let x = [0.0, 1.0, 1.0, 3.0, 2.0, 0.5, 4.0, -1.0];
        let labels = Labels::of(Scheme::Single, &[0, 0, 1, 1], &[]);
        let train = Split { x: Matrix::new(&x, 4, 2).unwrap(), targets: Targets { labels, weights: None } };
        let (fitted, report) = mean_difference::fit(&train, None, 2).unwrap();
        let name = FitName::new("mean-difference", Some(ReadOut::at(3)), 0);
        let record = super::super::results::record(name.clone(), &report, (4, 0, 2), false);
        let record = FitRecord { validation_log_loss: Some(0.1 + 0.2), ..record };
        let predictions = vec![(7, vec![0.25, 0.75]), (9, vec![f32::MIN_POSITIVE, 1.0])];
        let beside = vec![NamedTensor { name: "idf.1".to_owned(), shape: vec![3], data: vec![1.0, 2.0, 3.0] }];
        let done = Fit { record, predictions, fitted: Some(fitted), beside };
        let fits = [done, Fit::absent(name, (4, 0, 0), "no row reaches it".to_owned())];
        let job = |name: &str, fits: &[Fit]| Job { name: name.to_owned(), fits: fits.iter().map(Written::of).collect() };
        let bytes = content(vec![job("a", &fits[..1]), job("none", &[]), job("b", &fits[1..])]).unwrap().to_bytes().to_vec();
        let found = read(&bytes, Scheme::Single, 2).unwrap();
        assert_eq!(found.iter().map(|(name, fits)| (name.as_str(), fits.len())).collect::<Vec<_>>(), [("a", 1), ("none", 0), ("b", 1)]);
        for (found, fit) in found.iter().flat_map(|(_, fits)| fits).zip(&fits) {
            assert_eq!((&found.record, &found.predictions, &found.beside), (&fit.record, &fit.predictions, &fit.beside));
            assert_eq!(found.fitted.as_ref().map(Fitted::to_tensors), fit.fitted.as_ref().map(Fitted::to_tensors));
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(read(&damaged, Scheme::Single, 2).is_none(), "byte {at}");
        }
        assert!(read(&bytes[..bytes.len() - 1], Scheme::Single, 2).is_none() && read(b"", Scheme::Single, 2).is_none());
        assert!(read(&bytes, Scheme::Single, 3).is_none(), "predictions of other classes");
    }
}
