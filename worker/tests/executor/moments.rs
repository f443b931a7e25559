//! Units that store moments in place of the states of train rows, and what is fitted to them.

use limbic_engine::probe::{Labels, Matrix, Moments, Split as Labelled, Targets};
use limbic_proto::axis::{Context, Layer, ReadOut};
use limbic_proto::rows::{Rows, Scheme, Split};
use limbic_proto::spec::{Continuation, LdaSpec, LogisticSpec, MeanDifferenceSpec, ProbeSpec, Prompt, RidgeSpec, TooLong};
use limbic_proto::unit::{FITS, Features, FitRecord, PREDICTIONS, STATES, TOKENS, Unit, UnitSpec, Versions, WEIGHTS};
use limbic_worker::{Advice, ExecuteError, Output};

use super::bench::{Bench, tensor_f32, tensor_f64, tensor_i64};
use super::{LAYERS, artifact};

/// The same unit, but it stores moments.
pub fn of_moments(bench: &Bench, unit: &Unit) -> Unit {
    let mut unit = unit.clone();
    let UnitSpec::Extract(spec) = &mut unit.spec else { unreachable!("it is an extract unit") };
    let classes = ["joy", "fear", "neutral"].map(str::to_owned).to_vec();
    let scheme = if bench.rows()[0].values.is_empty() { Scheme::Single } else { Scheme::Multi };
    let rows = Rows { scheme, classes, rows: bench.rows().to_vec() };
    spec.moments = Some(rows.moments_digest(unit.hints.rows.0..unit.hints.rows.1));
    unit
}

/// Replies that end at different lengths, and exchanged ones.
fn units(bench: &mut Bench) -> [Unit; 2] {
    let continuation = Continuation {
        tokens: Some(3),
        temperature: 0.9,
        seed: Some(5),
        seeds: Vec::new(),
        filler: None,
        stop_at_eos: true,
        controls: Vec::new(),
    };
    [0..37, 37..60]
        .map(|rows| bench.extract(rows, Prompt::Template("{text}".into()), read_outs(), Some(continuation.clone()), TooLong::Skip))
}

fn read_outs() -> Vec<ReadOut> {
    vec![ReadOut::LAST, ReadOut::at(2), ReadOut { context: Context::ShuffledReply, ..ReadOut::at(2) }]
}

/// How far numbers are apart, as a share of the largest.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().fold(1e-300f64, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0f64, |m, (a, b)| m.max((a - b).abs())) / largest
}

/// The names of a file's tensors.
fn names(file: &[u8]) -> Vec<String> {
    safetensors::SafeTensors::deserialize(file).unwrap().names().iter().map(ToString::to_string).collect()
}

#[test]
fn a_unit_with_moments_writes_no_train_states_and_the_right_moments() {
    let mut bench = Bench::new("llama-plain", 60);
    // One row of train and one of test have no prompt.
    bench.lengthen(7);
    bench.lengthen(59);
    for unit in units(&mut bench) {
        let (whole, less) = (bench.execute(&unit).unwrap(), bench.execute(&of_moments(&bench, &unit)).unwrap());
        let (all, stored) = (artifact(&whole, STATES), artifact(&less, STATES));
        assert_eq!(artifact(&whole, TOKENS), artifact(&less, TOKENS));
        let (from, to) = unit.hints.rows;
        let rows = &bench.rows()[from..to];
        let held: Vec<usize> = (0..rows.len()).filter(|row| rows[*row].split != Split::Train).collect();
        let prompts = tensor_i64(all, "prompt_tokens");
        assert!(held.len() < rows.len() && tensor_i64(stored, "prompt_tokens") == prompts);
        assert_eq!(names(stored).iter().filter(|name| tensor_shape(stored, name)[0] == rows.len() as u64).count(), names(all).len() - 9);
        for read_out in read_outs() {
            let lengths = tensor_i64(all, read_out.context.lengths());
            let reach = |row: &usize| prompts[*row] > 0 && (read_out.offset == 0 || lengths[*row] >= i64::from(read_out.offset));
            let train: Vec<usize> = (0..rows.len()).filter(|row| rows[*row].split == Split::Train).filter(reach).collect();
            for layer in LAYERS {
                let name = read_out.tensor(layer);
                let (shape, states) = tensor_f32(all, &name);
                let of =
                    |wanted: &[usize]| wanted.iter().flat_map(|row| &states[row * shape[1]..][..shape[1]]).copied().collect::<Vec<f32>>();
                assert_eq!(tensor_f32(stored, &name), (vec![held.len(), shape[1]], of(&held)), "{name}");
                let (x, y): (_, Vec<u32>) = (of(&train), train.iter().map(|row| rows[*row].class).collect());
                let weights: Vec<f32> = train.iter().map(|row| rows[*row].weight as f32).collect();
                let targets = Targets { labels: Labels::Single(&y), weights: Some(&weights) };
                let expected = match train.len() {
                    0 => Moments::none(shape[1], 3),
                    rows => Moments::of(&Labelled { x: Matrix::new(&x, rows, shape[1]).unwrap(), targets }, 3).unwrap(),
                };
                assert_eq!(expected.rows(), train.len());
                for (part, shape, numbers) in expected.into_tensors() {
                    let (found_shape, found) = tensor_f64(stored, &format!("{name}.{part}"));
                    assert_eq!(found_shape, shape);
                    assert!(apart(&numbers, &found) < 1e-9, "{name}.{part}: {:e}", apart(&numbers, &found));
                }
            }
        }
    }
}

fn tensor_shape(file: &[u8], name: &str) -> Vec<u64> {
    let file = safetensors::SafeTensors::deserialize(file).unwrap();
    file.tensor(name).unwrap().shape().iter().map(|n| *n as u64).collect()
}

fn probes() -> Vec<ProbeSpec> {
    vec![
        ProbeSpec::Lda(LdaSpec { shrinkage: Some(0.1) }),
        ProbeSpec::MeanDifference(MeanDifferenceSpec::default()),
        ProbeSpec::Ridge(RidgeSpec { alpha: vec![1.0, 10.0, 100.0] }),
    ]
}

/// The fits of some extract units' states, and their transfer to a further read-out.
fn fitted(bench: &mut Bench, extracts: &[Unit], probes: Vec<ProbeSpec>) -> Output {
    for unit in extracts {
        let output = bench.execute(unit).unwrap();
        bench.commit(unit, "a", &output);
    }
    let keys = extracts.iter().map(|unit| unit.spec.key()).collect();
    let fit = bench.fit_with(Features::States { extracts: keys, layer: Layer::Final }, read_outs(), probes, |spec| spec.transfer = true);
    bench.execute(&fit).unwrap()
}

fn records(output: &Output) -> Vec<FitRecord> {
    serde_json::from_slice(artifact(output, FITS)).unwrap()
}

fn alike(rows: &Output, moments: &Output) {
    let (expected, found) = (records(rows), records(moments));
    assert_eq!(expected.len(), found.len());
    assert!(expected.iter().any(|record| record.name.fitted_at.is_some()) && expected.iter().any(|record| record.absent.is_none()));
    for (expected, found) in expected.iter().zip(&found) {
        let name = expected.name.tensor();
        assert_eq!((&expected.name, expected.train, expected.validation), (&found.name, found.train, found.validation));
        assert_eq!((expected.test, expected.strength, &expected.absent), (found.test, found.strength, &found.absent), "{name}");
        let of = |output| tensor_f32(artifact(output, PREDICTIONS), &name).1;
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6 || a.is_nan() && b.is_nan();
        assert!(of(rows).iter().zip(&of(moments)).all(near), "{name}: {:?} for {:?}", of(moments), of(rows));
    }
    assert_eq!(names(artifact(rows, WEIGHTS)).len(), names(artifact(moments, WEIGHTS)).len());
}

#[test]
fn fits_to_moments_are_those_to_rows_and_are_carried_on() {
    let mut bench = Bench::new("llama-plain", 60);
    bench.lengthen(7);
    let extracts = units(&mut bench);
    let rows = fitted(&mut bench, &extracts, probes());
    let lean = extracts.each_ref().map(|unit| of_moments(&bench, unit));
    let moments = fitted(&mut bench, &lean, probes());
    alike(&rows, &moments);
    // The same where several labels are on a row; read by ranges.
    bench.relabel(Scheme::Multi, |i| (0..3).map(|k| f32::from(u8::from(i % 3 == k || i % 7 == k))).collect());
    bench.shelve(limbic_worker::inputs::Shelf::new(0).ranges_above(100));
    let extracts = units(&mut bench);
    let rows = bench_again(&mut bench, &extracts);
    let lean = extracts.each_ref().map(|unit| of_moments(&bench, unit));
    let moments = fitted(&mut bench, &lean, probes()[1..].to_vec());
    alike(&rows, &moments);
}

/// Fits of units that are committed already.
fn bench_again(bench: &mut Bench, extracts: &[Unit]) -> Output {
    let keys = extracts.iter().map(|unit| unit.spec.key()).collect();
    let features = Features::States { extracts: keys, layer: Layer::Final };
    let fit = bench.fit_with(features, read_outs(), probes()[1..].to_vec(), |spec| spec.transfer = true);
    bench.execute(&fit).unwrap()
}

#[test]
fn other_labels_and_other_probes_are_refused() {
    let mut bench = Bench::new("llama-plain", 60);
    let [unit, other] = units(&mut bench);
    let (good, mut foreign) = (of_moments(&bench, &unit), of_moments(&bench, &unit));
    let UnitSpec::Extract(spec) = &mut foreign.spec else { unreachable!("it is an extract unit") };
    spec.moments = Some(limbic_proto::key::Digest::of(b"other labels"));
    let error = bench.execute(&foreign).unwrap_err();
    assert!(matches!(error, ExecuteError::Mismatch { what: "the rows", .. }) && error.to_string().contains("moments"), "{error}");
    // A half is known by the whole.
    for half in good.split(&Versions::CURRENT) {
        bench.execute(&half).unwrap();
    }
    for unit in [&good, &other, &of_moments(&bench, &other)] {
        let output = bench.execute(unit).unwrap();
        bench.commit(unit, "a", &output);
    }
    let refused = |bench: &mut Bench, extracts: [&Unit; 2], probe| {
        let keys = extracts.map(|unit| unit.spec.key()).to_vec();
        let fit = bench.fit(Features::States { extracts: keys, layer: Layer::Final }, vec![ReadOut::LAST], vec![probe], vec![0]);
        let error = bench.execute(&fit).unwrap_err();
        assert_eq!(error.advice(), Advice::Reject, "{error}");
        error.to_string()
    };
    let moments = of_moments(&bench, &other);
    let logistic = refused(&mut bench, [&good, &moments], ProbeSpec::Logistic(LogisticSpec::default()));
    assert!(logistic.contains("more than the moments"), "{logistic}");
    let mixed = refused(&mut bench, [&good, &other], ProbeSpec::Ridge(RidgeSpec::default()));
    assert!(mixed.contains("1 of 2 shards hold moments"), "{mixed}");
}

#[test]
fn a_killed_worker_leaves_no_states_behind_and_the_next_one_starts_again() {
    let mut bench = Bench::new("llama-plain", 60);
    let [unit, _] = units(&mut bench);
    let unit = of_moments(&bench, &unit);
    let whole = bench.execute(&unit).unwrap();
    bench.doom(Some(1));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bench.execute(&unit))).is_err());
    assert!(bench.parts(&unit).is_empty(), "blocks would hold the states of train rows");
    bench.doom(None);
    let second = bench.execute(&unit).unwrap();
    assert_eq!((second.counts["resumed_rows"], second.tokens), (0, whole.tokens));
    assert_eq!(artifact(&second, STATES), artifact(&whole, STATES), "to the bit");
}
