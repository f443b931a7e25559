//! Verdicts that one worker leaves for others in the store.

use limbic_proto::spec::{Prompt, TooLong};
use limbic_proto::unit::{SCORES, Unit, UnitSpec};
use limbic_worker::Output;

use crate::artifact;
use crate::bench::Bench;
use crate::questions::{LABELS, question, replies};

/// A unit that judges replies, of which `distinct` differ; they are committed.
fn judging(bench: &mut Bench, distinct: usize) -> Unit {
    let (mut unit, output) = replies(bench, |row| format!("I am reply {}, said in {} words.", row % distinct, row % distinct));
    // Other replies are another unit's.
    let UnitSpec::Extract(spec) = &mut unit.spec else { panic!("{unit:?}") };
    spec.continuation.as_mut().unwrap().tokens = Some(4 + distinct as u32);
    bench.commit(&unit, "a", &output);
    bench.judge(&unit, question(), &LABELS, TooLong::Error)
}

fn counts(output: &Output) -> (u64, u64) {
    (output.counts["judged_replies"], output.counts["known_replies"])
}

/// What a worker computes that finds nothing in the store.
fn alone(model: &str, distinct: usize) -> &'static [u8] {
    let mut bench = Bench::new(model, 12);
    let judge = judging(&mut bench, distinct);
    let output = bench.execute(&judge).unwrap();
    assert_eq!(counts(&output), (distinct as u64, 0));
    artifact(&output, SCORES)
}

#[test]
fn a_second_worker_finds_what_the_first_one_judged() {
    for model in ["qwen3-qk-norm", "llama-plain"] {
        let mut bench = Bench::new(model, 12);
        let (few, many) = (judging(&mut bench, 4), judging(&mut bench, 7));
        let first = bench.execute(&few).unwrap();
        assert_eq!((counts(&first), artifact(&first, SCORES)), ((4, 0), alone(model, 4)));
        let kept = bench.verdicts();
        assert_eq!(kept.len(), 1, "one object for all of them");
        let bytes = bench.object(&kept[0]);

        // The same replies: nothing is computed, and nothing is written.
        bench.relieve();
        let again = bench.execute(&few).unwrap();
        assert_eq!((counts(&again), again.tokens, artifact(&again, SCORES)), ((0, 4), 0, artifact(&first, SCORES)));
        assert_eq!(bench.verdicts(), kept);

        // Some of the same replies, beside others: batches are other ones, and every bit is as if nothing had been known.
        bench.relieve();
        let more = bench.execute(&many).unwrap();
        assert_eq!((counts(&more), artifact(&more, SCORES)), ((3, 4), alone(model, 7)));
        assert!(more.tokens > 0 && bench.verdicts().len() == 2);

        // Fewer of them: all are known from what was kept of more.
        bench.plant(&kept[0], b"");
        bench.relieve();
        let fewer = bench.execute(&few).unwrap();
        assert_eq!((counts(&fewer), artifact(&fewer, SCORES)), ((0, 4), artifact(&first, SCORES)));

        // Asked for again, all of them are judged; what is kept then is what was kept before.
        let anew = bench.execute_again(&few, 1).unwrap();
        assert_eq!((counts(&anew), artifact(&anew, SCORES)), ((4, 0), artifact(&first, SCORES)));
        assert_eq!(bench.object(&kept[0]), bytes);
    }
}

#[test]
fn what_determines_a_verdict_keeps_questions_apart() {
    let mut bench = Bench::new("qwen3-qk-norm", 12);
    let judge = judging(&mut bench, 4);
    bench.execute(&judge).unwrap();
    let with = |change: &dyn Fn(&mut limbic_proto::unit::JudgeUnit)| {
        let mut unit = judge.clone();
        let UnitSpec::Judge(spec) = &mut unit.spec else { panic!("{unit:?}") };
        change(spec);
        unit
    };
    let others = [
        with(&|spec| spec.prompt = Prompt::Template("And this? {text}\nAnswer:".into())),
        with(&|spec| spec.answers.reverse()),
        with(&|spec| spec.answers.truncate(2)),
        with(&|spec| spec.too_long = TooLong::Truncate),
    ];
    for (n, other) in others.iter().enumerate() {
        bench.relieve();
        assert_eq!(counts(&bench.execute(other).unwrap()), (4, 0));
        assert_eq!(bench.verdicts().len(), 2 + n);
    }
}

/// Another kind of device rounds otherwise.
#[test]
fn a_gpu_takes_no_verdicts_of_a_cpu_nor_gives_it_any() {
    let mut bench = Bench::new("qwen3-qk-norm", 12);
    let judge = judging(&mut bench, 4);
    bench.relieve_on_cuda();
    assert_eq!(counts(&bench.execute(&judge).unwrap()), (4, 0));
    bench.relieve();
    assert_eq!(counts(&bench.execute(&judge).unwrap()), (4, 0));
    assert_eq!(bench.verdicts().len(), 2);
    bench.relieve_on_cuda();
    assert_eq!(counts(&bench.execute(&judge).unwrap()), (0, 4));
}

#[test]
fn damaged_verdicts_are_refused_and_judged_anew() {
    let mut bench = Bench::new("qwen3-qk-norm", 12);
    let judge = judging(&mut bench, 4);
    let first = bench.execute(&judge).unwrap();
    let kept = bench.verdicts().remove(0);
    let whole = bench.object(&kept);
    let mut other = whole.clone();
    other[whole.len() / 2] ^= 1;
    for bytes in [b"".as_slice(), &whole[..whole.len() - 1], &other] {
        bench.plant(&kept, bytes);
        bench.relieve();
        let again = bench.execute(&judge).unwrap();
        assert_eq!((counts(&again), artifact(&again, SCORES)), ((4, 0), artifact(&first, SCORES)));
        assert_eq!(bench.object(&kept), whole, "and kept whole again");
    }
}

#[test]
fn a_unit_is_judged_where_nothing_can_be_kept() {
    let mut bench = Bench::new("qwen3-qk-norm", 12);
    let judge = judging(&mut bench, 4);
    let first = bench.execute(&judge).unwrap();
    // A file stands where the folder should.
    let kept = bench.verdicts().remove(0);
    let folder = kept.rsplit_once('/').unwrap().0;
    bench.plant(folder, b"");
    bench.relieve();
    let again = bench.execute(&judge).unwrap();
    assert_eq!((counts(&again), artifact(&again, SCORES)), ((4, 0), artifact(&first, SCORES)));
    assert_eq!(bench.object(folder), b"");
}
