//! The offset-aware probe: one network for all offsets of a pooling and context, which is told the offset that it reads at.

use std::collections::BTreeMap;

use limbic_engine::probe::{Linear, Matrix, OffsetSplit, ProbeError, Split, Standardizer, control, offset_mlp};
use limbic_proto::axis::ReadOut;
use limbic_proto::rows::Split as Of;
use limbic_proto::spec::{Control, OffsetMlpSpec, ProbeSpec};
use limbic_proto::unit::{FitName, FitUnit};
use rayon::prelude::*;

use super::kept::Kept;
use super::parts::{Answers, Part, States, shuffled};
use super::probe::{absence, mlp_settings, names};
use super::results::{Fit, record};
use super::{Study, Tally};
use crate::execute::{Advice, ExecuteError};

/// Fits the probe and its controls on the read-outs of every pooling and context.
pub(super) fn fits(
    study: &Study,
    spec: &FitUnit,
    probe: &OffsetMlpSpec,
    states: &States<'_>,
    kept: &Kept<'_>,
    tally: &Tally<'_>,
) -> Result<Vec<Fit>, ExecuteError> {
    let mut groups: BTreeMap<_, Vec<ReadOut>> = BTreeMap::new();
    spec.read_outs.iter().for_each(|read_out| groups.entry((read_out.pooling, read_out.context)).or_default().push(*read_out));
    let mut all = Vec::new();
    for (of, read_outs) in groups {
        tally.check()?;
        let count = read_outs.len();
        let fits = kept.or((of, "offset-mlp"), || Group { study, spec, probe, read_outs }.fits(states, tally))?;
        (0..count).for_each(|_| tally.step());
        all.extend(fits);
    }
    Ok(all)
}

/// The read-outs that one network reads at.
struct Group<'a> {
    study: &'a Study,
    spec: &'a FitUnit,
    probe: &'a OffsetMlpSpec,
    read_outs: Vec<ReadOut>,
}

/// States at several offsets, those of one offset together.
#[derive(Default)]
struct Gathered {
    /// `[m, d]`.
    x: Vec<f32>,
    /// The rows of the dataset that they are of.
    rows: Vec<usize>,
    /// The index of each one's offset.
    offsets: Vec<u32>,
}

impl Gathered {
    fn push(&mut self, part: &Part, place: usize, width: usize, offset: usize) {
        self.x.extend_from_slice(&part.x[place * width..][..width]);
        self.rows.push(part.rows[place]);
        self.offsets.push(offset as u32);
    }

    /// The states at one offset, and whose they are.
    fn at(&self, offset: usize, width: usize) -> (Vec<f32>, Vec<usize>) {
        let places: Vec<usize> = (0..self.rows.len()).filter(|place| self.offsets[*place] as usize == offset).collect();
        let x = places.iter().flat_map(|place| &self.x[place * width..][..width]).copied().collect();
        (x, places.iter().map(|place| self.rows[*place]).collect())
    }

    fn matrix(&self, width: usize) -> Result<Matrix<'_>, ProbeError> {
        Matrix::new(&self.x, self.rows.len(), width)
    }
}

/// Which fits draw the same: those of a seed that go over each row equally often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Drawing {
    seed: u64,
    /// Whether rows count as often as others do: those whose labels they are given.
    shuffled: bool,
}

/// What all fits of a group read.
struct Data {
    width: usize,
    /// The rows of the dataset that reach an offset.
    train_rows: Vec<usize>,
    validation_rows: Vec<usize>,
    /// The states that draws ask for, and for each epoch which of them it goes over.
    train: BTreeMap<Drawing, (Gathered, Vec<Vec<usize>>)>,
    validation: Gathered,
    /// One for each read-out.
    test: Vec<Part>,
}

impl Group<'_> {
    fn fits(&self, states: &States<'_>, tally: &Tally<'_>) -> Result<Vec<Fit>, ExecuteError> {
        let spec = ProbeSpec::OffsetMlp(self.probe.clone());
        let names = names(self.spec, &spec, self.read_outs[0]);
        let data = self.gather(states, &names)?;
        let known = Answers::of(self.study, data.train_rows.iter().copied());
        let test = data.test.iter().map(Part::len).max().unwrap_or(0);
        let sizes = (data.train_rows.len(), data.validation_rows.len(), test);
        let reason = absence(self.study, &known, sizes, &spec);
        let each = names.into_par_iter().map(|name| {
            tally.check()?;
            let fits = match &reason {
                Some(reason) => self.absent(&name, &data, reason),
                None => match self.fit(&name, &data) {
                    Ok(fits) => fits,
                    Err(error @ ProbeError::Diverged { .. }) => self.absent(&name, &data, &error.to_string()),
                    Err(error) => {
                        let what = format!("fitting {}", name.tensor());
                        return Err(ExecuteError::Engine { what, message: error.to_string(), advice: Advice::Reject });
                    }
                },
            };
            Ok(fits)
        });
        let fits: Vec<Vec<Fit>> = each.collect::<Result<_, ExecuteError>>()?;
        Ok(fits.into_iter().flatten().collect())
    }

    /// The name of a fit at another read-out.
    fn named(&self, name: &FitName, at: usize) -> FitName {
        FitName { read_out: Some(self.read_outs[at]), ..name.clone() }
    }

    fn absent(&self, name: &FitName, data: &Data, reason: &str) -> Vec<Fit> {
        let sizes = (data.train_rows.len(), data.validation_rows.len(), 0);
        (0..self.read_outs.len()).map(|at| Fit::absent(self.named(name, at), sizes, reason.to_owned())).collect()
    }

    /// Reads every read-out once and keeps what some fit needs: of train what is drawn, of the other splits everything.
    fn gather(&self, states: &States<'_>, names: &[FitName]) -> Result<Data, ExecuteError> {
        let reached = states.reached(&self.read_outs);
        let of = |split: Of| -> Vec<usize> {
            (0..reached.len()).filter(|row| self.study.rows()[*row].split == split && !reached[*row].is_empty()).collect()
        };
        let (train_rows, validation_rows) = (of(Of::Train), of(Of::Validation));
        let reach: Vec<Vec<u32>> = train_rows.iter().map(|row| reached[*row].clone()).collect();
        // For each epoch the (offset, train row) pairs that it goes over.
        let mut draws: BTreeMap<Drawing, Vec<Vec<(u32, usize)>>> = BTreeMap::new();
        for name in names {
            draws.entry(self.drawing(name)).or_insert_with_key(|drawing| self.draw(*drawing, &train_rows, &reach));
        }
        // The place of each pair among those that are gathered.
        let mut places: BTreeMap<Drawing, BTreeMap<(u32, usize), usize>> = BTreeMap::new();
        for (drawing, epochs) in &draws {
            let mut wanted: BTreeMap<(u32, usize), usize> = epochs.iter().flatten().map(|pair| (*pair, 0)).collect();
            wanted.values_mut().enumerate().for_each(|(at, place)| *place = at);
            places.insert(*drawing, wanted);
        }
        let mut train: BTreeMap<Drawing, Gathered> = places.keys().map(|drawing| (*drawing, Gathered::default())).collect();
        let (mut validation, mut test, mut width) = (Gathered::default(), Vec::new(), 0);
        for (at, read_out) in self.read_outs.iter().enumerate() {
            let parts = states.parts(std::slice::from_ref(read_out))?.remove(0);
            width = parts.width;
            for (drawing, wanted) in &places {
                let gathered = train.get_mut(drawing).expect("one for each");
                for (place, row) in parts.train.rows.iter().enumerate() {
                    if wanted.contains_key(&(at as u32, *row)) {
                        gathered.push(&parts.train, place, width, at);
                    }
                }
            }
            (0..parts.validation.len()).for_each(|place| validation.push(&parts.validation, place, width, at));
            test.push(parts.test);
        }
        let lists = |(drawing, gathered): (Drawing, Gathered)| {
            let epochs = draws[&drawing].iter().map(|pairs| pairs.iter().map(|pair| places[&drawing][pair]).collect()).collect();
            (drawing, (gathered, epochs))
        };
        let train = train.into_iter().map(lists).collect();
        Ok(Data { width, train_rows, validation_rows, train, validation, test })
    }

    /// What a fit draws. Where all rows count once, shuffled labels change no draw.
    fn drawing(&self, name: &FitName) -> Drawing {
        let shuffled = name.control == Some(Control::ShuffledLabels) && self.study.rows.repeat();
        Drawing { seed: name.seed, shuffled }
    }

    /// For each epoch the offsets (indices) and rows of the dataset that it goes over: each row as often as it counts, every
    /// time at an offset drawn for it.
    fn draw(&self, drawing: Drawing, rows: &[usize], reach: &[Vec<u32>]) -> Vec<Vec<(u32, usize)>> {
        let given = if drawing.shuffled { shuffled(self.study, rows, drawing.seed) } else { rows.to_vec() };
        let counts: Vec<u32> = given.iter().map(|row| self.study.rows()[*row].weight).collect();
        let mut all = vec![Vec::new(); self.probe.mlp.epochs];
        for time in 0..counts.iter().copied().max().unwrap_or(0) {
            let drawn = offset_mlp::draws(reach, self.probe.mlp.epochs, drawing.seed, u64::from(time));
            for (pairs, offsets) in all.iter_mut().zip(drawn) {
                let counting = offsets.into_iter().zip(rows).zip(&counts).filter(|(_, count)| **count > time);
                pairs.extend(counting.map(|((offset, row), _)| (offset, *row)));
            }
        }
        all
    }

    /// Trains the network of one name and predicts the test rows at every read-out.
    fn fit(&self, name: &FitName, data: &Data) -> Result<Vec<Fit>, ProbeError> {
        let (gathered, epochs) = &data.train[&self.drawing(name)];
        let (outputs, offsets) = (self.study.classes().len(), self.read_outs.len());
        let view = match name.control {
            Some(Control::RandomDirection) => View::random(&gathered.matrix(data.width)?, outputs, name.seed)?,
            _ => View::Whole,
        };
        let width = view.width(data.width);
        let answers = |all: &[usize], rows: &[usize]| match name.control {
            Some(Control::ShuffledLabels) => {
                let from: BTreeMap<usize, usize> = all.iter().copied().zip(shuffled(self.study, all, name.seed)).collect();
                Answers::of(self.study, rows.iter().map(|row| from[row]))
            }
            _ => Answers::of(self.study, rows.iter().copied()),
        };
        let known = answers(&data.train_rows, &gathered.rows);
        let held = answers(&data.validation_rows, &data.validation.rows);
        let (x, held_x) = (view.of(&gathered.x, data.width)?, view.of(&data.validation.x, data.width)?);
        let split =
            |x, rows: usize, answers| Ok::<_, ProbeError>(Split { x: Matrix::new(x, rows, width)?, targets: Answers::targets(answers) });
        let train = OffsetSplit { rows: split(&x, gathered.rows.len(), &known)?, offsets: &gathered.offsets };
        let validation = match data.validation.rows.len() {
            0 => None,
            rows => Some(OffsetSplit { rows: split(&held_x, rows, &held)?, offsets: &data.validation.offsets }),
        };
        let settings = mlp_settings(&self.probe.mlp, name.seed);
        let (probe, report) = offset_mlp::fit(&train, epochs, validation.as_ref(), offsets, outputs, &settings, self.probe.embedding)?;
        let sizes = |test: &Part| (data.train_rows.len(), data.validation_rows.len(), test.len());
        let each = data.test.iter().enumerate().map(|(at, test)| {
            let name = self.named(name, at);
            if test.is_empty() {
                return Ok(Fit::absent(name, sizes(test), "no test row reaches this read-out".to_owned()));
            }
            let fitted = probe.at(at);
            let predictions = fitted.predict(&Matrix::new(&view.of(&test.x, data.width)?, test.len(), width)?)?;
            let own = name.control.is_none();
            let (x, rows) = data.validation.at(at, data.width);
            let validation = match own && !rows.is_empty() {
                true => Some(fitted.predict(&Matrix::new(&x, rows.len(), data.width)?)?),
                false => None,
            };
            let fit = Fit::done(record(name, &report, sizes(test), true), test, &predictions, outputs, own.then_some(fitted));
            Ok(match validation {
                Some(validation) => fit.measured(&validation, &Answers::of(self.study, rows), outputs),
                None => fit,
            })
        });
        each.collect()
    }
}

/// What a network sees of a state.
enum View {
    Whole,
    /// Its standardised self along random directions.
    Along(Standardizer, Linear),
}

impl View {
    fn random(train: &Matrix<'_>, outputs: usize, seed: u64) -> Result<View, ProbeError> {
        Ok(View::Along(Standardizer::fit(train)?, control::random_directions(train.columns(), outputs, seed)))
    }

    fn width(&self, whole: usize) -> usize {
        match self {
            View::Whole => whole,
            View::Along(_, directions) => directions.bias.len(),
        }
    }

    fn of<'x>(&self, x: &'x [f32], width: usize) -> Result<std::borrow::Cow<'x, [f32]>, ProbeError> {
        let View::Along(standardizer, directions) = self else { return Ok(x.into()) };
        let rows = x.len() / width;
        let standard = standardizer.apply(&Matrix::new(x, rows, width)?)?;
        Ok(control::projected(&Matrix::new(&standard, rows, width)?, directions).into())
    }
}
