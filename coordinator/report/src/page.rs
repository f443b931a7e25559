//! Pages: one view of the results (sections of sentences, figures and tables), rendered to HTML and to Markdown.

mod account;
mod findings;
mod measured;
mod tabled;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use serde::Serialize;

use crate::figures::{self, Figure};
use crate::results::Results;
use crate::study::{ReportError, Study};
use crate::wording::count;

/// A number that is worth a card.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Card {
    value: String,
    label: String,
    note: String,
}

/// One part of the page.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Section {
    id: &'static str,
    title: &'static str,
    lead: Vec<String>,
    blocks: Vec<Block>,
}

/// What stands under a section's lead.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Block {
    Figure(Figure),
    Table(Table),
    Code { caption: String, text: String },
    List { items: Vec<String> },
}

/// A table; the first column heads its rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Table {
    caption: String,
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    /// Long tables are folded.
    folded: bool,
}

/// A column's head, and whether it holds numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Column {
    name: String,
    number: bool,
}

impl Section {
    fn new(id: &'static str, title: &'static str) -> Section {
        Section { id, title, lead: Vec::new(), blocks: Vec::new() }
    }

    fn say(&mut self, sentence: impl Into<String>) {
        self.lead.push(sentence.into());
    }

    /// Adds a figure by name, if it was drawn.
    fn figure(&mut self, figures: &[Figure], name: &str) {
        self.blocks.extend(figures.iter().find(|f| f.name == name).cloned().map(Block::Figure));
    }

    /// Adds a table unless it has no rows. A leading `#` marks a column of numbers.
    fn table(&mut self, caption: impl Into<String>, columns: &[&str], rows: Vec<Vec<String>>) {
        if rows.is_empty() {
            return;
        }
        let column = |c: &&str| Column { name: c.trim_start_matches('#').to_owned(), number: c.starts_with('#') };
        let folded = rows.len() > 28;
        self.blocks.push(Block::Table(Table { caption: caption.into(), columns: columns.iter().map(column).collect(), rows, folded }));
    }
}

/// The two pages.
#[derive(Debug)]
pub struct Pages {
    /// `report.html`.
    pub html: String,
    /// `report.md`.
    pub markdown: String,
}

/// Renders both pages.
pub fn pages(study: &Study, results: &Results, figures: &[Figure]) -> Result<Pages, ReportError> {
    let sections = vec![
        measured::scale(study, results, figures),
        measured::depth(study, results, figures),
        measured::persistence(study, results, figures),
        measured::conditions(study, results, figures),
        tabled::baselines(study, results),
        account::cost(study, results),
        account::provenance(study, results),
        account::notes(study, results),
    ];
    let facts = [
        format!("{} classes", study.classes.len()),
        format!("{} test rows in {} groups", count(results.rows as u64), count(results.groups as u64)),
        format!("{} fits and baselines", count(study.predictions.iter().filter(|p| p.exists()).count() as u64)),
        format!("{} resamples", count(study.options.resamples as u64)),
    ];
    let view = context! {
        title => study.title.as_str(),
        sweep => study.sweep.as_str(),
        software => study.software.as_str(),
        facts => facts,
        cards => Value::from(Serde(findings::cards(study, results))),
        findings => findings::sentences(study, results),
        sections => Value::from(Serde(sections)),
        dark => figures::dark_style(".figure"),
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().expect("the default syntax is one"));
    environment.set_auto_escape_callback(|name| if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::None });
    environment.add_filter("cell", |text: String| text.replace('|', "\\|").replace('\n', " "));
    let mut render = |path: &'static str, source: &'static str| {
        let fail = |e: minijinja::Error| ReportError::Page { path, message: format!("{e:#}") };
        environment.add_template(path, source).map_err(fail)?;
        environment.get_template(path).and_then(|t| t.render(&view)).map_err(fail)
    };
    render("style.css", include_str!("templates/style.css"))?;
    Ok(Pages {
        html: render("report.html", include_str!("templates/report.html"))?,
        markdown: render("report.md", include_str!("templates/report.md"))?,
    })
}
