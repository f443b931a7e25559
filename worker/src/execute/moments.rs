//! The moments of an extract unit's train rows, gathered block by block, so that no more of their states is held than a block's.

use limbic_engine::probe::{Matrix, Moments, Split};
use limbic_engine::{Extraction, Request};
use limbic_proto::rows;

use super::fit::Answers;
use super::{Advice, ExecuteError, UnitRows};
use crate::tensors::TensorFile;

/// What is known so far of a unit's train rows, and where the states of its other rows go.
pub(super) struct Gathered<'a> {
    rows: &'a UnitRows,
    /// The unit's row of every prompt.
    of_prompts: &'a [usize],
    /// The place of each of the unit's rows among those whose states are stored; none of train rows.
    places: Vec<Option<usize>>,
    /// Rows whose states are stored.
    held: usize,
    /// In the order of an extraction's states.
    each: Vec<Moments>,
}

impl<'a> Gathered<'a> {
    /// Nothing yet of the unit's rows, which have prompts as `of_prompts` says, in states of a width, for a worker that has so many bytes
    /// for them (0 if unknown).
    ///
    /// # Errors
    /// The moments of every layer and read-out take more, and the passes would be for nothing.
    pub(super) fn new(
        rows: &'a UnitRows,
        of_prompts: &'a [usize],
        request: &Request,
        width: usize,
        memory: u64,
    ) -> Result<Gathered<'a>, ExecuteError> {
        let (layers, read_outs, outputs) = (request.layers.len(), request.read_outs.len(), rows.all.classes.len());
        let bytes = Moments::bytes(width, outputs).saturating_mul((layers * read_outs) as u64);
        if memory > 0 && bytes > memory {
            let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
            // Tried again, the unit would be split in the end, and the moments of its halves are as large.
            return Err(ExecuteError::Engine {
                what: format!("gathering moments of {layers} layers at {read_outs} read-outs, {width} columns wide"),
                message: format!(
                    "they take {:.2} GiB, and this worker has {:.2} for them; sweep fewer layers or offsets at a time, keep states \
                     (`execution.activations`), or run fewer workers on this computer, and try again",
                    gib(bytes),
                    gib(memory)
                ),
                advice: Advice::Reject,
            });
        }
        let mut held = 0;
        let mut place = |row: &rows::Row| {
            (row.split != rows::Split::Train).then(|| {
                held += 1;
                held - 1
            })
        };
        let places = rows.slice().iter().map(&mut place).collect();
        let each = vec![Moments::none(width, outputs); layers * read_outs];
        Ok(Gathered { rows, of_prompts, places, held, each })
    }

    /// How many rows' states are stored.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Where a prompt's state is stored among those that are.
    pub(super) fn place(&self, prompt: usize) -> Option<usize> {
        self.places[self.of_prompts[prompt]]
    }

    /// Adds the train rows of a block of prompts, each at the read-outs that it has a state at.
    ///
    /// # Errors
    /// Their labels are none of the dataset's scheme.
    pub(super) fn add(&mut self, found: &Extraction, prompts: &[usize]) -> Result<(), ExecuteError> {
        let here = |at: &usize| self.place(prompts[*at]).is_none() && found.bad.binary_search(at).is_err();
        let train: Vec<usize> = (0..prompts.len()).filter(here).collect();
        let (scheme, outputs, width) = (self.rows.all.scheme, self.rows.all.classes.len(), found.width);
        for (states, moments) in found.states.iter().zip(&mut self.each) {
            let reached: Vec<usize> = train.iter().copied().filter(|at| found.has(*at, states.read_out)).collect();
            if reached.is_empty() {
                continue;
            }
            let x: Vec<f32> = reached.iter().flat_map(|at| &states.values[at * width..][..width]).copied().collect();
            let rows = reached.iter().map(|at| &self.rows.slice()[self.of_prompts[prompts[*at]]]);
            let answers = Answers::over(scheme, rows);
            let split = Matrix::new(&x, reached.len(), width).map(|x| Split { x, targets: answers.targets() });
            let block = split.and_then(|split| Moments::of(&split, outputs)).map_err(|error| ExecuteError::Engine {
                what: format!("the moments of {}", states.read_out.tensor(states.layer)),
                message: error.to_string(),
                advice: Advice::Reject,
            })?;
            moments.add(&block);
        }
        Ok(())
    }

    /// Writes the moments beside the tensors of those names, in the order of an extraction's states.
    pub(super) fn write(self, names: &[String], file: &mut TensorFile) {
        for (name, moments) in names.iter().zip(self.each) {
            for (part, shape, numbers) in moments.into_tensors() {
                file.f64(format!("{name}.{part}"), shape, numbers);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limbic_proto::axis::{Layer, ReadOut};
    use std::sync::Arc;

    #[test]
    fn moments_that_memory_does_not_hold_are_refused_for_good() {
        let all = rows::Rows { scheme: rows::Scheme::Single, classes: vec!["joy".into(), "fear".into()], rows: Vec::new() };
        let unit = UnitRows { all: Arc::new(all), whole: 0..0, range: 0..0 };
        let request = Request::new(vec![Layer::Block(1), Layer::Final], vec![ReadOut::LAST]);
        let needed = 2 * Moments::bytes(64, 2);
        assert!(Gathered::new(&unit, &[], &request, 64, needed).is_ok());
        assert!(Gathered::new(&unit, &[], &request, 64, 0).is_ok(), "nothing is known of the memory");
        let refused = Gathered::new(&unit, &[], &request, 64, needed - 1).err().expect("too little memory");
        assert!(refused.to_string().contains("2 layers at 1 read-outs, 64 columns wide"), "{refused}");
        assert_eq!(refused.advice(), Advice::Reject);
    }
}
