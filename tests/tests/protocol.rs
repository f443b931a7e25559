//! The protocol of commits and of the fence, checked in every state that two coordinators, two workers and two units can
//! reach; and the same protocol with one rule taken out, which the checker must catch.

#[path = "protocol/explore.rs"]
mod explore;
#[path = "protocol/steps.rs"]
mod steps;
#[path = "protocol/world.rs"]
mod world;

use explore::{Explored, explore};
use steps::{Mutant, Protocol};
use world::Misfortunes;

/// More states than any of these bounds gives.
const MOST: usize = 8_000_000;

const CALM: Misfortunes = Misfortunes { crashes: 0, faults: 0, stalls: 0, duels: 0, collections: 0, voids: 0 };

fn check(left: Misfortunes) -> Explored {
    let explored = explore(&Protocol { left, mutant: Mutant::None }, MOST);
    println!("{left:?}: {} states, {} steps, {} of the states complete", explored.states, explored.steps, explored.complete);
    assert_eq!(explored.wrong, None, "{left:?}");
    assert_eq!(explored.stuck, None, "the end can't be reached any more: {left:?}");
    assert!(explored.complete > 0);
    explored
}

#[test]
fn nothing_is_lost_by_crashes_and_faults() {
    check(Misfortunes { crashes: 1, faults: 1, stalls: 1, ..CALM });
    check(Misfortunes { crashes: 2, collections: 1, ..CALM });
}

#[test]
fn nothing_is_lost_by_two_leaders() {
    check(Misfortunes { duels: 1, stalls: 1, faults: 1, ..CALM });
    check(Misfortunes { duels: 1, crashes: 1, stalls: 1, ..CALM });
}

#[test]
fn nothing_is_lost_by_voids_and_collections() {
    check(Misfortunes { voids: 1, duels: 1, stalls: 1, ..CALM });
    check(Misfortunes { voids: 2, duels: 1, ..CALM });
    check(Misfortunes { voids: 1, collections: 1, crashes: 1, ..CALM });
}

#[test]
fn a_void_that_the_journal_does_not_announce_is_overlooked_by_the_next_leader() {
    let left = Misfortunes { voids: 1, duels: 1, stalls: 1, ..CALM };
    let explored = explore(&Protocol { left, mutant: Mutant::SilentVoid }, MOST);
    assert_eq!(explored.wrong, None);
    println!("SilentVoid: stuck after\n  {}", explored.stuck.expect("the unit is never computed again").join("\n  "));
}

fn caught(mutant: Mutant, left: Misfortunes) {
    let explored = explore(&Protocol { left, mutant }, MOST);
    let (wrong, way) = explored.wrong.unwrap_or_else(|| panic!("{mutant:?} is not caught in {} states", explored.states));
    println!("{mutant:?}: {wrong}, after\n  {}", way.join("\n  "));
}

#[test]
fn every_rule_that_is_taken_out_is_missed() {
    caught(Mutant::NonceTakenForLost, Misfortunes { faults: 1, ..CALM });
    caught(Mutant::NonceTakenForWon, Misfortunes { stalls: 1, ..CALM });
    caught(Mutant::NoFence, Misfortunes { duels: 1, stalls: 1, ..CALM });
    caught(Mutant::Overwrite, Misfortunes { duels: 1, stalls: 1, ..CALM });
    caught(Mutant::YoungGarbage, Misfortunes { collections: 1, ..CALM });
    caught(Mutant::VoidOnTop, Misfortunes { voids: 2, duels: 1, ..CALM });
}
