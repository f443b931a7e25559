//! Visits every state that a model can reach, breadth first, and judges each step.
//!
//! Ours, and not a crate, because of the last of the three questions it answers: can every reachable state still get to
//! the end? Checkers for Rust answer "does every path get there", and that only where paths don't run in circles.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

/// What is explored.
pub trait Model {
    /// Everything that is remembered.
    type State: Clone + Eq + Hash;

    /// Where it begins.
    fn start(&self) -> Self::State;

    /// What can happen in a state, in words, and what becomes of it.
    fn steps(&self, state: &Self::State) -> Vec<(String, Self::State)>;

    /// What is wrong with a step, if anything is.
    fn wrong(&self, before: &Self::State, after: &Self::State) -> Option<String>;

    /// The state without what only [`Model::wrong`] needs to know of the step that led there.
    fn settled(&self, state: Self::State) -> Self::State;

    /// Whether this is an end that is hoped for.
    fn complete(&self, state: &Self::State) -> bool;
}

/// What exploring found.
#[derive(Debug)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Steps between them.
    pub steps: usize,
    /// How many of the states are ends that are hoped for.
    pub complete: usize,
    /// The first wrong step, and the shortest way there.
    pub wrong: Option<(String, Vec<String>)>,
    /// The way to a state from which no end can be reached any more.
    pub stuck: Option<Vec<String>>,
}

/// The states in the order they were found, and how each was reached.
struct Graph<S> {
    found: HashMap<S, u32>,
    order: Vec<S>,
    /// The state before, and what happened.
    from: Vec<(u32, String)>,
}

impl<S: Clone + Eq + Hash> Graph<S> {
    /// The state's number, and whether it is new.
    fn add(&mut self, state: S, from: u32, step: String) -> (u32, bool) {
        let next = u32::try_from(self.order.len()).expect("fewer than four billion states");
        match self.found.entry(state) {
            Entry::Occupied(there) => (*there.get(), false),
            Entry::Vacant(free) => {
                self.order.push(free.key().clone());
                free.insert(next);
                self.from.push((from, step));
                (next, true)
            }
        }
    }

    fn way(&self, mut to: u32) -> Vec<String> {
        let mut way = Vec::new();
        while to != 0 {
            let (from, step) = &self.from[to as usize];
            way.push(step.clone());
            to = *from;
        }
        way.reverse();
        way
    }
}

/// Visits every state, up to the first wrong step.
///
/// # Panics
/// If there are more than `most` states: the model has grown, and its bounds must be thought over.
pub fn explore<M: Model>(model: &M, most: usize) -> Explored {
    let mut graph = Graph { found: HashMap::new(), order: Vec::new(), from: Vec::new() };
    graph.add(model.start(), 0, String::new());
    let mut edges: Vec<(u32, u32)> = Vec::new();
    let mut next = 0u32;
    while (next as usize) < graph.order.len() {
        let state = graph.order[next as usize].clone();
        for (step, after) in model.steps(&state) {
            if let Some(wrong) = model.wrong(&state, &after) {
                let mut way = graph.way(next);
                way.push(step);
                let (states, steps) = (graph.order.len(), edges.len());
                return Explored { states, steps, complete: 0, wrong: Some((wrong, way)), stuck: None };
            }
            let (to, _) = graph.add(model.settled(after), next, step);
            edges.push((to, next));
        }
        assert!(graph.order.len() <= most, "more than {most} states");
        next += 1;
    }
    // Backwards from the ends: whatever is not reached can't get to one.
    edges.sort_unstable();
    let mut hopeful = vec![false; graph.order.len()];
    let mut open: Vec<u32> = (0..next).filter(|at| model.complete(&graph.order[*at as usize])).collect();
    let complete = open.len();
    open.iter().for_each(|at| hopeful[*at as usize] = true);
    while let Some(at) = open.pop() {
        let first = edges.partition_point(|(to, _)| *to < at);
        for (_, before) in edges[first..].iter().take_while(|(to, _)| *to == at) {
            if !std::mem::replace(&mut hopeful[*before as usize], true) {
                open.push(*before);
            }
        }
    }
    let stuck = hopeful.iter().position(|hope| !hope).map(|at| graph.way(u32::try_from(at).expect("counted above")));
    Explored { states: graph.order.len(), steps: edges.len(), complete, wrong: None, stuck }
}
