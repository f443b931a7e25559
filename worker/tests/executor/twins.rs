//! Models whose weights are drawn from a seed, beside their trained twins.

use limbic_proto::axis::ReadOut;
use limbic_proto::spec::{Prompt, TooLong};
use limbic_proto::unit::{STATES, TOKENS, Unit, UnitSpec};
use limbic_worker::{Advice, ExecuteError};

use crate::artifact;
use crate::bench::Bench;

fn unit(bench: &mut Bench, seed: Option<u64>) -> Unit {
    bench.random_weights = seed;
    bench.extract(0..12, Prompt::Template("{text}".into()), vec![ReadOut::LAST], None, TooLong::Error)
}

#[test]
fn a_twin_differs_in_its_weights_alone_and_is_the_same_everywhere() {
    let mut bench = Bench::new("llama-plain", 12);
    let [trained, one, two] = [None, Some(1), Some(2)].map(|seed| unit(&mut bench, seed));
    assert!(trained.spec.key() != one.spec.key() && one.spec.key() != two.spec.key());
    let outputs = [&trained, &one, &two].map(|unit| bench.execute(unit).unwrap());
    let [of_trained, of_one, of_two] = outputs.each_ref().map(|output| artifact(output, STATES));
    assert!(of_trained != of_one && of_one != of_two);
    assert!(outputs.iter().all(|output| artifact(output, TOKENS) == artifact(&outputs[0], TOKENS)));
    let mut elsewhere = Bench::new("llama-plain", 12);
    assert_eq!(artifact(&elsewhere.execute(&one).unwrap(), STATES), of_one);
    // Models that are in memory already are told apart.
    assert_eq!(artifact(&bench.execute(&trained).unwrap(), STATES), of_trained);
    assert_eq!(artifact(&bench.execute(&one).unwrap(), STATES), of_one);
}

#[test]
fn a_seed_that_is_not_the_units_is_refused() {
    let mut bench = Bench::new("llama-plain", 12);
    let good = unit(&mut bench, Some(1));
    for other in [None, Some(2)] {
        let mut unit = good.clone();
        unit.hints.model.as_mut().unwrap().random_weights = other;
        let error = bench.execute(&unit).unwrap_err();
        assert!(matches!(error, ExecuteError::ModelChanged { .. }) && error.advice() == Advice::Reject, "{error}");
    }
    let UnitSpec::Extract(_) = &good.spec else { panic!("{good:?}") };
    assert!(bench.execute(&good).is_ok());
}

#[test]
fn loading_a_model_is_given_up_when_the_attempt_is() {
    for seed in [None, Some(1)] {
        let mut bench = Bench::new("llama-plain", 12);
        let unit = unit(&mut bench, seed);
        bench.progress.cancel();
        assert!(matches!(bench.execute(&unit), Err(ExecuteError::Cancelled)));
    }
}
