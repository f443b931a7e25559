//! Figures: small multiples of equal panels, each its own SVG, so that a page can lay them out for any screen; and the
//! same panels composed into one standalone SVG file.

mod chart;
mod conditions;
mod depth;
mod heat;
mod palette;
mod pen;
mod persistence;
mod scale;

use serde::Serialize;

use crate::results::Results;
use crate::study::{ReportError, Study};
use palette::Colour;
pub use palette::dark_style;
pub use persistence::shown_condition;

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// The file's stem, such as `depth`.
    pub name: &'static str,
    /// What is shown, in a few words.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// What a reader who can't see it should know.
    pub alt: String,
    /// What the marks mean.
    pub keys: Vec<Key>,
    /// The panels, in reading order.
    pub panels: Vec<Panel>,
}

/// What a mark means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Key {
    /// In words.
    pub label: String,
    /// `line`, `dash`, `dot`, `points`, `ring` or `heat`.
    pub mark: &'static str,
    /// `#RRGGBB` on light pages; a CSS gradient for `heat`.
    pub colour: String,
}

/// One panel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Panel {
    /// What it shows, for screen readers.
    pub label: String,
    /// Width in user units.
    pub width: f64,
    /// Height in user units.
    pub height: f64,
    /// The SVG's view box.
    pub view_box: String,
    /// What lies between `<svg …>` and `</svg>`.
    pub body: String,
}

impl Key {
    fn new(label: impl Into<String>, mark: &'static str, colour: Colour) -> Key {
        Key { label: label.into(), mark, colour: colour.hex() }
    }
}

impl Panel {
    fn new(label: impl Into<String>, height: f64, body: String) -> Panel {
        Panel { label: label.into(), width: chart::WIDTH, height, view_box: pen::view_box(chart::WIDTH, height), body }
    }
}

/// The most panels one figure shows; its caption says how many are left out.
const PANELS: usize = 24;

/// The names of all figures there can be, in the order of the page's sections.
pub const FIGURES: [&str; 9] = [
    "scale",
    "depth",
    "depth-models",
    "persistence-heat",
    "persistence-conditions",
    "persistence-classes",
    "half-life",
    "conditions",
    "conditions-recall",
];

/// All figures that have data, in the order of [`FIGURES`].
pub fn all(study: &Study, results: &Results) -> Result<Vec<Figure>, ReportError> {
    let drawn = [
        scale::scale(study, results)?,
        depth::per_model(study, results)?,
        depth::per_condition(study, results)?,
        heat::persistence(study, results)?,
        persistence::conditions(study, results)?,
        persistence::classes(study, results)?,
        persistence::half_life(study, results)?,
        conditions::accuracy(study, results)?,
        heat::recall(study, results)?,
    ];
    Ok(drawn.into_iter().flatten().filter(|f| !f.panels.is_empty()).map(Figure::shortened).collect())
}

impl Figure {
    /// The figure with no more panels than a page can show, and a sentence that says so.
    fn shortened(mut self) -> Figure {
        let all = self.panels.len();
        if all > PANELS {
            self.panels.truncate(PANELS);
            let left_out = format!(" The first {PANELS} of {all} panels are shown; results.parquet has the numbers of all.");
            self.caption += &left_out;
            self.alt += &left_out;
        }
        self
    }

    /// The figure as one SVG file: title, keys, panels in up to three columns, readable on light and dark pages.
    pub fn standalone(&self) -> String {
        let columns = self.panels.len().clamp(1, 3);
        let (gap, margin) = (18.0, 20.0);
        let width = (margin * 2.0 + columns as f64 * chart::WIDTH + (columns - 1) as f64 * gap).max(560.0);
        let mut y = 40.0;
        let mut body = format!(
            "<text x=\"{margin}\" y=\"32\" font-size=\"16\" font-weight=\"600\" fill=\"{}\">{}</text>",
            Colour::Ink.hex(),
            escape(&self.title)
        );
        let mut x = margin;
        for key in &self.keys {
            let room = 34.0 + key.label.chars().count() as f64 * 6.4 + 14.0;
            if x + room > width - margin && x > margin {
                x = margin;
                y += 20.0;
            }
            body += &format!(
                "{}<text x=\"{}\" y=\"{}\" font-size=\"12\" fill=\"{}\">{}</text>",
                mark(key, x, y + 12.0),
                x + 34.0,
                y + 16.0,
                Colour::Ink.hex(),
                escape(&key.label)
            );
            x += room;
        }
        y += 36.0;
        for row in self.panels.chunks(columns) {
            let height = row.iter().map(|p| p.height).fold(0.0, f64::max);
            for (column, panel) in row.iter().enumerate() {
                let x = margin + column as f64 * (chart::WIDTH + gap);
                body += &format!(
                    "<svg x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" viewBox=\"{}\">{}</svg>",
                    panel.width, panel.height, panel.view_box, panel.body
                );
            }
            y += height + gap;
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {y}\" width=\"{width}\" height=\"{y}\" role=\"img\" aria-labelledby=\"t d\" font-family=\"system-ui,-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif\" stroke-linecap=\"round\" stroke-linejoin=\"round\"><title id=\"t\">{}</title><desc id=\"d\">{}</desc><style>{}</style><rect width=\"100%\" height=\"100%\" fill=\"{}\"/>{body}</svg>\n",
            escape(&self.title),
            escape(&self.alt),
            dark_style("svg"),
            Colour::Paper.hex(),
        )
    }
}

/// A key's mark in a standalone SVG.
fn mark(key: &Key, x: f64, y: f64) -> String {
    let c = &key.colour;
    let line = |more: &str| {
        format!("<line x1=\"{}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"{c}\" stroke-width=\"2.4\"{more}/>", x + 2.0, x + 26.0)
    };
    match key.mark {
        "dash" => line(" stroke-dasharray=\"5 5\""),
        "dot" => line(" stroke-dasharray=\"0.5 5\""),
        "points" => format!("<circle cx=\"{}\" cy=\"{y}\" r=\"4.5\" fill=\"{c}\"/>", x + 14.0),
        "ring" => format!("<circle cx=\"{}\" cy=\"{y}\" r=\"4.5\" fill=\"none\" stroke=\"{c}\" stroke-width=\"2\"/>", x + 14.0),
        "heat" => (0..24)
            .map(|i| {
                format!(
                    "<rect x=\"{}\" y=\"{}\" width=\"1.3\" height=\"10\" fill=\"{}\"/>",
                    x + 2.0 + f64::from(i),
                    y - 5.0,
                    hex(palette::heat(f64::from(i) / 23.0).0)
                )
            })
            .collect(),
        _ => line(""),
    }
}

fn hex(colour: plotters::style::RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
