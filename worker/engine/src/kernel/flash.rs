//! Attention by FlashAttention-2: a call for many sequences at once, each over a list of its keys.
//!
//! No score ever lies in the device's memory, so a call's work and room grow with the tokens and what each of them sees, where
//! [`super::blocks`] scores every query of a block against every key of it. See "FlashAttention-2", <https://arxiv.org/abs/2307.08691>.
//! It takes bf16 on CUDA; which sequence has which keys is made out here, and tested on a CPU with a plain attention in the kernel's place.

use std::cell::OnceCell;
use std::ops::Range;

use candle_core::{Device, Result, Tensor};

use super::blocks::{columns, seen};
use super::heads::Heads;
use crate::pass::Sequence;

/// Keys that one call gathers; bounds their copy to `131,072 * 2 * hk * w` numbers where no single sequence has more.
const GATHERED: usize = 1 << 17;

/// The widest head that the kernel takes.
#[cfg(feature = "flash-attn")]
const WIDEST: usize = 256;

/// Queries and keys of several sequences, one sequence after another, and where each begins.
#[derive(Debug)]
#[cfg_attr(not(feature = "flash-attn"), allow(dead_code, reason = "the kernel alone reads them"))]
pub(super) struct Lists {
    /// Where a sequence's queries begin, and where the last one's end, u32 `[sequences + 1]`.
    pub queries: Tensor,
    /// The same of keys. Its last query sees all of a sequence's keys, the query before it one less, and so on.
    pub keys: Tensor,
    /// The most queries that a sequence has.
    pub most_queries: usize,
    /// The most keys.
    pub most_keys: usize,
}

/// Successive sequences that are attended to by one call.
#[derive(Debug)]
struct Call {
    /// Their new tokens.
    tokens: Range<usize>,
    lists: Lists,
    /// Where their keys come from; `None` where each sequence's are its new tokens.
    gathered: Option<Gathered>,
}

/// Keys that lie apart.
#[derive(Debug)]
struct Gathered {
    /// Rows of the cache, ascending and each once.
    cached: Vec<Range<usize>>,
    /// The keys of all sequences as numbers among those rows and then the pass's tokens, u32.
    order: Tensor,
}

/// The calls of one pass; made when a layer first asks and kept for the others.
#[derive(Debug, Default)]
pub(crate) struct Calls(OnceCell<Vec<Call>>);

impl Calls {
    fn get(&self, sequences: &[Sequence], device: &Device) -> Result<&[Call]> {
        if let Some(calls) = self.0.get() {
            return Ok(calls);
        }
        let (mut calls, mut rest) = (Vec::new(), sequences);
        while !rest.is_empty() {
            let (these, others) = rest.split_at(together(rest));
            calls.push(Call::new(these, device)?);
            rest = others;
        }
        Ok(self.0.get_or_init(|| calls))
    }
}

/// Whether a sequence's keys are its new tokens alone.
fn alone(sequence: &Sequence) -> bool {
    sequence.before() == 0
}

/// How many of the first sequences make a call: such as need no keys of others, or such as do.
fn together(sequences: &[Sequence]) -> usize {
    let (first, mut keys) = (alone(&sequences[0]), 0);
    let fits = |s: &&Sequence| {
        keys += s.before() + s.len;
        alone(s) == first && (first || keys <= GATHERED)
    };
    sequences.iter().take_while(fits).count().max(1)
}

impl Call {
    fn new(sequences: &[Sequence], device: &Device) -> Result<Call> {
        let last = &sequences[sequences.len() - 1];
        let starts = |len: &dyn Fn(&Sequence) -> usize| {
            let ends = sequences.iter().scan(0, |end, s| {
                *end += len(s);
                Some(*end as u32)
            });
            Tensor::from_iter([0].into_iter().chain(ends), device)
        };
        let keys = |s: &Sequence| s.before() + s.len;
        let lists = Lists {
            queries: starts(&|s| s.len)?,
            keys: starts(&keys)?,
            most_queries: sequences.iter().map(|s| s.len).max().unwrap_or(0),
            most_keys: sequences.iter().map(keys).max().unwrap_or(0),
        };
        let tokens = sequences[0].start..last.start + last.len;
        let gathered = match alone(last) {
            true => None,
            false => {
                // Stems lie anywhere before the new tokens.
                let (cached, own) = (seen(sequences), [0..tokens.end]);
                let order = sequences.iter().flat_map(|s| columns(s, s.len, &cached, &own)).map(|at| at as u32);
                Some(Gathered { order: Tensor::from_iter(order, device)?, cached })
            }
        };
        Ok(Call { tokens, lists, gathered })
    }

    /// `qkv` [t, hq + 2 hk, w] -> [tokens, hq, w].
    fn attend(&self, heads: Heads, qkv: &Tensor, cache: Option<&Tensor>, window: Option<usize>, kernel: Kernel) -> Result<Tensor> {
        let Heads { queries, keys, width } = heads;
        let q = qkv.narrow(0, self.tokens.start, self.tokens.len())?.narrow(1, 0, queries)?;
        let new = qkv.narrow(1, queries, 2 * keys)?;
        let pairs = match &self.gathered {
            None => new.narrow(0, self.tokens.start, self.tokens.len())?,
            Some(Gathered { cached, order }) => {
                let mut pairs = Vec::with_capacity(cached.len() + 1);
                for rows in cached {
                    let Some(cache) = cache else { candle_core::bail!("a sequence has a prefix, and there is no cache") };
                    pairs.push(cache.narrow(0, rows.start, rows.len())?.reshape((rows.len(), 2 * keys, width))?);
                }
                pairs.push(new.narrow(0, 0, self.tokens.end)?.contiguous()?);
                Tensor::cat(&pairs, 0)?.index_select(order, 0)?
            }
        };
        kernel(&q, &pairs.narrow(1, 0, keys)?, &pairs.narrow(1, keys, keys)?, &self.lists, window)
    }
}

/// Attention of all sequences of some lists: queries `[n, hq, w]`, keys and values `[m, hk, w]` -> `[n, hq, w]`; of a window a query sees
/// as many keys, the last of which is its own. The innermost dimension of each is contiguous.
type Kernel = fn(&Tensor, &Tensor, &Tensor, &Lists, Option<usize>) -> Result<Tensor>;

/// As [`super::attention::attend`].
pub(super) fn attend(
    heads: Heads,
    qkv: &Tensor,
    cached: Option<&Tensor>,
    sequences: &[Sequence],
    calls: &Calls,
    window: Option<usize>,
    kernel: Kernel,
) -> Result<Tensor> {
    let tokens = qkv.dim(0)?;
    let qkv = qkv.reshape((tokens, heads.queries + 2 * heads.keys, heads.width))?;
    let calls = calls.get(sequences, qkv.device())?.iter();
    let mut all = calls.map(|call| call.attend(heads, &qkv, cached, window, kernel)).collect::<Result<Vec<_>>>()?;
    let all = if all.len() == 1 { all.remove(0) } else { Tensor::cat(&all, 0)? };
    all.reshape((tokens, heads.key_start()))
}

/// The kernel, if it can attend to such queries, keys and values.
#[cfg(feature = "flash-attn")]
pub(super) fn kernel(heads: Heads, qkv: &Tensor) -> Option<Kernel> {
    use candle_core::DType;

    let taken = qkv.device().is_cuda() && qkv.dtype() == DType::BF16 && heads.width.is_multiple_of(8) && heads.width <= WIDEST;
    taken.then_some(|q, k, v, lists, window| {
        let Lists { queries, keys, most_queries, most_keys } = lists;
        let scale = 1.0 / (q.dim(2)? as f32).sqrt();
        // It counts the keys before a query's own.
        let before = window.map(|keys| keys - 1);
        candle_flash_attn::flash_attn_varlen_windowed(q, k, v, queries, keys, *most_queries, *most_keys, scale, before, Some(0))
    })
}

/// None: this program is built without.
#[cfg(not(feature = "flash-attn"))]
pub(super) fn kernel(_: Heads, _: &Tensor) -> Option<Kernel> {
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What the kernel computes, query by query.
    pub(in super::super) fn plain(q: &Tensor, k: &Tensor, v: &Tensor, lists: &Lists, window: Option<usize>) -> Result<Tensor> {
        let (n, heads, width) = q.dims3()?;
        let group = heads / k.dim(1)?;
        let ([q, k, v], mut out) = ([q.to_vec3::<f32>()?, k.to_vec3()?, v.to_vec3()?], Vec::with_capacity(n * heads * width));
        let (queries, keys) = (lists.queries.to_vec1::<u32>()?, lists.keys.to_vec1::<u32>()?);
        for (queries, keys) in queries.windows(2).zip(keys.windows(2)) {
            assert!((queries[1] - queries[0]) as usize <= lists.most_queries && (keys[1] - keys[0]) as usize <= lists.most_keys);
            for query in queries[0]..queries[1] {
                let to = keys[1] - (queries[1] - query) + 1;
                let from = window.map_or(keys[0], |w| to.saturating_sub(w as u32).max(keys[0]));
                for head in 0..heads {
                    let score = |key: u32| {
                        let pairs = q[query as usize][head].iter().zip(&k[key as usize][head / group]);
                        (pairs.map(|(a, b)| a * b).sum::<f32>() / (width as f32).sqrt()).exp()
                    };
                    let scores: Vec<f32> = (from..to).map(score).collect();
                    let total: f32 = scores.iter().sum();
                    out.extend((0..width).map(|at| {
                        let of = |(key, score): (u32, &f32)| score / total * v[key as usize][head / group][at];
                        (from..to).zip(&scores).map(of).sum::<f32>()
                    }));
                }
            }
        }
        Tensor::from_vec(out, (n, heads, width), &Device::Cpu)
    }

    fn sequence(start: usize, len: usize, prefix: &[Range<usize>], stem: &[Range<usize>]) -> Sequence {
        Sequence { start, len, prefix: prefix.to_vec(), stem: stem.to_vec() }
    }

    /// Tokens, where queries and keys begin, and the rows that are gathered.
    type Made = (Range<usize>, Vec<u32>, Vec<u32>, Option<Vec<u32>>);

    fn made(sequences: &[Sequence]) -> Vec<Made> {
        let calls = Calls::default();
        let numbers = |t: &Tensor| t.to_vec1::<u32>().unwrap();
        let one = |call: &Call| {
            let order = call.gathered.as_ref().map(|gathered| numbers(&gathered.order));
            (call.tokens.clone(), numbers(&call.lists.queries), numbers(&call.lists.keys), order)
        };
        calls.get(sequences, &Device::Cpu).unwrap().iter().map(one).collect()
    }

    #[test]
    fn nothing_is_gathered_where_keys_are_the_new_tokens_and_else_in_their_order() {
        let of = [
            sequence(0, 3, &[], &[]),
            sequence(3, 2, &[], &[]),
            // Cache rows 10..12, then what the first sequence begins with, then its own.
            sequence(5, 1, &[10..12], &[0..2]),
            sequence(6, 2, &[4..5], &[]),
        ];
        let expected = vec![
            (0..5, vec![0, 3, 5], vec![0, 3, 5], None),
            // The cached rows are 4, 10 and 11; the pass's tokens come behind those three.
            (5..8, vec![0, 1, 3], vec![0, 5, 8], Some(vec![1, 2, 3, 4, 8, 0, 9, 10])),
        ];
        assert_eq!(made(&of), expected);
    }

    #[test]
    fn no_call_gathers_more_than_its_bound_unless_one_sequence_does() {
        let of: Vec<Sequence> = (0..300).map(|i| sequence(i, 1, &[0..if i == 7 { 2 * GATHERED } else { 1000 }], &[])).collect();
        let made = made(&of);
        assert!(made.len() >= 300 * 1000 / GATHERED + 2);
        assert!(made.iter().all(|(tokens, _, keys, _)| tokens.len() == 1 || *keys.last().unwrap() as usize <= GATHERED));
        assert_eq!(made.iter().map(|call| call.0.len()).sum::<usize>(), 300);
    }
}
