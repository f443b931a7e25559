//! Fit and transfer units on a tiny model's states: every probe, scheme and control, and what is kept of them.

use std::collections::BTreeMap;

use limbic_engine::probe::{Fitted, Labels, Matrix, NamedTensor, ProbeKind, measure};
use limbic_proto::axis::{Context, Layer, Pooling, ReadOut};
use limbic_proto::rows::{Scheme, Split};
use limbic_proto::spec::{
    Continuation, Control, LdaSpec, LogisticSpec, MeanDifferenceSpec, MlpSpec, OffsetMlpSpec, ProbeSpec, Prompt, RidgeSpec, TooLong,
};
use limbic_proto::unit::{
    FITS, Features, FitRecord, FitUnit, GEOMETRY, PREDICTIONS, STATES, TransferRecord, Unit, Versions, WEIGHTS, similarity_rows,
};
use limbic_worker::Output;

use super::artifact;
use super::bench::{Bench, tensor_f32};
use super::moments::of_moments;

const LAYER: Layer = Layer::Block(3);

fn mlp() -> MlpSpec {
    MlpSpec { hidden: 8, epochs: 30, learning_rate: 1e-2, ..MlpSpec::default() }
}

fn every_probe() -> Vec<ProbeSpec> {
    vec![
        ProbeSpec::Lda(LdaSpec::default()),
        ProbeSpec::Logistic(LogisticSpec { c: vec![0.001, 0.01, 0.1], mdl: true }),
        ProbeSpec::MeanDifference(MeanDifferenceSpec::default()),
        ProbeSpec::Mlp(mlp()),
        ProbeSpec::OffsetMlp(OffsetMlpSpec { mlp: mlp(), embedding: 4 }),
        ProbeSpec::Ridge(RidgeSpec::default()),
    ]
}

/// A committed extract unit with some tokens after the prompt where that is asked for.
fn states(bench: &mut Bench, template: &str, read_outs: &[ReadOut]) -> Unit {
    let filler = Some(" la la la la la la la la".to_owned());
    let continuation = Continuation {
        tokens: Some(40),
        temperature: 0.0,
        seed: Some(0),
        seeds: Vec::new(),
        filler,
        stop_at_eos: false,
        controls: Vec::new(),
    };
    let continuation = read_outs.iter().any(|r| r.offset > 0).then_some(continuation);
    let unit = bench.extract(0..90, Prompt::Template(template.into()), read_outs.to_vec(), continuation, TooLong::Error);
    let output = bench.execute(&unit).unwrap();
    bench.commit(&unit, "a", &output);
    unit
}

fn on(unit: &Unit) -> Features {
    Features::States { extracts: vec![unit.spec.key()], layer: LAYER }
}

fn records(output: &Output) -> BTreeMap<String, FitRecord> {
    let records: Vec<FitRecord> = serde_json::from_slice(artifact(output, FITS)).unwrap();
    let count = records.len();
    let by_name: BTreeMap<String, FitRecord> = records.into_iter().map(|r| (r.name.tensor(), r)).collect();
    assert_eq!(by_name.len(), count, "every fit has a name of its own");
    by_name
}

fn predictions(output: &Output, name: &str) -> Vec<f32> {
    tensor_f32(artifact(output, PREDICTIONS), name).1
}

/// A kept probe, from the artifact alone.
fn kept(output: &Output, name: &str, kind: &str, scheme: Scheme) -> Option<Fitted> {
    let file = artifact(output, WEIGHTS);
    let names: Vec<String> = safetensors::SafeTensors::deserialize(file).unwrap().names().iter().map(ToString::to_string).collect();
    let own = names.iter().filter_map(|tensor| tensor.strip_prefix(&format!("{name}.")));
    let tensors: Vec<NamedTensor> = own
        .map(|tensor| {
            let (shape, data) = tensor_f32(file, &format!("{name}.{tensor}"));
            NamedTensor { name: tensor.to_owned(), shape, data }
        })
        .collect();
    (!tensors.is_empty()).then(|| Fitted::from_tensors(ProbeKind::named(kind).unwrap(), scheme, &tensors).unwrap())
}

/// The states of a split's rows at a read-out, which all reach it.
fn states_of(bench: &Bench, output: &Output, read_out: ReadOut, split: Split) -> (Vec<f32>, usize, usize) {
    let (shape, all) = tensor_f32(artifact(output, STATES), &read_out.tensor(LAYER));
    let rows: Vec<usize> = (0..bench.rows().len()).filter(|row| bench.rows()[*row].split == split).collect();
    let x = rows.iter().flat_map(|row| &all[row * shape[1]..][..shape[1]]).copied().collect();
    (x, rows.len(), shape[1])
}

fn accuracy(bench: &Bench, values: &[f32]) -> f64 {
    let labels: Vec<u32> = bench.rows().iter().filter(|row| row.split == Split::Test).map(|row| row.class).collect();
    measure(values, &Labels::Single(&labels), 3).unwrap()
}

#[test]
fn every_probe_has_its_controls_and_is_kept_as_it_predicts() {
    let mut bench = Bench::new("llama-plain", 90);
    let read_outs = vec![ReadOut::LAST, ReadOut::at(2), ReadOut::at(8)];
    let extract = states(&mut bench, "{text}", &read_outs);
    let output = bench.execute(&extract).unwrap();
    let unit = bench.fit_with(on(&extract), read_outs.clone(), every_probe(), |spec| {
        spec.seeds = vec![1, 2];
        spec.controls = vec![Control::ShuffledLabels, Control::RandomDirection];
        spec.transfer = true;
    });
    let fits = bench.execute(&unit).unwrap();
    let records = records(&fits);
    // At each read-out: 4 probes that draw nothing, 2 with two seeds, 6 probes x 2 controls x 2 seeds; carried on to two
    // read-outs: the same but the offset-aware one.
    assert_eq!(records.len(), 3 * (4 + 4 + 24) + 2 * (4 + 2));
    assert!(records.values().all(|record| record.absent.is_none() && record.converged), "{records:?}");
    for (name, record) in &records {
        let values = predictions(&fits, name);
        assert!(values.chunks_exact(3).all(|p| (p.iter().sum::<f32>() - 1.0).abs() < 1e-4), "{name}");
        let (control, carried) = (record.name.control, record.name.fitted_at);
        let found = kept(&fits, name, &record.name.probe, Scheme::Single);
        assert_eq!(record.validation_score.is_some(), control.is_none(), "{name}");
        if let Some(probe) = &found {
            let (x, rows, width) = states_of(&bench, &output, record.name.read_out.unwrap(), Split::Validation);
            let held = bench.rows().iter().filter(|row| row.split == Split::Validation).map(|row| row.class).collect::<Vec<_>>();
            let right = measure(&probe.predict(&Matrix::new(&x, rows, width).unwrap()).unwrap(), &Labels::Single(&held), 3).unwrap();
            assert_eq!(record.validation_score, Some(right), "{name}");
        }
        assert_eq!(found.is_some(), control.is_none() && carried.is_none(), "{name}");
        let from = carried.map(|_| {
            kept(
                &fits,
                &name.replace(&format!(".{}.from.k0", record.name.read_out.unwrap().name()), ".k0"),
                &record.name.probe,
                Scheme::Single,
            )
        });
        if let Some(probe) = from.flatten().or(found) {
            let (x, rows, width) = states_of(&bench, &output, record.name.read_out.unwrap(), Split::Test);
            let again = probe.predict(&Matrix::new(&x, rows, width).unwrap()).unwrap();
            assert!(again.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-5), "{name}");
        }
        let accuracy = accuracy(&bench, &values);
        if control.is_none() && carried.is_none() && record.name.read_out == Some(ReadOut::LAST) {
            assert!(accuracy > 0.6, "{name}: {accuracy}");
        }
        assert_eq!(record.mdl.is_some(), record.name.probe == "logistic" && control.is_none() && carried.is_none(), "{name}");
    }
    // Train's 60 rows, of which every fifth counts twice, are 72: three batches of 32 an epoch, for thirty epochs.
    assert!(["mlp.k0.s1", "offset-mlp.k8.s1", "mlp.shuffled-labels.k0.s2"].iter().all(|name| records[*name].iterations == 90));
    let mdl = records["logistic.k0.s0"].mdl.unwrap();
    assert!((mdl.uniform_bits - 72.0 * 3f64.log2()).abs() < 1e-9 && mdl.bits > 0.0 && mdl.bits < mdl.uniform_bits, "{mdl:?}");
    // Labels that were shuffled tell nothing: over all such fits, accuracy is near chance.
    let shuffled: Vec<f64> = records
        .iter()
        .filter(|(_, r)| r.name.control == Some(Control::ShuffledLabels))
        .map(|(name, _)| accuracy(&bench, &predictions(&fits, name)))
        .collect();
    let mean = shuffled.iter().sum::<f64>() / shuffled.len() as f64;
    assert!((0.1..0.6).contains(&mean), "{mean} over {} fits", shuffled.len());
    // The same unit gives the same bytes.
    let again = bench.execute(&unit).unwrap();
    for name in [PREDICTIONS, FITS, WEIGHTS] {
        assert!(artifact(&again, name) == artifact(&fits, name), "{name}");
    }
}

#[test]
fn probes_alone_give_what_they_give_beside_others() {
    let mut bench = Bench::new("llama-plain", 90);
    let read_outs = vec![ReadOut::LAST, ReadOut::at(2)];
    let extract = states(&mut bench, "{text}", &read_outs);
    let change = |spec: &mut FitUnit| {
        spec.seeds = vec![1, 2];
        spec.controls = vec![Control::ShuffledLabels, Control::RandomDirection];
    };
    let whole = bench.fit_with(on(&extract), read_outs, every_probe(), change);
    let all = bench.execute(&whole).unwrap();
    let halves = whole.split(&Versions::CURRENT);
    assert_eq!(halves.len(), 2);
    let mut found = BTreeMap::new();
    for half in &halves {
        let output = bench.execute(half).unwrap();
        found.extend(records(&output).into_keys().map(|name| (name.clone(), predictions(&output, &name))));
    }
    assert!(found.keys().eq(records(&all).keys()), "a split unit computes the same fits");
    for (name, values) in found {
        assert_eq!(values, predictions(&all, &name), "{name}");
    }
}

#[test]
fn what_is_fitted_does_not_depend_on_the_test_rows() {
    // The same units, with and without other texts in the test rows: states and probes, and the words.
    let [plain, other] = [false, true].map(|changed| {
        let mut bench = Bench::new("llama-plain", 90);
        let test = bench.rows().iter().position(|row| row.split == Split::Test).expect("test rows");
        (test..90).filter(|_| changed).for_each(|row| bench.say(row, &format!("nobody ever asked me about number {row}, and why")));
        let read_outs = vec![ReadOut::LAST, ReadOut::at(2)];
        let states = states(&mut bench, "{text}", &read_outs);
        let whole = bench.execute(&states).unwrap();
        let train = states_of(&bench, &whole, ReadOut::LAST, Split::Train).0;
        let lean = of_moments(&bench, &states);
        let output = bench.execute(&lean).unwrap();
        bench.commit(&lean, "a", &output);
        let fit = |on: Features, read_outs: Vec<ReadOut>, probes: Vec<ProbeSpec>, controls: Vec<Control>| {
            bench.fit_with(on, read_outs, probes, |spec| (spec.seeds, spec.controls) = (vec![1], controls))
        };
        let controls = vec![Control::ShuffledLabels, Control::RandomDirection];
        let words = Features::BagOfWords { texts: bench.texts() };
        let units = [
            ("states", fit(on(&states), read_outs.clone(), every_probe(), controls)),
            ("moments", fit(on(&lean), read_outs, every_probe().into_iter().filter(ProbeSpec::of_moments).collect(), Vec::new())),
            ("words", fit(words, Vec::new(), vec![limbic_proto::unit::bag_of_words_probe(Scheme::Single)], Vec::new())),
        ];
        (train, units.map(|(what, unit)| (what, bench.execute(&unit).unwrap())))
    });
    assert!(plain.0 == other.0, "the states of train are the same");
    for ((what, plain), (_, other)) in plain.1.iter().zip(&other.1) {
        let names = safetensors::SafeTensors::deserialize(artifact(plain, WEIGHTS)).unwrap().names().len();
        assert!(names > 0 && artifact(plain, WEIGHTS) == artifact(other, WEIGHTS), "{what}: {names} tensors");
        assert!(artifact(plain, PREDICTIONS) != artifact(other, PREDICTIONS), "{what}: other rows, other predictions");
    }
}

#[test]
fn every_scheme_has_its_probes_and_baselines() {
    type Values = fn(usize) -> Vec<f32>;
    let schemes: [(Scheme, Values, usize); 3] = [
        (Scheme::Multi, |i| vec![f32::from(u8::from(i % 3 == 0)), f32::from(u8::from(i % 3 != 1)), 0.0], 3),
        (Scheme::Intensity, |i| vec![(i % 3) as f32, f32::from(u8::from(i % 3 == 1)), 0.0], 3),
        (Scheme::Continuous, |i| vec![(i % 3) as f32 - 1.0, 2.5 - (i % 3) as f32, f32::from(u8::from(i % 3 == 1))], 3),
    ];
    for (scheme, values, outputs) in schemes {
        let mut bench = Bench::new("llama-plain", 90);
        bench.relabel(scheme, values);
        let extract = states(&mut bench, "{text}", &[ReadOut::LAST]);
        let probes: Vec<ProbeSpec> = every_probe().into_iter().filter(|probe| probe.fits(scheme)).collect();
        let unit = bench.fit_with(on(&extract), vec![ReadOut::LAST], probes.clone(), |spec| {
            spec.controls = vec![Control::ShuffledLabels, Control::RandomDirection];
            spec.geometry = true;
        });
        let output = bench.execute(&unit).unwrap();
        let found = records(&output);
        assert_eq!(found.len(), 3 * probes.len(), "{scheme:?}");
        bench.doom(None);
        bench.execute(&unit).unwrap();
        let again = bench.execute(&unit).unwrap();
        assert!(again.counts["resumed_fits"] > 0, "{scheme:?}");
        for name in [PREDICTIONS, FITS, WEIGHTS, GEOMETRY] {
            assert!(artifact(&again, name) == artifact(&output, name), "{scheme:?}: {name} of kept fits is other bytes");
        }
        let truth: Vec<f32> = bench.rows().iter().filter(|row| row.split == Split::Test).flat_map(|row| row.values.clone()).collect();
        let error = |values: &[f32]| {
            let squares = values.iter().zip(&truth).map(|(v, t)| f64::from(v - t).powi(2));
            assert_eq!(values.len(), truth.len());
            squares.sum::<f64>() / truth.len() as f64
        };
        let majority = bench.fit(Features::Majority, Vec::new(), Vec::new(), vec![0]);
        let floor = error(&predictions(&bench.execute(&majority).unwrap(), "majority.s0"));
        let words = Features::BagOfWords { texts: bench.texts() };
        let words = bench.fit(words, Vec::new(), vec![limbic_proto::unit::bag_of_words_probe(scheme)], vec![0]);
        let words = error(&predictions(&bench.execute(&words).unwrap(), "bag-of-words.s0"));
        assert!(words < 0.9 * floor, "{scheme:?}: words {words}, floor {floor}");
        for (name, record) in found.iter().filter(|(_, record)| record.name.control.is_none()) {
            assert!(record.absent.is_none() && record.validation_log_loss.is_some() && record.mdl.is_none(), "{record:?}");
            assert!(record.validation_score.is_some_and(|score| (-1.0..=1.0).contains(&score)), "{record:?}");
            // A temperature alone doesn't make squared errors small where a class never occurs.
            if !name.starts_with("mean-difference") {
                let found = error(&predictions(&output, name));
                assert!(found < 0.95 * floor, "{scheme:?} {name}: {found}, floor {floor}");
            }
            let probe = kept(&output, name, &record.name.probe, scheme).unwrap();
            assert_eq!(probe.outputs, outputs);
        }
        let (shape, directions) = tensor_f32(artifact(&output, GEOMETRY), "k0.directions");
        assert!(shape == [outputs, 96] && directions[..96].iter().all(|v| v.is_finite()));
        assert!(tensor_f32(artifact(&output, GEOMETRY), "k0.separation").1.iter().all(|v| v.is_nan()), "no row has a single class");
    }
}

#[test]
fn an_offset_aware_probe_reads_what_rows_reach_in_every_context() {
    let mut bench = Bench::new("llama-plain", 90);
    let read_outs: Vec<ReadOut> = [
        ReadOut::LAST,
        ReadOut { pooling: Pooling::UtteranceMean, ..ReadOut::LAST },
        ReadOut::at(3),
        ReadOut { context: Context::MaskedPrompt, ..ReadOut::at(3) },
        ReadOut::at(40),
    ]
    .into();
    let extract = states(&mut bench, "{text}", &read_outs);
    let probe = OffsetMlpSpec { mlp: MlpSpec { patience: 2, ..mlp() }, embedding: 4 };
    let unit = bench.fit_with(on(&extract), read_outs, vec![ProbeSpec::OffsetMlp(probe)], |spec| spec.seeds = vec![5]);
    let output = bench.execute(&unit).unwrap();
    let found = records(&output);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["offset-mlp.k0.s5", "offset-mlp.k0.utterance-mean.s5", "offset-mlp.k3.masked-prompt.s5", "offset-mlp.k3.s5", "offset-mlp.k40.s5"]
    );
    assert!(found["offset-mlp.k40.s5"].absent.as_ref().unwrap().contains("no test row"), "the filler is shorter");
    assert!(found.iter().all(|(name, record)| name.contains("k40") || record.test == 15), "{found:?}");
    let weights = |name: &str| kept(&output, name, "offset-mlp", Scheme::Single).unwrap();
    let (here, there) = (weights("offset-mlp.k0.s5"), weights("offset-mlp.k3.s5"));
    assert!(here.layers == there.layers && here.embedding != there.embedding, "one network, which is told the offset");
    assert_ne!(here.layers, weights("offset-mlp.k3.masked-prompt.s5").layers);
}

#[test]
fn geometry_is_of_test_rows_on_trains_components() {
    let mut bench = Bench::new("llama-plain", 90);
    let mean = ReadOut { pooling: Pooling::UtteranceMean, ..ReadOut::LAST };
    let read_outs = vec![ReadOut::LAST, mean, ReadOut::at(2)];
    let extract = states(&mut bench, "{text}", &read_outs);
    let unit = bench.fit_with(on(&extract), read_outs, vec![ProbeSpec::Ridge(RidgeSpec::default())], |spec| spec.geometry = true);
    let output = bench.execute(&unit).unwrap();
    let file = artifact(&output, GEOMETRY);
    let names = safetensors::SafeTensors::deserialize(file).unwrap().names().len();
    assert_eq!(names, 10, "five tensors for each of two read-outs at offset 0");
    let (shape, coordinates) = tensor_f32(file, "k0.coordinates");
    assert!(shape == [15, 3] && coordinates.iter().all(|v| v.is_finite()));
    let explained = tensor_f32(file, "k0.explained").1;
    assert!(explained.len() == 10 && explained.windows(2).all(|w| w[0] >= w[1]) && explained.iter().sum::<f32>() <= 1.0 + 1e-5);
    let (shape, similarity) = tensor_f32(file, "k0.similarity");
    let s = similarity_rows(15).len();
    assert_eq!(shape, [s, s]);
    assert!((0..s).all(|i| (0..s).all(|j| (similarity[i * s + j] - similarity[j * s + i]).abs() < 1e-3)));
    let rows: Vec<f32> = similarity.chunks_exact(s).map(|row| row.iter().sum::<f32>()).collect();
    assert!(rows.iter().all(|sum| sum.abs() < 1e-2), "centred: {rows:?}");
    let separation = tensor_f32(file, "k0.utterance-mean.separation").1;
    assert!(separation[0] > 0.0 && separation[1] > 0.0, "words tell the classes: {separation:?}");
}

#[test]
fn probes_are_used_under_another_condition() {
    let mut bench = Bench::new("llama-plain", 90);
    let (here, there) = (states(&mut bench, "{text}", &[ReadOut::LAST]), states(&mut bench, "I feel: {text} .", &[ReadOut::LAST]));
    let probes = vec![every_probe()[1].clone(), every_probe()[3].clone()];
    let unit = |bench: &Bench, on: Features| {
        bench.fit_with(on, vec![ReadOut::LAST], probes.clone(), |spec| {
            spec.seeds = vec![1, 2];
            spec.controls = vec![Control::ShuffledLabels];
        })
    };
    let (from, to) = (unit(&bench, on(&here)), unit(&bench, on(&there)));
    let crossed = bench.transfer(&[&from, &to], &[&there], LAYER, vec![ReadOut::LAST]);
    assert!(bench.execute(&crossed).unwrap_err().to_string().contains("its commit is missing"));
    let mut fitted = Vec::new();
    for unit in [&from, &to] {
        let output = bench.execute(unit).unwrap();
        bench.commit(unit, "a", &output);
        fitted.push(output);
    }
    let output = bench.execute(&crossed).unwrap();
    let records: Vec<TransferRecord> = serde_json::from_slice(artifact(&output, FITS)).unwrap();
    let names: Vec<String> = records.iter().map(TransferRecord::tensor).collect();
    let expected = ["0.logistic.k0.s0", "0.mlp.k0.s1", "0.mlp.k0.s2", "1.logistic.k0.s0", "1.mlp.k0.s1", "1.mlp.k0.s2"];
    assert_eq!(names, expected, "controls are not transferred");
    for record in &records {
        let values = predictions(&output, &record.tensor());
        let at_home = predictions(&fitted[record.fit], &record.name.tensor());
        // The second unit's probes come home.
        let off = values.iter().zip(&at_home).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(if record.fit == 1 { off < 1e-5 } else { off > 1e-3 }, "{}: {off}", record.tensor());
        assert_eq!(record.test, 15);
    }
    // A probe's weights are read by range, too, and verified.
    bench.shelve(limbic_worker::inputs::Shelf::new(0).ranges_above(100));
    let ranged = bench.execute(&crossed).unwrap();
    assert!(artifact(&ranged, PREDICTIONS) == artifact(&output, PREDICTIONS));
}

#[test]
fn fits_that_an_earlier_attempt_has_kept_are_not_made_again() {
    let mut bench = Bench::new("llama-plain", 90);
    let read_outs = [ReadOut::LAST, ReadOut::at(1), ReadOut::at(40)];
    let extract = states(&mut bench, "{text}", &read_outs);
    let unit = bench.fit_with(on(&extract), read_outs.to_vec(), every_probe(), |fit| {
        (fit.seeds, fit.controls) = (vec![0, 1], vec![Control::ShuffledLabels, Control::RandomDirection]);
        (fit.transfer, fit.geometry) = (true, true);
    });
    let whole = bench.execute(&unit).unwrap();
    assert!(bench.parts(&unit).is_empty(), "a unit that takes no time keeps nothing");
    let same = |output: &Output| {
        for name in [PREDICTIONS, FITS, WEIGHTS, GEOMETRY] {
            assert!(artifact(output, name) == artifact(&whole, name), "{name}: other bytes");
        }
    };
    // Whatever is worth it is kept.
    bench.doom(None);
    let first = bench.execute(&unit).unwrap();
    same(&first);
    let kept = bench.parts(&unit);
    let second = bench.execute(&unit).unwrap();
    let resumed = second.counts["resumed_fits"];
    assert!(first.counts["resumed_fits"] == 0 && resumed >= kept.len() as u64 && resumed <= second.counts["fits"], "{resumed} of {kept:?}");
    same(&second);
    // What is damaged is made again, and kept again.
    bench.damage(&kept[0], -1);
    let third = bench.execute(&unit).unwrap();
    assert!(third.counts["resumed_fits"] < third.counts["fits"], "{:?}", third.counts);
    same(&third);
    // However many threads there are: whoever waits for others takes up further jobs.
    let many = rayon::ThreadPoolBuilder::new().num_threads(8).build().unwrap();
    for path in bench.parts(&unit) {
        bench.damage(&path, 0);
    }
    for _ in 0..3 {
        same(&many.install(|| bench.execute(&unit)).unwrap());
    }
    // Whoever asks for the unit again asks for new numbers.
    assert_eq!(bench.execute_again(&unit, 1).unwrap().counts["resumed_fits"], 0);
}
