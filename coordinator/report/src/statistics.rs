//! Statistics: metrics, the grouped bootstrap that all intervals come from, paired comparisons, trends and decays; and
//! what describes geometry.
//!
//! Group weights of every resample are drawn once per study ([`resamples::Resamples`]), so all intervals and
//! differences are paired: each resample sees the same test rows in every prediction.

pub mod agreement;
pub mod best;
pub mod calibration;
pub mod comparison;
pub mod decay;
pub mod density;
pub mod extremes;
pub mod linkage;
pub mod metrics;
pub mod moments;
pub mod normal;
pub mod power;
pub mod principal;
pub mod ranking;
pub mod resamples;
pub mod several;
pub mod similarity;
pub mod student;
pub mod tally;
pub mod trend;
