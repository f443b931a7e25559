//! Half-lives where little was measured: labels of few rows, and few offsets beside a control.

use limbic_proto::axis::{Context, ReadOut};
use limbic_proto::rows::Scheme;
use limbic_report::{Deferred, HalfLife, Study};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::planted::{Control, Signal, bare, model, normal, prediction, test_row};
use super::synthetic::{self, Size};
use super::{SMALL, evaluated, made, text};

/// Three labels: of half of the rows and fading, of half and without a signal, and of six rows without a signal.
fn labels(seed: u64) -> Study {
    const ROWS: usize = 280;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let truth: Vec<f32> =
        (0..ROWS).flat_map(|row| [rng.random_bool(0.5), rng.random_bool(0.5), row % 47 == 3].map(|on| f32::from(u8::from(on)))).collect();
    let at = |offset: u32| {
        let left = 0.5_f64.powf(f64::from(offset) / 6.0);
        let says = |(i, on): (usize, &f32)| {
            let seen = if i % 3 == 0 { 4.0 * left * f64::from(*on) } else { 0.0 };
            1.0 / (1.0 + (-(seen + normal(&mut rng))).exp())
        };
        let values = truth.iter().enumerate().map(says).map(|p| p as f32).collect();
        prediction(0, 0, ReadOut::at(offset), 1.0, values)
    };
    let predictions = [0, 1, 2, 4, 8, 16].map(at).into();
    let test = truth.chunks(3).enumerate().map(|(row, of_row)| test_row(row, 0, of_row.to_vec())).collect();
    Study { models: vec![model(0, 1)], ..bare(Scheme::Multi, test, predictions, seed) }
}

#[test]
fn intervals_of_a_label_rest_on_its_own_rows_and_groups() {
    let mut study = labels(0);
    let interval = |study: &Study, metric: &str| evaluated(study).score(0, metric).expect("it is measured").lo;
    let of = |study: &Study, label: usize| interval(study, &format!("ap:{}", study.classes[label]));
    assert!(of(&study, 0).is_some() && of(&study, 1).is_some());
    // All rows of the first label are of one group, beside many groups of other rows.
    study.test.iter_mut().filter(|row| row.values[0] > 0.0).for_each(|row| row.group = "one".to_owned());
    assert!(of(&study, 0).is_none() && of(&study, 1).is_some());
    // What is right of every row has no interval, on the page as in the table.
    let right = study.test.iter().flat_map(|row| row.values.clone()).map(|on| 0.1 + 0.8 * on).collect();
    study.predictions[0].values = Deferred::held(right);
    let results = evaluated(&study);
    let points = &results.persistence[0].decay("logistic", Context::Full, None).expect("a curve").points;
    assert!(points[0].1.value == 1.0 && points[0].1.lo.is_none() && points[1].1.lo.is_some(), "{points:?}");
}

#[test]
fn a_label_of_too_few_rows_has_no_half_life() {
    let found: Vec<Vec<HalfLife>> = (0..20)
        .map(|seed| {
            let results = evaluated(&labels(seed));
            let of =
                |class| results.persistence[0].decay("logistic", Context::Full, Some(class)).and_then(|d| d.to_majority()).expect("a fit");
            assert!(of(2).retained.is_none(), "what isn't known to be there isn't kept");
            (0..3).map(|class| of(class).half_life.clone()).collect()
        })
        .collect();
    assert!(found.iter().all(|f| matches!(f[0], HalfLife::Reached { .. })), "{found:?}");
    assert!(found.iter().filter(|f| f[1] == HalfLife::NoSignal).count() >= 15, "{found:?}");
    assert!(found.iter().all(|f| f[2] == HalfLife::TooFewRows), "{found:?}");
    let study = labels(0);
    let markdown = text(&made(&study, &evaluated(&study)), "report.md");
    assert!(markdown.contains("too few rows"));
    assert!(!markdown.contains("outlasts another"), "one class alone has a half-life");
}

/// Labels of one row in ten and one in thirty, and scores that say nothing of them.
fn nothing(seed: u64) -> Study {
    const ROWS: usize = 240;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let truth: Vec<f32> = (0..ROWS).flat_map(|row| [row % 10 == 0, row % 30 == 1].map(|on| f32::from(u8::from(on)))).collect();
    // The later of two offsets is reached by every other row alone.
    let at = |offset: u32| {
        let there = |row: usize| offset == 0 || row.is_multiple_of(2);
        let values = (0..2 * ROWS).map(|i| if there(i / 2) { normal(&mut rng) as f32 } else { f32::NAN }).collect();
        prediction(0, 0, ReadOut::at(offset), 1.0, values)
    };
    let predictions = [0, 1].map(at).into();
    let test = truth.chunks(2).enumerate().map(|(row, of_row)| test_row(row, 0, of_row.to_vec())).collect();
    let mut study = Study { models: vec![model(0, 1)], ..bare(Scheme::Multi, test, predictions, seed) };
    study.options.resamples = 20;
    study
}

#[test]
fn what_says_nothing_of_a_label_is_at_the_floor() {
    let mut above: Vec<[f64; 4]> = Vec::new();
    for seed in 0..400 {
        let results = evaluated(&nothing(seed));
        let excess = |class: Option<usize>, at: usize| {
            let decay = results.persistence[0].decay("logistic", Context::Full, class).expect("a curve");
            decay.points[at].1.value - decay.to_majority().expect("a fit").floor[at]
        };
        // Every other row has the first label where it has the reply, and the second never has it there.
        above.push([excess(None, 0), excess(None, 1), excess(Some(0), 0), excess(Some(0), 1)]);
    }
    for i in 0..4 {
        let of = |f: &dyn Fn(f64) -> f64| above.iter().map(|a| f(a[i])).sum::<f64>() / above.len() as f64;
        let mean = of(&|a| a);
        let error = (of(&|a| (a - mean).powi(2)) / above.len() as f64).sqrt();
        assert!(mean.abs() < 3.0 * error, "{i}: {mean} ± {error}");
    }
}

/// A signal that halves every nine tokens beside a control that stays.
fn beside(offsets: Vec<u32>) -> Study {
    let control = Control { share: 0.3, half_life: 1e9, lead: 0.5 };
    Signal { layers: vec![0.8], offsets, half_life: 9.0, control: Some(control), models: 1, rows: 280 }.study(3)
}

#[test]
fn two_offsets_beside_a_control_leave_the_decay_to_the_majority() {
    for (offsets, towards, label) in
        [(vec![0, 4, 16], None, "half-life of the signal"), (vec![0, 1, 2, 4, 8, 16], Some(Context::MaskedPrompt), "half-life of the lead")]
    {
        let study = beside(offsets);
        let results = evaluated(&study);
        let p = &results.persistence[0];
        let whole = p.decay("logistic", Context::Full, None).expect("a curve");
        assert_eq!(whole.fits[0].towards, Some(Context::MaskedPrompt));
        let main = whole.main().expect("a fit");
        assert!(matches!(main.half_life, HalfLife::Reached { .. } | HalfLife::NotReached { .. }), "{main:?}");
        assert_eq!((main.towards, p.towards("logistic")), (towards, towards));
        let classes = (0..study.classes.len()).map(|class| p.decay("logistic", Context::Full, Some(class)).expect("a curve"));
        assert!(classes.into_iter().all(|d| p.of_class(d).is_some_and(|f| f.towards == towards)));
        let files = made(&study, &results);
        assert!(files.contains_key("figures/half-life.svg"));
        let markdown = text(&files, "report.md");
        assert!(markdown.contains(label), "{markdown}");
        let caption = if towards.is_none() { "towards no signal, with" } else { "over that of the masked-prompt control, with" };
        assert!(markdown.contains(caption), "{markdown}");
    }
}

#[test]
fn a_curve_that_is_no_exponential_says_so() {
    let offsets = vec![0, 1, 2, 4, 8, 16, 32];
    let control = Control { share: 0.3, half_life: 1e9, lead: 0.5 };
    let plateau = Signal { layers: vec![0.8], offsets, half_life: 3.0, control: Some(control), models: 1, rows: 560 };
    let clean = Signal { control: None, half_life: 6.0, ..plateau.clone() };
    let poor = |signal: &Signal, towards: Option<Context>| {
        let of = |seed: u64| {
            let results = evaluated(&signal.study(seed));
            results.persistence[0].decay("logistic", Context::Full, None).and_then(|d| d.to(towards)).expect("a fit").poor()
        };
        (0..20).filter(|seed| of(*seed)).count()
    };
    // Towards chance the plateau is no exponential; the lead over the control is one, and so is what has no control.
    let found = [poor(&plateau, None), poor(&plateau, Some(Context::MaskedPrompt)), poor(&clean, None)];
    assert!(found[0] >= 18 && found[1] <= 2 && found[2] <= 2, "{found:?} of 20");
    let study = plateau.study(0);
    let markdown = text(&made(&study, &evaluated(&study)), "report.md");
    assert!(markdown.contains(", fit off at ") && markdown.contains("; fit off: offsets at which"), "{markdown}");
}

#[test]
fn a_lead_that_goes_because_its_control_rises_says_so() {
    // The reply comes to carry what the prompt said: the curve stays, the control rises to it.
    let control = |half_life: f64| Control { share: 0.25, half_life, lead: 0.45 };
    let said = |control: Control| {
        let signal =
            Signal { layers: vec![0.7], offsets: vec![0, 1, 2, 4, 8, 16], half_life: 4.0, control: Some(control), models: 1, rows: 420 };
        let study = signal.study(2);
        let results = evaluated(&study);
        let decay = results.persistence[0].decay("logistic", Context::Full, None).expect("a curve");
        let overtaken = decay.overtaken(decay.to(Some(Context::MaskedPrompt)).expect("a control"));
        let markdown = text(&made(&study, &results), "report.md");
        assert!(markdown.contains(" beyond the masked-prompt control, which goes from "), "{markdown}");
        assert_eq!(markdown.contains("more of the lead goes by its rise than by a loss of the signal"), overtaken);
        // The page begins with the signal's half-life then, not with that of the lead.
        let main = decay.main().expect("a decay");
        assert_eq!(main.towards, (!overtaken).then_some(Context::MaskedPrompt));
        assert_eq!(results.persistence[0].towards("logistic"), main.towards);
        overtaken
    };
    // A half-life below zero grows.
    assert!(said(control(-8.0)) && !said(control(1e9)) && !said(control(12.0)));
}

#[test]
fn an_open_end_is_beyond_what_the_fit_spans() {
    let control = Control { share: 0.3, half_life: 1e9, lead: 0.5 };
    let signal =
        Signal { layers: vec![0.8], offsets: vec![0, 1, 2, 4, 8, 16], half_life: 13.0, control: Some(control), models: 1, rows: 280 };
    let mut open = 0;
    for seed in 0..8 {
        let study = signal.study(seed);
        let results = evaluated(&study);
        for fit in &results.persistence[0].decay("logistic", Context::Full, None).expect("a curve").fits {
            let spans = if fit.towards.is_some() { 15 } else { 16 };
            if let HalfLife::Reached { within, hi, .. } = fit.half_life {
                assert_eq!(within, spans);
                assert!(hi.is_none_or(|hi| hi <= f64::from(spans)));
                open += usize::from(hi.is_none() && spans == 15);
            }
        }
    }
    assert!(open > 0, "no study has an open end");
}

#[test]
fn the_longest_half_life_is_set_against_the_shortest_and_nothing_is_ranked_between() {
    let size = Size { models: 1, layers: 1, conditions: 1, offsets: 9, rows: 700, masked: false, mlp: false, whole: false };
    let mut study = synthetic::study(size);
    study.options.resamples = 200;
    let markdown = text(&made(&study, &evaluated(&study)), "report.md");
    let sentence = markdown.lines().find(|line| line.contains(" outlasts ")).unwrap_or_else(|| panic!("{markdown}"));
    assert!(sentence.contains("the longest and the shortest half-life, p = 0.0") && sentence.contains(" over all pairs of "), "{sentence}");
    assert!(sentence.ends_with("; of the classes between them nothing is said."), "{sentence}");
}

#[test]
fn classes_that_outlast_their_offsets_are_not_told_apart_by_how_far_these_reach() {
    // Three of four rows are called what they are, however late. Of the second class hardly any reply is longer than 16 tokens.
    const ROWS: usize = 420;
    let class = |row: usize| row % 3;
    let at = |offset: u32| {
        let of_row = |row: usize| {
            let says = if (row / 3).is_multiple_of(4) { (class(row) + 1) % 3 } else { class(row) };
            let there = offset <= 16 || class(row) != 1 || row < 15;
            (0..7).map(move |c| if there { f32::from(u8::from(c == says)) } else { f32::NAN })
        };
        prediction(0, 0, ReadOut::at(offset), 1.0, (0..ROWS).flat_map(of_row).collect())
    };
    let predictions = [0, 1, 2, 4, 8, 16, 64].map(at).into();
    let test = (0..ROWS).map(|row| test_row(row, class(row) as u32, Vec::new())).collect();
    let results = evaluated(&Study { models: vec![model(0, 1)], ..bare(Scheme::Single, test, predictions, 0) });
    let p = &results.persistence[0];
    let within = |class| p.decay("logistic", Context::Full, Some(class)).and_then(|d| p.of_class(d)).expect("a fit").half_life.clone();
    assert!(matches!((within(0), within(1)), (HalfLife::NotReached { within: 64, .. }, HalfLife::NotReached { within: 16, .. })));
    assert!(p.extremes.expect("three classes").p.is_none_or(|p| p > 0.5), "{:?}", p.extremes);
}

/// A study of three classes, in as many rows each, of which such a share is called right at each offset.
fn of_shares(offsets: &[u32], share: impl Fn(usize, u32) -> f64) -> Study {
    const ROWS: usize = 900;
    let class = |row: usize| row % 3;
    let at = |offset: &u32| {
        let of_row = |row: usize| {
            // The same number of each hundred rows; the others are called what no row is.
            let right = (row / 3 * 37 % 100) as f64 + 0.5 < 100.0 * share(class(row), *offset);
            let says = if right { class(row) } else { 3 + row % 4 };
            (0..7).map(move |c| f32::from(u8::from(c == says)))
        };
        prediction(0, 0, ReadOut::at(*offset), 1.0, (0..ROWS).flat_map(of_row).collect())
    };
    let predictions = offsets.iter().map(at).collect();
    let test = (0..ROWS).map(|row| test_row(row, class(row) as u32, Vec::new())).collect();
    Study { models: vec![model(0, 1)], ..bare(Scheme::Single, test, predictions, 0) }
}

#[test]
fn a_class_that_is_no_exponential_outlasts_none() {
    let offsets = [0, 1, 2, 4, 8, 16, 32];
    let fading = |class: usize, k: u32| 0.95 * 0.5_f64.powf(f64::from(k) / [60.0, 4.0, 20.0][class]);
    let restless = |class: usize, k: u32| match (class, offsets.iter().position(|o| *o == k)) {
        (0, Some(at)) if at % 2 == 1 => 0.5,
        (0, _) => 0.95,
        _ => fading(class, k),
    };
    let said = |share: &dyn Fn(usize, u32) -> f64| {
        let study = of_shares(&offsets, share);
        let results = evaluated(&study);
        let markdown = text(&made(&study, &results), "report.md");
        let sentence = markdown.lines().find(|line| line.contains(" outlasts ")).unwrap_or_else(|| panic!("{markdown}"));
        (results.persistence[0].extremes.expect("classes that last"), sentence.to_owned())
    };
    let (extremes, sentence) = said(&fading);
    assert_eq!((extremes.longest, extremes.shortest), (0, 1), "{sentence}");
    assert!(!sentence.contains("exponentially"), "{sentence}");
    let (extremes, sentence) = said(&restless);
    assert_eq!((extremes.longest, extremes.shortest), (2, 1), "{sentence}");
    assert!(sentence.contains("C0 does something else than to decay exponentially, and is left out."), "{sentence}");
}

#[test]
fn half_lives_that_rest_on_late_offsets_of_few_groups_are_warned_of() {
    let offsets = [0, 1, 2, 4, 8, 16];
    let mut study = of_shares(&offsets, |_, k| 0.9 * 0.5_f64.powf(f64::from(k) / 8.0));
    let warned = |study: &Study| {
        let warning = evaluated(study).warnings.into_iter().find(|w| w.contains("rest on late offsets"));
        warning.map(|w| w.split(": ").next().expect("a sentence").to_owned())
    };
    assert_eq!(warned(&study), None);
    // The last offset is reached by 36 rows, of 18 groups.
    let late = study.predictions.iter_mut().find(|p| p.read_out == Some(ReadOut::at(16))).expect("an offset");
    let mut values = super::values(late);
    values[36 * 7..].fill(f32::NAN);
    late.values = Deferred::held(values);
    let words = "1 of 1 half-lives rest on late offsets that replies of fewer than 20 groups reach (18 at the least)";
    assert_eq!(warned(&study).as_deref(), Some(words));
}

#[test]
fn what_is_kept_is_kept_until_an_offset_that_enough_rows_reach() {
    let reached = |study: &mut Study, offset: u32, rows: usize| {
        let of_offset = study.predictions.iter_mut().find(|p| p.read_out == Some(ReadOut::at(offset))).expect("an offset");
        let mut values = super::values(of_offset);
        values[rows * 7..].fill(f32::NAN);
        of_offset.values = Deferred::held(values);
    };
    let kept = |study: &Study| {
        let results = evaluated(study);
        let fit = results.persistence[0].decay("logistic", Context::Full, None).and_then(|d| d.to_majority()).expect("a fit").clone();
        (fit, text(&made(study, &results), "report.md"))
    };
    let mut study = of_shares(&[0, 4, 8, 16], |_, k| 0.9 * 0.5_f64.powf(f64::from(k) / 8.0));
    reached(&mut study, 16, 6);
    let (fit, markdown) = kept(&study);
    assert_eq!((fit.offsets.as_slice(), fit.retained.is_some()), ([0, 4, 8].as_slice(), true));
    assert!(markdown.contains("] at 8 |"), "{markdown}");
    [4, 8].into_iter().for_each(|offset| reached(&mut study, offset, 6));
    assert_eq!(kept(&study).0.retained, None, "of one offset everything would be kept");
}

#[test]
fn offsets_that_few_rows_of_a_class_reach_are_in_no_decay() {
    // Of fifteen rows a class half have a reply of 128 tokens.
    let study = synthetic::study(Size { rows: 105, offsets: 9, ..SMALL });
    let results = evaluated(&study);
    let of_classes = || results.persistence.iter().flat_map(|p| &p.decays).filter(|d| d.class.is_some());
    let mut left_out = 0;
    for decay in of_classes() {
        for fit in &decay.fits {
            let few = |k: &u32| decay.points.iter().any(|(at, e)| at == k && e.n < 10);
            assert!(fit.offsets[1..].iter().all(|k| !few(k)), "{:?} {:?}", fit.offsets, decay.points);
            assert_eq!(fit.floor.len(), fit.offsets.len());
            left_out += usize::from(fit.offsets.len() < decay.points.len());
        }
    }
    assert!(left_out > 0);
    let lasting = |h: &HalfLife| matches!(h, HalfLife::Reached { .. } | HalfLife::NotReached { .. });
    assert!(of_classes().flat_map(|d| &d.fits).any(|f| lasting(&f.half_life)), "the others are enough");
}
