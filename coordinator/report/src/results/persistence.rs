//! How long the signal lasts.

use limbic_proto::axis::{Context, Layer};
use serde::Serialize;

use super::{Choice, ControlCurve, Estimate, Place, Spread};

/// Scores over layers and offsets in one context.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Grid {
    /// The context.
    pub context: Context,
    /// `[layers][offsets]`; none where nothing was measured.
    pub cells: Vec<Vec<Option<Estimate>>>,
}

/// One curve over offsets, and the decays fitted to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decay {
    /// The probe.
    pub probe: String,
    /// Whether it is the probe of offset 0 that is used at every further offset, instead of one fitted there.
    pub transferred: bool,
    /// The context.
    pub context: Context,
    /// The class that is followed; none = all of them, by the study's measure.
    pub class: Option<usize>,
    /// `(offset, value)`, offsets ascending; the mean over sampling seeds.
    pub points: Vec<(u32, Estimate)>,
    /// How far each point depends on the sampling seed, none where it doesn't; empty with fewer than two seeds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spread: Vec<Option<Spread>>,
    /// Decays towards each floor: the controls' first, the majority's last.
    pub fits: Vec<Fitted>,
}

/// A decay towards one floor.
///
/// Towards a control it is the difference of the curve and the control that decays: how much better the probe reads with
/// the prompt in the context, at the offsets at which both are measured and on the rows that both have. The control has a
/// level of its own at every one of them. At offset 0, before there is a reply, it doesn't exist: a curve that started there
/// from another floor would fall by what the reply carries within one token, whatever lasts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fitted {
    /// The context whose own level is the floor; none = the majority's level.
    pub towards: Option<Context>,
    /// The offsets that it is fitted over, ascending; time starts at the first.
    pub offsets: Vec<u32>,
    /// The floor at each of them.
    pub floor: Vec<f64>,
    /// How long the signal above it lasts.
    pub half_life: HalfLife,
    /// Whether there is a clear signal at half of the further offsets: where there is none at the first, one that comes later.
    pub later: bool,
    /// At how many of the offsets the fitted curve lies outside the interval of the signal; 0 where nothing was fitted, and
    /// without intervals.
    pub misses: usize,
    /// Groups of the rows at the offset that has fewest of them.
    pub groups: usize,
    /// Share of the signal at the first of the offsets that is left at the last.
    pub retained: Option<Estimate>,
    /// The half-life of each sampling seed's own curve, seeds ascending, without intervals; empty with fewer than two seeds,
    /// and where the mean curve has no half-life.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub of_seeds: Vec<HalfLife>,
}

/// The half-life of an exponential `floor + a·exp(-k·ln2/h)` fitted by least squares.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum HalfLife {
    /// Reached within the measured offsets: tokens, with an interval whose upper end may lie beyond (none).
    Reached {
        /// Tokens.
        tokens: f64,
        /// Tokens from the first offset to the last.
        within: u32,
        /// Lower end, 0 where it is shorter than the offsets tell; none where no interval was computed.
        lo: Option<f64>,
        /// Upper end; none = beyond the measured offsets (or no interval).
        hi: Option<f64>,
    },
    /// Shorter than the offsets tell: next to nothing is left at the second of them.
    Sooner {
        /// Tokens that it is shorter than.
        than: f64,
        /// Tokens from the first offset to the last.
        within: u32,
        /// Upper end of the interval; none = no interval, or beyond the measured offsets.
        hi: Option<f64>,
    },
    /// The fitted half-life is longer than the offsets reach.
    NotReached {
        /// Tokens from the first offset to the last.
        within: u32,
        /// Lower end of the interval; none if that too lies beyond.
        lo: Option<f64>,
    },
    /// No clear signal above the floor at the first offset, which could decay.
    NoSignal,
    /// Fewer than three offsets.
    TooFew,
    /// Too few rows to tell whether there is a signal, such as a label of fewer than ten.
    TooFewRows,
}

/// Scores over layers and offsets of one model under one condition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Persistence {
    /// Whose.
    pub place: Place,
    /// Ascending.
    pub layers: Vec<Layer>,
    /// Ascending.
    pub offsets: Vec<u32>,
    /// The main probe, fitted at every offset: full context first.
    pub grids: Vec<Grid>,
    /// The layer of the decay curves: best on average over the offsets that every layer has.
    pub layer: Layer,
    /// What it was chosen by.
    pub chosen: Choice,
    /// Every probe, fitted at each offset or carried over from offset 0, in every context; over all classes and per class.
    pub decays: Vec<Decay>,
    /// The controls of the main probe at that layer, one point per offset, in full context.
    pub controls: Vec<ControlCurve>,
    /// The classes of the longest and of the shortest half-life by the main probe in full context, where two have one.
    pub extremes: Option<Extremes>,
}

/// Two classes that lie farthest apart in how long they last.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Extremes {
    /// Index of the class of the longest half-life.
    pub longest: usize,
    /// Index of that of the shortest.
    pub shortest: usize,
    /// The p-value of "they last equally long", over all pairs of classes at once; none where nothing is tested.
    pub p: Option<f64>,
}

impl HalfLife {
    /// Whether there is a signal that lasts for some time, however short or long.
    pub fn lasts(&self) -> bool {
        matches!(self, HalfLife::Reached { .. } | HalfLife::Sooner { .. } | HalfLife::NotReached { .. })
    }
}

impl Fitted {
    /// Whether the signal does something else than to decay exponentially, so that its half-life says little: the fitted curve
    /// misses a quarter of the intervals, where one in twenty would be chance.
    pub fn poor(&self) -> bool {
        self.misses > 1 && self.misses * 4 >= self.offsets.len()
    }
}

impl Persistence {
    /// The last offset that was measured.
    pub fn within(&self) -> u32 {
        self.offsets.last().copied().unwrap_or(0)
    }

    /// The curve of a probe fitted at each offset.
    pub fn decay(&self, probe: &str, context: Context, class: Option<usize>) -> Option<&Decay> {
        self.decays.iter().find(|d| d.probe == probe && !d.transferred && d.context == context && d.class == class)
    }

    /// The last offset beyond the prompt at which the probe of offset 0 stands beside one fitted there, in full context.
    pub fn carried(&self, probe: &str) -> Option<u32> {
        let ours = |d: &&Decay| d.transferred && d.probe == probe && d.context == Context::Full && d.class.is_none();
        let (moved, home) = (self.decays.iter().find(ours)?, self.decay(probe, Context::Full, None)?);
        moved.points.iter().rev().map(|p| p.0).find(|k| *k > 0 && home.points.iter().any(|p| p.0 == *k))
    }

    /// What classes decay towards where they stand beside one another: the same for all, what the whole curve does.
    pub fn towards(&self, probe: &str) -> Option<Context> {
        self.decay(probe, Context::Full, None)?.main()?.towards
    }

    /// The decay of a class that is comparable with the others'; none if its control has too few offsets for one. A class that begins
    /// no better than without any signal has none to compare.
    pub fn of_class<'a>(&self, class: &'a Decay) -> Option<&'a Fitted> {
        class.signalless().or_else(|| class.to(self.towards(&class.probe)))
    }
}

impl Decay {
    /// The decay towards the first control's floor that has the offsets for one, or the majority's where none has, where it
    /// begins no better than the majority, so that there is no signal, whatever it leads over, and where the lead is lost to the
    /// control's rise, which is no loss of the signal.
    pub fn main(&self) -> Option<&Fitted> {
        let first = self.fits.iter().find(|f| f.half_life != HalfLife::TooFew).or(self.fits.first());
        self.signalless().or_else(|| first.filter(|f| !self.overtaken(f))).or_else(|| self.to_majority())
    }

    /// Its decays, without leads over controls where there is no signal that could lead.
    pub fn shown(&self) -> impl Iterator<Item = &Fitted> {
        let lead = self.signalless().is_none();
        self.fits.iter().filter(move |f| lead || f.towards.is_none())
    }

    /// The decay towards the majority's floor, where there is no signal above it.
    fn signalless(&self) -> Option<&Fitted> {
        self.to_majority().filter(|f| f.half_life == HalfLife::NoSignal)
    }

    /// The decay towards a control's floor, or the majority's.
    pub fn to(&self, towards: Option<Context>) -> Option<&Fitted> {
        self.fits.iter().find(|f| f.towards == towards)
    }

    /// Whether a control's rise takes more of the lead over it than the curve's own fall, from the first of the fit's offsets to the last.
    pub fn overtaken(&self, fit: &Fitted) -> bool {
        let at = |k: Option<&u32>| self.points.iter().find(|p| Some(&p.0) == k).map(|p| p.1.value);
        let (curve, floor) = (at(fit.offsets.first()).zip(at(fit.offsets.last())), fit.floor.first().zip(fit.floor.last()));
        let (Some((first, last)), Some((from, to))) = (curve, floor) else { return false };
        fit.towards.is_some() && to - from > (first - last).max(0.0)
    }

    /// Its points beyond the prompt with their spread over sampling seeds.
    pub fn spreads(&self) -> impl Iterator<Item = (u32, Spread)> + '_ {
        self.points.iter().zip(&self.spread).filter_map(|(point, spread)| Some((point.0, (*spread)?)))
    }

    /// The decay towards the majority's floor.
    pub fn to_majority(&self) -> Option<&Fitted> {
        self.to(None)
    }
}
