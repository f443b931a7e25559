//! The numbers of every prediction, kept small: a study may have millions.

use std::collections::BTreeMap;

use super::Estimate;

/// A metric at one level of the labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricName {
    /// Index into the report's levels; none = the classes themselves.
    pub level: Option<usize>,
    /// `accuracy`, `macro-f1`, `log-loss`, `recall:joy`, …
    pub name: String,
}

/// The names of all metrics there can be, numbered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalogue {
    names: Vec<MetricName>,
    numbers: BTreeMap<MetricName, u16>,
}

impl Catalogue {
    /// The number of a metric, if there is one of that name.
    pub fn id(&self, level: Option<usize>, name: &str) -> Option<u16> {
        self.numbers.get(&MetricName { level, name: name.to_owned() }).copied()
    }

    /// The name behind a number.
    pub fn name(&self, id: u16) -> &MetricName {
        &self.names[usize::from(id)]
    }

    /// Adds a name, or finds its number.
    ///
    /// # Panics
    /// If there are more than 65,536 metrics.
    pub fn add(&mut self, level: Option<usize>, name: String) -> u16 {
        let name = MetricName { level, name };
        if let Some(id) = self.numbers.get(&name) {
            return *id;
        }
        let id = u16::try_from(self.names.len()).expect("fewer than 65,536 metrics");
        self.names.push(name.clone());
        self.numbers.insert(name, id);
        id
    }
}

/// All numbers of one prediction, in a fixed order; what is undefined (no row, an unseen class) is left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    packed: Vec<Packed>,
}

/// An estimate in 32 bytes; NaN ends = no interval.
#[derive(Debug, Clone, Copy)]
struct Packed {
    value: f64,
    lo: f64,
    hi: f64,
    n: u32,
    id: u16,
}

impl PartialEq for Packed {
    fn eq(&self, other: &Packed) -> bool {
        let bits = |p: &Packed| (p.value.to_bits(), p.lo.to_bits(), p.hi.to_bits(), p.n, p.id);
        bits(self) == bits(other)
    }
}

impl Packed {
    fn estimate(self) -> Estimate {
        let end = |v: f64| (!v.is_nan()).then_some(v);
        Estimate { value: self.value, lo: end(self.lo), hi: end(self.hi), n: self.n as usize }
    }
}

impl Scores {
    /// Adds a metric, or puts another estimate in its place; an undefined value is left out.
    pub fn put(&mut self, id: u16, e: Estimate) {
        if e.value.is_nan() {
            return;
        }
        let packed = Packed { value: e.value, lo: e.lo.unwrap_or(f64::NAN), hi: e.hi.unwrap_or(f64::NAN), n: e.n as u32, id };
        match self.packed.iter_mut().find(|p| p.id == id) {
            Some(old) => *old = packed,
            None => self.packed.push(packed),
        }
    }

    /// One metric.
    pub fn get(&self, id: u16) -> Option<Estimate> {
        self.packed.iter().find(|p| p.id == id).map(|p| p.estimate())
    }

    /// All metrics.
    pub fn iter(&self) -> impl Iterator<Item = (u16, Estimate)> + '_ {
        self.packed.iter().map(|p| (p.id, p.estimate()))
    }

    /// How many metrics there are.
    pub fn len(&self) -> usize {
        self.packed.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }
}
