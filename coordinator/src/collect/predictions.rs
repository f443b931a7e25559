//! Committed artifacts become predictions, verdicts and geometry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use limbic_core::plan::{Place, PlannedUnit};
use limbic_proto::axis::{Context, Layer, Pooling};
use limbic_proto::key::UnitKey;
use limbic_proto::rows::{Scheme, Split};
use limbic_proto::spec::Baseline;
use limbic_proto::unit::{
    ANSWERS, Answer, FITS, FitName, FitRecord, GEOMETRY, PREDICTIONS, SCORES, TransferRecord, UnitSpec, similarity_rows,
};
use limbic_report::answers::Words;
use limbic_report::{Deferred, Fit, Geometry, GeometryEntry, Prediction, Verdicts};
use safetensors::SafeTensors;

use super::CollectError;
use super::likelihoods::likelihoods;
use super::spool::Spool;
use crate::sweep::Sweep;

/// The artifacts that a report reads of a unit, in this order.
pub fn artifacts(planned: &PlannedUnit) -> Vec<&'static str> {
    match (&planned.place, &planned.unit.spec) {
        (Place::Extract { .. } | Place::Embedding { .. } | Place::Writing { .. }, _) => Vec::new(),
        (_, UnitSpec::Fit(fit)) if fit.geometry => vec![FITS, PREDICTIONS, GEOMETRY],
        (Place::Fit { .. } | Place::Baseline { .. } | Place::Transfer { .. }, _) => vec![FITS, PREDICTIONS],
        (Place::Prompt { baseline: Baseline::ZeroShotJson, .. }, _) => vec![ANSWERS],
        (Place::Prompt { .. } | Place::Judge { .. }, _) => vec![SCORES],
    }
}

/// Puts predictions together; zero-shot answers and verdicts come in several shards.
pub struct Collector<'a> {
    sweep: &'a Sweep,
    /// Indices of the test rows.
    pub test: Vec<usize>,
    spool: Spool,
    predictions: Vec<Prediction>,
    geometry: Vec<GeometryEntry>,
    /// Per model and way of reading likelihoods, the probabilities of the test rows; NaN where a row was skipped.
    likelihoods: BTreeMap<(usize, &'static str), Vec<f32>>,
    /// Per model, what written answers say of the test rows, and rows whose answer can't be read.
    written: BTreeMap<usize, (Vec<f32>, Vec<u32>)>,
    /// Per judge, model, condition and seed of the replies.
    verdicts: BTreeMap<(usize, usize, usize, Option<u64>), Verdicts>,
}

/// What a collector found: predictions, verdicts, geometry.
pub type Collected = (Vec<Prediction>, Vec<Verdicts>, Vec<GeometryEntry>);

/// The read-out under which states of offset 0 are described, by the names of their tensors.
struct Described<'a> {
    tensors: SafeTensors<'a>,
    key: &'a UnitKey,
    test: usize,
}

impl<'a> Collector<'a> {
    /// An empty one.
    pub fn new(sweep: &'a Sweep) -> Self {
        let test = (0..sweep.rows.rows.len()).filter(|&i| sweep.rows.rows[i].split == Split::Test).collect();
        Collector {
            sweep,
            test,
            spool: Spool::default(),
            predictions: Vec::new(),
            geometry: Vec::new(),
            likelihoods: BTreeMap::new(),
            written: BTreeMap::new(),
            verdicts: BTreeMap::new(),
        }
    }

    /// Takes what [`artifacts`] names of one unit.
    pub fn take(&mut self, key: &UnitKey, planned: &PlannedUnit, artifacts: &[Bytes]) -> Result<(), CollectError> {
        match &planned.place {
            Place::Extract { .. } | Place::Embedding { .. } | Place::Writing { .. } => Ok(()),
            &Place::Fit { model, condition, layer, sampling_seed, carried } => {
                let home = |p: Prediction, name: &FitName| {
                    let sampling_seed = sampling_seed.filter(|_| reads_replies(name));
                    // What is carried on from offset 0 was fitted there once more, and is another unit's result.
                    (!carried || sampling_seed.is_some()).then(|| Prediction {
                        model: Some(model),
                        condition: Some(condition),
                        layer: Some(layer),
                        sampling_seed,
                        ..p
                    })
                };
                self.fits(key, artifacts, home)?;
                artifacts.get(2).map_or(Ok(()), |bytes| self.describe(key, planned, bytes, (model, condition, layer)))
            }
            &Place::Baseline { baseline, model } => {
                self.fits(key, artifacts, |p, _| Some(Prediction { model, probe: Arc::from(baseline.name()), read_out: None, ..p }))
            }
            Place::Transfer { model, condition, layer, from } => {
                let (model, condition, layer) = (Some(*model), Some(*condition), Some(*layer));
                let records: Vec<TransferRecord> = serde_json::from_slice(&artifacts[0]).map_err(|e| bad(key, FITS, e))?;
                let tensors = SafeTensors::deserialize(&artifacts[1]).map_err(|e| bad(key, PREDICTIONS, e))?;
                for record in records {
                    let fitted_condition =
                        *from.get(record.fit).ok_or_else(|| bad(key, FITS, format_args!("fit {} of {}", record.fit, from.len())))?;
                    let p = self.prediction(key, &tensors, &record.name, &record.tensor())?;
                    self.predictions.push(Prediction { model, condition, layer, fitted_condition: Some(fitted_condition), ..p });
                }
                Ok(())
            }
            &Place::Prompt { model, baseline: Baseline::ZeroShotJson, rows } => self.answers(key, model, rows, &artifacts[0]),
            &Place::Prompt { model, rows, .. } => self.scores(key, model, rows, &artifacts[0]),
            &Place::Judge { judge, model, condition, sampling_seed, rows } => {
                let found = likelihoods(&artifacts[0], rows.1 - rows.0, self.classes()).map_err(|m| bad(key, SCORES, m))?;
                let slots = self.slots(rows);
                let classes = self.classes();
                let values = || vec![f32::NAN; self.test.len() * classes];
                let nothing = || Verdicts { judge, model, condition, sampling_seed, replies: BTreeSet::new(), values: values() };
                let verdicts = self.verdicts.entry((judge, model, condition, sampling_seed)).or_insert_with(nothing);
                verdicts.replies.extend(planned.unit.spec.dependencies());
                place(&mut verdicts.values, &slots, classes, |row| found.verdict(row));
                Ok(())
            }
        }
    }

    fn classes(&self) -> usize {
        self.sweep.rows.classes.len()
    }

    /// Which test rows a shard holds: (place among the test rows, row of the shard).
    fn slots(&self, rows: (usize, usize)) -> Vec<(usize, usize)> {
        let inside = self.test.iter().enumerate().filter(|(_, row)| (rows.0..rows.1).contains(*row));
        inside.map(|(slot, row)| (slot, row - rows.0)).collect()
    }

    /// Takes the fits that `home` has a place for.
    fn fits(
        &mut self,
        key: &UnitKey,
        artifacts: &[Bytes],
        home: impl Fn(Prediction, &FitName) -> Option<Prediction>,
    ) -> Result<(), CollectError> {
        let records: Vec<FitRecord> = serde_json::from_slice(&artifacts[0]).map_err(|e| bad(key, FITS, e))?;
        let tensors = SafeTensors::deserialize(&artifacts[1]).map_err(|e| bad(key, PREDICTIONS, e))?;
        for record in records {
            let p = self.prediction(key, &tensors, &record.name, &record.name.tensor())?;
            self.predictions.extend(home(Prediction { fit: Some(Fit::of(&record)), ..p }, &record.name));
        }
        Ok(())
    }

    fn prediction(&mut self, key: &UnitKey, tensors: &SafeTensors<'_>, name: &FitName, tensor: &str) -> Result<Prediction, CollectError> {
        let values = floats(tensors, tensor, self.test.len() * self.classes()).map_err(|message| bad(key, PREDICTIONS, message))?;
        let values = self.spool.keep(values).map_err(CollectError::spool)?;
        Ok(Prediction {
            read_out: name.read_out,
            seed: name.seed,
            control: name.control,
            fitted_at: name.fitted_at,
            ..Prediction::baseline(&name.probe, None, values)
        })
    }

    fn describe(
        &mut self,
        key: &UnitKey,
        planned: &PlannedUnit,
        bytes: &[u8],
        (model, condition, layer): (usize, usize, Layer),
    ) -> Result<(), CollectError> {
        let UnitSpec::Fit(fit) = &planned.unit.spec else { return Ok(()) };
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| bad(key, GEOMETRY, e))?;
        let described = Described { tensors, key, test: self.test.len() };
        for read_out in fit.read_outs.iter().copied().filter(|r| r.offset == 0) {
            let tensors = Deferred::held(described.at(&read_out.name())?);
            self.geometry.push(GeometryEntry { model, condition, layer, read_out, tensors });
        }
        Ok(())
    }

    fn scores(&mut self, key: &UnitKey, model: usize, rows: (usize, usize), artifact: &[u8]) -> Result<(), CollectError> {
        let classes = self.classes();
        let found = likelihoods(artifact, rows.1 - rows.0, classes).map_err(|message| bad(key, SCORES, message))?;
        let slots = self.slots(rows);
        for (name, of_row) in found.readings() {
            let into = self.likelihoods.entry((model, name)).or_insert_with(|| vec![f32::NAN; self.test.len() * classes]);
            place(into, &slots, classes, of_row);
        }
        Ok(())
    }

    fn answers(&mut self, key: &UnitKey, model: usize, rows: (usize, usize), artifact: &[u8]) -> Result<(), CollectError> {
        let given: Vec<Answer> = serde_json::from_slice(artifact).map_err(|e| bad(key, ANSWERS, e))?;
        if given.len() != rows.1 - rows.0 {
            return Err(bad(key, ANSWERS, format_args!("{} answers, expected {}", given.len(), rows.1 - rows.0)));
        }
        let asked = &self.sweep.accepted.spec.zero_shot.answers;
        let words = |class: &String| std::iter::once(class).chain(asked.get(class)).cloned().collect();
        let words = Words::new(self.sweep.rows.classes.iter().map(words).collect());
        let (classes, scheme, slots) = (self.classes(), self.sweep.rows.scheme, self.slots(rows));
        let (into, unreadable) = self.written.entry(model).or_insert_with(|| (vec![f32::NAN; self.test.len() * classes], Vec::new()));
        for &(slot, row) in slots.iter().filter(|(_, row)| !given[*row].skipped) {
            match read(&words, scheme, classes, &given[row].text) {
                Some(values) => into[slot * classes..][..classes].copy_from_slice(&values),
                None => unreadable.push(slot as u32),
            }
        }
        Ok(())
    }

    /// Everything that was taken.
    pub fn finish(mut self) -> Collected {
        for ((model, name), values) in self.likelihoods {
            self.predictions.push(Prediction::baseline(name, Some(model), Deferred::held(values)));
        }
        for (model, (values, mut unreadable)) in self.written {
            unreadable.sort_unstable();
            let name = Baseline::ZeroShotJson.name();
            self.predictions.push(Prediction { unreadable, ..Prediction::baseline(name, Some(model), Deferred::held(values)) });
        }
        (self.predictions, self.verdicts.into_values().collect(), self.geometry)
    }
}

impl Described<'_> {
    fn at(&self, read_out: &str) -> Result<Geometry, CollectError> {
        let of = |name: &str, len: Option<usize>| -> Result<Vec<f32>, CollectError> {
            let name = format!("{read_out}.{name}");
            let len = match (len, self.tensors.tensor(&name)) {
                (Some(len), _) => len,
                (None, Ok(view)) => view.shape().iter().product(),
                (None, Err(_)) => 0,
            };
            floats(&self.tensors, &name, len).map_err(|message| bad(self.key, GEOMETRY, message))
        };
        let chosen = similarity_rows(self.test).len();
        let separation = of("separation", Some(2))?;
        Ok(Geometry {
            coordinates: of("coordinates", Some(self.test * 3))?,
            explained: of("explained", None)?,
            directions: of("directions", None)?,
            similarity: of("similarity", Some(chosen * chosen))?,
            silhouette: separation[0],
            fisher: separation[1],
        })
    }
}

/// Whether a fit depends on the replies: it reads one, or is of a network that is fitted to all offsets together.
fn reads_replies(name: &FitName) -> bool {
    let of_all_offsets = name.probe == "offset-mlp";
    name.read_out.is_some_and(|r| r.context != Context::Filler && (r.offset > 0 || (of_all_offsets && r.pooling == Pooling::Last)))
}

/// Puts rows of a shard where they belong; one that says nothing stays as it is.
fn place(into: &mut [f32], slots: &[(usize, usize)], classes: usize, of_row: impl Fn(usize) -> Option<Vec<f32>>) {
    for &(slot, row) in slots {
        if let Some(values) = of_row(row) {
            into[slot * classes..][..classes].copy_from_slice(&values);
        }
    }
}

/// What a written answer says, as predictions under a scheme are written; none if it can't be read.
fn read(words: &Words, scheme: Scheme, classes: usize, text: &str) -> Option<Vec<f32>> {
    let marked = |named: &[usize]| (0..classes).map(|class| f32::from(u8::from(named.contains(&class)))).collect();
    match scheme {
        Scheme::Single => words.label(text).map(|class| marked(&[class])),
        Scheme::Multi => words.labels(text).map(|named| marked(&named)),
        Scheme::Intensity | Scheme::Continuous => words.numbers(text),
    }
}

pub(super) fn bad(unit: &UnitKey, artifact: &'static str, message: impl std::fmt::Display) -> CollectError {
    CollectError::Artifact { unit: unit.short(), artifact, message: message.to_string() }
}

fn floats(tensors: &SafeTensors<'_>, name: &str, expected: usize) -> Result<Vec<f32>, String> {
    let view = tensors.tensor(name).map_err(|e| format!("{name}: {e}"))?;
    if view.dtype() != safetensors::Dtype::F32 || view.data().len() != expected * 4 {
        return Err(format!("{name} is {:?} {:?}, expected {expected} F32 numbers", view.dtype(), view.shape()));
    }
    Ok(view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("chunks of 4"))).collect())
}
