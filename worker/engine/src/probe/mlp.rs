//! The paper's probe: a two-layer ReLU network trained with Adam under linear warm-up and cosine decay.

use super::error::ProbeError;
use super::fitted::{Fitted, ProbeKind};
use super::labels::{Labels, Targets, class_totals};
use super::matrix::Split;
use super::network::{Aims, Epochs, Network, Rows, generator};
use super::report::FitReport;
use super::standardizer::Standardizer;

/// Settings of the MLP probe.
///
/// The paper (arXiv 2510.04064) states two layers, ReLU, Adam at 1e-4, 10 % linear warm-up then cosine, and one epoch
/// over about 500k balanced rows. It doesn't state width, batch size, seed or input scaling: 256 and 64 are ours (in a
/// spec the default batch is 32), small enough to train in a fraction of a second, and inputs are standardised because
/// residual streams hold a few columns hundreds of times larger than the rest. On thousands instead of hundreds of thousands
/// of rows, one epoch at 1e-4 is far too little: raise `epochs` (with validation rows and `patience`).
#[derive(Debug, Clone, PartialEq)]
pub struct MlpSettings {
    /// Hidden units, `h`.
    pub hidden: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of all steps over which the learning rate rises linearly.
    pub warmup: f64,
    /// Passes over the training rows, each row as often as it counts.
    pub epochs: usize,
    /// Rows of a step; the last step of an epoch takes what is left.
    pub batch: usize,
    /// Epochs without a lower validation loss after which training stops; the best epoch is kept. Needs validation rows.
    pub patience: Option<usize>,
    /// Standardise the features on the training rows first.
    pub standardise: bool,
    /// Seed of the initial weights and of the order of rows.
    pub seed: u64,
}

impl Default for MlpSettings {
    fn default() -> Self {
        Self { hidden: 256, learning_rate: 1e-4, warmup: 0.1, epochs: 1, batch: 64, patience: None, standardise: true, seed: 0 }
    }
}

impl MlpSettings {
    pub(super) fn check(&self, validated: bool) -> Result<(), ProbeError> {
        let wrong = |name, value: String, need| Err(ProbeError::Setting { name, value, need });
        for (name, value) in [("hidden", self.hidden), ("epochs", self.epochs), ("batch", self.batch)] {
            if value == 0 {
                return wrong(name, "0".into(), "at least 1 is needed");
            }
        }
        if !self.learning_rate.is_finite() || self.learning_rate <= 0.0 {
            return wrong("learning-rate", self.learning_rate.to_string(), "a positive number is needed");
        }
        if !(0.0..=1.0).contains(&self.warmup) {
            return wrong("warmup", self.warmup.to_string(), "a share between 0 and 1 is needed");
        }
        if self.patience.is_some() && !validated {
            return wrong("patience", format!("{:?}", self.patience), "stopping early needs validation rows");
        }
        Ok(())
    }
}

/// Trains on features `[n, d]` and returns the probe with a report of one entry per epoch.
///
/// The loss is the log-loss of one class a row, the sum of the classes' log-losses where a row may have several, or the
/// squared error of values in units of train's deviation. Classes are balanced in the data set (or by row weights), not
/// here. Where all weights are whole numbers, an epoch goes over a row as often as its weight says, as if it stood there
/// so often (which takes as many steps); other weights scale the rows' losses. With `patience`, the epoch with the lowest validation loss is kept, else the last.
///
/// # Errors
/// Bad input or settings, a class that no training row has where a row has one class, or training that diverges.
pub fn fit(
    train: &Split<'_>,
    validation: Option<&Split<'_>>,
    outputs: usize,
    settings: &MlpSettings,
) -> Result<(Fitted, FitReport), ProbeError> {
    train.check("train", outputs)?;
    settings.check(validation.is_some())?;
    check_present(&train.targets, outputs)?;
    if let Some(split) = validation {
        split.check("validation", outputs)?;
    }
    let (n, d) = (train.x.rows(), train.x.columns());
    let standardizer = settings.standardise.then(|| Standardizer::fit(&train.x)).transpose()?;
    let standard = standardizer.as_ref().map(|s| s.apply(&train.x)).transpose()?;
    let held = validation.map(|split| Ok((standardizer.as_ref().map(|s| s.apply(&split.x)).transpose()?, split))).transpose()?;
    let x = standard.as_deref().unwrap_or(train.x.data());
    let aims = Aims::of(&train.targets, n, outputs);
    let mut rng = generator(settings.seed);
    let network = Network::drawn(&mut rng, d, settings.hidden, outputs, 0, 0);
    let head = aims.head();
    let build = |network: &Network, standardizer: Option<Standardizer>| Fitted {
        kind: ProbeKind::Mlp,
        columns: d,
        outputs,
        standardizer,
        embedding: None,
        layers: network.layers.to_vec(),
        head: head.clone(),
    };
    let loss = |network: &Network, unit: &[f64]| {
        let (rows, split) = held.as_ref()?;
        let scores = build(network, None).scores(rows.as_deref().unwrap_or(split.x.data()), split.x.rows());
        Some(head.loss(&scores, &split.targets, outputs, unit))
    };
    let epochs = Epochs::Whole { rows: aims.repeated(n), epochs: settings.epochs };
    let rows = Rows { x, d, offsets: None, aims: &aims };
    let (network, report) = network.train(&rows, &epochs, settings, rng, "mlp", loss)?;
    Ok((build(&network, standardizer), report))
}

/// Refuses a class that no training row has, where a row has one class.
pub(super) fn check_present(targets: &Targets<'_>, outputs: usize) -> Result<(), ProbeError> {
    match targets.labels {
        Labels::Single(labels) => class_totals(labels, targets.weights, outputs).map(drop),
        _ => Ok(()),
    }
}
