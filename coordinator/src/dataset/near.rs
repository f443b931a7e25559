//! Near-duplicate texts: equal after folding, or with a word 3-gram Jaccard similarity of at least 0.8.
//!
//! Folding composes accents (Unicode's NFC), lowers case, drops apostrophes and takes punctuation and white space as gaps between words;
//! symbols such as emoji count as words, and so does each character of scripts that put no space between words. Texts of fewer than
//! three words have no 3-grams and match only when they fold to the same.
//!
//! The search is exact, not a sketch: an inverted index over prefixes. Grams are ordered from rare to common. Two sets
//! of similarity >= t share a gram among the rarest `n - ceil(t n) + 1` of each, and neither is smaller than t times the
//! other, so only such pairs are compared (Bayardo, Ma and Srikant 2007, "Scaling up all pairs similarity search").
//! Similarity is not transitive; clusters are: a chain of near-duplicates is one cluster.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointMapData;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};

/// For every text the index of its cluster's first text.
pub fn clusters(texts: &[&str]) -> Vec<usize> {
    let mut sets = Disjoint::new(texts.len());
    let mut first = HashMap::with_capacity(texts.len());
    let mut grams: Vec<(usize, Vec<u64>)> = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        let folded = folded(text);
        match first.get(&folded) {
            Some(&j) => sets.join(i, j),
            None => {
                grams.extend(trigrams(&folded).map(|set| (i, set)));
                first.insert(folded, i);
            }
        }
    }
    drop(first);
    join_similar(rarest_first(grams), &mut sets);
    (0..texts.len()).map(|i| sets.root(i)).collect()
}

/// The words of a text with single spaces between them; a text of punctuation alone keeps it (`:)` is not `:(`).
pub fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let gap = |folded: &mut String| {
        if !folded.is_empty() && !folded.ends_with(' ') {
            folded.push(' ');
        }
    };
    for c in composed(text).chars().flat_map(char::to_lowercase).filter(|c| !is_dropped(*c)) {
        match c {
            _ if is_gap(c) => gap(&mut folded),
            _ if is_word(c) => {
                gap(&mut folded);
                folded.extend([c, ' ']);
            }
            _ => folded.push(c),
        }
    }
    folded.truncate(folded.trim_end().len());
    if folded.is_empty() { text.split_whitespace().collect() } else { folded }
}

/// The text with accents composed, Unicode's NFC.
pub(super) fn composed(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

/// How many words a text has: white space parts them, and each character of scripts that put none between words is one.
pub fn words(text: &str) -> usize {
    let of = |word: &str| {
        let alone = word.chars().filter(|c| is_word(*c)).count();
        alone + usize::from(alone == 0 || word.chars().any(|c| c.is_alphanumeric() && !is_word(c)))
    };
    text.split_whitespace().map(of).sum()
}

/// Characters of scripts that put no space between words: Han, kana, Thai, Lao, Burmese, Khmer.
fn is_word(c: char) -> bool {
    !is_stop(c)
        && matches!(c,
        '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9d}' | '\u{20000}'..='\u{3ffff}' | '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')
}

/// Joiners, variation selectors and other characters that leave no mark.
pub(super) fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}')
}

/// What is unseen, and apostrophes within words.
fn is_dropped(c: char) -> bool {
    is_unseen(c) || matches!(c, '\'' | '\u{2019}' | '\u{2018}')
}

/// Their punctuation.
fn is_stop(c: char) -> bool {
    matches!(c, '\u{30fb}' | '\u{30a0}' | '\u{ff65}' | '\u{e2f}' | '\u{e5a}'..='\u{e5b}' | '\u{104a}'..='\u{104f}' | '\u{17d4}'..='\u{17da}')
}

fn is_gap(c: char) -> bool {
    let punctuation = matches!(c, '\u{a1}' | '\u{ab}' | '\u{b7}' | '\u{bb}' | '\u{bf}' | '\u{2010}'..='\u{205e}' | '\u{3001}'..='\u{303f}' | '\u{ff01}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}');
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    c.is_whitespace()
        || is_stop(c)
        || c.is_control()
        || c.is_ascii_punctuation()
        || punctuation
        || GeneralCategoryGroup::Punctuation.contains(category)
}

/// The hashes of all runs of three words, each once; none where there are fewer words.
fn trigrams(folded: &str) -> Option<Vec<u64>> {
    let words: Vec<&str> = folded.split(' ').collect();
    let mut set: Vec<u64> = words.windows(3).map(hash).collect();
    set.sort_unstable();
    set.dedup();
    (!set.is_empty()).then_some(set)
}

fn hash(words: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    words.hash(&mut hasher);
    hasher.finish()
}

/// The sets with grams renumbered by ascending frequency, and ordered by size. (Ties follow the hash: they change what is
/// compared first, not what is found.)
fn rarest_first(grams: Vec<(usize, Vec<u64>)>) -> Vec<(usize, Vec<u32>)> {
    let mut counts: HashMap<u64, u32> = HashMap::new();
    for gram in grams.iter().flat_map(|(_, set)| set) {
        *counts.entry(*gram).or_default() += 1;
    }
    let mut order: Vec<(u32, u64)> = counts.into_iter().map(|(gram, count)| (count, gram)).collect();
    order.sort_unstable();
    let numbers: HashMap<u64, u32> = order.into_iter().zip(0..).map(|((_, gram), number)| (gram, number)).collect();
    let renumber = |set: Vec<u64>| {
        let mut set: Vec<u32> = set.iter().map(|gram| numbers[gram]).collect();
        set.sort_unstable();
        set
    };
    let mut sets: Vec<_> = grams.into_iter().map(|(i, set)| (i, renumber(set))).collect();
    sets.sort_unstable_by_key(|(i, set)| (set.len(), *i));
    sets
}

/// Joins all pairs of similar sets. `grams` comes in order of size.
fn join_similar(grams: Vec<(usize, Vec<u32>)>, sets: &mut Disjoint) {
    let mut index: HashMap<u32, Postings> = HashMap::new();
    let mut compared = vec![u32::MAX; grams.len()];
    for (x, (i, set)) in (0u32..).zip(&grams) {
        let smallest = (4 * set.len()).div_ceil(5);
        let large = |members: &[u32]| members.partition_point(|&y| grams[y as usize].1.len() < smallest);
        let mut compare = |y: u32, sets: &mut Disjoint| {
            let (j, other) = &grams[y as usize];
            if std::mem::replace(&mut compared[y as usize], x) != x && sets.root(*i) != sets.root(*j) && similar(set, other) {
                sets.join(*i, *j);
            }
        };
        for gram in &set[..=set.len() - smallest] {
            let postings = index.entry(*gram).or_default();
            postings.few[large(&postings.few)..].iter().for_each(|&y| compare(y, sets));
            for (root, members) in &postings.clusters {
                for &y in &members[large(members)..] {
                    if sets.root(*i) == sets.root(*root) {
                        break;
                    }
                    compare(y, sets);
                }
            }
            postings.push(x, sets.root(*i));
        }
    }
}

/// The sets that have a gram, each list in order of size.
#[derive(Default)]
struct Postings {
    /// The first of them; most grams never have more.
    few: Vec<u32>,
    /// The others by what they were joined to when they came. Of a cluster that a set is joined with nobody need be compared any more: rows
    /// made after a few patterns share grams with thousands of others.
    clusters: Vec<(usize, Vec<u32>)>,
}

impl Postings {
    const FEW: usize = 16;

    fn push(&mut self, x: u32, root: usize) {
        if self.few.len() < Self::FEW {
            return self.few.push(x);
        }
        match self.clusters.iter_mut().find(|(of, _)| *of == root) {
            Some((_, members)) => members.push(x),
            None => self.clusters.push((root, vec![x])),
        }
    }
}

/// Whether two sorted sets have a Jaccard similarity of at least 0.8.
fn similar(a: &[u32], b: &[u32]) -> bool {
    // |a ∩ b| / |a ∪ b| >= 4/5, with |a ∪ b| = |a| + |b| - |a ∩ b|.
    let needed = (4 * (a.len() + b.len())).div_ceil(9);
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while i < a.len() && j < b.len() && shared + (a.len() - i).min(b.len() - j) >= needed {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, shared) = (i + 1, j + 1, shared + 1),
        }
    }
    shared >= needed
}

/// Disjoint sets; the root of a set is its smallest member.
#[derive(Debug)]
pub(super) struct Disjoint {
    parents: Vec<usize>,
}

impl Disjoint {
    pub(super) fn new(len: usize) -> Disjoint {
        Disjoint { parents: (0..len).collect() }
    }

    pub(super) fn root(&mut self, mut i: usize) -> usize {
        while self.parents[i] != i {
            self.parents[i] = self.parents[self.parents[i]];
            i = self.parents[i];
        }
        i
    }

    pub(super) fn join(&mut self, i: usize, j: usize) {
        let (a, b) = (self.root(i), self.root(j));
        self.parents[a.max(b)] = a.min(b);
    }
}
