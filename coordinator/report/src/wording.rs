//! Numbers in words: percentages, intervals, sizes, durations, p-values.

use limbic_proto::axis::{Context, Layer};

use crate::results::{Estimate, Fitted, HalfLife, Measure, Reading, Spread};

/// Which probe reads replies, in which context, and so what it says of them.
pub fn reading(reading: Reading) -> &'static str {
    match (reading.carried, reading.context) {
        (true, Context::MaskedPrompt) => {
            "the probe of offset 0, used unchanged on the states of the reply's tokens, the reply encoded alone (masked prompt)"
        }
        (true, _) => {
            "the probe of offset 0, used unchanged on the states of the reply's tokens, with the prompt in their context, which they may repeat"
        }
        (false, _) => {
            "the probes fitted at each offset to the utterance's label, on the states of the reply's tokens with the prompt in their context: they read what is still there of the utterance's label rather than what the reply expresses"
        }
    }
}

/// Why an average precision can lie above its interval, where one of some scores does; none elsewhere.
pub fn above_its_interval(measure: &Measure, mut scores: impl Iterator<Item = Estimate>) -> Option<&'static str> {
    let above = |e: Estimate| e.hi.is_some_and(|hi| e.value > hi);
    (measure.name == "map" && scores.any(above)).then_some(
        "Average precision counts a row in its own precision, which its interval leaves out: where labels are rare the value can lie above it.",
    )
}

/// What a probe is called where several poolings were measured: `logistic (utterance-mean)`.
pub fn probe(probe: &str, pooling: Option<&str>) -> String {
    pooling.map_or_else(|| probe.to_owned(), |pooling| format!("{probe} ({pooling})"))
}

/// How a measure is written: shares in percent, other numbers with three decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// In percent, differences in points.
    Share,
    /// With three decimals.
    Real,
}

impl Notation {
    /// That of a study's measure.
    pub fn of(measure: &Measure) -> Notation {
        if measure.share { Notation::Share } else { Notation::Real }
    }

    /// `74.3%`, `0.743`; a dash where there is none.
    pub fn value(self, value: f64) -> String {
        match self {
            _ if value.is_nan() => "–".to_owned(),
            Notation::Share => format!("{:.1}%", value * 100.0).replace('-', "−"),
            Notation::Real => format!("{value:.3}").replace('-', "−"),
        }
    }

    /// `74.3% [71.0, 77.2]`, or without the bracket where there is no interval.
    pub fn estimate(self, e: Estimate) -> String {
        let end = |v: f64| match self {
            Notation::Share => format!("{:.1}", v * 100.0),
            Notation::Real => format!("{v:.3}"),
        };
        match (e.lo, e.hi) {
            (Some(lo), Some(hi)) => format!("{} [{}, {}]", self.value(e.value), end(lo), end(hi)).replace('-', "−"),
            _ => self.value(e.value),
        }
    }

    /// `41.2% to 44.3% (sd 1.6)`: between sampling seeds.
    pub fn spread(self, s: Spread) -> String {
        let sd = match self {
            Notation::Share => format!("{:.1}", s.sd * 100.0),
            Notation::Real => format!("{:.3}", s.sd),
        };
        format!("{} to {} (sd {sd})", self.value(s.lowest), self.value(s.highest))
    }

    /// `+12.3`, `−0.041`: a difference.
    pub fn difference(self, value: f64) -> String {
        match self {
            Notation::Share => signed(value * 100.0),
            Notation::Real => {
                let text = format!("{:.3}", value.abs());
                match text.as_str() {
                    "0.000" => text,
                    _ if value < 0.0 => format!("−{text}"),
                    _ => format!("+{text}"),
                }
            }
        }
    }

    /// `+12.3 [8.0, 16.4]`: a difference with its interval.
    pub fn points(self, e: Estimate) -> String {
        let value = self.difference(e.value);
        match (e.lo, e.hi) {
            (Some(lo), Some(hi)) => format!("{value} [{}, {}]", self.difference(lo), self.difference(hi)),
            _ => value,
        }
    }

    /// What differences are in, with a space before: ` points` or nothing.
    pub fn of_difference(self) -> &'static str {
        match self {
            Notation::Share => " points",
            Notation::Real => "",
        }
    }

    /// A tick of an axis: `70%`, `0.7`.
    pub fn tick(self, value: f64) -> String {
        match self {
            Notation::Share => format!("{:.0}%", value * 100.0).replace("-0%", "0%").replace('-', "−"),
            Notation::Real => {
                let text = format!("{value:.2}");
                let text = text.strip_suffix('0').unwrap_or(&text);
                if text == "-0.0" { "0.0".to_owned() } else { text.replace('-', "−") }
            }
        }
    }

    /// A cell of a heat map: `74`, `.74`.
    pub fn cell(self, value: f64) -> String {
        match self {
            Notation::Share => format!("{:.0}", value * 100.0).replace('-', "−"),
            Notation::Real => format!("{value:.2}").replace("0.", ".").replace('-', "−"),
        }
    }
}

/// `74.3%`; a dash where there is none.
pub fn percent(share: f64) -> String {
    Notation::Share.value(share)
}

/// `+1.2`, `−1.2`, `0.0`.
pub fn signed(value: f64) -> String {
    let text = format!("{:.1}", value.abs());
    match text.as_str() {
        "0.0" => text,
        _ if value < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

/// `0.013`, `< 0.001`; a dash where there is none.
pub fn p_value(p: Option<f64>) -> String {
    let Some(p) = p else { return "–".to_owned() };
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}

/// A text with its first letter in upper case.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

/// `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// So many things: `1 group`, `1,234 groups`.
pub fn counted(n: usize, what: &str) -> String {
    format!("{} {what}{}", count(n as u64), if n == 1 { "" } else { "s" })
}

/// A model's size in words: `600M`, `1.7B`, `12k`.
pub fn parameters(n: u64) -> String {
    let (value, unit) = match n {
        0 => return "–".to_owned(),
        1..1_000 => return n.to_string(),
        1_000..1_000_000 => (n as f64 / 1e3, "k"),
        1_000_000..1_000_000_000 => (n as f64 / 1e6, "M"),
        _ => (n as f64 / 1e9, "B"),
    };
    let text = if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") };
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// `1.4 GB`.
pub fn bytes(n: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 100.0 { format!("{value:.0} {}", units[unit]) } else { format!("{value:.1} {}", units[unit]) }
}

/// `0.42 s`, `12.3 s`, `4 min 10 s`, `3 h 05 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match seconds {
        s if !s.is_finite() => "–".to_owned(),
        s if s < 1.0 => format!("{s:.2} s"),
        s if s < 60.0 => format!("{s:.1} s"),
        _ if whole < 3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `12`, `0 (embeddings)`, `final`.
pub fn layer(layer: Layer) -> String {
    match layer {
        Layer::Block(0) => "0 (embeddings)".to_owned(),
        other => other.to_string(),
    }
}

/// `12 tokens [9, 17]`, `not reached within 128 tokens`, …
pub fn half_life(h: &HalfLife) -> String {
    let token = |v: f64| if v < 10.0 { format!("{v:.1}") } else { format!("{v:.0}") };
    match h {
        HalfLife::Reached { tokens, lo: None, .. } => format!("{} tokens", token(*tokens)),
        HalfLife::Reached { tokens, lo: Some(lo), hi: Some(hi), .. } => {
            format!("{} tokens [{}, {}]", token(*tokens), token(*lo), token(*hi))
        }
        HalfLife::Reached { tokens, within, lo: Some(lo), hi: None } => {
            format!("{} tokens [{}, beyond {within}]", token(*tokens), token(*lo))
        }
        HalfLife::Sooner { than, hi: Some(hi), .. } if *hi > *than => format!("under {} tokens [up to {}]", token(*than), token(*hi)),
        HalfLife::Sooner { than, .. } => format!("under {} tokens", token(*than)),
        HalfLife::NotReached { within, lo: Some(lo) } => format!("not reached within {within} tokens [from {}]", token(*lo)),
        HalfLife::NotReached { within, lo: None } => format!("not reached within {within} tokens"),
        HalfLife::NoSignal => "no signal to lose".to_owned(),
        HalfLife::TooFew => "fewer than three offsets".to_owned(),
        HalfLife::TooFewRows => "too few rows".to_owned(),
    }
}

/// A decay's half-life; where the curve does something else than to decay exponentially from the first offset on, it says so.
pub fn decay(fit: &Fitted) -> String {
    if fit.half_life == HalfLife::NoSignal && fit.later {
        return "no signal at first, but later".to_owned();
    }
    let off = if fit.poor() { format!(", fit off at {} of {} offsets", fit.misses, fit.offsets.len()) } else { String::new() };
    half_life(&fit.half_life) + &off
}

/// `2.9 to 4.1 tokens`, `4.1 to beyond 16 tokens`, …: the half-lives of several sampling seeds, from the shortest to the
/// longest.
pub fn half_lives(of_seeds: &[HalfLife]) -> String {
    let token = |v: f64| if v < 10.0 { format!("{v:.1}") } else { format!("{v:.0}") };
    let reached = of_seeds.iter().filter_map(|h| if let HalfLife::Reached { tokens, .. } = h { Some(*tokens) } else { None });
    let beyond = of_seeds.iter().find_map(|h| if let HalfLife::NotReached { within, .. } = h { Some(*within) } else { None });
    let lost = of_seeds.iter().filter(|h| **h == HalfLife::NoSignal).count();
    let (low, high) = reached.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let sooner =
        of_seeds.iter().find_map(|h| if let HalfLife::Sooner { than, .. } = h { Some(format!("under {}", token(*than))) } else { None });
    let least = sooner.or_else(|| low.is_finite().then(|| token(low)));
    let most = beyond.map(|within| format!("beyond {within}")).or_else(|| high.is_finite().then(|| token(high)));
    let words = match (least, most) {
        (Some(least), Some(most)) if least != most => format!("{least} to {most} tokens"),
        (None, Some(one)) | (Some(one), _) => format!("{one} tokens"),
        (None, None) => String::new(),
    };
    let none = (lost > 0).then(|| format!("no signal with {lost} of {} seeds", of_seeds.len()));
    [Some(words).filter(|w| !w.is_empty()), none].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_end_is_as_far_as_the_fit_reaches() {
        let fit = |hi| HalfLife::Reached { tokens: 12.0, within: 15, lo: Some(8.0), hi };
        assert_eq!(half_life(&fit(None)), "12 tokens [8.0, beyond 15]");
        assert_eq!(half_life(&fit(Some(14.0))), "12 tokens [8.0, 14]");
        let sooner = |hi| HalfLife::Sooner { than: 1.6, within: 15, hi };
        assert_eq!(half_life(&sooner(Some(2.25))), "under 1.6 tokens [up to 2.2]");
        assert_eq!(half_life(&sooner(Some(0.0))), "under 1.6 tokens");
    }

    #[test]
    fn what_seeds_say_apart_runs_from_the_lowest_to_the_highest() {
        let reached = |tokens| HalfLife::Reached { tokens, within: 16, lo: None, hi: None };
        let beyond = || HalfLife::NotReached { within: 16, lo: None };
        assert_eq!(half_lives(&[reached(4.13), reached(2.9)]), "2.9 to 4.1 tokens");
        assert_eq!(half_lives(&[reached(4.13), reached(4.12)]), "4.1 tokens");
        assert_eq!(half_lives(&[beyond(), reached(12.6), HalfLife::NoSignal]), "13 to beyond 16 tokens; no signal with 1 of 3 seeds");
        assert_eq!(half_lives(&[beyond(), beyond()]), "beyond 16 tokens");
        let sooner = || HalfLife::Sooner { than: 0.2, within: 16, hi: None };
        assert_eq!(half_lives(&[reached(4.13), sooner()]), "under 0.2 to 4.1 tokens");
        assert_eq!(half_lives(&[sooner(), sooner()]), "under 0.2 tokens");
        assert_eq!(half_lives(&[HalfLife::NoSignal, HalfLife::NoSignal]), "no signal with 2 of 2 seeds");
        let spread = Spread::of(&[0.41, 0.44, 0.44]).unwrap();
        assert_eq!((Notation::Share.spread(spread), spread.seeds), ("41.0% to 44.0% (sd 1.7)".to_owned(), 3));
        assert_eq!(Notation::Real.spread(spread), "0.410 to 0.440 (sd 0.017)");
        assert_eq!(Spread::of(&[0.4]), None);
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!([0, 1, 2345].map(|n| counted(n, "group")), ["0 groups", "1 group", "2,345 groups"]);
        assert_eq!(count(999), "999");
        assert_eq!([600_000_000, 1_700_000_000, 4_000_000_000, 12_345].map(parameters), ["600M", "1.7B", "4B", "12k"]);
        assert_eq!([0, 999, 1_000, 310_000_000, 1_400_000_000].map(bytes), ["0 B", "999 B", "1.0 kB", "310 MB", "1.4 GB"]);
        assert_eq!([0.42, 12.34, 250.0, 11_100.0].map(duration), ["0.42 s", "12.3 s", "4 min 10 s", "3 h 05 min"]);
        let e = Estimate { value: 0.123, lo: Some(-0.01), hi: Some(0.2), n: 1 };
        assert_eq!(Notation::Share.points(e), "+12.3 [−1.0, +20.0]");
        assert_eq!(Notation::Real.points(e), "+0.123 [−0.010, +0.200]");
        assert_eq!(Notation::Share.estimate(e), "12.3% [−1.0, 20.0]");
        assert_eq!([0.5, 0.25, -0.001, -0.4].map(|v| Notation::Real.tick(v)), ["0.5", "0.25", "0.0", "−0.4"]);
        assert_eq!(signed(-0.04), "0.0");
        assert_eq!([Some(0.0004), Some(0.0131), None].map(p_value), ["< 0.001", "0.013", "–"]);
    }
}
