//! Contenders that take turns, and the tables of what they took.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value};

/// Someone who does the work of a case once and says how many seconds (or MiB) it took.
pub(super) struct Contender<'a> {
    who: String,
    run: Box<dyn FnMut() -> anyhow::Result<f64> + 'a>,
}

impl<'a> Contender<'a> {
    pub(super) fn new(who: impl Into<String>, run: impl FnMut() -> anyhow::Result<f64> + 'a) -> Contender<'a> {
        Contender { who: who.into(), run: Box::new(run) }
    }
}

/// Every contender once a round; each second round in reverse, so that nobody always runs behind the same other.
pub(super) fn alternate(rounds: usize, mut contenders: Vec<Contender<'_>>) -> anyhow::Result<Vec<Line>> {
    let mut samples = vec![Vec::new(); contenders.len()];
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let took = (contenders[at].run)()?;
            eprintln!("  round {}: {}: {}", round + 1, contenders[at].who, number(took));
            samples[at].push(took);
        }
    }
    Ok(contenders.into_iter().zip(samples).map(|(contender, samples)| Line { who: contender.who, samples }).collect())
}

/// What one contender took.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Who.
    pub who: String,
    /// One measurement a round.
    pub samples: Vec<f64>,
}

impl Line {
    /// The median of the rounds.
    pub fn median(&self) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    fn range(&self) -> (f64, f64) {
        self.samples.iter().fold((f64::INFINITY, 0.0), |(least, most), &s| (s.min(least), s.max(most)))
    }
}

/// What a case found; the first line is what the others are compared with.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The case.
    pub name: &'static str,
    /// What was done, in words.
    pub about: String,
    /// What is measured: `s` or `MiB`.
    pub unit: &'static str,
    /// How much of what was done in that time, if a rate says more.
    pub work: Option<(f64, &'static str)>,
    /// Who took how long.
    pub lines: Vec<Line>,
    /// What else was found, by name.
    pub facts: Vec<(&'static str, Value)>,
}

impl Comparison {
    /// The median of a line over that of another: how many times as long the former takes.
    pub fn ratio(&self, line: usize, over: usize) -> f64 {
        self.lines[line].median() / self.lines[over].median()
    }

    fn json(&self) -> Value {
        let line = |line: &Line| {
            let mut out = Map::new();
            out.insert("who".to_owned(), line.who.clone().into());
            out.insert("samples".to_owned(), line.samples.clone().into());
            out.insert("median".to_owned(), line.median().into());
            out.insert("ratio".to_owned(), (line.median() / self.lines[0].median()).into());
            if let Some((amount, _)) = self.work {
                out.insert("rate".to_owned(), (amount / line.median()).into());
            }
            Value::Object(out)
        };
        let facts: Map<String, Value> = self.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        serde_json::json!({
            "case": self.name,
            "about": self.about,
            "unit": self.unit,
            "rate_of": self.work.map(|(_, of)| of),
            "lines": self.lines.iter().map(line).collect::<Vec<_>>(),
            "facts": facts,
        })
    }

    fn markdown(&self, out: &mut String) -> std::fmt::Result {
        let unit = self.unit;
        let (rate, rule) = self.work.map_or((String::new(), ""), |(_, of)| (format!(" {of}/s |"), "--:|"));
        writeln!(out, "### {}\n\n{}\n", self.name, self.about)?;
        writeln!(out, "| who | median {unit} | least to most |{rate} times the first |\n|---|--:|--:|{rule}--:|")?;
        for line in &self.lines {
            let (least, most) = line.range();
            let rate = self.work.map_or(String::new(), |(amount, _)| format!(" {} |", number(amount / line.median())));
            let (median, least, most) = (number(line.median()), number(least), number(most));
            writeln!(out, "| {} | {median} | {least} to {most} |{rate} {:.2} |", line.who, line.median() / self.lines[0].median())?;
        }
        writeln!(out)?;
        for (name, value) in &self.facts {
            let value = match value {
                Value::Number(n) => number(n.as_f64().unwrap_or(f64::NAN)),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            writeln!(out, "- {name}: {value}")?;
        }
        writeln!(out)
    }
}

/// Three or four figures that matter.
fn number(x: f64) -> String {
    match x.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 || (size.fract() == 0.0 && size >= 1.0) => format!("{x:.0}"),
        size if size >= 10.0 => format!("{x:.1}"),
        size if size >= 0.1 => format!("{x:.3}"),
        size if size >= 0.001 => format!("{x:.4}"),
        _ => format!("{x:.1e}"),
    }
}

/// What a run found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The machine, the model, the rows and the versions.
    pub about: Vec<(&'static str, Value)>,
    /// One for each case.
    pub comparisons: Vec<Comparison>,
}

impl Serialize for Found {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let about: Map<String, Value> = self.about.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let cases: Vec<Value> = self.comparisons.iter().map(Comparison::json).collect();
        serde_json::json!({"about": about, "cases": cases}).serialize(serializer)
    }
}

/// The tables of a run.
pub fn markdown(found: &Found) -> String {
    let about: Vec<String> = found.about.iter().map(|(name, value)| format!("{name} {}", value.to_string().replace('"', ""))).collect();
    let mut out = format!("Measured with {}.\n\n", about.join("; "));
    found.comparisons.iter().for_each(|comparison| comparison.markdown(&mut out).expect("text can be written to"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_runs_once_a_round_and_the_order_turns() {
        let order = std::cell::RefCell::new(Vec::new());
        let contender = |who: &'static str, seconds: f64| {
            let order = &order;
            Contender::new(who, move || {
                order.borrow_mut().push(who);
                Ok(seconds)
            })
        };
        let lines = alternate(3, vec![contender("a", 1.0), contender("b", 4.0)]).unwrap();
        assert_eq!(*order.borrow(), ["a", "b", "b", "a", "a", "b"]);
        let found = Comparison { name: "n", about: String::new(), unit: "s", work: Some((8.0, "rows")), lines, facts: Vec::new() };
        assert_eq!((found.ratio(1, 0), found.json()["lines"][1]["rate"].as_f64()), (4.0, Some(2.0)));
        let mut table = String::new();
        found.markdown(&mut table).unwrap();
        assert!(table.contains("| b | 4 | 4 to 4 | 2 | 4.00 |"), "{table}");
    }

    #[test]
    fn the_median_is_the_middle() {
        let line = |samples: &[f64]| Line { who: String::new(), samples: samples.to_vec() };
        assert_eq!((line(&[3.0, 1.0, 9.0]).median(), line(&[4.0, 1.0]).median()), (3.0, 2.5));
    }
}
