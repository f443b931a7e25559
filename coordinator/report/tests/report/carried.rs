//! The probe of offset 0 beside those fitted later on: which of them reads more, on the same rows.

use limbic_proto::axis::ReadOut;
use limbic_proto::rows::Scheme;
use limbic_report::{Prediction, Study};

use super::planted::{CLASSES, bare, model, prediction, test_row};
use super::{evaluated, made, text};

const ROWS: usize = 280;

/// Values of which so many of ten rows are right, the same ones of all that are right as often; rows from `there` on have none.
fn values(right: usize, there: usize) -> Vec<f32> {
    let of = |row: usize| {
        let says = if row * 37 % 10 < right { row % CLASSES } else { (row + 1) % CLASSES };
        (0..CLASSES).map(move |class| if row < there { f32::from(u8::from(class == says)) } else { f32::NAN })
    };
    (0..ROWS).flat_map(of).collect()
}

/// Two models; at the last offset so many of ten rows are right by the carried probe and by the one fitted there.
fn study(last: [(usize, usize); 2]) -> Study {
    let mut predictions = Vec::new();
    for (at, (carried, fitted)) in last.into_iter().enumerate() {
        predictions.push(prediction(at, 0, ReadOut::LAST, 1.0, values(9, ROWS)));
        for (offset, carried, fitted) in [(1, 8, 8), (4, carried, fitted)] {
            // Replies end: the last offset has half of the rows.
            let there = if offset == 4 { ROWS / 2 } else { ROWS };
            predictions.push(prediction(at, 0, ReadOut::at(offset), 1.0, values(fitted, there)));
            let moved = prediction(at, 0, ReadOut::at(offset), 1.0, values(carried, there));
            predictions.push(Prediction { fitted_at: Some(ReadOut::LAST), ..moved });
        }
    }
    let test = (0..ROWS).map(|row| test_row(row, (row % CLASSES) as u32, Vec::new())).collect();
    Study { models: vec![model(0, 1), model(1, 1)], ..bare(Scheme::Single, test, predictions, 3) }
}

#[test]
fn the_carried_probe_is_compared_with_the_one_fitted_there_row_by_row() {
    for (carried, fitted, words) in [
        (8, 4, "reads more than one fitted there: 80.0% against 40.0%"),
        (4, 8, "reads less than one fitted there: 40.0% against 80.0%"),
        (6, 6, "can't be told from one fitted there: 60.0% against 60.0%"),
    ] {
        let study = study([(carried, fitted), (5, 7)]);
        let results = evaluated(&study);
        let found: Vec<_> = results.comparisons.iter().filter(|c| c.family == "carried").collect();
        let [first, second] = found[..] else { panic!("{found:?}") };
        assert!((first.difference.value - (carried as f64 - fitted as f64) / 10.0).abs() < 1e-12 && first.difference.n == ROWS / 2);
        assert!((second.difference.value + 0.2).abs() < 1e-12 && (second.model, second.condition) == (1, Some(0)));
        assert!(found.iter().all(|c| c.corrected == 2 && c.p_holm >= c.p), "{found:?}");
        assert_eq!(first.subject, "logistic of offset 0, raw, layer 0, offset 4");
        let markdown = text(&made(&study, &results), "report.md");
        for words in
            [words, " on the same rows, a difference of ", "| logistic of offset 0, raw, layer 0, offset 4 | 50.0% | fitted there |"]
        {
            assert!(markdown.contains(words), "`{words}` in {markdown}");
        }
    }
}
