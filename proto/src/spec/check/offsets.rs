//! Offsets, and the replies that they are read in.

use super::super::Spec;
use super::{Finding, finding, unique};
use crate::axis::Context;

impl Spec {
    pub(super) fn check_offsets(&self) -> Result<(), Finding> {
        if self.offsets.is_empty() {
            return finding("offsets", "is empty: write [0] for the prompt alone");
        }
        unique("offsets", "offset", &self.offsets)?;
        if self.pooling.is_empty() {
            return finding("pooling", "is empty: leave it out for `last`");
        }
        unique("pooling", "pooling", &self.pooling.iter().map(|p| p.as_str()).collect::<Vec<_>>())?;
        self.check_sampling_seeds()?;
        let largest = self.offsets.iter().copied().max().unwrap_or(0);
        match &self.continuation {
            None if largest > 0 => finding(
                "offsets",
                format!("offset {largest} lies beyond the prompt, but there is no `continuation`: add one, or keep only offset 0"),
            ),
            Some(c) if c.tokens.is_some_and(|t| t < largest) => finding(
                "offsets",
                format!(
                    "offset {largest} lies beyond the continuation of {} tokens: raise continuation.tokens or drop the offset",
                    c.tokens.unwrap_or(0)
                ),
            ),
            Some(c) if !(0.0..=10.0).contains(&c.temperature) => {
                finding("continuation.temperature", format!("is {}: it must lie in 0..10 (0 = greedy)", c.temperature))
            }
            Some(c) if c.instead().is_some() && c.temperature > 0.0 => {
                finding("continuation", "has both a filler text and a temperature: a filler is fixed, keep one")
            }
            Some(c) if c.controls.contains(&Context::Filler) && c.filler.is_none() => {
                finding("continuation.filler", "is missing: the control `filler` needs a text that follows the prompt")
            }
            Some(c) if c.controls.contains(&Context::Full) => {
                finding("continuation.controls", "holds `full`, which is what the controls are compared with: leave it out")
            }
            Some(c) if c.filler.as_ref().is_some_and(String::is_empty) => finding("continuation.filler", "is empty"),
            _ => Ok(()),
        }
    }

    fn check_sampling_seeds(&self) -> Result<(), Finding> {
        let Some(c) = &self.continuation else { return Ok(()) };
        let found = c.seeds.len();
        let several = |why: &str| finding("continuation.seeds", format!("names {found} seeds, but {why}"));
        if c.seed.is_some() && found > 0 {
            return finding("continuation.seeds", "stands beside `seed`: keep one of them (`seeds: [7]` is the same as `seed: 7`)");
        }
        unique("continuation.seeds", "seed", &c.seeds)?;
        if found < 2 {
            return Ok(());
        }
        if c.instead().is_some() {
            return several("continuation.filler takes the place of replies, and nothing is drawn: keep one, or make it a control");
        }
        if c.temperature == 0.0 {
            return several(
                "at temperature 0 the most likely token is written whatever the seed, so all replies would be the same: raise \
                 continuation.temperature, or keep one seed",
            );
        }
        if self.judge.is_none() && self.offsets.iter().all(|offset| *offset == 0) {
            return several("no reply is read: ask for offsets above 0 or a `judge`, or keep one seed");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Spec;

    /// What is said of a minimal spec with further fields.
    fn said(fields: &str) -> String {
        let text = format!("dataset: {{source: rows.jsonl}}\nmodels: [{{source: m}}]\n{fields}\n");
        Spec::from_yaml(&text, Path::new("s.yaml")).map_or_else(|e| e.to_string(), |_| "fine".to_owned())
    }

    #[test]
    fn several_sampling_seeds_need_something_to_draw() {
        let sampled = |fields: &str| said(&format!("offsets: [0, 2]\ncontinuation: {{temperature: 0.8{fields}}}"));
        for fields in ["", ", seed: 7", ", seeds: [7]", ", seeds: [0, 1, 2]"] {
            assert_eq!(sampled(fields), "fine", "{fields}");
        }
        for (fields, words) in [
            (", seed: 0, seeds: [1]", "continuation.seeds: stands beside `seed`"),
            (", seeds: [1, 2, 1]", "continuation.seeds: seed `1` occurs twice"),
            (", seeds: []", "`seeds` is empty"),
        ] {
            assert!(sampled(fields).contains(words), "{}", sampled(fields));
        }
        for (spec, words) in [
            ("offsets: [0, 2]\ncontinuation: {seeds: [0, 1]}", "names 2 seeds, but at temperature 0"),
            ("offsets: [0, 2]\ncontinuation: {seeds: [0, 1], filler: so}", "names 2 seeds, but continuation.filler"),
            ("continuation: {temperature: 1, seeds: [0, 1]}", "names 2 seeds, but no reply is read"),
        ] {
            assert!(said(spec).starts_with("s.yaml: continuation.seeds: ") && said(spec).contains(words), "{}", said(spec));
        }
        assert_eq!(said("offsets: [0, 2]\ncontinuation: {seeds: [3]}"), "fine", "one seed is one, drawn from or not");
        assert_eq!(said("judge: {}\ncontinuation: {tokens: 4, temperature: 1, seeds: [0, 1]}"), "fine", "the replies are judged");
    }
}
