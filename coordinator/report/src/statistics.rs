//! Statistics: metrics, the grouped bootstrap that all intervals come from, paired comparisons, trends and decays.
//!
//! Group weights of every resample are drawn once per study ([`resamples::Resamples`]), so all intervals and
//! differences are paired: each resample sees the same test rows in every prediction.

pub mod calibration;
pub mod comparison;
pub mod decay;
pub mod metrics;
pub mod ranking;
pub mod resamples;
pub mod tally;
pub mod trend;
