//! Laws of forecasts, on a small sweep whose units take minutes of a slow worker.

use limbic_proto::spec::Spec;
use limbic_proto::unit::UnitKind;

use super::*;
use crate::Sandbox;

/// A worker on which a unit of eight rows takes a minute or two.
fn slow() -> Rates {
    Rates { gflops: 0.002, ..Rates::default() }
}

async fn small(dtype: &str) -> Plan {
    let shipped = Sandbox::repository().join("configs/quickstart");
    let text = format!(
        "name: small\ndataset: {{source: {}, group: group, limit: 210}}\nmodels: [{{source: {}, dtype: {dtype}}}]\nlayers: [1, 2]\n\
         conditions: [{{name: raw}}, {{name: calm, template: 'Calmly. {{text}}'}}]\noffsets: [0, 4]\ncontinuation: {{tokens: 8}}\n\
         probes: [{{kind: mean-difference}}]\nbaselines: []\nexecution: {{rows_per_unit: 8, activations: release, token_budget: 64}}\n",
        shipped.join("corpus.jsonl").display(),
        shipped.join("models/tiny-0.3m").display(),
    );
    sweep::prepare(Spec::from_yaml(&text, Path::new("small.yaml")).unwrap()).await.unwrap().plan
}

fn fleet(workers: usize, preempted_per_hour: f64) -> Fleet {
    Fleet { workers, apart: false, fit_workers: 0, preempted_per_hour, replaced_after: 60.0, seed: 1 }
}

/// The longest chain of units where each loads its model and waits for what its worker published before.
fn longest_chain(plan: &Plan, rates: &Rates) -> f64 {
    let mut ends: BTreeMap<UnitKey, f64> = BTreeMap::new();
    for key in &plan.order {
        let work = Work::of(&plan.units[key], plan, rates);
        let from = plan.units[key].unit.spec.dependencies().iter().map(|key| ends[key]).fold(0.0, f64::max);
        ends.insert(*key, from + work.longest(rates) + work.publishing(rates));
    }
    ends.into_values().fold(0.0, f64::max)
}

#[tokio::test]
async fn without_preemptions_the_wall_time_is_between_the_ideal_and_what_any_order_takes() {
    let (plan, rates) = (small("f32").await, slow());
    let (total, chain) = (Total::of(&plan, &rates), longest_chain(&plan, &rates));
    assert!(total.chain_seconds <= chain && total.unit_seconds <= total.chain_seconds);
    for workers in [1, 3, 8, 200] {
        let run = simulate(&plan, &rates, fleet(workers, 0.0));
        assert_eq!((run.units.committed, run.units.quarantined), (plan.units.len() as u64, 0), "{workers} workers");
        let ideal = total.seconds / workers as f64;
        let most = total.longest_seconds / workers as f64 + chain;
        assert!(run.wall_seconds >= ideal.max(total.chain_seconds) - 1e-6, "{workers} workers: {} < {ideal}", run.wall_seconds);
        assert!(run.wall_seconds <= most, "{workers} workers: {} > {most}", run.wall_seconds);
        assert!((run.alive_seconds - workers as f64 * run.wall_seconds).abs() < 1e-3);
        assert_eq!((run.preemptions, run.lost_attempts, run.lost_seconds), (0, 0, 0.0));
    }
}

#[tokio::test]
async fn fits_beside_passes_take_less_time_than_the_two_after_one_another() {
    let (plan, rates) = (small("f32").await, slow());
    let total = Total::of(&plan, &rates);
    let passes = total.seconds - total.fit_seconds;
    assert!(total.fit_seconds > 0.0 && passes > 0.0);
    for workers in [1, 3, 8] {
        let (one, apart) = (fleet(workers, 0.0), Fleet { apart: true, ..fleet(workers, 0.0) });
        let helped = Fleet { fit_workers: workers, ..one };
        let [alone, both, more] = [one, apart, helped].map(|fleet| simulate(&plan, &rates, fleet));
        for (fleet, run) in [(one, &alone), (apart, &both), (helped, &more)] {
            assert_eq!(run.units.committed, plan.units.len() as u64);
            assert!(run.wall_seconds >= total.ideal(&fleet) - 1e-6, "{fleet:?}: {}", run.wall_seconds);
        }
        let (less, least) = (both.wall_seconds < alone.wall_seconds, both.wall_seconds <= alone.wall_seconds);
        assert!(if workers == 1 { less } else { least }, "{} and {}", both.wall_seconds, alone.wall_seconds);
        assert!((both.alive_seconds - workers as f64 * both.wall_seconds).abs() < 1e-3 && both.fit_alive_seconds == 0.0);
        assert!((more.fit_alive_seconds - workers as f64 * more.wall_seconds).abs() < 1e-3);
    }
    assert_eq!(total.ideal(&fleet(2, 0.0)), total.seconds / 2.0);
    assert_eq!(total.ideal(&Fleet { apart: true, ..fleet(2, 0.0) }), passes.max(total.fit_seconds) / 2.0);
}

#[tokio::test]
async fn preemptions_cost_time_and_no_unit() {
    let (plan, rates) = (small("f32").await, slow());
    let runs: Vec<Outcome> = [0.0, 10.0, 30.0].iter().map(|rate| simulate(&plan, &rates, fleet(4, *rate))).collect();
    for run in &runs {
        assert_eq!(run.units.committed, plan.units.len() as u64);
        let attempts = run.attempts;
        assert_eq!(attempts.started, attempts.committed + attempts.lost + attempts.released);
        assert_eq!(run.minutes.total(Counted::Grants), attempts.started as f64);
        assert_eq!(run.lost_attempts, attempts.lost, "the machine comes to know of every loss that it has to make good");
        let busy: f64 = run.busy_seconds.values().sum();
        assert!(run.lost_seconds < busy);
        // Every state is released once it is read, and some have to stand together before.
        assert!(run.standing > 0.0 && run.standing <= Total::of(&plan, &rates).states);
    }
    assert!(runs.windows(2).all(|pair| pair[0].wall_seconds < pair[1].wall_seconds), "{:?}", runs.iter().map(|r| r.wall_seconds));
    assert!(runs.windows(2).all(|pair| pair[0].lost_seconds < pair[1].lost_seconds));
    let journal = runs.iter().map(|run| run.minutes.total(Counted::JournalBytes)).collect::<Vec<_>>();
    assert!(journal[0] == 0.0 && journal[1] > 0.0 && journal[2] > journal[1], "losses are all that is written: {journal:?}");
}

#[tokio::test]
async fn a_seed_gives_the_same_run_again() {
    let (plan, rates) = (small("f32").await, slow());
    let run = |seed| simulate(&plan, &rates, Fleet { seed, ..fleet(4, 6.0) });
    let (first, again, other) = (run(5), run(5), run(6));
    assert_eq!(first, again);
    assert_ne!(first.wall_seconds, other.wall_seconds);
}

#[tokio::test]
async fn a_unit_takes_what_its_kind_and_number_format_take() {
    let (plan, rates) = (small("f32").await, slow());
    let of = |plan: &Plan, kind: UnitKind| plan.units.values().find(|planned| planned.unit.spec.kind() == kind).unwrap().clone();
    let extract = of(&plan, UnitKind::Extract);
    let work = Work::of(&extract, &plan, &rates);
    assert!(!work.gpu && (work.seconds * rates.gflops * 1e9 / extract.unit.hints.flops - 1.0).abs() < 1e-12);
    // Two commits looked for, parts listed; states, tokens, commit and log written; the commit again and two lengths.
    assert_eq!((work.gets, work.lists, work.puts, work.closing_gets), (2.0, 1.0, 4.0, 3.0));
    assert_eq!(work.kept_each(), Some(5.0), "it takes minutes and is small");
    let fit = Work::of(&of(&plan, UnitKind::Fit), &plan, &rates);
    let shards = plan.estimate.rows.div_ceil(8) as f64;
    assert_eq!(fit.gets, 2.0 + 2.0 * shards, "small shards are read whole, after their commits");
    assert_eq!(fit.held, (plan.estimate.rows * plan.models[0].architecture.bytes_per_state()) as f64);

    let plan = small("bf16").await;
    let extract = of(&plan, UnitKind::Extract);
    let seconds = |rates: &Rates| Work::of(&extract, &plan, rates).seconds;
    let bound = seconds(&rates);
    let fast = Rates { gpu_memory: 1e9, ..rates.clone() };
    assert!((seconds(&fast) * fast.gpu_tflops * 1e12 / extract.unit.hints.flops - 1.0).abs() < 1e-12);
    assert!(seconds(&fast) < bound && bound < seconds(&Rates { gpu_memory: 1.0, ..rates.clone() }), "tokens come one after the other");
    assert!(seconds(&Rates { gflops: 1e9, ..rates.clone() }) == bound && Work::of(&extract, &plan, &rates).gpu);
}

#[tokio::test]
async fn rows_that_are_there_are_not_multiplied() {
    let quickstart = Sandbox::repository().join("configs/quickstart.yaml");
    let error = planned(&quickstart, None, 2).await.unwrap_err().to_string();
    assert!(error.contains("--times") && error.contains("--assume"), "{error}");
}
