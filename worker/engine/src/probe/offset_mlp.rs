//! The paper's offset-aware probe: one network for all offsets, which is told the offset that it reads at.

use super::control::shuffle;
use super::error::ProbeError;
use super::fitted::{Fitted, ProbeKind};
use super::matrix::Split;
use super::mlp::{MlpSettings, check_present};
use super::network::{Aims, Epochs, Network, Rows, generator};
use super::report::FitReport;
use super::standardizer::Standardizer;

/// Rows read at an offset each.
#[derive(Debug, Clone, Copy)]
pub struct OffsetSplit<'a> {
    /// States `[m, d]` with labels. A row of the data set may occur at several offsets.
    pub rows: Split<'a>,
    /// Which offset each state was read at, `[m]`, an index below the number of offsets.
    pub offsets: &'a [u32],
}

/// A fitted offset-aware probe.
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetProbe {
    /// The network without an offset.
    network: Fitted,
    /// The learned vector of each offset.
    embeddings: Vec<Vec<f32>>,
}

impl OffsetProbe {
    /// The probe as it reads at an offset: the offset's vector is appended to each standardised state.
    pub fn at(&self, offset: usize) -> Fitted {
        Fitted { embedding: Some(self.embeddings[offset].clone()), ..self.network.clone() }
    }
}

/// For each epoch the offset that each row is trained at, drawn from those that it reaches (indices, at least one a row). A
/// row that an epoch goes over several times is drawn an offset for each time: `time` counts them from 0.
pub fn draws(reached: &[Vec<u32>], epochs: usize, seed: u64, time: u64) -> Vec<Vec<u32>> {
    let mut rng = generator(seed ^ 0x6f66_6673_6574_7321);
    rng.set_stream(time);
    let draw = |reached: &Vec<u32>, rng: &mut _| {
        // The first of a shuffled list is a fair draw.
        let mut order = reached.clone();
        shuffle(rng, &mut order);
        order[0]
    };
    (0..epochs).map(|_| reached.iter().map(|reached| draw(reached, &mut rng)).collect()).collect()
}

/// Trains on states at random offsets: `epochs` lists the rows of `train` that each epoch goes over, one for each row of the
/// data set, at the offset that was drawn for it ([`draws`]). Where all weights are whole numbers, a row of the data set is
/// listed as often as its weight says, and each counts 1; other weights scale the rows' losses.
///
/// A state is standardised over all rows of `train` (if the settings say so), and a learned vector of `embedding` numbers for
/// its offset appended; the rest is as of [`super::mlp::fit`]. The validation loss is over all rows of `validation`.
///
/// # Errors
/// As [`super::mlp::fit`].
pub fn fit(
    train: &OffsetSplit<'_>,
    epochs: &[Vec<usize>],
    validation: Option<&OffsetSplit<'_>>,
    offsets: usize,
    outputs: usize,
    settings: &MlpSettings,
    embedding: usize,
) -> Result<(OffsetProbe, FitReport), ProbeError> {
    let Split { x, targets } = train.rows;
    train.rows.check("train", outputs)?;
    settings.check(validation.is_some())?;
    check_present(&targets, outputs)?;
    if embedding == 0 {
        return Err(ProbeError::Setting { name: "embedding", value: "0".to_owned(), need: "at least 1 is needed" });
    }
    for (name, split) in [("train", Some(train)), ("validation", validation)] {
        let Some(split) = split else { continue };
        split.rows.check(name, outputs)?;
        if split.offsets.len() != split.rows.x.rows() {
            return Err(ProbeError::Shape { what: "offsets", expected: split.rows.x.rows(), found: split.offsets.len() });
        }
        if let Some(&offset) = split.offsets.iter().find(|o| **o as usize >= offsets) {
            return Err(ProbeError::Shape { what: "offsets known", expected: offset as usize + 1, found: offsets });
        }
    }
    let d = x.columns();
    let standardizer = settings.standardise.then(|| Standardizer::fit(&x)).transpose()?;
    let standard = standardizer.as_ref().map(|s| s.apply(&x)).transpose()?;
    let held = validation.map(|split| Ok((standardizer.as_ref().map(|s| s.apply(&split.rows.x)).transpose()?, split))).transpose()?;
    let aims = Aims::of(&targets, x.rows(), outputs);
    let mut rng = generator(settings.seed);
    let network = Network::drawn(&mut rng, d, settings.hidden, outputs, offsets, embedding);
    let head = aims.head();
    let build = |network: &Network, standardizer: Option<Standardizer>| {
        let table = network.table.as_ref().expect("it was drawn with one");
        let network = Fitted {
            kind: ProbeKind::OffsetMlp,
            columns: d,
            outputs,
            standardizer,
            embedding: None,
            layers: network.layers.to_vec(),
            head: head.clone(),
        };
        OffsetProbe { network, embeddings: table.weight.chunks_exact(embedding).map(<[f32]>::to_vec).collect() }
    };
    let loss = |network: &Network, unit: &[f64]| {
        let (rows, split) = held.as_ref()?;
        let rows = rows.as_deref().unwrap_or(split.rows.x.data());
        let probe = build(network, None);
        // Rows of one offset stand together, so each stretch is one pass.
        let mut scores = Vec::with_capacity(split.offsets.len() * outputs);
        let mut first = 0;
        for stretch in split.offsets.chunk_by(|a, b| a == b) {
            let end = first + stretch.len();
            scores.extend(probe.at(stretch[0] as usize).scores(&rows[first * d..end * d], stretch.len()));
            first = end;
        }
        Some(head.loss(&scores, &split.rows.targets, outputs, unit))
    };
    let rows = Rows { x: standard.as_deref().unwrap_or(x.data()), d, offsets: Some(train.offsets), aims: &aims };
    let (network, report) = network.train(&rows, &Epochs::Listed(epochs), settings, rng, "offset-mlp", loss)?;
    Ok((build(&network, standardizer), report))
}
