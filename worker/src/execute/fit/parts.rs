//! The states of one read-out, gathered from all shards and parted by the rows' splits.

use std::collections::BTreeMap;

use limbic_engine::probe::{Labels, MOMENT_TENSORS, Matrix, Moments, ProbeError, Split, Standardizer, Targets, control};
use limbic_proto::axis::{Layer, ReadOut};
use limbic_proto::key::UnitKey;
use limbic_proto::rows::{self, Scheme};

use super::Study;
use crate::execute::ExecuteError;
use crate::inputs::{Inputs, Lengths, Shards};

/// What some rows are labelled with.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::execute) struct Answers {
    scheme: Scheme,
    classes: Vec<u32>,
    values: Vec<f32>,
    weights: Vec<f32>,
}

impl Answers {
    /// Those of rows of the dataset.
    pub(super) fn of(study: &Study, rows: impl IntoIterator<Item = usize>) -> Answers {
        Answers::over(study.scheme(), rows.into_iter().map(|row| &study.rows()[row]))
    }

    /// Those of rows of a dataset of that scheme.
    pub(in crate::execute) fn over<'r>(scheme: Scheme, rows: impl Iterator<Item = &'r rows::Row>) -> Answers {
        let mut answers = Answers { scheme, classes: Vec::new(), values: Vec::new(), weights: Vec::new() };
        for row in rows {
            answers.classes.push(row.class);
            answers.values.extend_from_slice(&row.values);
            answers.weights.push(row.weight as f32);
        }
        answers
    }

    /// The same, where every row counts once.
    pub(super) fn unweighted(self) -> Answers {
        Answers { weights: vec![1.0; self.classes.len()], ..self }
    }

    /// The class that most rows are of, counted by their weights, the first among equals; none where rows have no single class.
    pub(super) fn commonest(&self) -> Option<u32> {
        let mut counts = BTreeMap::<u32, f64>::new();
        self.classes.iter().zip(&self.weights).for_each(|(class, weight)| *counts.entry(*class).or_default() += f64::from(*weight));
        let most = counts.iter().rev().max_by(|a, b| a.1.total_cmp(b.1)).map(|(class, _)| *class);
        most.filter(|_| self.scheme == Scheme::Single)
    }

    /// Whether a row that counts has the class.
    pub(super) fn has(&self, class: usize) -> bool {
        self.classes.iter().zip(&self.weights).any(|(y, weight)| *y as usize == class && *weight > 0.0)
    }

    pub(in crate::execute) fn targets(&self) -> Targets<'_> {
        // Equal weights of 1 are the same as none, and cheaper.
        let weights = self.weights.iter().any(|w| *w != 1.0).then_some(self.weights.as_slice());
        Targets { labels: Labels::of(self.scheme, &self.classes, &self.values), weights }
    }
}

/// For each of some rows of the dataset the one whose label (and weight) it is given by a control.
pub(super) fn shuffled(study: &Study, rows: &[usize], seed: u64) -> Vec<usize> {
    let groups: Vec<&str> = rows.iter().map(|row| study.rows()[*row].group.as_str()).collect();
    control::shuffled_labels(&groups, seed).into_iter().map(|from| rows[from]).collect()
}

/// The rows of one split that have a state.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Part {
    /// `[rows, d]`; nothing of train where moments take its place.
    pub(super) x: Vec<f32>,
    /// Which rows of the dataset they are.
    pub(super) rows: Vec<usize>,
}

impl Part {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn matrix(&self, width: usize) -> Result<Matrix<'_>, ProbeError> {
        Matrix::new(&self.x, self.rows.len(), width)
    }

    pub(super) fn split<'a>(&'a self, width: usize, answers: &'a Answers) -> Result<Split<'a>, ProbeError> {
        Ok(Split { x: self.matrix(width)?, targets: answers.targets() })
    }

    fn standardise(&mut self, standardizer: &Standardizer) -> Result<(), ProbeError> {
        if !self.is_empty() {
            self.x = standardizer.apply(&self.matrix(standardizer.columns())?)?;
        }
        Ok(())
    }
}

/// All splits of one read-out.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Parts {
    /// The width of a state, d.
    pub(super) width: usize,
    pub(super) train: Part,
    pub(super) validation: Part,
    pub(super) test: Part,
}

impl Parts {
    pub(super) fn of(&mut self, split: rows::Split) -> &mut Part {
        match split {
            rows::Split::Train => &mut self.train,
            rows::Split::Validation => &mut self.validation,
            rows::Split::Test => &mut self.test,
        }
    }

    /// Standardises all splits on train.
    pub(super) fn standardise(&mut self) -> Result<Standardizer, ProbeError> {
        let standardizer = Standardizer::fit(&self.train.matrix(self.width)?)?;
        self.train.standardise(&standardizer)?;
        self.standardise_held(&standardizer)?;
        Ok(standardizer)
    }

    /// Standardises validation and test.
    pub(super) fn standardise_held(&mut self, standardizer: &Standardizer) -> Result<(), ProbeError> {
        self.validation.standardise(standardizer)?;
        self.test.standardise(standardizer)
    }
}

/// The names of the tensors of a read-out's moments.
fn moment_tensors(read_out: ReadOut, layer: Layer) -> [String; 3] {
    MOMENT_TENSORS.map(|part| format!("{}.{part}", read_out.tensor(layer)))
}

/// The shards of one layer.
pub(super) struct States<'a> {
    study: &'a Study,
    layer: Layer,
    shards: Shards<'a>,
    /// Those of each shard.
    lengths: Vec<Lengths>,
    /// Whether shards hold moments in place of the states of train rows.
    moments: bool,
}

impl<'a> States<'a> {
    /// Opens the shards, to be read at these read-outs; together they must hold exactly the dataset's rows.
    pub(super) fn open(
        study: &'a Study,
        extracts: &[UnitKey],
        layer: Layer,
        read_outs: &[ReadOut],
        inputs: &'a Inputs,
    ) -> Result<States<'a>, ExecuteError> {
        let shards = inputs.shards(extracts)?;
        let lengths = shards.lengths(read_outs)?;
        let (found, expected) = (lengths.iter().map(Lengths::rows).sum::<usize>(), study.rows().len());
        if found != expected {
            return Err(study.mismatch("the states", format!("the shards hold {found} rows, the dataset has {expected}")));
        }
        let with = read_outs.first().map_or(0, |read_out| shards.having(&moment_tensors(*read_out, layer)[0]));
        if with > 0 && with < shards.len() {
            let message = format!("{with} of {} shards hold moments in place of the states of train rows", shards.len());
            return Err(study.mismatch("the states", message));
        }
        Ok(States { study, layer, shards, lengths, moments: with > 0 })
    }

    /// Whether the states of train rows are not there, but their moments.
    pub(super) fn of_moments(&self) -> bool {
        self.moments
    }

    /// Bytes of what is read of one read-out.
    pub(super) fn bytes_per_read_out(&self, read_out: ReadOut) -> usize {
        let width = self.shards.width(&read_out.tensor(self.layer)).unwrap_or(0);
        // Moments are read, added up and spread out to a square.
        if self.moments { width * (4 * self.study.held() + 24 * width) } else { width * 4 * self.study.rows().len() }
    }

    /// The moments of train at some read-outs, the shards' added up in their order.
    pub(super) fn moments(&self, read_outs: &[ReadOut]) -> Result<Vec<Moments>, ExecuteError> {
        let names: Vec<String> = read_outs.iter().flat_map(|read_out| moment_tensors(*read_out, self.layer)).collect();
        let outputs = self.study.classes().len();
        let mut all: Vec<Option<Moments>> = vec![None; read_outs.len()];
        for found in self.shards.read_f64(&names) {
            let mut found = found?.into_iter();
            for (sum, read_out) in all.iter_mut().zip(read_outs) {
                let tensors = std::array::from_fn(|_| found.next().expect("a tensor for each name"));
                let read = Moments::from_tensors(tensors, outputs).map_err(|error| {
                    let message = format!("the moments of `{}`: {error}", read_out.tensor(self.layer));
                    self.study.mismatch("the states", message)
                })?;
                match sum {
                    Some(sum) if sum.columns() == read.columns() => sum.add(&read),
                    Some(sum) => {
                        let message = format!("moments of width {} in a shard and {} in another", sum.columns(), read.columns());
                        return Err(self.study.mismatch("the states", message));
                    }
                    None => *sum = Some(read),
                }
            }
        }
        Ok(all.into_iter().flatten().collect())
    }

    /// Which of some read-outs each row of the dataset has a state at, as indices.
    pub(super) fn reached(&self, read_outs: &[ReadOut]) -> Vec<Vec<u32>> {
        let mut all = Vec::with_capacity(self.study.rows().len());
        for lengths in &self.lengths {
            for row in 0..lengths.rows() {
                let indices = 0..read_outs.len();
                all.push(indices.filter(|at| lengths.reach(row, read_outs[*at])).map(|at| at as u32).collect());
            }
        }
        all
    }

    /// Reads the tensors of some read-outs from every shard. Rows that were skipped, or whose reply ended before the
    /// offset, are left out.
    pub(super) fn parts(&self, read_outs: &[ReadOut]) -> Result<Vec<Parts>, ExecuteError> {
        let names: Vec<String> = read_outs.iter().map(|read_out| read_out.tensor(self.layer)).collect();
        let mut all: Vec<Parts> = read_outs.iter().map(|_| Parts::default()).collect();
        let mut first = 0;
        for (found, lengths) in self.shards.read_f32(&names).zip(&self.lengths) {
            let count = lengths.rows();
            // Which rows of the tensors the shard's rows are.
            let mut stored = 0;
            let here: Vec<Option<usize>> = (first..first + count)
                .map(|row| {
                    let there = !self.moments || self.study.rows()[row].split != rows::Split::Train;
                    stored += usize::from(there);
                    there.then(|| stored - 1)
                })
                .collect();
            for (((parts, read_out), name), tensor) in all.iter_mut().zip(read_outs).zip(&names).zip(found?) {
                let (rows, width) = (tensor.rows, tensor.width);
                if rows != stored || (parts.width != 0 && width != parts.width) {
                    let message = format!("tensor `{name}` is [{rows}, {width}] in a shard of {stored} rows and width {}", parts.width);
                    return Err(self.study.mismatch("the states", message));
                }
                parts.width = width;
                for at in (0..count).filter(|at| lengths.reach(*at, *read_out)) {
                    let part = parts.of(self.study.rows()[first + at].split);
                    here[at].into_iter().for_each(|at| tensor.row(at, &mut part.x));
                    part.rows.push(first + at);
                }
            }
            first += count;
        }
        Ok(all)
    }
}
