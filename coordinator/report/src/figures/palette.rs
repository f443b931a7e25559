//! Colours: Okabe & Ito's palette, which people with any colour vision can tell apart, then darker ones in the manner of Tol's
//! muted scheme, with a lighter twin of each for dark pages; and a sequential scale (viridis) for heat maps.

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
    /// A series' colour, by its number; repeats after twelve.
    Series(usize),
}

/// Light and dark values. Blue, vermillion, green, purple, orange, sky; slate stands for the palette's black, and its
/// yellow, which can't be read on white, is left out. Behind them wine, olive, indigo, brown and teal, for studies of more
/// than seven conditions.
const SERIES: [(&str, &str); 12] = [
    ("#0072B2", "#5AB0EA"),
    ("#D55E00", "#FF8F50"),
    ("#009E73", "#2FC79A"),
    ("#CC79A7", "#E6A0C8"),
    ("#E69F00", "#F5BC45"),
    ("#56B4E9", "#9BD6F8"),
    ("#525C69", "#B9C1CC"),
    ("#882255", "#D9779F"),
    ("#77771F", "#C4C45A"),
    ("#4B3FA8", "#A79BF0"),
    ("#8C510A", "#D6A15C"),
    ("#00707F", "#4FC3D6"),
];
const INK: (&str, &str) = ("#1D232A", "#E8EAED");
const MUTED: (&str, &str) = ("#67707C", "#9CA5B1");
const GRID: (&str, &str) = ("#E4E7EB", "#2D343C");
const PAPER: (&str, &str) = ("#FEFEFE", "#15191D");

impl Colour {
    fn pair(self) -> (&'static str, &'static str) {
        match self {
            Colour::Ink => INK,
            Colour::Muted => MUTED,
            Colour::Grid => GRID,
            Colour::Paper => PAPER,
            Colour::Series(i) => SERIES[i % SERIES.len()],
        }
    }

    /// The light value, which is written into the SVG: `#RRGGBB`.
    pub fn hex(self) -> &'static str {
        self.pair().0
    }
}

/// A style sheet that swaps every light value inside `scope` for its dark twin where the reader prefers dark pages.
pub fn dark_style(scope: &str) -> String {
    let mut css = String::from("@media (prefers-color-scheme:dark){");
    let all = [Colour::Ink, Colour::Muted, Colour::Grid, Colour::Paper].into_iter().chain((0..SERIES.len()).map(Colour::Series));
    for colour in all {
        let (light, dark) = colour.pair();
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

/// The scale's colour at a share in 0..=1, and the colour of words on it: black or white, whichever stands out more. One of
/// them always does by 4.5 to 1 or better.
pub fn heat(share: f64) -> (String, &'static str) {
    let place = share.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let low = (place.floor() as usize).min(VIRIDIS.len() - 2);
    let (a, b, t) = (VIRIDIS[low], VIRIDIS[low + 1], place - low as f64);
    let mix = |a: f64, b: f64| (a + (b - a) * t).round();
    let (r, g, b) = (mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2));
    let behind = luminance(r, g, b);
    let (black, white) = ((behind + 0.05) / 0.05, 1.05 / (behind + 0.05));
    (format!("#{:02X}{:02X}{:02X}", r as u8, g as u8, b as u8), if black > white { "#000000" } else { "#FFFFFF" })
}

/// The relative luminance of an sRGB colour of channels in 0..=255 (WCAG 2.2).
fn luminance(r: f64, g: f64, b: f64) -> f64 {
    let linear = |c: f64| if c / 255.0 <= 0.040_45 { c / 255.0 / 12.92 } else { ((c / 255.0 + 0.055) / 1.055).powf(2.4) };
    0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
}

/// The scale as a CSS gradient.
pub fn gradient() -> String {
    let stops: Vec<String> = VIRIDIS.iter().map(|(r, g, b)| format!("rgb({r} {g} {b})")).collect();
    format!("linear-gradient(90deg,{})", stops.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_out_from_every_colour_of_the_scale() {
        let of = |hex: &str| {
            let channel = |at: usize| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).expect("a hexadecimal colour"));
            luminance(channel(1), channel(3), channel(5))
        };
        assert!((of("#FFFFFF") - 1.0).abs() < 1e-9 && of("#000000") == 0.0 && (of("#777777") - 0.184_475).abs() < 1e-6);
        for share in 0..=1000 {
            let (colour, ink) = heat(f64::from(share) / 1000.0);
            let (a, b) = (of(&colour), of(ink));
            let ratio = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(ratio >= 4.5, "{ink} on {colour}: {ratio}");
        }
    }
}
