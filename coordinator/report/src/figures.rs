//! Figures: small multiples of equal panels, each its own SVG, so that a page can lay them out for any screen; and the
//! same panels composed into one standalone SVG file. Every figure brings its numbers.

mod affect;
mod chart;
mod conditions;
mod data;
mod depth;
mod geometry;
mod half_life;
mod heat;
mod palette;
mod pen;
mod persistence;
mod replies;
mod scale;
mod scatter;
mod versus;

use serde::Serialize;

use crate::results::{Results, Spread};
use crate::study::Study;
pub use data::Data;
use palette::Colour;
pub use palette::dark_style;
use pen::{Drawing, Pen};
pub use versus::versus;

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
    /// The numbers behind it.
    #[serde(skip)]
    pub data: Data,
}

/// What a mark means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Key {
    /// In words.
    pub label: String,
    /// `line`, `dash`, `long`, `dot`, `points`, `ring`, `span` or `heat`.
    pub mark: &'static str,
    /// `#RRGGBB` on light pages; a CSS gradient for `heat`.
    pub colour: String,
    /// Whether it is a series that can be hidden.
    pub series: bool,
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
    /// What lies between `<svg …>` and `</svg>`.
    pub body: String,
    /// The names of its series.
    #[serde(skip)]
    pub series: Vec<String>,
    /// What can be said of its points.
    #[serde(skip)]
    pub marks: Vec<pen::Mark>,
}

impl Key {
    fn new(label: impl Into<String>, mark: &'static str, colour: Colour) -> Key {
        Key { label: label.into(), mark, colour: colour.hex().to_owned(), series: false }
    }

    fn series(label: impl Into<String>, mark: &'static str, colour: Colour) -> Key {
        Key { series: true, ..Key::new(label, mark, colour) }
    }
}

/// The key of the bars from the lowest to the highest sampling seed, where there are any.
fn spread_key(spreads: impl Iterator<Item = Spread>) -> Option<Key> {
    let seeds = spreads.map(|s| s.seeds).max()?;
    Some(Key::new(format!("lowest to highest of {seeds} sampling seeds"), "span", Colour::Muted))
}

impl Panel {
    fn new(label: impl Into<String>, height: f64, with: impl FnOnce(&Pen)) -> Panel {
        Panel::wide(label, chart::WIDTH, height, with)
    }

    fn wide(label: impl Into<String>, width: f64, height: f64, with: impl FnOnce(&Pen)) -> Panel {
        let pen = Pen::default();
        with(&pen);
        let Drawing { body, series, marks } = pen.finish();
        Panel { label: label.into(), width, height, body, series, marks }
    }
}

/// The names of all figures there can be, in the order of the page's sections.
pub const FIGURES: [&str; 26] = [
    "scale",
    "depth",
    "depth-models",
    "depth-compression",
    "conditions",
    "conditions-classes",
    "transfer",
    "persistence-heat",
    "persistence-conditions",
    "persistence-curves",
    "persistence-classes",
    "half-life",
    "replies-kept",
    "replies-recall",
    "replies-precision",
    "replies-shift",
    "geometry-states",
    "geometry-probabilities",
    "geometry-directions",
    "geometry-separation",
    "geometry-angles",
    "geometry-affect",
    "geometry-layers",
    "geometry-across",
    "controls",
    "baselines",
];

/// All figures that have data, in the order of [`FIGURES`].
pub fn all(study: &Study, results: &Results) -> Vec<Figure> {
    let drawn = [
        scale::scale(study, results),
        depth::per_model(study, results),
        depth::per_condition(study, results),
        depth::compression(study, results),
        conditions::scores(study, results),
        heat::of_classes(study, results),
        heat::transfer(study, results),
        heat::persistence(study, results),
        persistence::conditions(study, results),
        persistence::curves(study, results),
        persistence::classes(study, results),
        half_life::half_life(study, results),
        replies::kept(study, results),
        replies::recall(study, results),
        replies::precision(study, results),
        replies::shift(study, results),
        scatter::planes(study, results, "states"),
        scatter::planes(study, results, "probabilities"),
        geometry::directions(study, results),
        geometry::separation(study, results),
        geometry::angles(study, results),
        affect::affect(study, results),
        geometry::layers(study, results),
        geometry::across(study, results),
        conditions::controls(study, results),
        conditions::baselines(study, results),
    ];
    drawn.into_iter().flatten().filter(|f| !f.panels.is_empty()).collect()
}

impl Figure {
    /// What a script needs to read out points: per panel the names of its series and its marks. It contains no `<`, so it
    /// can stand in a page.
    pub fn marks(&self) -> String {
        type Point<'a> = (f64, f64, i64, &'a str);
        let panels: Vec<(&[String], Vec<Point<'_>>)> =
            self.panels.iter().map(|p| (p.series.as_slice(), p.marks.iter().map(pen::Mark::parts).collect())).collect();
        serde_json::to_string(&panels).expect("marks serialize").replace('<', "\\u003c")
    }

    /// The figure as one SVG file: title, keys, panels in up to three columns, readable on light and dark pages.
    pub fn standalone(&self) -> String {
        let columns = self.panels.len().clamp(1, 3);
        let (gap, margin) = (18.0, 20.0);
        let column = self.panels.iter().map(|p| p.width).fold(chart::WIDTH, f64::max);
        let width = (margin * 2.0 + columns as f64 * column + (columns - 1) as f64 * gap).max(560.0);
        let mut y = 40.0;
        let mut body = format!(
            "<text x=\"{margin}\" y=\"32\" font-size=\"16\" font-weight=\"600\" fill=\"{}\">{}</text>",
            Colour::Ink.hex(),
            escape(&self.title)
        );
        let mut x = margin;
        for key in &self.keys {
            let room = 34.0 + key.label.chars().count() as f64 * 6.8 + 18.0;
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
            for (at, panel) in row.iter().enumerate() {
                let x = margin + at as f64 * (column + gap);
                body += &format!(
                    "<svg x=\"{x}\" y=\"{y}\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\">{2}</svg>",
                    panel.width, panel.height, panel.body
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
        "long" => line(" stroke-dasharray=\"11 5\""),
        "dot" => line(" stroke-dasharray=\"0.5 5\""),
        "points" => format!("<circle cx=\"{}\" cy=\"{y}\" r=\"4.5\" fill=\"{c}\"/>", x + 14.0),
        "ring" => format!("<circle cx=\"{}\" cy=\"{y}\" r=\"4.5\" fill=\"none\" stroke=\"{c}\" stroke-width=\"2\"/>", x + 14.0),
        "span" => {
            let line = |from: (f64, f64), to: (f64, f64)| {
                format!(
                    "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"{c}\" stroke-width=\"1.6\"/>",
                    x + 14.0 + from.0,
                    y + from.1,
                    x + 14.0 + to.0,
                    y + to.1
                )
            };
            [((-4.0, -7.0), (4.0, -7.0)), ((0.0, -7.0), (0.0, 7.0)), ((-4.0, 7.0), (4.0, 7.0))].map(|(from, to)| line(from, to)).concat()
        }
        "heat" => (0..24)
            .map(|i| {
                let (x, y, colour) = (x + 2.0 + f64::from(i), y - 5.0, palette::heat(f64::from(i) / 23.0).0);
                format!("<rect x=\"{x}\" y=\"{y}\" width=\"1.3\" height=\"10\" fill=\"{colour}\"/>")
            })
            .collect(),
        _ => line(""),
    }
}

/// A text as XML has it, which knows no control characters.
fn escape(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') { '\u{fffd}' } else { c }).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
