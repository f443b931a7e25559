//! A reading as a table for the terminal: a bar for each token.

use limbic_proto::rows::Scheme;

use super::Reading;

/// Characters of a full bar.
const BAR: usize = 20;
/// Characters of a token that are shown.
const TOKEN: usize = 18;

/// A line for each token: its text, a bar, the number, and whose it is.
///
/// Bars of probabilities are full at 1, those of intensities and scales at the largest absolute value in the text. Shown is
/// the asked class, else the one with the highest value. Tokens of the prompt around the text are marked with `·`.
pub(super) fn table(reading: &Reading<'_>, scheme: Scheme, class: Option<usize>) -> String {
    let strongest = |values: &[f32]| (0..values.len()).fold(0, |best, at| if values[at] > values[best] { at } else { best });
    let shown: Vec<usize> = reading.tokens.iter().map(|token| class.unwrap_or_else(|| strongest(&token.values))).collect();
    let full = match scheme {
        Scheme::Single | Scheme::Multi => 1.0,
        Scheme::Intensity | Scheme::Continuous => {
            let largest = reading.tokens.iter().zip(&shown).fold(0f32, |m, (token, at)| m.max(token.values[*at].abs()));
            if largest > 0.0 { largest } else { 1.0 }
        }
    };
    let mut out = format!("{}\n  {} at layer {} of {}\n", reading.text.trim(), reading.fit, reading.layer, reading.model);
    for (token, at) in reading.tokens.iter().zip(shown) {
        let value = token.values[at];
        let text = visible(&token.token);
        let (mark, pad) = (if token.utterance { ' ' } else { '·' }, " ".repeat(TOKEN - text.chars().count()));
        out += &format!("{mark} {text}{pad} {} {value:>6.2}  {}\n", bar(value.abs() / full), reading.classes[at]);
    }
    out
}

/// A bar of a share, in eighths of a character.
fn bar(share: f32) -> String {
    let eighths = (share.clamp(0.0, 1.0) * (8 * BAR) as f32).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if let Some(partial) = [None, Some('▏'), Some('▎'), Some('▍'), Some('▌'), Some('▋'), Some('▊'), Some('▉')][eighths % 8] {
        bar.push(partial);
    }
    let rest = BAR - bar.chars().count();
    bar + &" ".repeat(rest)
}

/// A token's text on one line.
fn visible(token: &str) -> String {
    let shown = token.chars().map(|c| match c {
        '\n' => '⏎',
        ' ' => '␣',
        c if c.is_control() => '�',
        c => c,
    });
    let text: String = shown.collect();
    match text.chars().count() > TOKEN {
        true => text.chars().take(TOKEN - 1).chain(['…']).collect(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::TokenReading;

    fn reading<'a>(classes: &'a [String], tokens: Vec<(&str, Vec<f32>)>) -> Reading<'a> {
        let tokens = tokens.into_iter().enumerate();
        let token =
            |(at, (token, values)): (usize, (&str, Vec<f32>))| TokenReading { token: token.into(), id: 0, utterance: at > 0, values };
        Reading {
            id: &serde_json::Value::Null,
            text: "hi",
            model: "tiny",
            layer: limbic_proto::axis::Layer::Block(3),
            fit: "logistic.k0.s0",
            classes,
            tokens: tokens.map(token).collect(),
        }
    }

    #[test]
    fn bars_are_as_long_as_the_numbers() {
        let classes = ["joy".to_owned(), "fear".to_owned()];
        let tokens = vec![("\n", vec![0.25, 0.75]), (" so", vec![1.0, 0.0]), ("an extraordinarily long token", vec![0.5, 0.5])];
        let text = table(&reading(&classes, tokens), Scheme::Single, None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["hi", "  logistic.k0.s0 at layer 3 of tiny"]);
        assert!(lines[2].starts_with("· ⏎ ") && lines[2].ends_with("0.75  fear"), "{text}");
        assert_eq!(lines[2].matches('█').count(), 15);
        assert!(lines[3].starts_with("  ␣so ") && lines[3].matches('█').count() == 20 && lines[3].ends_with("joy"), "{text}");
        assert!(lines[4].contains('…') && lines[4].ends_with("0.50  joy"), "ties go to the first class: {text}");
        let asked = table(&reading(&classes, vec![("a", vec![0.9, 0.1])]), Scheme::Single, Some(1));
        assert!(asked.contains("0.10  fear"));
    }

    #[test]
    fn bars_of_scales_are_full_at_the_largest() {
        let classes = ["valence".to_owned()];
        let text = table(&reading(&classes, vec![("a", vec![-4.0]), ("b", vec![2.0])]), Scheme::Continuous, None);
        let bars: Vec<usize> = text.lines().skip(2).map(|line| line.matches('█').count()).collect();
        assert_eq!(bars, [20, 10]);
    }
}
