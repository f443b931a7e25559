//! Several judges of the same replies: the numbers of each, their agreement, and what the page says of them.

use std::collections::BTreeSet;

use arrow_array::cast::AsArray;
use limbic_proto::axis::{Context, ReadOut};
use limbic_proto::key::Digest;
use limbic_proto::rows::Scheme;
use limbic_proto::unit::UnitKind;
use limbic_report::{Deferred, Place, Prediction, Reading, Results, Run, Source, Study, Verdicts};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::planted::{bare, model, test_row};
use super::recovery::shares;
use super::synthetic::read;
use super::{batches, evaluated, made, text, whole};

/// The first and the last of three models judge what the first and the second reply.
const JUDGES: [usize; 2] = [0, 2];
const PLACES: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// What a judge calls a reply: often the utterance's label, more often what the other judge says; the last has no verdict on
/// some rows.
fn call(judge: usize, (model, condition): (usize, usize), row: usize, truth: usize) -> Option<usize> {
    let draw = |what: &str| Digest::of(format!("{what} {model} {condition} {row}").as_bytes()).seed() as usize;
    let first = if draw("kept") % 10 < 6 { truth } else { draw("other") % 7 };
    match judge {
        0 => Some(first),
        _ if row % 11 == 3 => None,
        _ => Some(if draw("agrees") % 10 < 7 { first } else { draw("own") % 7 }),
    }
}

fn calls(study: &Study, judge: usize, place: (usize, usize)) -> Vec<Option<usize>> {
    study.test.iter().enumerate().map(|(row, test)| call(judge, place, row, test.class as usize)).collect()
}

fn judged() -> Study {
    let (mut study, _) = whole();
    study.verdicts.clear();
    for judge in JUDGES {
        let of_judge = PLACES.map(|at| verdicts(judge, at, &calls(&study, judge, at)));
        study.verdicts.extend(of_judge);
    }
    study
}

fn place((model, condition): (usize, usize)) -> Place {
    Place { model, condition }
}

/// Cohen's kappa by its definition, and the rows that both call.
fn kappa(first: &[Option<usize>], second: &[Option<usize>]) -> (f64, usize) {
    let both: Vec<(usize, usize)> = first.iter().zip(second).filter_map(|(a, b)| Some(((*a)?, (*b)?))).collect();
    let n = both.len() as f64;
    let share = |holds: &dyn Fn(&(usize, usize)) -> bool| both.iter().filter(|pair| holds(pair)).count() as f64 / n;
    let agreed = share(&|(a, b)| a == b);
    let chance: f64 = (0..7).map(|c| share(&|(a, _)| *a == c) * share(&|(_, b)| *b == c)).sum();
    ((agreed - chance) / (1.0 - chance), both.len())
}

/// A judge's verdicts on replies, none where it calls nothing.
fn verdicts(judge: usize, (model, condition): (usize, usize), calls: &[Option<usize>]) -> Verdicts {
    let of_row = |call: &Option<usize>| {
        let call = *call;
        (0..7).map(move |c| call.map_or(f32::NAN, |call| if c == call { 0.7 } else { 0.05 }))
    };
    let replies = BTreeSet::from([read(model, condition)]);
    Verdicts { judge, model, condition, sampling_seed: None, replies, values: calls.iter().flat_map(of_row).collect() }
}

/// The agreements of judges with one another.
fn between(results: &Results) -> Vec<&limbic_report::Kappa> {
    results.kappas.iter().filter(|k| k.with != Source::Probe).collect()
}

#[test]
fn every_judge_has_its_own_recall_precision_and_shift() {
    let study = judged();
    let results = evaluated(&study);
    assert_eq!(results.judges(), JUDGES);
    for judge in JUDGES {
        for at in PLACES {
            let calls = calls(&study, judge, at);
            let found = results.verdicts.iter().find(|v| v.place == place(at) && v.source == Source::Judge { model: judge });
            let found = found.expect("it judged");
            let rows = |holds: &dyn Fn(usize, usize) -> bool| {
                let truth = study.test.iter().map(|row| row.class as usize);
                truth.zip(&calls).filter(|(truth, call)| call.is_some_and(|call| holds(*truth, call))).count()
            };
            for class in 0..7 {
                let hits = rows(&|truth, call| truth == class && call == class) as f64;
                let (of_class, said) = (rows(&|truth, _| truth == class), rows(&|_, call| call == class));
                let (recall, precision) = (found.recall[class].expect("rows"), found.precision[class].expect("calls"));
                assert!((recall.value - hits / of_class as f64).abs() < 1e-12 && recall.n == of_class);
                assert!((precision.value - hits / said as f64).abs() < 1e-12 && precision.n == said);
                assert!((0..7).all(|to| found.shift[class][to] == rows(&|truth, call| (truth, call) == (class, to))));
            }
            assert_eq!(found.kept.n, calls.iter().flatten().count());
            assert_eq!(found.of_itself(), judge == at.0);
        }
    }
}

#[test]
fn judges_agree_with_one_another_and_each_with_the_probe() {
    let study = judged();
    let results = evaluated(&study);
    assert_eq!(between(&results).len(), PLACES.len(), "each pair once at each place");
    for at in PLACES {
        let k = between(&results).into_iter().find(|k| k.place == place(at)).expect("two judges");
        assert_eq!((k.judge, k.with), (0, Source::Judge { model: 2 }));
        let (expected, n) = kappa(&calls(&study, 0, at), &calls(&study, 2, at));
        assert!((k.kappa.value - expected).abs() < 1e-12 && k.kappa.n == n && n < study.test.len(), "{} and {expected}", k.kappa.value);
        let (lo, hi) = (k.kappa.lo.expect("an interval"), k.kappa.hi.expect("an interval"));
        // The second copies the first's call in seven of ten rows, and in a seventh of the others.
        assert!(lo < k.kappa.value && k.kappa.value < hi && lo < 0.7 && 0.7 < hi, "{lo} to {hi}");
        for judge in JUDGES {
            let probe = results.calls.iter().find(|c| c.place == place(at) && c.source == Source::Probe).expect("a probe");
            let probe: Vec<Option<usize>> = probe.calls.iter().map(|c| c.map(|c| c as usize)).collect();
            let k = results.kappas.iter().find(|k| k.place == place(at) && k.judge == judge && k.with == Source::Probe);
            let (expected, n) = kappa(&calls(&study, judge, at), &probe);
            let k = k.expect("judge and probe").kappa;
            assert!((k.value - expected).abs() < 1e-12 && k.n == n);
        }
    }
}

#[test]
fn an_agreements_interval_holds_what_was_planted() {
    // The second judge copies the first's call in seven of ten rows, in half of the groups in both rows or none; else it draws among
    // all seven. Where all are called as often that is a kappa of 0.7.
    let found = shares(400, |seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in 0..140 {
            let both = rng.random::<f64>() < 0.5;
            let mut copies = rng.random::<f64>() < 0.7;
            for row in 0..2 {
                if row == 1 && !both {
                    copies = rng.random::<f64>() < 0.7;
                }
                let [one, other] = [0; 2].map(|_| rng.random_range(0..7_usize));
                first.push(Some(one));
                second.push(Some(if copies { one } else { other }));
            }
        }
        let test = (0..280).map(|row| test_row(row, (row % 7) as u32, Vec::new())).collect();
        let mut study = bare(Scheme::Single, test, Vec::new(), seed);
        study.models = vec![model(0, 1), model(1, 1)];
        study.verdicts = vec![verdicts(0, (0, 0), &first), verdicts(1, (0, 0), &second)];
        let results = evaluated(&study);
        let e = between(&results)[0].kappa;
        vec![("kappa of 0.7", e.lo.expect("groups") <= 0.7 && 0.7 <= e.hi.expect("groups"))]
    });
    assert!((0.9..=0.98).contains(&found[0].1), "{found:?}");
}

#[test]
fn who_read_other_replies_is_not_compared() {
    let mut study = judged();
    for v in study.verdicts.iter_mut().filter(|v| v.judge == 2 && v.condition == 1) {
        v.replies = BTreeSet::from([Digest::of(b"longer replies")]);
    }
    let results = evaluated(&study);
    assert!(between(&results).iter().all(|k| k.place.condition == 0) && between(&results).len() == 2);
    assert_eq!(results.verdicts.iter().filter(|v| v.source == Source::Judge { model: 2 }).count(), 4);
}

#[test]
fn the_page_names_every_judge_and_who_judges_itself() {
    let study = judged();
    let files = made(&study, &evaluated(&study));
    let markdown = text(&files, "report.md");
    for words in [
        "Linden-0.6B and Linden-4B judge, each by its likelihood",
        "Linden-0.6B judges its own replies: where a model judges",
        "| judge Linden-0.6B (of itself) |",
        "| judge Linden-4B |",
        "Agreement of the judges on the same replies",
        "| Linden-0.6B | raw | Linden-0.6B | Linden-4B | Linden-0.6B |",
        "| Linden-1.7B | raw | Linden-0.6B | Linden-4B | – |",
        "The judges agree with one another on the same replies with a kappa of ",
        " replies) of the replies express the utterance's label (the majority class has ",
    ] {
        assert!(markdown.contains(words), "{words}");
    }
    assert!(!markdown.contains("judge Linden-4B (of itself)"));
    for figure in ["kept", "recall", "precision", "shift"] {
        let csv = text(&files, &format!("figures/replies-{figure}.csv"));
        assert!(["judge Linden-0.6B", "judge Linden-4B", "probe on the reply"].iter().all(|who| csv.contains(who)), "{figure}");
    }
    let shift = text(&files, "figures/replies-shift.svg");
    assert!(shift.contains("Linden-1.7B · raw · judge Linden-4B") && shift.contains("Linden-1.7B · raw · probe"));
    let by: BTreeSet<String> = batches(&files["verdicts.parquet"])
        .iter()
        .flat_map(|batch| {
            let judge = batch.column_by_name("judge").expect("a column").as_string::<i32>();
            judge.iter().map(|judge| judge.unwrap_or("the probe").to_owned()).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(by, ["Linden-0.6B", "Linden-4B", "the probe"].map(str::to_owned).into());

    let (study, results) = whole();
    let markdown = text(&made(&study, &results), "report.md");
    assert!(markdown.contains("Linden-4B judges by its likelihood") && markdown.contains("Linden-4B judges its own replies"));
    assert!(!markdown.contains("Agreement of the judges") && !markdown.contains("agree with one another"));
}

/// Kept labels by the probe where `planted` predictions stand beside those that are fitted at each offset.
fn kept_by_probe(study: &Study, planted: &[(bool, Context, usize)]) -> (Option<Reading>, f64, String) {
    let mut study = study.clone();
    study.predictions.retain(|p| p.fitted_at.is_none());
    let homes: Vec<Prediction> = study
        .predictions
        .iter()
        .filter(|p| p.at_home() && &*p.probe == "logistic" && p.read_out.is_some_and(|r| r.offset > 0 && r.context == Context::Full))
        .cloned()
        .collect();
    study.predictions.retain(|p| p.read_out.is_none_or(|r| r.offset == 0 || r.context == Context::Full));
    for &(carried, context, right) in planted {
        // So many of ten rows are called what they are.
        let values: Vec<f32> = (0..study.test.len())
            .flat_map(|row| {
                let truth = study.test[row].class as usize;
                let says = if row % 10 < right { truth } else { (truth + 1) % 7 };
                (0..7).map(move |class| f32::from(u8::from(class == says)))
            })
            .collect();
        let values = Deferred::held(values);
        if carried {
            study.predictions.extend(homes.iter().map(|home| Prediction {
                read_out: home.read_out.map(|r| ReadOut { context, ..r }),
                fitted_at: Some(ReadOut::LAST),
                values: values.clone(),
                ..home.clone()
            }));
        } else {
            let ours = |p: &&mut Prediction| {
                p.at_home() && &*p.probe == "logistic" && p.read_out.is_some_and(|r| r.offset > 0 && r.context == context)
            };
            study.predictions.iter_mut().filter(ours).for_each(|p| p.values = values.clone());
        }
    }
    let results = evaluated(&study);
    let verdict = results.verdicts.iter().find(|v| v.source == Source::Probe).expect("a probe on the replies");
    let files = made(&study, &results);
    let summary: serde_json::Value = serde_json::from_slice(&files["summary.json"]).expect("JSON");
    assert_eq!(summary["results"]["reading"]["carried"], results.reading.is_some_and(|r| r.carried));
    (results.reading, verdict.kept.value, text(&files, "report.md"))
}

#[test]
fn replies_are_read_by_the_probe_of_offset_0_where_it_was_carried_on() {
    let study = judged();
    let fitted = (false, Context::Full, 9);
    let (carried, alone) = ((true, Context::Full, 5), (true, Context::MaskedPrompt, 2));
    let rest = "rather than what the reply expresses";
    for (planted, reading, kept, words) in [
        (&[fitted][..], fitted, 0.9, "Probe: the probes fitted at each offset to the utterance's label"),
        (
            &[fitted, carried],
            carried,
            0.5,
            "Probe: the probe of offset 0, used unchanged on the states of the reply's tokens, with the prompt",
        ),
        (&[fitted, carried, alone], alone, 0.2, "the reply encoded alone (masked prompt)"),
        (&[fitted, alone], alone, 0.2, "the reply encoded alone (masked prompt)"),
    ] {
        let (found, value, markdown) = kept_by_probe(&study, planted);
        assert_eq!(found, Some(Reading { carried: reading.0, context: reading.1 }));
        assert!((value - kept).abs() < 1e-12, "{found:?}: {value}");
        // The lead, the table's caption, four figures' captions and the finding on kappa.
        assert!(markdown.matches(words.trim_start_matches("Probe: ")).count() == 7, "{words} in {markdown}");
        assert_eq!(markdown.contains(rest), !reading.0, "{markdown}");
    }
}

#[test]
fn replies_without_a_verdict_are_told() {
    let mut study = judged();
    study.options.resamples = 50;
    let template = study.runs[0].clone();
    let run = |judge: usize, seed: u64, counts: [u64; 5]| {
        let names = ["rows", "empty_replies", "skipped_rows", "bad_rows", "truncated_rows"];
        Run {
            kind: UnitKind::Judge,
            model: Some(1),
            condition: Some(0),
            judge: Some(judge),
            sampling_seed: Some(seed),
            counts: names.map(str::to_owned).into_iter().zip(counts).collect(),
            ..template.clone()
        }
    };
    study.runs.extend([
        run(0, 0, [40, 3, 2, 0, 0]),
        run(0, 0, [20, 1, 1, 0, 0]),
        run(0, 1, [60, 0, 0, 0, 0]),
        run(2, 0, [60, 4, 3, 2, 5]),
        run(2, 1, [60, 0, 0, 0, 0]),
    ]);
    let results = evaluated(&study);
    let files = made(&study, &results);
    let markdown = text(&files, "report.md");
    for sentence in [
        "Linden-1.7B, raw: 4 of 120 replies in the units of its judges were empty and have no verdict.",
        "Linden-1.7B, raw, judge Linden-0.6B: 3 of 120 questions were longer than the context and left out.",
        "Linden-1.7B, raw, judge Linden-4B: 1 of 120 questions were longer than the context and left out.",
        "Linden-1.7B, raw, judge Linden-4B: 5 of 120 questions were longer than the context and lost the first tokens of their text.",
        "Linden-1.7B, raw, judge Linden-4B: 2 of 120 questions could not be computed and were left out.",
    ] {
        assert_eq!(markdown.matches(sentence).count(), 1, "{sentence}: {:?}", results.warnings);
    }
    assert_eq!(results.warnings.iter().filter(|w| w.contains("Linden-1.7B, raw")).count(), 5, "{:?}", results.warnings);
    let runs = &batches(&files["runs.parquet"])[0];
    let empty = runs.column_by_name("empty_replies").expect("a column").as_primitive::<arrow_array::types::UInt64Type>().clone();
    assert_eq!(empty.iter().flatten().sum::<u64>(), 8);
}
