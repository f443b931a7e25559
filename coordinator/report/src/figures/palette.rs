//! Colours: Okabe & Ito's palette, which people with any colour vision can tell apart, with a lighter twin of each
//! colour for dark pages; and a sequential scale (viridis) for heat maps.

use plotters::style::RGBColor;

/// A colour that changes with the page's colour scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Text and strong lines.
    Ink,
    /// Axis labels, baselines.
    Muted,
    /// Grid lines and empty cells.
    Grid,
    /// The page's background.
    Paper,
    /// A series' colour, by its number; repeats after seven.
    Series(usize),
}

/// Light and dark values. Blue, vermillion, green, purple, orange, sky; slate stands for the palette's black, and its
/// yellow, which can't be read on white, is left out.
const SERIES: [((u8, u8, u8), &str); 7] = [
    ((0x00, 0x72, 0xB2), "#5AB0EA"),
    ((0xD5, 0x5E, 0x00), "#FF8F50"),
    ((0x00, 0x9E, 0x73), "#2FC79A"),
    ((0xCC, 0x79, 0xA7), "#E6A0C8"),
    ((0xE6, 0x9F, 0x00), "#F5BC45"),
    ((0x56, 0xB4, 0xE9), "#9BD6F8"),
    ((0x52, 0x5C, 0x69), "#B9C1CC"),
];
const INK: ((u8, u8, u8), &str) = ((0x1D, 0x23, 0x2A), "#E8EAED");
const MUTED: ((u8, u8, u8), &str) = ((0x67, 0x70, 0x7C), "#9CA5B1");
const GRID: ((u8, u8, u8), &str) = ((0xE4, 0xE7, 0xEB), "#2D343C");
const PAPER: ((u8, u8, u8), &str) = ((0xFE, 0xFE, 0xFE), "#15191D");

impl Colour {
    fn pair(self) -> ((u8, u8, u8), &'static str) {
        match self {
            Colour::Ink => INK,
            Colour::Muted => MUTED,
            Colour::Grid => GRID,
            Colour::Paper => PAPER,
            Colour::Series(i) => SERIES[i % SERIES.len()],
        }
    }

    /// The light value, which is written into the SVG.
    pub fn rgb(self) -> RGBColor {
        let (r, g, b) = self.pair().0;
        RGBColor(r, g, b)
    }

    /// The light value as plotters writes it, `#RRGGBB`.
    pub fn hex(self) -> String {
        let RGBColor(r, g, b) = self.rgb();
        format!("#{r:02X}{g:02X}{b:02X}")
    }
}

/// A style sheet that swaps every light value inside `scope` for its dark twin where the reader prefers dark pages.
pub fn dark_style(scope: &str) -> String {
    let mut css = String::from("@media (prefers-color-scheme:dark){");
    let all = [Colour::Ink, Colour::Muted, Colour::Grid, Colour::Paper].into_iter().chain((0..SERIES.len()).map(Colour::Series));
    for colour in all {
        let (light, dark) = (colour.hex(), colour.pair().1);
        css += &format!("{scope} [fill=\"{light}\"]{{fill:{dark}}}{scope} [stroke=\"{light}\"]{{stroke:{dark}}}");
        css += &format!("{scope} .key[data-c=\"{light}\"]{{color:{dark}}}");
    }
    css + "}"
}

/// Viridis (van der Walt & Smith 2015) at equal steps: perceptually uniform, safe for colour-blind readers and in grey.
const VIRIDIS: [(f64, f64, f64); 9] = [
    (68.0, 1.0, 84.0),
    (71.0, 44.0, 122.0),
    (59.0, 81.0, 139.0),
    (44.0, 113.0, 142.0),
    (33.0, 144.0, 141.0),
    (39.0, 173.0, 129.0),
    (92.0, 200.0, 99.0),
    (170.0, 220.0, 50.0),
    (253.0, 231.0, 37.0),
];

/// The scale's colour at a share in 0..=1, and whether text on it should be light.
pub fn heat(share: f64) -> (RGBColor, bool) {
    let place = share.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let low = (place.floor() as usize).min(VIRIDIS.len() - 2);
    let (a, b, t) = (VIRIDIS[low], VIRIDIS[low + 1], place - low as f64);
    let mix = |a: f64, b: f64| (a + (b - a) * t).round() as u8;
    let (r, g, b) = (mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2));
    let luminance = 0.2126 * f64::from(r) + 0.7152 * f64::from(g) + 0.0722 * f64::from(b);
    (RGBColor(r, g, b), luminance < 140.0)
}

/// The scale as a CSS gradient.
pub fn gradient() -> String {
    let stops: Vec<String> = VIRIDIS.iter().map(|(r, g, b)| format!("rgb({r} {g} {b})")).collect();
    format!("linear-gradient(90deg,{})", stops.join(","))
}
