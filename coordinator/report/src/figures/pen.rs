//! A pen on plotters' SVG backend: user units of one CSS pixel, drawn at four times that so that whole backend pixels
//! are fine enough.

use plotters::coord::Shift;
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::{Color, DrawingArea, IntoDrawingArea, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, FontTransform, IntoFont, RGBColor, ShapeStyle, TextStyle};

use super::palette::Colour;
use crate::study::ReportError;

/// Backend pixels per user unit.
const FINE: f64 = 4.0;

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
        Stroke { colour, width, dash: Some((1.2, 3.4)) }
    }
}

/// Where a text lies relative to its point, and how it looks.
#[derive(Clone, Copy)]
pub struct Script {
    /// Font size in user units.
    pub size: f64,
    /// Bold?
    pub bold: bool,
    /// Its colour.
    pub colour: RGBColor,
    /// Which end touches the point.
    pub align: HPos,
    /// Turned a quarter to the left?
    pub turned: bool,
}

impl Script {
    /// Plain text of that size.
    pub fn new(size: f64, colour: Colour, align: HPos) -> Script {
        Script { size, bold: false, colour: colour.rgb(), align, turned: false }
    }
}

/// Draws into one SVG.
pub struct Pen<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
    name: &'a str,
}

type Drawn = Result<(), ReportError>;

impl Pen<'_> {
    fn at(&self, point: (f64, f64)) -> (i32, i32) {
        ((point.0 * FINE).round() as i32, (point.1 * FINE).round() as i32)
    }

    fn fail(&self, e: impl std::fmt::Display) -> ReportError {
        ReportError::Figure { name: self.name.to_owned(), message: e.to_string() }
    }

    /// A line through points.
    pub fn line(&self, points: &[(f64, f64)], stroke: Stroke) -> Drawn {
        let style = ShapeStyle::from(&stroke.colour.rgb()).stroke_width((stroke.width * FINE).round() as u32);
        let pieces = match stroke.dash {
            None => vec![points.to_vec()],
            Some((dash, gap)) => dashes(points, dash, gap),
        };
        for piece in pieces.iter().filter(|p| p.len() > 1) {
            let path: Vec<_> = piece.iter().map(|p| self.at(*p)).collect();
            self.area.draw(&PathElement::new(path, style)).map_err(|e| self.fail(e))?;
        }
        Ok(())
    }

    /// A filled shape, mostly transparent.
    pub fn band(&self, outline: &[(f64, f64)], colour: Colour, opacity: f64) -> Drawn {
        let path: Vec<_> = outline.iter().map(|p| self.at(*p)).collect();
        self.area.draw(&Polygon::new(path, colour.rgb().mix(opacity).filled())).map_err(|e| self.fail(e))
    }

    /// A filled disc with a thin rim of the page's colour.
    pub fn dot(&self, at: (f64, f64), radius: f64, colour: Colour) -> Drawn {
        for (radius, colour) in [(radius + 1.0, Colour::Paper), (radius, colour)] {
            let circle = Circle::new(self.at(at), (radius * FINE).round() as i32, colour.rgb().filled());
            self.area.draw(&circle).map_err(|e| self.fail(e))?;
        }
        Ok(())
    }

    /// A ring.
    pub fn ring(&self, at: (f64, f64), radius: f64, colour: Colour) -> Drawn {
        for (radius, colour) in [(radius, colour), (radius - 1.8, Colour::Paper)] {
            let circle = Circle::new(self.at(at), (radius * FINE).round() as i32, colour.rgb().filled());
            self.area.draw(&circle).map_err(|e| self.fail(e))?;
        }
        Ok(())
    }

    /// A filled rectangle between two corners.
    pub fn cell(&self, corner: (f64, f64), opposite: (f64, f64), colour: RGBColor) -> Drawn {
        let rectangle = Rectangle::new([self.at(corner), self.at(opposite)], colour.filled());
        self.area.draw(&rectangle).map_err(|e| self.fail(e))
    }

    /// One line of text, vertically centred on its point.
    pub fn text(&self, at: (f64, f64), text: &str, script: Script) -> Drawn {
        // The backend divides font sizes by 1.24.
        let mut font = ("sans-serif", script.size * FINE * 1.24).into_font();
        if script.bold {
            font = font.style(FontStyle::Bold);
        }
        if script.turned {
            font = font.transform(FontTransform::Rotate270);
        }
        let style = TextStyle::from(font).color(&script.colour).pos(Pos::new(script.align, VPos::Center));
        self.area.draw(&Text::new(text.to_owned(), self.at(at), style)).map_err(|e| self.fail(e))
    }
}

/// Cuts a line into dashes.
fn dashes(points: &[(f64, f64)], dash: f64, gap: f64) -> Vec<Vec<(f64, f64)>> {
    let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
    let (mut on, mut left) = (true, dash);
    let mut piece: Vec<(f64, f64)> = points.first().copied().into_iter().collect();
    for ends in points.windows(2) {
        let (mut from, to) = (ends[0], ends[1]);
        loop {
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            if length <= left || length == 0.0 {
                left -= length;
                if on {
                    piece.push(to);
                }
                break;
            }
            let cut = (from.0 + (to.0 - from.0) * left / length, from.1 + (to.1 - from.1) * left / length);
            if on {
                piece.push(cut);
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![cut];
            }
            on = !on;
            left = if on { dash } else { gap };
            from = cut;
        }
    }
    if on {
        pieces.push(piece);
    }
    pieces
}

/// Draws one panel of `width` x `height` user units and returns what lies between `<svg …>` and `</svg>`, in backend
/// pixels.
pub fn draw(name: &str, width: f64, height: f64, with: impl FnOnce(&Pen<'_>) -> Drawn) -> Result<String, ReportError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, ((width * FINE) as u32, (height * FINE) as u32)).into_drawing_area();
        let pen = Pen { area, name };
        with(&pen)?;
        pen.area.present().map_err(|e| pen.fail(e))?;
    }
    let start = svg.find('>').map_or(0, |i| i + 1);
    let end = svg.rfind("</svg>").unwrap_or(svg.len());
    Ok(svg[start..end].trim().replace(" opacity=\"1\"", "").replace(" font-family=\"sans-serif\"", ""))
}

/// The view box of a panel, in backend pixels.
pub fn view_box(width: f64, height: f64) -> String {
    format!("0 0 {} {}", width * FINE, height * FINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_cover_the_line() {
        let pieces = dashes(&[(0.0, 0.0), (10.0, 0.0), (10.0, 5.0)], 4.0, 2.0);
        assert_eq!(pieces[0], [(0.0, 0.0), (4.0, 0.0)]);
        assert_eq!(pieces[1], [(6.0, 0.0), (10.0, 0.0), (10.0, 0.0)]);
        assert_eq!(pieces[2], [(10.0, 2.0), (10.0, 5.0)]);
    }

    #[test]
    fn text_is_escaped() {
        let svg =
            draw("t", 10.0, 10.0, |pen| pen.text((1.0, 1.0), "a < b & c", Script::new(10.0, Colour::Ink, HPos::Left))).expect("drawn");
        assert!(svg.contains("a &lt; b &amp; c"), "{svg}");
    }
}
