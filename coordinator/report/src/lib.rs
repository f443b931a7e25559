//! Results in; statistics, tables, plots and pages out. Pure: no network, no clock, no files; the same study gives
//! the same bytes.
//!
//! [`evaluate`] turns a [`Study`] into [`Results`] (scores of every prediction with intervals, and the summaries),
//! [`files`] turns both into the report's files.

mod results;
mod study;

pub use limbic_proto::status::Quarantined;
pub use results::{
    Comparison, ConditionResult, Cost, Decay, DepthCurve, DepthPoint, Estimate, HalfLife, Line, Metric, Peak, Persistence, Place, Results,
    ScaleRow, Scores, Trend,
};
pub use study::{ConditionEntry, ModelEntry, Prediction, ReportError, Run, Study, TestRow};

/// One file of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative path with `/`, such as `figures/depth.svg`.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Scores every prediction and sums them up.
pub fn evaluate(_study: &Study) -> Results {
    Results::default()
}

/// The report's files: `report.html`, `report.md`, `summary.json`, `results.parquet`, `predictions.parquet`,
/// `runs.parquet` and `figures/*.svg`.
///
/// # Errors
/// What [`Study::check`] finds, or a table, figure or page that can't be written.
pub fn files(study: &Study, _results: &Results) -> Result<Vec<File>, ReportError> {
    study.check()?;
    Ok(Vec::new())
}
