//! Fits that outlive a worker that is killed. What one job makes (a probe at a read-out with all its seeds and controls, or the
//! offset-aware networks of one pooling and context) is kept as `data/{hh}/{unit}/parts/{job}`, a sealed safetensors file; the next attempt
//! takes those whose bytes have the digest that stands before them, and fits the others. Nothing but the time depends on them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use limbic_engine::probe::{Fitted, NamedTensor, ProbeKind};
use limbic_proto::key::Digest;
use limbic_proto::rows::Scheme;
use limbic_proto::unit::FitRecord;
use limbic_store::Content;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::Serialize;

use super::Study;
use super::results::Fit;
use crate::execute::ExecuteError;
use crate::execute::keeper::Keeper;
use crate::inputs::Parts;
use crate::tensors::{TensorFile, TensorFileError, sealed, unsealed};

/// The fits that earlier attempts have kept, and those that this one keeps.
pub(super) struct Kept<'a> {
    parts: &'a Parts<'a>,
    keeper: Keeper<'a>,
    known: BTreeSet<String>,
    scheme: Scheme,
    outputs: usize,
    resumed: AtomicUsize,
}

impl<'a> Kept<'a> {
    /// Looks for what is there.
    pub(super) fn open(study: &Study, parts: &'a Parts<'a>) -> Kept<'a> {
        let known = parts.list().into_iter().collect();
        let (scheme, outputs) = (study.scheme(), study.classes().len());
        Kept { parts, keeper: Keeper::new(parts), known, scheme, outputs, resumed: AtomicUsize::new(0) }
    }

    /// A job's fits: those that are there, else what `fit` makes.
    pub(super) fn or(&self, job: impl Serialize, fit: impl FnOnce() -> Result<Vec<Fit>, ExecuteError>) -> Result<Vec<Fit>, ExecuteError> {
        let job = Digest::of_json(&job).short();
        let found = || read(&self.parts.get(&job)?, self.scheme, self.outputs);
        if let Some(fits) = self.known.contains(&job).then(found).flatten() {
            self.resumed.fetch_add(fits.len(), Ordering::Relaxed);
            return Ok(fits);
        }
        let began = Instant::now();
        let fits = fit()?;
        self.keeper.add(job, bytes(&fits), began.elapsed(), || content(&fits, self.outputs).ok());
        Ok(fits)
    }

    /// How many fits were there.
    pub(super) fn resumed(&self) -> usize {
        self.resumed.load(Ordering::Relaxed)
    }
}

/// Bytes of some fits, but for a few.
fn bytes(fits: &[Fit]) -> usize {
    let of = |fit: &Fit| {
        let predictions: usize = fit.predictions.iter().map(|(_, values)| values.len() + 2).sum();
        let tensors: usize = fit.fitted.iter().flat_map(Fitted::to_tensors).chain(fit.beside.clone()).map(|t| t.data.len()).sum();
        4 * (predictions + tensors)
    };
    fits.iter().map(of).sum()
}

/// The note in which the fits' records stand.
const RECORDS: &str = "records";

/// The bytes to be kept.
fn content(fits: &[Fit], outputs: usize) -> Result<Content, TensorFileError> {
    let mut file = TensorFile::default();
    for (at, fit) in fits.iter().enumerate() {
        file.i64(format!("{at}.rows"), vec![fit.predictions.len()], fit.predictions.iter().map(|(row, _)| *row as i64).collect());
        let values: Vec<f32> = fit.predictions.iter().flat_map(|(_, values)| values).copied().collect();
        file.f32(format!("{at}.predictions"), vec![fit.predictions.len(), outputs], values);
        for tensor in fit.fitted.iter().flat_map(Fitted::to_tensors) {
            file.f32(format!("{at}.fitted.{}", tensor.name), tensor.shape, tensor.data);
        }
        for tensor in fit.beside.clone() {
            file.f32(format!("{at}.beside.{}", tensor.name), tensor.shape, tensor.data);
        }
    }
    let records: Vec<&FitRecord> = fits.iter().map(|fit| &fit.record).collect();
    file.note(RECORDS, serde_json::to_string(&records).expect("records serialize"));
    file.content().map(sealed)
}

/// The fits, if the bytes are what was written.
fn read(bytes: &[u8], scheme: Scheme, outputs: usize) -> Option<Vec<Fit>> {
    let bytes = unsealed(bytes)?;
    let file = SafeTensors::deserialize(bytes).ok()?;
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let records: Vec<FitRecord> = serde_json::from_str(header.metadata().as_ref()?.get(RECORDS)?).ok()?;
    // By fit, and by what they are.
    let mut tensors: BTreeMap<(usize, String), Vec<NamedTensor>> = BTreeMap::new();
    for (name, tensor) in file.iter().filter(|(_, tensor)| tensor.dtype() == Dtype::F32) {
        let (at, name) = name.split_once('.')?;
        let (what, name) = name.split_once('.').unwrap_or((name, ""));
        let data = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect();
        let tensor = NamedTensor { name: name.to_owned(), shape: tensor.shape().to_vec(), data };
        tensors.entry((at.parse().ok()?, what.to_owned())).or_default().push(tensor);
    }
    let mut fits = Vec::new();
    for (at, record) in records.into_iter().enumerate() {
        let mut take = |what: &str| tensors.remove(&(at, what.to_owned()));
        let rows = file.tensor(&format!("{at}.rows")).ok()?;
        let rows = rows.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("eight bytes")));
        let rows: Vec<usize> = rows.map(usize::try_from).collect::<Result<_, _>>().ok()?;
        let values = take("predictions")?.pop()?.data;
        if values.len() != rows.len() * outputs {
            return None;
        }
        let predictions = rows.into_iter().zip(values.chunks_exact(outputs.max(1)).map(<[f32]>::to_vec)).collect();
        let fitted = match take("fitted") {
            None => None,
            Some(tensors) => Some(Fitted::from_tensors(ProbeKind::named(&record.name.probe)?, scheme, &tensors).ok()?),
        };
        fits.push(Fit { record, predictions, fitted, beside: take("beside").unwrap_or_default() });
    }
    Some(fits)
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
        let bytes = content(&fits, 2).unwrap().to_bytes().to_vec();
        let found = read(&bytes, Scheme::Single, 2).unwrap();
        assert_eq!(found.len(), 2);
        for (found, fit) in found.iter().zip(&fits) {
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
