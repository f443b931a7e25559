//! The beginning that all prompts share: a system message, solved examples. It is run once; every row goes on behind its
//! keys and values.

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
