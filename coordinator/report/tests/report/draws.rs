//! Replies of several sampling seeds: what was planted for each is found as a mean and a spread.

use std::collections::BTreeSet;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use limbic_proto::axis::{Context, ReadOut};
use limbic_proto::key::UnitKey;
use limbic_proto::rows::Scheme;
use limbic_report::{HalfLife, Prediction, Results, Source, Spread, Study, Verdicts};

use super::planted::{CHANCE, CLASSES, bare, model, prediction, test_row};
use super::{batches, evaluated, made, text};

const ROWS: usize = 700;
const OFFSETS: [u32; 6] = [0, 1, 2, 4, 8, 16];
/// Tokens until half of the signal is left, by sampling seed.
pub const HALF_LIVES: [(u64, f64); 3] = [(3, 4.0), (5, 6.0), (8, 9.0)];

/// Whether a row is among the first `right` of an order that mixes classes and groups.
fn among(row: usize, right: usize) -> bool {
    (row * 37) % ROWS < right
}

/// Values of which so many rows are right; rows of `absent` have none.
fn values(right: usize, absent: std::ops::Range<usize>) -> Vec<f32> {
    let of = |row: usize| {
        let says = if among(row, right) { row % CLASSES } else { (row + 1) % CLASSES };
        let there = !absent.contains(&row);
        (0..CLASSES).map(move |class| if there { f32::from(u8::from(class == says)) } else { f32::NAN })
    };
    (0..ROWS).flat_map(of).collect()
}

fn study(predictions: Vec<Prediction>) -> Study {
    let test = (0..ROWS).map(|row| test_row(row, (row % CLASSES) as u32, Vec::new())).collect();
    Study { models: vec![model(0, 1)], ..bare(Scheme::Single, test, predictions, 1) }
}

/// How many rows are right at an offset with such a half-life.
fn right(half_life: f64, offset: u32) -> usize {
    ((CHANCE + 0.6 * 0.5_f64.powf(f64::from(offset) / half_life)) * ROWS as f64).round() as usize
}

/// A signal that lasts differently in the replies of each seed; offset 0 is there once.
pub fn drawn(seeds: &[(u64, f64)]) -> Study {
    let mut predictions = vec![prediction(0, 0, ReadOut::LAST, 1.0, values(right(1.0, 0), 0..0))];
    for (seed, half_life) in seeds {
        let at = |k: &u32| Prediction {
            sampling_seed: Some(*seed),
            ..prediction(0, 0, ReadOut::at(*k), 1.0, values(right(*half_life, *k), 0..0))
        };
        predictions.extend(OFFSETS[1..].iter().map(at));
    }
    study(predictions)
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-12
}

#[test]
fn numbers_beyond_the_prompt_are_means_with_their_spread() {
    let study = drawn(&HALF_LIVES);
    let results = evaluated(&study);
    let curve = results.persistence[0].decay("logistic", Context::Full, None).expect("a curve");
    assert_eq!(curve.spread.len(), OFFSETS.len());
    assert_eq!(curve.spread[0], None, "offset 0 depends on no reply");
    for (at, k) in OFFSETS.iter().enumerate().skip(1) {
        let shares = HALF_LIVES.map(|(_, h)| right(h, *k) as f64 / ROWS as f64);
        let mean = shares.iter().sum::<f64>() / 3.0;
        let sd = (shares.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
        let Spread { seeds, lowest, highest, sd: found } = curve.spread[at].expect("three seeds");
        assert!(seeds == 3 && near(lowest, shares[0]) && near(highest, shares[2]) && near(found, sd), "{k}: {:?}", curve.spread[at]);
        let (offset, e) = curve.points[at];
        assert!(offset == *k && near(e.value, mean) && e.n == ROWS, "{e:?}");
        assert!(e.lo.expect("groups") < mean && mean < e.hi.expect("groups"));
    }
    let fit = curve.to_majority().expect("a fit");
    for (found, (_, planted)) in fit.of_seeds.iter().zip(HALF_LIVES) {
        let HalfLife::Reached { tokens, within: 16, lo: None, hi: None } = found else { panic!("{found:?}") };
        assert!((tokens / planted - 1.0).abs() < 0.05, "{tokens} tokens, planted {planted}");
    }
    assert_eq!(fit.of_seeds.len(), 3);
    let HalfLife::Reached { tokens, .. } = fit.half_life else { panic!("{fit:?}") };
    assert!(4.0 < tokens && tokens < 9.0, "the mean curve lasts in between: {tokens}");
    let class = results.persistence[0].decay("logistic", Context::Full, Some(2)).expect("a class");
    assert!(class.spread.len() == OFFSETS.len() && class.spreads().all(|(_, s)| s.lowest < s.highest));
}

#[test]
fn the_page_says_how_far_numbers_depend_on_the_draw() {
    let study = drawn(&HALF_LIVES);
    let files = made(&study, &evaluated(&study));
    let markdown = text(&files, "report.md");
    // At offset 8 three seeds keep a quarter, 40 % and 54 % of 60 points.
    let share = |h| format!("{:.1}%", right(h, 8) as f64 / ROWS as f64 * 100.0);
    let widest = format!("{} to {} (sd", share(4.0), share(9.0));
    for words in [
        "Every prompt has 3 sampled replies, of the seeds 3, 5 and 8",
        "Between the 3 sampling seeds accuracy differs by",
        &format!("at most: {widest}"),
        "at offset 8 in model-0, raw.",
        "Between sampling seeds: accuracy from the lowest to the highest seed",
    ] {
        assert!(markdown.contains(words), "`{words}` in {markdown}");
    }
    assert!(text(&files, "figures/persistence-conditions.svg").contains("lowest to highest of 3 sampling seeds"));
    assert!(text(&files, "report.html").contains("; 3 seeds: "), "a point says what the seeds say");
    let csv = text(&files, "figures/persistence-conditions.csv");
    assert!(csv.lines().next().unwrap().ends_with(",n,sampling_seeds,lowest_seed,highest_seed,sd_of_seeds"), "{csv}");
    let row = csv.lines().find(|l| l.contains(",full,,,8,")).expect("offset 8");
    let shares = HALF_LIVES.map(|(_, h)| right(h, 8) as f64 / ROWS as f64);
    let cells: Vec<&str> = row.split(',').collect();
    assert_eq!(cells[13], "3");
    assert!((cells[14].parse::<f64>().unwrap() - shares[0]).abs() < 1e-6 && (cells[15].parse::<f64>().unwrap() - shares[2]).abs() < 1e-6);
}

#[test]
fn one_seed_looks_as_if_nothing_had_been_drawn() {
    let one = drawn(&HALF_LIVES[..1]);
    let mut greedy = one.clone();
    greedy.predictions.iter_mut().for_each(|p| p.sampling_seed = None);
    let (results, plain) = (evaluated(&one), evaluated(&greedy));
    assert_eq!(results, plain);
    let (ours, theirs) = (made(&one, &results), made(&greedy, &plain));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    let differ: Vec<&String> = ours.iter().filter(|(name, bytes)| theirs[*name] != **bytes).map(|(name, _)| name).collect();
    assert_eq!(differ, ["predictions.parquet", "report.html", "report.md", "results.parquet"], "tables have the column, pages the seed");
    let (ours, theirs) = (text(&ours, "report.md"), text(&theirs, "report.md"));
    let rest: Vec<&str> = ours.lines().filter(|line| !line.starts_with("| sampling seeds of replies | 3 |")).collect();
    assert!(rest == theirs.lines().collect::<Vec<_>>(), "the seed's line in the provenance is all there is more");
    assert!(!theirs.contains("sampling seed"));
}

#[test]
fn tables_name_the_seed_where_something_was_drawn() {
    let study = drawn(&HALF_LIVES);
    let files = made(&study, &evaluated(&study));
    for table in ["results.parquet", "predictions.parquet"] {
        let mut seen: BTreeSet<(u32, Option<u64>)> = BTreeSet::new();
        for batch in batches(&files[table]) {
            let offset = batch.column_by_name("offset").unwrap().as_primitive::<arrow_array::types::UInt32Type>().clone();
            let seed = batch.column_by_name("sampling_seed").unwrap().as_primitive::<UInt64Type>().clone();
            seen.extend((0..batch.num_rows()).map(|row| (offset.value(row), seed.is_valid(row).then(|| seed.value(row)))));
        }
        let beyond = OFFSETS[1..].iter().flat_map(|k| HALF_LIVES.map(|(seed, _)| (*k, Some(seed))));
        assert_eq!(seen, beyond.chain([(0, None)]).collect(), "{table}");
    }
}

/// Two seeds of which each lacks the replies of other rows at offset 4, in full context and without the prompt.
fn unequal() -> (Study, Vec<f64>) {
    let absent = [0..100, 100..250];
    let mut predictions = vec![prediction(0, 0, ReadOut::LAST, 1.0, values(600, 0..0))];
    let mut leads = Vec::new();
    for (seed, absent) in absent.into_iter().enumerate() {
        for k in [1, 2, 4] {
            let gone = if k == 4 { absent.clone() } else { 0..0 };
            for (context, right) in [(Context::Full, 500 - 40 * seed), (Context::MaskedPrompt, 300 + 30 * seed)] {
                let read_out = ReadOut { context, ..ReadOut::at(k) };
                let drawn = prediction(0, 0, read_out, 1.0, values(right, gone.clone()));
                predictions.push(Prediction { sampling_seed: Some(seed as u64), ..drawn });
            }
        }
        let there: Vec<usize> = (0..ROWS).filter(|row| !absent.contains(row)).collect();
        let share = |right: usize| there.iter().filter(|row| among(**row, right)).count() as f64 / there.len() as f64;
        leads.push(share(500 - 40 * seed) - share(300 + 30 * seed));
    }
    (study(predictions), leads)
}

#[test]
fn contexts_are_compared_on_the_rows_of_the_same_replies() {
    let (study, leads) = unequal();
    let results = evaluated(&study);
    let mean = leads.iter().sum::<f64>() / 2.0;
    let contexts: Vec<_> = results.comparisons.iter().filter(|c| c.family == "contexts").collect();
    let [c] = contexts[..] else { panic!("{contexts:?}") };
    assert!(near(c.difference.value, mean) && c.difference.n == ROWS - 150, "{c:?}, planted {leads:?}");
    assert!(near(c.subject_score - c.against_score, mean));
    let curve = results.persistence[0].decay("logistic", Context::Full, None).expect("a curve");
    let lead = curve.to(Some(Context::MaskedPrompt)).expect("a lead");
    assert_eq!(lead.offsets, [1, 2, 4]);
    let control = results.persistence[0].decay("logistic", Context::MaskedPrompt, None).expect("a curve");
    let last = |d: &limbic_report::Decay| d.points.last().expect("offset 4").1;
    assert_eq!((last(curve).n, last(control).n), (ROWS - 150, ROWS - 150), "not the rows that both seeds have, which are fewer");
}

/// The unit that wrote a seed's replies under a condition.
fn replies(seed: Option<u64>, condition: usize) -> UnitKey {
    UnitKey::of(&[seed.unwrap_or(0) as u8, condition as u8])
}

/// Verdicts by sampling seed: so many replies keep the label.
fn judged(kept: &[(Option<u64>, usize)]) -> (Study, Results) {
    let verdict = |(seed, kept): &(Option<u64>, usize), condition: usize| Verdicts {
        judge: 0,
        model: 0,
        condition,
        sampling_seed: *seed,
        replies: BTreeSet::from([replies(*seed, condition)]),
        values: values(kept - 70 * condition, 0..0),
    };
    let mut study = drawn(&HALF_LIVES);
    if kept.iter().all(|k| k.0.is_none()) {
        study.predictions.iter_mut().for_each(|p| p.sampling_seed = None);
        study.predictions.truncate(OFFSETS.len());
    }
    study.conditions.push(limbic_report::ConditionEntry { name: "calm".to_owned(), description: "calmly".to_owned() });
    study.verdicts = [0, 1].into_iter().flat_map(|condition| kept.iter().map(move |k| verdict(k, condition))).collect();
    let results = evaluated(&study);
    (study, results)
}

#[test]
fn kept_labels_are_means_over_the_replies_of_all_seeds() {
    let kept = [(Some(3), 350), (Some(5), 420), (Some(8), 280)];
    let (study, results) = judged(&kept);
    let judge = Source::Judge { model: 0 };
    let found: Vec<_> = results.verdicts.iter().filter(|v| v.source == judge).collect();
    assert_eq!(found.len(), 2, "one for each condition");
    for (condition, v) in found.iter().enumerate() {
        let shares = kept.map(|(_, n)| (n - 70 * condition) as f64 / ROWS as f64);
        let spread = v.spread.expect("three seeds");
        assert!(near(v.kept.value, shares.iter().sum::<f64>() / 3.0) && v.kept.n == ROWS, "{:?}", v.kept);
        assert!(
            near(spread.lowest, shares[2]) && near(spread.highest, shares[1]) && near(spread.sd, 0.1) && spread.seeds == 3,
            "{spread:?}"
        );
        assert_eq!(v.shift.iter().flatten().sum::<usize>(), 3 * ROWS, "the replies of all seeds");
        let diagonal: usize = (0..CLASSES).map(|class| v.shift[class][class]).sum();
        assert_eq!(diagonal, kept.iter().map(|k| k.1 - 70 * condition).sum::<usize>());
        let recall = v.recall.iter().map(|r| r.expect("rows").value).sum::<f64>() / CLASSES as f64;
        assert!((recall - v.kept.value).abs() < 1e-9, "as many rows in every class");
    }
    let shift = results.comparisons.iter().find(|c| c.family == "replies" && c.subject.contains("judge")).expect("calm against raw");
    assert!(near(shift.difference.value, -0.1), "{shift:?}");
    // The probe reads each seed's own replies.
    let probe = results.verdicts.iter().find(|v| v.source == Source::Probe && v.place.condition == 0).expect("a probe");
    assert_eq!((probe.spread.expect("three seeds").seeds, probe.shift.iter().flatten().sum::<usize>()), (3, 3 * ROWS));
    assert_eq!(results.kappas.iter().filter(|k| k.spread.is_some_and(|s| s.seeds == 3)).count(), results.kappas.len());
    let files = made(&study, &results);
    let markdown = text(&files, "report.md");
    for words in ["kept between seeds", "40.0% to 60.0% (sd 10.0)", "by judge model-0.", "differs by 20.0 points at most: "] {
        assert!(markdown.contains(words), "`{words}` in {markdown}");
    }
    let csv = text(&files, "figures/replies-kept.csv");
    assert!(csv.contains(",3,0.4,0.6,0.1\n"), "{csv}");
    let rows: Vec<(Option<u64>, usize)> = batches(&files["verdicts.parquet"])
        .iter()
        .map(|batch| {
            let seed = batch.column_by_name("sampling_seed").unwrap().as_primitive::<UInt64Type>();
            (seed.is_valid(0).then(|| seed.value(0)), batch.num_rows())
        })
        .collect();
    assert_eq!(rows.iter().map(|r| r.1).sum::<usize>(), ROWS * (2 * 3 + 3), "two conditions judged, one read by the probe");
}

/// Cohen's kappa by its definition, of two judges that are right on so many rows.
fn kappa(right: [usize; 2]) -> f64 {
    let says = |row: usize, right: usize| if among(row, right) { row % CLASSES } else { (row + 1) % CLASSES };
    let share = |holds: &dyn Fn(usize) -> bool| (0..ROWS).filter(|row| holds(*row)).count() as f64 / ROWS as f64;
    let agreed = share(&|row| says(row, right[0]) == says(row, right[1]));
    let chance: f64 = (0..CLASSES).map(|c| right.map(|right| share(&|row| says(row, right) == c)).iter().product::<f64>()).sum();
    (agreed - chance) / (1.0 - chance)
}

#[test]
fn judges_are_compared_on_the_replies_of_each_seed_that_both_have_read() {
    let kept = [(Some(3), 350), (Some(5), 420), (Some(8), 280)];
    let (mut study, _) = judged(&kept);
    study.models.push(model(1, 1));
    let second = |v: &Verdicts| Verdicts { judge: 1, values: values(if v.sampling_seed == Some(3) { 210 } else { 70 }, 0..0), ..v.clone() };
    let mut of_second: Vec<Verdicts> = study.verdicts.iter().filter(|v| v.condition == 0).map(second).collect();
    of_second[2].replies = BTreeSet::from([UnitKey::of(b"longer replies of seed 8")]);
    study.verdicts.extend(of_second);
    let results = evaluated(&study);
    let between: Vec<_> = results.kappas.iter().filter(|k| k.with == Source::Judge { model: 1 }).collect();
    let [k] = between[..] else { panic!("{between:?}") };
    let planted = [kappa([350, 210]), kappa([420, 70])];
    let spread = k.spread.expect("two seeds");
    assert!(near(k.kappa.value, (planted[0] + planted[1]) / 2.0) && k.kappa.n == ROWS, "{k:?}, planted {planted:?}");
    assert!(near(spread.lowest, planted[1]) && near(spread.highest, planted[0]) && spread.seeds == 2, "{spread:?}");
    let of_first: Vec<_> = results.kappas.iter().filter(|k| k.judge == 0 && k.with == Source::Probe).collect();
    assert!(!of_first.is_empty() && of_first.iter().all(|k| k.spread.is_some_and(|s| s.seeds == 3)), "{of_first:?}");
}

#[test]
fn verdicts_on_greedy_replies_are_as_they_were() {
    let (study, results) = judged(&[(None, 350)]);
    let v = &results.verdicts[0];
    assert!(v.spread.is_none() && near(v.kept.value, 0.5));
    let markdown = text(&made(&study, &results), "report.md");
    assert!(markdown.contains("| 50.0% [") && !markdown.contains("between seeds"), "{markdown}");
}

#[test]
fn seeds_whose_units_are_missing_leave_the_others() {
    let mut study = drawn(&HALF_LIVES);
    study.predictions.retain(|p| p.sampling_seed != Some(8) || p.read_out.is_some_and(|r| r.offset < 4));
    let results = evaluated(&study);
    let curve = results.persistence[0].decay("logistic", Context::Full, None).expect("a curve");
    let seeds: Vec<usize> = curve.spreads().map(|(_, s)| s.seeds).collect();
    assert_eq!(seeds, [3, 3, 2, 2, 2]);
    assert_eq!(curve.to_majority().expect("a fit").of_seeds.len(), 2, "a curve that lacks an offset is not fitted");
}
