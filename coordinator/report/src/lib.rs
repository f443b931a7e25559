//! Results in; statistics, tables, plots and pages out. Pure: no network, no clock, no files; the same study gives
//! the same bytes. (What a large study holds is read when it is needed, by readers that the study brings.)
//!
//! [`evaluate()`] turns a [`Study`] into [`Results`] (scores of every prediction with intervals, and the summaries),
//! [`files`] turns both into the report's files.
//! [`compare()`] sets two studies beside one another. [`answers`] reads labels from what models write.

pub mod answers;
mod compare;
mod evaluate;
mod figures;
mod page;
mod results;
mod statistics;
mod study;
mod summary;
mod tables;
mod wording;

pub use compare::compare;
pub use evaluate::{evaluate, too_few};
pub use figures::FIGURES;
pub use limbic_proto::status::Quarantined;
pub use results::*;
pub use study::*;
pub use tables::{Table, constant, field};
pub use wording::parameters;

/// One file of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative path with `/`, such as `figures/depth.svg`.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The files that a report has only where there is something to put into them; what an earlier report left of them is old.
pub fn optional_files() -> Vec<String> {
    let tables = ["verdicts.parquet", "geometry.parquet"].map(str::to_owned);
    tables.into_iter().chain(FIGURES.iter().flat_map(|name| [format!("figures/{name}.svg"), format!("figures/{name}.csv")])).collect()
}

/// The report's files: `report.html`, `report.md`, `summary.json`, `results.parquet`, `predictions.parquet`,
/// `runs.parquet`, where there is something in them `verdicts.parquet` and `geometry.parquet`, and every figure as
/// `figures/*.svg` with its numbers as `figures/*.csv`.
///
/// # Errors
/// What [`Study::check`] finds, something that can't be read, or a table or page that can't be written.
pub fn files(study: &Study, results: &Results) -> Result<Vec<File>, ReportError> {
    study.check()?;
    if results.scores.len() != study.predictions.len() {
        return Err(ReportError::Mismatch { predictions: study.predictions.len(), scores: results.scores.len() });
    }
    let file = |path: &str, bytes: Vec<u8>| File { path: path.to_owned(), bytes };
    let mut files = vec![
        file("results.parquet", tables::results(study, results)?),
        file("predictions.parquet", tables::predictions(study)?),
        file("runs.parquet", tables::runs(study)?),
    ];
    files.extend(tables::verdicts(study, results)?.map(|bytes| file("verdicts.parquet", bytes)));
    files.extend(tables::geometry(study)?.map(|bytes| file("geometry.parquet", bytes)));
    files.push(file("summary.json", summary::summary(study, results)?));
    let figures = figures::all(study, results);
    let tables: Vec<&str> = files.iter().map(|f| f.path.as_str()).collect();
    let pages = page::pages(study, results, &figures, &tables)?;
    files.push(file("report.html", pages.html.into_bytes()));
    files.push(file("report.md", pages.markdown.into_bytes()));
    for f in &figures {
        files.push(file(&format!("figures/{}.svg", f.name), f.standalone().into_bytes()));
        files.push(file(&format!("figures/{}.csv", f.name), f.data.csv().into_bytes()));
    }
    Ok(files)
}
