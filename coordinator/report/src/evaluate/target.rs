//! What predictions are measured against: the truth of the test rows at one level of the labels.

use limbic_proto::rows::Scheme;
use limbic_proto::spec::Level;

use crate::study::Study;

/// The truth at one level.
#[derive(Debug, Clone)]
pub struct Target {
    /// What the labels are.
    pub scheme: Scheme,
    /// Their names.
    pub classes: Vec<String>,
    /// Per row its class (under [`Scheme::Single`]; else the class of its highest value).
    pub class: Vec<u32>,
    /// `[rows, classes]`; empty under [`Scheme::Single`].
    pub values: Vec<f32>,
}

/// A coarser level: what the finer classes become.
#[derive(Debug, Clone)]
pub struct Rollup {
    /// Its name.
    pub name: String,
    /// The coarser classes, in the order of their first finer one.
    pub classes: Vec<String>,
    /// Per finer class its coarser one.
    pub of: Vec<usize>,
}

impl Rollup {
    /// The level over these classes. One that the map doesn't name stays what it is.
    pub fn new(level: &Level, classes: &[String]) -> Rollup {
        let mut coarser: Vec<String> = Vec::new();
        let of = classes.iter().map(|class| {
            let name = level.map.get(class).unwrap_or(class);
            coarser.iter().position(|known| known == name).unwrap_or_else(|| {
                coarser.push(name.clone());
                coarser.len() - 1
            })
        });
        let of = of.collect();
        Rollup { name: level.name.clone(), classes: coarser, of }
    }

    /// Values `[rows, finer classes]` rolled up: probabilities of one class a row are summed; of several labels, and of
    /// intensities, the highest counts.
    pub fn values(&self, scheme: Scheme, values: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(values.len() / self.of.len().max(1) * self.classes.len());
        for row in values.chunks_exact(self.of.len().max(1)) {
            let start = out.len();
            // What lacks a state stays NaN: sums and the comparison below keep it.
            out.resize(start + self.classes.len(), if scheme == Scheme::Single { 0.0 } else { f32::NEG_INFINITY });
            for (value, to) in row.iter().zip(&self.of) {
                let into = &mut out[start + to];
                match scheme {
                    Scheme::Single => *into += value,
                    _ if value.is_nan() || *value > *into => *into = *value,
                    _ => {}
                }
            }
        }
        out
    }
}

impl Target {
    /// The truth of a study at the level of its own classes.
    pub fn new(study: &Study) -> Target {
        let last = study.classes.len().saturating_sub(1) as u32;
        Target {
            scheme: study.scheme,
            classes: study.classes.clone(),
            class: study.test.iter().map(|r| r.class.min(last)).collect(),
            values: study.test.iter().flat_map(|r| r.values.iter().copied()).collect(),
        }
    }

    /// The truth at a coarser level.
    pub fn rolled(&self, level: &Rollup) -> Target {
        Target {
            scheme: self.scheme,
            classes: level.classes.clone(),
            class: self.class.iter().map(|c| level.of[*c as usize] as u32).collect(),
            values: level.values(self.scheme, &self.values),
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.class.len()
    }

    /// Whether a row is of a class.
    pub fn is(&self, row: usize, class: usize) -> bool {
        match self.scheme {
            Scheme::Single => self.class[row] as usize == class,
            _ => self.values[row * self.classes.len() + class] > 0.0,
        }
    }

    /// Which rows a prediction has: those whose values are all finite and, of one class a row, not all zero.
    pub fn present(&self, values: &[f32]) -> Vec<bool> {
        let classes = self.classes.len();
        if classes == 0 || values.len() != self.rows() * classes {
            return vec![false; self.rows()];
        }
        let single = self.scheme == Scheme::Single;
        let there = |row: &[f32]| row.iter().all(|v| v.is_finite()) && (!single || row.iter().any(|v| *v > 0.0));
        values.chunks_exact(classes).map(there).collect()
    }

    /// The class each row is predicted as: the first with the highest value; none where the row is absent.
    pub fn predicted(&self, values: &[f32]) -> Vec<Option<u32>> {
        let classes = self.classes.len();
        let best = |row: &[f32]| (1..classes).fold(0, |best, class| if row[class] > row[best] { class } else { best }) as u32;
        let present = self.present(values);
        present.iter().enumerate().map(|(row, there)| there.then(|| best(&values[row * classes..][..classes]))).collect()
    }

    /// The highest true value: the top level of intensities.
    pub fn highest(&self) -> f32 {
        self.values.iter().copied().fold(0.0, f32::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_summed_labels_and_intensities_take_the_highest() {
        let level = Level {
            name: "valence".to_owned(),
            map: [("joy", "good"), ("anger", "bad"), ("fear", "bad")].map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
        };
        let classes = ["anger", "joy", "fear"].map(str::to_owned);
        let rollup = Rollup::new(&level, &classes);
        assert_eq!(
            (rollup.classes.as_slice(), rollup.of.as_slice()),
            (["bad".to_owned(), "good".to_owned()].as_slice(), [0, 1, 0].as_slice())
        );
        let values = [0.5, 0.25, 0.25, f32::NAN, f32::NAN, f32::NAN];
        let single = rollup.values(Scheme::Single, &values);
        assert_eq!(single[..2], [0.75, 0.25]);
        assert!(single[2..].iter().all(|v| v.is_nan()));
        let several = rollup.values(Scheme::Multi, &values);
        assert_eq!(several[..2], [0.5, 0.25]);
        assert!(several[2..].iter().all(|v| v.is_nan()));
    }
}
