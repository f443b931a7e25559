//! Pages: one view of the results (sections of sentences, figures and tables), rendered to HTML and to Markdown.

mod account;
mod comparisons;
mod findings;
mod geometry;
mod measured;
mod persistence;
mod replies;
mod section;
mod tabled;
mod unmeasured;
mod versus;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, HtmlEscape, UndefinedBehavior, context, escape_formatter};
use serde::Serialize;

use crate::figures::{self, Figure};
use crate::results::Results;
use crate::study::{ReportError, Study};
use crate::wording::{count, counted, list};
pub use section::Section;
pub use versus::versus;

/// A number that is worth a card.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Card {
    value: String,
    label: String,
    note: String,
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
///
/// `tables` are the files beside the pages that hold their numbers.
pub fn pages(study: &Study, results: &Results, figures: &[Figure], tables: &[&str]) -> Result<Pages, ReportError> {
    let sections = [
        measured::scale(study, results, figures),
        measured::depth(study, results, figures),
        measured::conditions(study, results, figures),
        persistence::persistence(study, results, figures),
        replies::replies(study, results, figures),
        geometry::geometry(study, results, figures),
        tabled::controls(study, results, figures),
        tabled::baselines(study, results, figures),
        tabled::levels(study, results),
        account::cost(study, results),
        Some(account::provenance(study, results)),
        Some(account::notes(study, results)),
    ];
    let facts = [
        match (study.scheme, study.classes.len()) {
            (limbic_proto::rows::Scheme::Continuous, n) => counted(n, "scale"),
            (_, 1) => "1 class".to_owned(),
            (_, n) => format!("{} classes", count(n as u64)),
        },
        format!("{} in {}", counted(results.rows, "test row"), counted(results.groups, "group")),
        format!("{} fits and baselines", count(study.predictions.iter().filter(|p| p.exists()).count() as u64)),
        format!("{} resamples", count(study.options.resamples as u64)),
    ];
    let view = View {
        title: study.title.clone(),
        eyebrow: "Limbic report · sweep".to_owned(),
        sweep: study.sweep.clone(),
        software: study.software.clone(),
        facts: facts.to_vec(),
        unfinished: unfinished(study).into_iter().collect(),
        cards: findings::cards(study, results),
        findings: findings::sentences(study, results),
        sections: sections.into_iter().flatten().collect(),
        files: list(&tables.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()),
    };
    view.render("report.html", "report.md")
}

/// What of the sweep is missing from its report; none where nothing is.
fn unfinished(study: &Study) -> Option<String> {
    let p = study.progress;
    let of = |done: usize, all: usize, what: &str| format!("{} of {} {what}", count(done as u64), count(all as u64));
    let failed = match study.quarantined.len() {
        0 => String::new(),
        n => format!(" ({} failed for good)", counted(n, "unit")),
    };
    (!p.finished()).then(|| {
        // A sweep of prompts and replies alone has no cells.
        let cells = if p.cells > 0 { format!("{} and ", of(p.cells_done, p.cells, "cells")) } else { String::new() };
        let units = of(p.units_done, p.units, "units");
        format!("Unfinished: {cells}{units} are computed{failed}; every number below is of these alone.")
    })
}

/// What a page shows.
#[derive(Debug, Serialize)]
pub struct View {
    /// The title.
    pub title: String,
    /// Above the title.
    pub eyebrow: String,
    /// The sweep's id, or both.
    pub sweep: String,
    /// Program and version.
    pub software: String,
    /// Under the title.
    pub facts: Vec<String>,
    /// What is not computed yet, if something isn't.
    pub unfinished: Vec<String>,
    /// Key figures.
    cards: Vec<Card>,
    /// What it shows, one sentence each.
    pub findings: Vec<String>,
    /// The parts.
    pub sections: Vec<Section>,
    /// The files beside the page.
    pub files: String,
}

impl View {
    /// Renders it as HTML and as Markdown; the names are for errors.
    pub fn render(&self, html: &'static str, markdown: &'static str) -> Result<Pages, ReportError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().expect("the default syntax is one"));
        environment.set_auto_escape_callback(|name| {
            if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::Custom("markdown".into()) }
        });
        environment.set_formatter(|out, state, value| {
            if !matches!(state.auto_escape(), AutoEscape::Custom(_)) {
                return escape_formatter(out, state, value);
            }
            let text = value.to_string();
            Ok(out.write_str(&if value.is_safe() { text } else { escaped(&text) })?)
        });
        environment.add_filter("cell", |text: String| Value::from_safe_string(escaped(&text).replace('|', "\\|")));
        environment.add_filter("prose", |text: String| Value::from_safe_string(prose(&text)));
        for (name, source) in [
            ("style.css", include_str!("templates/style.css")),
            ("report.js", include_str!("templates/report.js")),
            ("page.html", include_str!("templates/report.html")),
            ("page.md", include_str!("templates/report.md")),
        ] {
            environment.add_template(name, source).map_err(|e| fail(html, &e))?;
        }
        let view = context! { page => Value::from(Serde(self)), dark => figures::dark_style(".figure") };
        let render =
            |path: &'static str, name: &str| environment.get_template(name).and_then(|t| t.render(&view)).map_err(|e| fail(path, &e));
        Ok(Pages { html: render(html, "page.html")?, markdown: render(markdown, "page.md")? })
    }
}

/// The parts of a sentence, each with whether it stands between backticks, which makes it code. One that opens and doesn't close is
/// text.
fn parts(text: &str) -> impl Iterator<Item = (bool, String)> + '_ {
    let parts: Vec<&str> = text.split('`').collect();
    let paired = parts.len() - (parts.len() + 1) % 2;
    parts.into_iter().enumerate().map(move |(at, part)| match at {
        _ if at >= paired => (false, format!("`{part}")),
        _ => (at % 2 == 1, part.to_owned()),
    })
}

/// A sentence as HTML.
fn prose(text: &str) -> String {
    parts(text)
        .map(|(code, part)| if code { format!("<code>{}</code>", HtmlEscape(&part)) } else { HtmlEscape(&part).to_string() })
        .collect()
}

/// A sentence as Markdown, in which names and labels begin no markup of HTML, nor another line.
fn escaped(text: &str) -> String {
    let plain = |part: String| {
        let mut out = String::with_capacity(part.len());
        for c in part.chars() {
            if c == '<' {
                // A backslash before it would be taken for an escape of the one that is put there.
                let before = out.len() - out.trim_end_matches('\\').len();
                out.push_str(&"\\".repeat(before + 1));
            }
            out.push(c);
        }
        out
    };
    let line = text.replace(['\n', '\r'], " ");
    parts(&line).map(|(code, part)| if code { format!("`{part}`") } else { plain(part) }).collect()
}

fn fail(path: &'static str, e: &minijinja::Error) -> ReportError {
    ReportError::Page { path, message: format!("{e:#}") }
}

#[cfg(test)]
mod tests {
    use super::{escaped, prose};

    #[test]
    fn what_stands_between_backticks_is_code() {
        assert_eq!(prose("a < b"), "a &lt; b");
        assert_eq!(prose("set `x: <y>` or `z`"), "set <code>x: &lt;y&gt;</code> or <code>z</code>");
        assert_eq!(prose("`x` and a lone ` one"), "<code>x</code> and a lone ` one");
        assert_eq!(prose(""), "");
    }

    #[test]
    fn names_begin_no_markup() {
        assert_eq!(escaped("plain, `a: <b>` and a lone ` one"), "plain, `a: <b>` and a lone ` one");
        assert_eq!(escaped("<script>\n# x"), "\\<script> # x");
        assert_eq!(escaped("a \\<b> \\\\<i>"), "a \\\\\\<b> \\\\\\\\\\<i>");
    }
}
