//! What judges have said of replies: in the worker's memory, and in the store, where other workers find it.
//!
//! A unit that has judged anything new leaves all its verdicts as one object in its question's folder, named after its replies.
//! So the bytes follow from the place: whoever writes there writes the same, at any time and however often. Who judges the same
//! replies again (another attempt, another sweep) reads that one object. For others the folder is listed, now and then, for there
//! it is replies that are the same and not units: what was written last is read first.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use limbic_proto::key::Digest;

use super::kept;
use crate::inputs::KeptVerdicts;

/// What a judge says of one reply.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    /// The log-likelihood of every label.
    pub(super) scores: Vec<f64>,
    /// The tokens of the question.
    pub(super) prompt: i64,
    /// Whether the question was cut to fit the context.
    pub(super) cut: bool,
}

/// Of so many units with the same question one lists what others have left.
const LOOKS: usize = 16;

/// At most so many objects are read after a listing, and so many at once.
const READ: usize = 64;
const AT_ONCE: usize = 16;

/// Verdicts by the digest of what determines them: judge, kind of device, question, answers, policy and reply. The oldest go first.
#[derive(Debug)]
pub(in crate::execute) struct Verdicts {
    known: HashMap<Digest, Verdict>,
    order: VecDeque<Digest>,
    capacity: usize,
    /// By question: the objects in the store that were read or written, and how many units lacked verdicts.
    asked: BTreeMap<Digest, (BTreeSet<String>, usize)>,
}

impl Default for Verdicts {
    /// Room for 65,536 verdicts: some ten megabytes.
    fn default() -> Verdicts {
        Verdicts { known: HashMap::new(), order: VecDeque::new(), capacity: 1 << 16, asked: BTreeMap::new() }
    }
}

impl Verdicts {
    /// What is known of a reply.
    pub(super) fn get(&self, key: &Digest) -> Option<&Verdict> {
        self.known.get(key)
    }

    /// Remembers a verdict.
    pub(super) fn keep(&mut self, key: Digest, verdict: Verdict) {
        if self.known.insert(key, verdict).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > self.capacity {
            self.order.pop_front().map(|oldest| self.known.remove(&oldest));
        }
    }

    /// Looks in the store for verdicts on replies that are not known yet; `own` is the name under which they would all be.
    pub(super) fn fetch(&mut self, kept: &KeptVerdicts<'_>, own: &str, replies: &[Digest], labels: usize) {
        let lacking = |known: &HashMap<Digest, Verdict>| replies.iter().any(|reply| !known.contains_key(reply));
        if !lacking(&self.known) {
            return;
        }
        self.read(kept, &[own.to_owned()], labels);
        let (seen, units) = self.asked.entry(kept.asked()).or_default();
        seen.insert(own.to_owned());
        let look = units.is_multiple_of(LOOKS);
        *units += 1;
        if !look || !lacking(&self.known) {
            return;
        }
        let new: Vec<String> = kept.names().into_iter().filter(|name| !seen.contains(name)).take(READ).collect();
        seen.extend(new.iter().cloned());
        let mut found = 0;
        for names in new.chunks(AT_ONCE) {
            found += self.read(kept, names, labels);
            // What is read must not drive out what was just read.
            if found > self.capacity / 2 || !lacking(&self.known) {
                break;
            }
        }
    }

    /// Remembers what some objects hold; how many verdicts that were.
    fn read(&mut self, kept: &KeptVerdicts<'_>, names: &[String], labels: usize) -> usize {
        let mut found = 0;
        for bytes in kept.get(names) {
            let Some(verdicts) = kept::read(&bytes, labels) else {
                tracing::warn!(question = %kept.asked().short(), "verdicts in the store are damaged; the replies are judged again");
                continue;
            };
            found += verdicts.len();
            verdicts.into_iter().for_each(|(key, verdict)| self.keep(key, verdict));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_verdicts_go_first() {
        let mut verdicts = Verdicts { capacity: 2, ..Verdicts::default() };
        let verdict = |n: i64| Verdict { scores: vec![-1.0], prompt: n, cut: false };
        let keys = [b"a", b"b", b"c"].map(|text| Digest::of(text));
        for (n, key) in [(0, keys[0]), (1, keys[1]), (2, keys[0]), (3, keys[2])] {
            verdicts.keep(key, verdict(n));
        }
        assert_eq!((verdicts.get(&keys[0]), verdicts.known.len(), verdicts.order.len()), (None, 2, 2));
        assert_eq!(verdicts.get(&keys[1]), Some(&verdict(1)));
    }
}
