//! Which conditions are compared with which.

use std::collections::BTreeSet;

use super::Results;
use crate::study::Study;

/// Up to how many conditions every two are compared. The pairs of n grow with its square, and each costs the others power once
/// they are corrected together: of more, each is compared with the first.
pub const EVERY_TWO: usize = 8;

/// The comparisons between some conditions, of one model or one judge at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contrasts {
    /// Ascending; indices into the study's conditions.
    conditions: Vec<usize>,
}

impl Contrasts {
    /// Between these conditions, in the order of the study.
    pub fn between(conditions: impl IntoIterator<Item = usize>) -> Contrasts {
        Contrasts { conditions: conditions.into_iter().collect::<BTreeSet<_>>().into_iter().collect() }
    }

    /// Whether every two are compared, and not each with the first only.
    pub fn of_every_two(&self) -> bool {
        self.conditions.len() <= EVERY_TWO
    }

    /// Those compared: the later condition, and the earlier one that it is set against.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let firsts = if self.of_every_two() { self.conditions.len() } else { 1 };
        (0..firsts).flat_map(move |first| self.conditions[first + 1..].iter().map(move |later| (*later, self.conditions[first])))
    }

    /// What differences are between, for captions.
    pub fn words(&self, study: &Study) -> String {
        let name = |condition: usize| &study.conditions[condition].name;
        match self.conditions[..] {
            [first, second] => format!("{} minus {}", name(second), name(first)),
            _ if self.of_every_two() => "every two conditions, the later one minus the earlier".to_owned(),
            _ => format!(
                "each condition minus {}, the first of {} (every two are compared of up to {EVERY_TWO})",
                name(self.conditions[0]),
                self.conditions.len()
            ),
        }
    }

    /// The same behind a number of them: `differences between conditions`, `differences from raw`.
    pub fn counted(&self, study: &Study) -> String {
        match self.conditions[..] {
            [first, ref others @ ..] if others.len() == 1 || !self.of_every_two() => format!("from {}", study.conditions[first].name),
            _ => "between two conditions".to_owned(),
        }
    }
}

impl Results {
    /// The comparisons of probes between conditions.
    pub fn contrasts(&self) -> Contrasts {
        Contrasts::between(self.depth.iter().map(|curve| curve.place.condition))
    }

    /// The comparisons of kept labels between the conditions whose replies were judged.
    pub fn contrasts_of_replies(&self) -> Contrasts {
        Contrasts::between(self.calls.iter().map(|calls| calls.place.condition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_two_of_few_and_the_first_with_each_of_many() {
        let pairs = |conditions: &[usize]| Contrasts::between(conditions.iter().copied()).pairs().collect::<Vec<_>>();
        assert_eq!(pairs(&[]), []);
        assert_eq!(pairs(&[4]), []);
        assert_eq!(pairs(&[5, 3, 4, 3]), [(4, 3), (5, 3), (5, 4)], "judged alone, without the study's first condition");
        assert_eq!(pairs(&Vec::from_iter(0..EVERY_TWO)).len(), EVERY_TWO * (EVERY_TWO - 1) / 2);
        assert_eq!(pairs(&Vec::from_iter(0..=EVERY_TWO)), Vec::from_iter((1..=EVERY_TWO).map(|later| (later, 0))));
    }
}
