//! A pen that writes SVG: user units of one CSS pixel. Marks belong to series, so that a page can hide and show them, and
//! carry words, so that it can say what lies under the pointer.

use std::cell::{Cell, RefCell};
use std::fmt::Write;

use super::escape;
use super::palette::Colour;

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stroke {
    /// Its colour.
    pub colour: Colour,
    /// Its width in user units.
    pub width: f64,
    /// Lengths of dash and gap, if it is dashed.
    pub dash: Option<(f64, f64)>,
}

impl Stroke {
    /// A solid line.
    pub fn solid(colour: Colour, width: f64) -> Stroke {
        Stroke { colour, width, dash: None }
    }

    /// A dashed line.
    pub fn dashed(colour: Colour, width: f64) -> Stroke {
        Stroke { colour, width, dash: Some((5.0, 4.0)) }
    }

    /// A dotted line.
    pub fn dotted(colour: Colour, width: f64) -> Stroke {
        Stroke { colour, width, dash: Some((0.1, 4.0)) }
    }

    /// A line of dashes and dots would be hard to tell from dashes: long dashes.
    pub fn long(colour: Colour, width: f64) -> Stroke {
        Stroke { colour, width, dash: Some((11.0, 4.0)) }
    }
}

/// Which end of a text touches its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// The left end.
    Left,
    /// The middle.
    Center,
    /// The right end.
    Right,
}

/// Where a text lies relative to its point, and how it looks.
#[derive(Debug, Clone, Copy)]
pub struct Script<'a> {
    /// Font size in user units.
    pub size: f64,
    /// Bold?
    pub bold: bool,
    /// Its colour, `#RRGGBB`.
    pub colour: &'a str,
    /// Which end touches the point.
    pub align: Align,
    /// Turned a quarter to the left?
    pub turned: bool,
}

impl Script<'static> {
    /// Plain text of that size.
    pub fn new(size: f64, colour: Colour, align: Align) -> Script<'static> {
        Script { size, bold: false, colour: colour.hex(), align, turned: false }
    }
}

/// What a page says of a point of a panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    x: f64,
    y: f64,
    /// Index into the panel's series.
    series: Option<usize>,
    text: String,
}

impl Mark {
    /// x, y, the series (-1 = none), the words.
    pub fn parts(&self) -> (f64, f64, i64, &str) {
        (self.x, self.y, self.series.map_or(-1, |s| s as i64), &self.text)
    }
}

/// Draws into one SVG.
#[derive(Debug, Default)]
pub struct Pen {
    body: RefCell<String>,
    marks: RefCell<Vec<Mark>>,
    series: RefCell<Vec<String>>,
    open: Cell<Option<usize>>,
}

/// What a pen has drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// What lies between `<svg …>` and `</svg>`.
    pub body: String,
    /// The names of its series.
    pub series: Vec<String>,
    /// What can be said of its points.
    pub marks: Vec<Mark>,
}

impl Pen {
    /// What was drawn.
    pub fn finish(self) -> Drawing {
        Drawing { body: self.body.into_inner(), series: self.series.into_inner(), marks: self.marks.into_inner() }
    }

    fn write(&self, text: &str) {
        self.body.borrow_mut().push_str(text);
    }

    /// Draws what belongs to a series.
    pub fn series(&self, name: &str, with: impl FnOnce()) {
        let known = self.series.borrow().iter().position(|s| s == name);
        let index = known.unwrap_or_else(|| {
            self.series.borrow_mut().push(name.to_owned());
            self.series.borrow().len() - 1
        });
        let outer = self.open.replace(Some(index));
        let start = self.body.borrow().len();
        with();
        if self.body.borrow().len() > start {
            self.body.borrow_mut().insert_str(start, &format!("<g data-s=\"{}\">", escape(name)));
            self.write("</g>");
        }
        self.open.set(outer);
    }

    /// Says what a point is.
    pub fn mark(&self, (x, y): (f64, f64), text: impl Into<String>) {
        let round = |v: f64| (v * 10.0).round() / 10.0;
        self.marks.borrow_mut().push(Mark { x: round(x), y: round(y), series: self.open.get(), text: text.into() });
    }

    /// A line through points.
    pub fn line(&self, points: &[(f64, f64)], stroke: Stroke) {
        if points.len() < 2 {
            return;
        }
        let dash = stroke.dash.map_or_else(String::new, |(on, off)| format!(" stroke-dasharray=\"{} {}\"", n(on), n(off)));
        self.write(&format!(
            "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"{dash}/>",
            path(points),
            stroke.colour.hex(),
            n(stroke.width)
        ));
    }

    /// A filled shape, mostly transparent.
    pub fn band(&self, outline: &[(f64, f64)], colour: Colour, opacity: f64) {
        self.write(&format!("<path d=\"{}Z\" fill=\"{}\" fill-opacity=\"{opacity}\"/>", path(outline), colour.hex()));
    }

    /// A filled disc with a thin rim of the page's colour.
    pub fn dot(&self, at: (f64, f64), radius: f64, colour: Colour) {
        self.write(&format!(
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{}\" stroke=\"{}\"/>",
            n(at.0),
            n(at.1),
            n(radius),
            colour.hex(),
            Colour::Paper.hex()
        ));
    }

    /// A small point of a cloud, half transparent.
    pub fn speck(&self, at: (f64, f64), colour: &str) {
        self.write(&format!("<circle cx=\"{}\" cy=\"{}\" r=\"1.9\" fill=\"{colour}\" fill-opacity=\".55\"/>", n(at.0), n(at.1)));
    }

    /// A ring.
    pub fn ring(&self, at: (f64, f64), radius: f64, colour: Colour) {
        self.write(&format!(
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{}\" stroke=\"{}\" stroke-width=\"1.8\"/>",
            n(at.0),
            n(at.1),
            n(radius - 0.9),
            Colour::Paper.hex(),
            colour.hex()
        ));
    }

    /// A filled rectangle between two corners; the colour is `#RRGGBB`.
    pub fn cell(&self, corner: (f64, f64), opposite: (f64, f64), colour: &str) {
        self.write(&format!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{colour}\"/>",
            n(corner.0),
            n(corner.1),
            n(opposite.0 - corner.0),
            n(opposite.1 - corner.1)
        ));
    }

    /// One line of text, vertically centred on its point.
    pub fn text(&self, at: (f64, f64), text: &str, script: Script<'_>) {
        let anchor = match script.align {
            Align::Left => "",
            Align::Center => " text-anchor=\"middle\"",
            Align::Right => " text-anchor=\"end\"",
        };
        let bold = if script.bold { " font-weight=\"600\"" } else { "" };
        let (x, y) = (n(at.0), n(at.1));
        let turned = if script.turned { format!(" transform=\"rotate(-90 {x} {y})\"") } else { String::new() };
        self.write(&format!(
            "<text x=\"{x}\" y=\"{y}\" dy=\".35em\" font-size=\"{}\" fill=\"{}\"{anchor}{bold}{turned}>{}</text>",
            n(script.size),
            script.colour,
            escape(text)
        ));
    }
}

/// A number with one decimal at most.
fn n(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn path(points: &[(f64, f64)]) -> String {
    let mut out = String::new();
    for (i, (x, y)) in points.iter().enumerate() {
        let space = if i == 0 {
            "M"
        } else if i == 1 {
            "L"
        } else {
            " "
        };
        let _ = write!(out, "{space}{} {}", n(*x), n(*y));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_numbers_are_short() {
        let pen = Pen::default();
        pen.text((1.0, -0.04), "a < b & c", Script::new(10.0, Colour::Ink, Align::Left));
        pen.line(&[(0.0, 1.26), (3.0, 4.0), (5.5, 6.0)], Stroke::dashed(Colour::Ink, 1.5));
        let drawn = pen.finish();
        assert!(drawn.body.contains("x=\"1\" y=\"0\"") && drawn.body.contains("a &lt; b &amp; c"), "{}", drawn.body);
        assert!(drawn.body.contains("d=\"M0 1.3L3 4 5.5 6\""), "{}", drawn.body);
    }

    #[test]
    fn series_are_groups_and_own_their_marks() {
        let pen = Pen::default();
        pen.series("\"raw\"", || {
            pen.dot((1.0, 2.0), 3.0, Colour::Ink);
            pen.mark((1.0, 2.0), "here");
        });
        pen.series("empty", || {});
        let drawn = pen.finish();
        assert!(drawn.body.starts_with("<g data-s=\"&quot;raw&quot;\"><circle") && drawn.body.ends_with("</g>"));
        assert_eq!((drawn.body.matches("<g").count(), drawn.marks[0].series), (1, Some(0)));
    }
}
