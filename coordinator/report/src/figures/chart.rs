//! One panel with axes: maps data to user units, draws grid, ticks and titles, and series inside.

use super::palette::Colour;
use super::pen::{Align, Pen, Script, Stroke};
use crate::results::{Estimate, Spread};
use crate::wording::Notation;

/// Width of every panel in user units: what a phone shows without shrinking.
pub const WIDTH: f64 = 380.0;
/// Height of a panel with curves.
pub const HEIGHT: f64 = 270.0;

/// Of more curves in one panel no bands are drawn: together they would hide the curves.
pub const BANDED: usize = 5;

/// Half the length of a bar's ends in user units.
const CAP: f64 = 3.5;

/// What a panel's axes show.
#[derive(Debug, Clone, PartialEq)]
pub struct Axes {
    /// Above the panel.
    pub title: String,
    /// Data range from left to right.
    pub x: (f64, f64),
    /// Data range from bottom to top.
    pub y: (f64, f64),
    /// Where the x axis is labelled.
    pub x_ticks: Vec<(f64, String)>,
    /// Where the y axis is labelled.
    pub y_ticks: Vec<(f64, String)>,
    /// Under the panel.
    pub x_label: String,
    /// Left of the panel, turned.
    pub y_label: String,
}

/// A panel that is being drawn.
#[derive(Debug)]
pub struct Chart<'a> {
    /// What it is drawn with.
    pub pen: &'a Pen,
    axes: &'a Axes,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

/// About how wide a text of some letters is.
pub fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.56
}

/// A text cut to a width, with an ellipsis in its middle: names of one family differ at their ends.
pub fn fitted(text: &str, size: f64, width: f64) -> String {
    let room = (width / (size * 0.56)).floor().max(2.0) as usize;
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= room {
        return text.to_owned();
    }
    let tail = (room - 1) / 2;
    let (head, tail) = (&letters[..room - 1 - tail], &letters[letters.len() - tail..]);
    head.iter().chain(&['…']).chain(tail).collect()
}

impl<'a> Chart<'a> {
    /// Draws title, grid and labels. `left` is the room for the y axis.
    pub fn new(pen: &'a Pen, axes: &'a Axes, height: f64, left: f64) -> Chart<'a> {
        let chart = Chart { pen, axes, left, right: WIDTH - 14.0, top: 34.0, bottom: height - 44.0 };
        let title = fitted(&axes.title, 13.0, WIDTH - 28.0);
        pen.text((14.0, 14.0), &title, Script { bold: true, ..Script::new(13.0, Colour::Ink, Align::Left) });
        for (y, label) in &axes.y_ticks {
            let at = chart.y(*y);
            pen.line(&[(chart.left, at), (chart.right, at)], Stroke::solid(Colour::Grid, 1.0));
            pen.text((chart.left - 8.0, at), &fitted(label, 11.0, left - 10.0), Script::new(11.0, Colour::Muted, Align::Right));
        }
        pen.line(&[(chart.left, chart.bottom), (chart.right, chart.bottom)], Stroke::solid(Colour::Muted, 1.0));
        for (x, label) in &axes.x_ticks {
            let at = chart.x(*x);
            pen.line(&[(at, chart.bottom), (at, chart.bottom + 4.0)], Stroke::solid(Colour::Muted, 1.0));
            pen.text((at, chart.bottom + 13.0), label, Script::new(11.0, Colour::Muted, Align::Center));
        }
        let middle = f64::midpoint(chart.left, chart.right);
        pen.text((middle, height - 9.0), &axes.x_label, Script::new(11.0, Colour::Muted, Align::Center));
        if !axes.y_label.is_empty() {
            let script = Script { turned: true, ..Script::new(11.0, Colour::Muted, Align::Center) };
            pen.text((9.0, f64::midpoint(chart.top, chart.bottom)), &axes.y_label, script);
        }
        chart
    }

    /// Where a value lies from left to right, in user units.
    pub fn x(&self, x: f64) -> f64 {
        self.left + (x - self.axes.x.0) / (self.axes.x.1 - self.axes.x.0) * (self.right - self.left)
    }

    /// Where a value lies from top to bottom, in user units; what lies outside the axis stays at its edge.
    pub fn y(&self, y: f64) -> f64 {
        let share = (y - self.axes.y.0) / (self.axes.y.1 - self.axes.y.0);
        self.bottom - share.clamp(-0.02, 1.02) * (self.bottom - self.top)
    }

    /// Says what a point is.
    pub fn mark(&self, x: f64, y: f64, text: impl Into<String>) {
        self.pen.mark((self.x(x), self.y(y)), text);
    }

    /// A line through data points.
    pub fn line(&self, points: &[(f64, f64)], stroke: Stroke) {
        self.pen.line(&points.iter().map(|p| (self.x(p.0), self.y(p.1))).collect::<Vec<_>>(), stroke);
    }

    /// A level line over the whole width.
    pub fn level(&self, y: f64, stroke: Stroke) {
        self.line(&[(self.axes.x.0, y), (self.axes.x.1, y)], stroke);
    }

    /// A small tick on the x axis, the `row`-th above it.
    pub fn footnote(&self, x: f64, row: usize, colour: Colour) {
        let (at, y) = (self.x(x), self.bottom - 3.0 - row as f64 * 4.0);
        self.pen.line(&[(at - 3.0, y), (at + 3.0, y)], Stroke::solid(colour, 2.0));
    }

    /// The band between the intervals' ends.
    pub fn band(&self, points: &[(f64, Estimate)], colour: Colour) {
        let ends: Vec<(f64, f64, f64)> = points.iter().filter_map(|(x, e)| Some((*x, e.lo?, e.hi?))).collect();
        if ends.len() < 2 {
            return;
        }
        let upper = ends.iter().map(|e| (self.x(e.0), self.y(e.2)));
        let outline: Vec<_> = upper.chain(ends.iter().rev().map(|e| (self.x(e.0), self.y(e.1)))).collect();
        self.pen.band(&outline, colour, 0.16);
    }

    /// A curve: line and small dots.
    pub fn curve(&self, points: &[(f64, Estimate)], stroke: Stroke, dots: bool) {
        self.line(&points.iter().map(|(x, e)| (*x, e.value)).collect::<Vec<_>>(), stroke);
        if dots || points.len() == 1 {
            for (x, e) in points {
                self.pen.dot((self.x(*x), self.y(e.value)), 2.4, stroke.colour);
            }
        }
    }

    /// A ring.
    pub fn ring(&self, x: f64, y: f64, radius: f64, colour: Colour) {
        self.pen.ring((self.x(x), self.y(y)), radius, colour);
    }

    /// An estimate with its interval as an upright whisker, moved sideways by some user units.
    pub fn whisker(&self, x: f64, e: Estimate, colour: Colour, aside: f64, text: String) {
        let at = self.x(x) + aside;
        if let (Some(lo), Some(hi)) = (e.lo, e.hi) {
            self.pen.line(&[(at, self.y(lo)), (at, self.y(hi))], Stroke::solid(colour, 1.6));
        }
        self.pen.dot((at, self.y(e.value)), 3.6, colour);
        self.pen.mark((at, self.y(e.value)), text);
    }

    /// From the lowest to the highest sampling seed: an upright bar with ends.
    pub fn span(&self, x: f64, spread: Spread, colour: Colour) {
        let (at, low, high) = (self.x(x), self.y(spread.lowest), self.y(spread.highest));
        for line in [[(at - CAP, low), (at + CAP, low)], [(at, low), (at, high)], [(at - CAP, high), (at + CAP, high)]] {
            self.pen.line(&line, Stroke::solid(colour, 1.2));
        }
    }

    /// The same as the ends of a lying bar, which a whisker may lie on.
    pub fn lying_span(&self, y: f64, spread: Spread, colour: Colour, aside: f64) {
        let at = self.y(y) + aside;
        for end in [spread.lowest, spread.highest] {
            let x = self.x(end.clamp(self.axes.x.0, self.axes.x.1));
            self.pen.line(&[(x, at - CAP), (x, at + CAP)], Stroke::solid(colour, 1.6));
        }
    }

    /// An estimate with its interval as a lying whisker, moved down by some user units.
    pub fn lying_whisker(&self, y: f64, value: f64, ends: Option<(f64, f64)>, colour: Colour, aside: f64, text: String) {
        let at = self.y(y) + aside;
        let clip = |v: f64| self.x(v.clamp(self.axes.x.0, self.axes.x.1));
        if let Some((lo, hi)) = ends {
            self.pen.line(&[(clip(lo), at), (clip(hi), at)], Stroke::solid(colour, 1.8));
        }
        self.pen.dot((clip(value), at), 3.8, colour);
        self.pen.mark((clip(value), at), text);
    }
}

/// Round ticks over a range, about `n` of them.
pub fn ticks(range: (f64, f64), n: usize, label: impl Fn(f64) -> String) -> Vec<(f64, String)> {
    let rough = (range.1 - range.0).max(1e-9) / n as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough * 0.999).unwrap_or(10.0 * power);
    let (first, last) = ((range.0 / step - 1e-6).ceil() as i64, (range.1 / step + 1e-6).floor() as i64);
    (first..=last).map(|i| (i as f64 * step, label(i as f64 * step))).collect()
}

/// A range that holds all values of a measure.
pub fn range(notation: Notation, values: impl Iterator<Item = f64>) -> (f64, f64) {
    match notation {
        Notation::Share => share_range(values),
        Notation::Real => signed_range(values),
    }
}

/// A range that holds all values, widened to whole twentieths and kept in 0..=1.
pub fn share_range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (lo, hi) = signed_range(values);
    (lo.max(0.0), hi)
}

/// The same for values that may lie below zero.
pub fn signed_range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (lo, hi) = values.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |r, v| (r.0.min(v), r.1.max(v)));
    if lo > hi {
        return (0.0, 1.0);
    }
    let (lo, hi) = (((lo - 0.01) * 20.0).floor() / 20.0, ((hi + 0.01) * 20.0).ceil() / 20.0);
    (lo, if hi - lo < 0.1 { lo + 0.1 } else { hi }.min(1.0).max(lo + 0.05))
}

/// Every value of some estimates, with the interval's ends: what a range must hold.
pub fn ends(estimates: impl Iterator<Item = Estimate>) -> impl Iterator<Item = f64> {
    estimates.flat_map(|e| [Some(e.value), e.lo, e.hi]).flatten()
}

/// Thins labels so that about `most` are left, always with the first and the last.
pub fn thin(ticks: Vec<(f64, String)>, most: usize) -> Vec<(f64, String)> {
    let n = ticks.len();
    if n <= most {
        return ticks;
    }
    let step = (n - 1).div_ceil(most - 1).max(1);
    ticks
        .into_iter()
        .enumerate()
        .filter(|(i, _)| i % step == 0 || i + 1 == n)
        .filter(|(i, _)| i + 1 == n || n - 1 - i >= step.div_ceil(2))
        .map(|t| t.1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_loses_its_middle() {
        assert_eq!(fitted("Linden-0.6B · emotional", 10.0, 57.0), "Linde…onal");
        assert_eq!(fitted("short", 10.0, 57.0), "short");
        assert_eq!(fitted("ab-cd", 10.0, 0.0), "a…");
    }

    #[test]
    fn ticks_are_round() {
        let found: Vec<String> = ticks((0.13, 0.92), 5, |v| format!("{v:.1}")).into_iter().map(|t| t.1).collect();
        assert_eq!(found, ["0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(ticks((0.0, 1.0), 5, |v| v.to_string()).len(), 6);
    }

    #[test]
    fn ranges_hold_their_values() {
        let (lo, hi) = share_range([0.31, 0.68].into_iter());
        assert!((lo - 0.3).abs() < 1e-9 && (hi - 0.7).abs() < 1e-9, "{lo} {hi}");
        assert_eq!(share_range(std::iter::empty()), (0.0, 1.0));
    }

    #[test]
    fn thinning_keeps_the_ends() {
        let all: Vec<(f64, String)> = (0..=36).map(|i| (f64::from(i), i.to_string())).collect();
        let few = thin(all, 8);
        assert!(few.len() <= 8 && few[0].1 == "0" && few[few.len() - 1].1 == "36", "{few:?}");
    }
}
