//! The states of one read-out, gathered from all shards and parted by the rows' splits.

use limbic_engine::probe::{Labels, Matrix, ProbeError, Split, Standardizer, Targets, control};
use limbic_proto::axis::{Context, Layer, ReadOut};
use limbic_proto::key::UnitKey;
use limbic_proto::rows::{self, Scheme};

use super::Study;
use crate::execute::ExecuteError;
use crate::inputs::{Inputs, Shard};

/// What some rows are labelled with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answers {
    scheme: Scheme,
    classes: Vec<u32>,
    values: Vec<f32>,
    weights: Vec<f32>,
}

impl Answers {
    /// Those of rows of the dataset.
    pub(super) fn of(study: &Study, rows: impl IntoIterator<Item = usize>) -> Answers {
        let mut answers = Answers { scheme: study.rows.scheme, classes: Vec::new(), values: Vec::new(), weights: Vec::new() };
        for row in rows.into_iter().map(|row| &study.rows()[row]) {
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

    /// Whether a row that counts has the class.
    pub(super) fn has(&self, class: usize) -> bool {
        self.classes.iter().zip(&self.weights).any(|(y, weight)| *y as usize == class && *weight > 0.0)
    }

    pub(super) fn targets(&self) -> Targets<'_> {
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
    /// `[rows, d]`.
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
        for part in [&mut self.train, &mut self.validation, &mut self.test] {
            part.standardise(&standardizer)?;
        }
        Ok(standardizer)
    }
}

/// How long the prompts of a shard's rows are, and what follows them.
struct Lengths {
    prompts: Vec<i64>,
    replies: Vec<(Context, Vec<i64>)>,
}

impl Lengths {
    /// Whether a row was not skipped, and what follows its prompt goes as far as the offset.
    fn reach(&self, row: usize, read_out: ReadOut) -> bool {
        let follows = |(context, lengths): &(Context, Vec<i64>)| *context == read_out.context && lengths[row] >= i64::from(read_out.offset);
        self.prompts[row] > 0 && (read_out.offset == 0 || self.replies.iter().any(follows))
    }
}

/// The shards of one layer.
pub(super) struct States<'a> {
    study: &'a Study,
    layer: Layer,
    shards: Vec<(Shard<'a>, Lengths)>,
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
        let mut contexts: Vec<Context> = read_outs.iter().filter(|r| r.offset > 0).map(|r| r.context).collect();
        contexts.sort_unstable();
        contexts.dedup();
        let mut shards = Vec::new();
        for shard in inputs.shards(extracts)? {
            let numbers = |name: &str| -> Result<Vec<i64>, ExecuteError> {
                let mut numbers = Vec::new();
                shard.read_i64(name, &mut numbers)?;
                Ok(numbers)
            };
            let prompts = numbers("prompt_tokens")?;
            let replies =
                contexts.iter().map(|context| Ok((*context, numbers(context.lengths())?))).collect::<Result<Vec<_>, ExecuteError>>()?;
            if let Some((context, lengths)) = replies.iter().find(|(_, lengths)| lengths.len() != prompts.len()) {
                let message = format!("a shard has {} prompts and {} `{}`", prompts.len(), lengths.len(), context.lengths());
                return Err(study.mismatch("the states", message));
            }
            shards.push((shard, Lengths { prompts, replies }));
        }
        let (found, expected) = (shards.iter().map(|(_, lengths)| lengths.prompts.len()).sum::<usize>(), study.rows().len());
        if found != expected {
            return Err(study.mismatch("the states", format!("the shards hold {found} rows, the dataset has {expected}")));
        }
        Ok(States { study, layer, shards })
    }

    /// Bytes of one read-out's states.
    pub(super) fn bytes_per_read_out(&self, read_out: ReadOut) -> usize {
        let width = self.shards.first().and_then(|(shard, _)| shard.width(&read_out.tensor(self.layer)));
        width.unwrap_or(0) * 4 * self.study.rows().len()
    }

    /// Which of some read-outs each row of the dataset has a state at, as indices.
    pub(super) fn reached(&self, read_outs: &[ReadOut]) -> Vec<Vec<u32>> {
        let mut all = Vec::with_capacity(self.study.rows().len());
        for (_, lengths) in &self.shards {
            for row in 0..lengths.prompts.len() {
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
        for (shard, lengths) in &self.shards {
            let found = shard.read_f32(&names)?;
            let count = lengths.prompts.len();
            for (((parts, read_out), name), tensor) in all.iter_mut().zip(read_outs).zip(&names).zip(found) {
                let (rows, width) = (tensor.rows, tensor.width);
                if rows != count || (parts.width != 0 && width != parts.width) {
                    let message = format!("tensor `{name}` is [{rows}, {width}] in a shard of {count} rows and width {}", parts.width);
                    return Err(self.study.mismatch("the states", message));
                }
                parts.width = width;
                for at in (0..count).filter(|at| lengths.reach(*at, *read_out)) {
                    let part = parts.of(self.study.rows()[first + at].split);
                    tensor.row(at, &mut part.x);
                    part.rows.push(first + at);
                }
            }
            first += count;
        }
        Ok(all)
    }
}
