//! Prompts of a unit that are the same: one of them is run, and what came of it is that of all.

use std::borrow::Cow;
use std::collections::BTreeMap;

use limbic_engine::{Continuation, ExtractError, Extraction, Prompt, Request, States};

use super::{cut, part_of};

/// Which prompts are the same, and have the same said after them.
pub(super) struct Copies {
    /// The first of each kind, ascending, with all of its kind, ascending; only those of which there are several.
    several: BTreeMap<usize, Vec<usize>>,
    /// The first of each kind, ascending, where there are several of any.
    firsts: Option<Vec<usize>>,
}

impl Copies {
    /// Finds the prompts with the same tokens, of which the same is read. Where rows exchange replies each is one of a kind.
    pub(super) fn among(prompts: &[Prompt], request: &Request) -> Copies {
        let none = Copies { several: BTreeMap::new(), firsts: None };
        if !request.partners.is_empty() {
            return none;
        }
        let following = |row: usize| match &request.continuation {
            Some(Continuation::Given(replies)) => (replies[row].as_slice(), 0),
            Some(Continuation::Generated { seeds, .. }) => (&[][..], seeds.get(row).copied().unwrap_or(0)),
            None => (&[][..], 0),
        };
        let mut kinds = BTreeMap::new();
        for (row, prompt) in prompts.iter().enumerate() {
            let kind = (&prompt.ids, prompt.utterance_tokens.start, prompt.utterance_tokens.end, following(row));
            kinds.entry(kind).or_insert_with(Vec::new).push(row);
        }
        if kinds.len() == prompts.len() {
            return none;
        }
        let mut firsts: Vec<usize> = kinds.values().map(|rows| rows[0]).collect();
        firsts.sort_unstable();
        let several = kinds.into_values().filter(|rows| rows.len() > 1).map(|rows| (rows[0], rows)).collect();
        Copies { several, firsts: Some(firsts) }
    }

    /// The rows of each block that are to be run; see [`cut`].
    pub(super) fn cut(&self, prompts: &[Prompt], request: &Request) -> Vec<Vec<usize>> {
        let Some(firsts) = &self.firsts else { return cut(prompts, request) };
        let few: Vec<Prompt> = firsts.iter().map(|&row| prompts[row].clone()).collect();
        let blocks = cut(&few, &part_of(request, firsts));
        blocks.into_iter().map(|block| block.into_iter().map(|at| firsts[at]).collect()).collect()
    }

    /// How many rows hang on those that are run.
    pub(super) fn of(&self, rows: &[usize]) -> usize {
        rows.iter().map(|row| self.several.get(row).map_or(1, Vec::len)).sum()
    }

    /// What was found for the rows of a block as that of all their copies, with the rows that these are, ascending.
    pub(super) fn spread<'r>(&self, found: Extraction, rows: &'r [usize]) -> Result<(Extraction, Cow<'r, [usize]>), ExtractError> {
        if self.of(rows) == rows.len() {
            return Ok((found, Cow::Borrowed(rows)));
        }
        // Each row that is to be, and where it is among those that are.
        let alike = |(at, row): (usize, &usize)| {
            let all = self.several.get(row).cloned().unwrap_or_else(|| vec![*row]);
            all.into_iter().map(move |copy| (copy, at))
        };
        let mut places: Vec<(usize, usize)> = rows.iter().enumerate().flat_map(alike).collect();
        places.sort_unstable();
        let (width, many) = (found.width, found.states.len());
        // One after the other, so that two of all states are never there.
        let copied = |from: States| {
            let mut values = Vec::new();
            values.try_reserve_exact(places.len() * width).map_err(|e| ExtractError::OutOfMemory {
                what: format!("for the states of {} rows at {many} layers and read-outs", places.len()),
                message: e.to_string(),
            })?;
            places.iter().for_each(|(_, at)| values.extend_from_slice(&from.values[at * width..][..width]));
            Ok(States { values, ..from })
        };
        let states = found.states.into_iter().map(copied).collect::<Result<_, ExtractError>>()?;
        let bad = |at: &usize| found.bad.binary_search(at).is_ok();
        let spread = Extraction {
            width,
            states,
            replies: places.iter().map(|(_, at)| found.replies[*at].clone()).collect(),
            shuffled: places.iter().map(|(_, at)| found.shuffled[*at]).collect(),
            fillers: places.iter().map(|(_, at)| found.fillers[*at]).collect(),
            tokens: found.tokens,
            bad: (0..places.len()).filter(|to| bad(&places[*to].1)).collect(),
            memory_retries: found.memory_retries,
        };
        Ok((spread, Cow::Owned(places.into_iter().map(|(row, _)| row).collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limbic_proto::axis::{Layer, ReadOut};

    fn prompts(ids: &[&[u32]]) -> Vec<Prompt> {
        ids.iter().map(|ids| Prompt::of_tokens(*ids)).collect()
    }

    #[test]
    fn copies_are_run_once_and_all_of_them_have_what_came_of_it() {
        let prompts = prompts(&[&[1, 2], &[3], &[1, 2], &[4, 5], &[3], &[1, 2]]);
        let request = Request::new(vec![Layer::Final], vec![ReadOut::LAST]);
        let copies = Copies::among(&prompts, &request);
        assert_eq!(copies.cut(&prompts, &request), [[0, 1, 3]]);
        let states = vec![States { layer: Layer::Final, read_out: ReadOut::LAST, values: vec![1.0, 1.5, 0.0, 0.0, 4.0, 4.5] }];
        let (replies, counts) = (vec![vec![1], vec![], vec![4]], vec![1, 0, 4]);
        let found =
            Extraction { width: 2, states, replies, shuffled: counts.clone(), fillers: counts, tokens: 5, bad: vec![1], memory_retries: 2 };
        let (spread, rows) = copies.spread(found, &[0, 1, 3]).unwrap();
        assert_eq!(rows.as_ref(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(spread.states[0].values, [1.0, 1.5, 0.0, 0.0, 1.0, 1.5, 4.0, 4.5, 0.0, 0.0, 1.0, 1.5]);
        assert_eq!(spread.replies, [vec![1], vec![], vec![1], vec![4], vec![], vec![1]]);
        assert_eq!((spread.shuffled, spread.fillers), (vec![1, 0, 1, 4, 0, 1], vec![1, 0, 1, 4, 0, 1]));
        assert_eq!((spread.tokens, spread.bad, spread.memory_retries), (5, vec![1, 4], 2));
        assert_eq!((copies.of(&[0]), copies.of(&[3]), copies.of(&[0, 1, 3])), (3, 1, 6));
    }

    #[test]
    fn prompts_are_no_copies_where_something_else_follows_or_is_read() {
        let alike = prompts(&[&[1, 2], &[1, 2], &[1, 2]]);
        let runs = |prompts: &[Prompt], request: &Request| Copies::among(prompts, request).cut(prompts, request).concat();
        let mut request = Request::new(vec![Layer::Final], vec![ReadOut::LAST]);
        assert_eq!(runs(&alike, &request), [0]);
        request.continuation = Some(Continuation::Given(vec![vec![1], vec![2], vec![1]]));
        assert_eq!(runs(&alike, &request), [0, 1]);
        let generated = |temperature, seeds| Continuation::Generated { tokens: 3, temperature, seeds, stop_at_eos: true };
        request.continuation = Some(generated(0.7, vec![1, 2, 3]));
        assert_eq!(runs(&alike, &request), [0, 1, 2]);
        request.continuation = Some(generated(0.0, Vec::new()));
        assert_eq!(runs(&alike, &request), [0]);
        request.partners = vec![Some(1), Some(0), None];
        assert_eq!(runs(&alike, &request), [0, 1, 2]);
        let mut spoken = alike.clone();
        spoken[1].utterance_tokens = 1..2;
        assert_eq!(runs(&spoken, &Request::new(vec![Layer::Final], vec![ReadOut::LAST])), [0, 1]);
    }
}
