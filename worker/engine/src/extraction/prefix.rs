//! The beginning that prompts share: a system message, solved examples. It is run once; every row goes on behind its keys and
//! values.

use std::ops::Range;

use candle_core::Result;

use crate::model::Decoder;
use crate::pass::{Cache, Pass};
use crate::prompt::Prompt;

/// The shortest shared beginning that is worth a pass of its own.
const SHORTEST: usize = 8;

/// The first tokens of all prompts, and their keys and values once they were run.
#[derive(Default)]
pub(crate) struct Prefix {
    len: usize,
    cache: Option<Cache>,
}

/// How many first tokens all prompts share; 0 where it is not worth a pass. Of each prompt the tokens from `own` on are
/// run with it in any case.
pub(crate) fn shared(prompts: &[Prompt], own: impl Fn(&Prompt) -> usize) -> usize {
    let Some((first, others)) = prompts.split_first().filter(|(_, others)| !others.is_empty()) else { return 0 };
    let same = |p: &Prompt| p.ids.iter().zip(&first.ids).take_while(|(a, b)| a == b).count().min(own(p));
    let shared = others.iter().map(same).min().unwrap_or(0).min(own(first));
    if shared >= SHORTEST { shared } else { 0 }
}

/// Prompts in families, each to be run behind what all of its members share; members ascend, and so do the families' first ones.
/// Of each prompt the tokens from `own` on are run with it in any case.
///
/// Prompts are a family of their own where what they share beyond the others saves more than `parting` tokens, for their own
/// passes may be small. So a few prompts that lack the others' beginning take it from none of them.
pub(crate) fn families(prompts: &[Prompt], own: impl Fn(&Prompt) -> usize, parting: usize) -> Vec<Vec<usize>> {
    let begun: Vec<&[u32]> = prompts.iter().map(|p| &p.ids[..own(p)]).collect();
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by(|a, b| begun[*a].cmp(begun[*b]).then(a.cmp(b)));
    let same = |pair: &[usize]| begun[pair[0]].iter().zip(begun[pair[1]]).take_while(|(a, b)| a == b).count();
    // How much neighbours in this order share: any two prompts share the least of what lies between them.
    let between: Vec<usize> = order.windows(2).map(same).map(|same| if same >= SHORTEST { same } else { 0 }).collect();
    let mut tree = Beginnings { order: &order, between: &between, parting, families: Vec::new() };
    let rest = tree.part(0..order.len()).0;
    let mut families = tree.families;
    families.extend((!rest.is_empty()).then_some(rest));
    families.iter_mut().for_each(|rows| rows.sort_unstable());
    families.sort_unstable();
    families
}

/// The tree that prompts' beginnings make.
struct Beginnings<'a> {
    /// Prompts in the order of their tokens.
    order: &'a [usize],
    /// How many first tokens each shares with the next, as far as they are worth a pass.
    between: &'a [usize],
    parting: usize,
    families: Vec<Vec<usize>>,
}

impl Beginnings<'_> {
    /// Finds the families among a range of the order, and returns whoever is left, with how much those share.
    fn part(&mut self, range: Range<usize>) -> (Vec<usize>, usize) {
        let inner = &self.between[range.start..(range.end.max(1) - 1).max(range.start)];
        let least = inner.iter().copied().min().unwrap_or(0);
        if inner.iter().map(|same| same - least).sum::<usize>() <= self.parting {
            return (self.order[range].to_vec(), least);
        }
        let cuts: Vec<usize> = (range.start + 1..range.end).filter(|at| self.between[at - 1] == least).collect();
        let (mut from, mut rest) = (range.start, Vec::new());
        for at in cuts.into_iter().chain([range.end]) {
            let (rows, share) = self.part(from..at);
            from = at;
            match share * rows.len().saturating_sub(1) > least * rows.len() + self.parting {
                true => self.families.push(rows),
                false => rest.extend(rows),
            }
        }
        (rest, least)
    }
}

impl Prefix {
    /// The first `len` tokens of all prompts, which are still to be run.
    pub(crate) fn new(len: usize) -> Prefix {
        Prefix { len, cache: None }
    }

    /// The pass over them, and where their keys and values are to go; `None` where there is nothing to run.
    pub(crate) fn pass(&self, decoder: &Decoder, prompts: &[Prompt]) -> Result<Option<(Pass, Cache)>> {
        let Some(first) = prompts.first().filter(|_| self.len > 0) else { return Ok(None) };
        let mut pass = Pass::default();
        pass.push(&first.ids[..self.len], Vec::new());
        Ok(Some((pass, decoder.cache(self.len)?)))
    }

    /// Takes the keys and values that the pass has left.
    pub(crate) fn ran(&mut self, cache: Cache) {
        self.cache = Some(cache);
    }

    /// How many tokens it has.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Its keys and values, in rows `0..len`.
    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }

    /// Cache rows in front of a row's own tokens.
    pub(crate) fn before(&self) -> Vec<Range<usize>> {
        if self.len > 0 { vec![0..self.len] } else { Vec::new() }
    }

    /// The tokens of a prompt that are not shared.
    pub(crate) fn own<'a>(&self, prompt: &'a Prompt) -> &'a [u32] {
        &prompt.ids[self.len..]
    }

    /// A cache that begins with it and has room for `further` tokens.
    pub(crate) fn beginning(&self, decoder: &Decoder, further: usize) -> Result<Cache> {
        let cache = decoder.cache(self.len + further)?;
        if let Some(prefix) = &self.cache {
            cache.begin_with(prefix, self.len)?;
        }
        Ok(cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prompts(ids: &[Vec<u32>]) -> Vec<Prompt> {
        ids.iter().map(|ids| Prompt::of_tokens(ids.as_slice())).collect()
    }

    /// Headers of so many tokens, and what follows each.
    fn behind(headers: &[(u32, usize)]) -> Vec<Prompt> {
        let ids: Vec<Vec<u32>> =
            headers.iter().enumerate().map(|(at, (header, n))| [vec![*header; *n], vec![1000 + at as u32; 5]].concat()).collect();
        prompts(&ids)
    }

    #[test]
    fn prompts_that_were_cut_take_the_header_from_no_other() {
        let mut all = behind(&[(7, 100); 12]);
        assert_eq!(families(&all, Prompt::last, 300), [(0..12).collect::<Vec<_>>()]);
        for row in [3, 8] {
            all[row].ids.drain(..40 + row);
        }
        let rest = [0, 1, 2, 4, 5, 6, 7, 9, 10, 11];
        assert_eq!(families(&all, Prompt::last, 300), [rest.to_vec(), vec![3, 8]]);
        // Where a further pass would cost more than the header, all stay together.
        assert_eq!(families(&all, Prompt::last, 900), [(0..12).collect::<Vec<_>>()]);
        assert_eq!(families(&[], Prompt::last, 300), Vec::<Vec<usize>>::new());
        assert_eq!(families(&all[..1], Prompt::last, 0), [[0]]);
    }

    #[test]
    fn each_header_has_its_family() {
        let all = behind(&[(1, 50), (2, 90), (1, 50), (2, 90), (1, 50), (2, 90), (3, 4), (4, 4)]);
        assert_eq!(families(&all, Prompt::last, 60), [vec![0, 2, 4], vec![1, 3, 5], vec![6, 7]]);
        // Nothing is parted for what is run with each prompt in any case.
        assert_eq!(families(&all, |_| 0, 60), [(0..8).collect::<Vec<_>>()]);
    }

    proptest! {
        /// Every prompt is in one family, and the families save no less than all prompts together would, but for the passes.
        #[test]
        fn families_cost_no_more_than_one(ids in prop::collection::vec(prop::collection::vec(0u32..2, 1..40), 1..30), parting in 0usize..60) {
            let all = prompts(&ids);
            let found = families(&all, Prompt::last, parting);
            let mut rows = found.concat();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..ids.len()).collect::<Vec<_>>());
            let saved = |rows: &[usize]| {
                let members: Vec<Prompt> = rows.iter().map(|row| all[*row].clone()).collect();
                shared(&members, Prompt::last) * (rows.len() - 1)
            };
            let whole = saved(&(0..ids.len()).collect::<Vec<_>>());
            let parted: usize = found.iter().map(|rows| saved(rows)).sum();
            prop_assert!(parted >= whole + parting * (found.len() - 1), "{} families save {parted}, one {whole}", found.len());
        }
    }
}
