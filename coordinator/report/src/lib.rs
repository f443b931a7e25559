//! Results in; statistics, tables, plots and pages out. Pure: no network, no clock, no files; the same study gives
//! the same bytes.
//!
//! [`evaluate`] turns a [`Study`] into [`Results`] (scores of every prediction with intervals, and the summaries),
//! [`files`] turns both into the report's files. [`answers`] reads labels from what models write.

pub mod answers;
mod evaluate;
mod figures;
mod page;
mod results;
mod statistics;
mod study;
mod summary;
mod tables;
mod wording;

pub use evaluate::evaluate;
pub use figures::FIGURES;
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

/// The report's files: `report.html`, `report.md`, `summary.json`, `results.parquet`, `predictions.parquet`,
/// `runs.parquet` and `figures/*.svg`.
///
/// # Errors
/// What [`Study::check`] finds, or a table, figure or page that can't be written.
pub fn files(study: &Study, results: &Results) -> Result<Vec<File>, ReportError> {
    study.check()?;
    if results.scores.len() != study.predictions.len() {
        return Err(ReportError::Mismatch { predictions: study.predictions.len(), scores: results.scores.len() });
    }
    let figures = figures::all(study, results)?;
    let pages = page::pages(study, results, &figures)?;
    let summary = summary::summary(study, results)?;
    let file = |path: &str, bytes: Vec<u8>| File { path: path.to_owned(), bytes };
    let mut files = vec![
        file("report.html", pages.html.into_bytes()),
        file("report.md", pages.markdown.into_bytes()),
        file("summary.json", summary),
        file("results.parquet", tables::results(study, results)?),
        file("predictions.parquet", tables::predictions(study)?),
        file("runs.parquet", tables::runs(study)?),
    ];
    files.extend(figures.iter().map(|f| file(&format!("figures/{}.svg", f.name), f.standalone().into_bytes())));
    Ok(files)
}
