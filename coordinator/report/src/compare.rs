//! Two studies side by side: what both measured, with paired differences where they test the same rows.

mod asked;
mod joined;
mod only;

use std::collections::{BTreeMap, BTreeSet};

use limbic_proto::axis::{Context, Layer};
use serde::Serialize;

use crate::evaluate::bench::Ground;
use crate::evaluate::{Pair, Side, bench, correct, difference, evaluate, too_few};
use crate::figures;
use crate::page;
use crate::results::{Estimate, HalfLife, Line, Place, Results};
use crate::study::{ReportError, Study};
use crate::{File, wording};
pub use asked::{Changed, Differing, Renamed};
use joined::joined;
pub use only::Only;

/// What both studies measured, and how far they agree in what they test.
#[derive(Debug, Serialize)]
pub struct Versus<'a> {
    /// The studies.
    #[serde(skip)]
    pub studies: [&'a Study; 2],
    /// What was found in each.
    #[serde(skip)]
    pub results: [Results; 2],
    /// Test rows of each.
    pub rows: [usize; 2],
    /// Test rows of the same id and text in both.
    pub common: usize,
    /// Whether both test the same rows with the same truth, so that differences are paired.
    pub paired: bool,
    /// Baselines and probes (family `lines`, each at its representative layer), then every shared layer of the main probe at
    /// the first offset (`layers`), then every shared offset at each study's own layer of the decays (`offsets`).
    pub shared: Vec<Shared>,
    /// Half-lives of the main probe in full context.
    pub half_lives: Vec<HalfLives>,
    /// Conditions of the second that stand under the name that the first has for the same prompt.
    pub renamed: Vec<Renamed>,
    /// What each has that the other lacks.
    pub only: [Only; 2],
    /// What goes by one name in both and isn't the same.
    pub changed: Changed,
    /// Where their specs differ.
    pub specs: Vec<Differing>,
    /// Groups of each one's test rows.
    pub groups: [usize; 2],
    /// Groups that are resampled where differences are paired: of rows that either study puts into one.
    pub resampled: Option<usize>,
    /// What these are too few for.
    pub too_few: Option<String>,
}

/// What one probe or baseline reaches in both studies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shared {
    /// `lines`, `layers` or `offsets`: corrections for several tests are within one.
    pub family: &'static str,
    /// The model's name, if there is one.
    pub model: Option<String>,
    /// The condition's name, if there is one.
    pub condition: Option<String>,
    /// The probe's or baseline's name.
    pub probe: String,
    /// The layers, if there are.
    pub layers: [Option<Layer>; 2],
    /// The offset, of `offsets`.
    pub offset: Option<u32>,
    /// The scores, each on all its rows.
    pub scores: [Estimate; 2],
    /// The second minus the first on the rows that both predict, where rows are the same.
    pub paired: Option<Paired>,
    /// Predictions of each.
    #[serde(skip)]
    predictions: [Vec<usize>; 2],
}

/// A paired difference: the second study minus the first; p-values as in [`crate::Comparison`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Paired {
    /// The difference.
    pub difference: Estimate,
    /// Uncorrected; none where both say the same of every row, or the rows are fewer than ten or of fewer than two groups.
    pub p: Option<f64>,
    /// After Holm's correction within the family.
    pub p_holm: Option<f64>,
    /// After Benjamini and Hochberg's.
    pub p_bh: Option<f64>,
    /// The smallest difference that would show with 80 % power.
    pub detectable: Option<f64>,
}

/// How long the signal lasts at one place in both studies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HalfLives {
    /// The model's name.
    pub model: String,
    /// The condition's name.
    pub condition: String,
    /// The level that the signal decays to: a control's context, or the majority's (none); the same in both.
    pub towards: Option<Context>,
    /// The half-lives.
    pub half_lives: [HalfLife; 2],
}

/// The files of a comparison: `compare.html`, `compare.md`, `compare.json`, and its figure as `figures/compare.svg` and
/// `figures/compare.csv`. Models and conditions are matched by name, conditions of different names by
/// their prompts, layers and offsets by number.
///
/// # Errors
/// What [`crate::evaluate()`] finds in either study.
pub fn compare(first: &Study, second: &Study) -> Result<Vec<File>, ReportError> {
    let (second, renamed) = asked::under_names(first, second);
    let versus = versus(first, &second, renamed)?;
    let figure = figures::versus(&versus);
    let pages = page::versus(&versus, figure.as_slice())?;
    let json = serde_json::json!({
        "sweeps": versus.studies.map(|s| serde_json::json!({"sweep": s.sweep, "title": s.title, "software": s.software})),
        "measure": versus.results.each_ref().map(|r| r.measure.name),
        "comparison": versus,
    });
    let json = serde_json::to_vec_pretty(&json).map_err(|e| ReportError::Page { path: "compare.json", message: e.to_string() })?;
    let file = |path: &str, bytes: Vec<u8>| File { path: path.to_owned(), bytes };
    let mut files =
        vec![file("compare.html", pages.html.into_bytes()), file("compare.md", pages.markdown.into_bytes()), file("compare.json", json)];
    if let Some(f) = figure {
        files.push(file("figures/compare.svg", f.standalone().into_bytes()));
        files.push(file("figures/compare.csv", f.data.csv().into_bytes()));
    }
    Ok(files)
}

fn versus<'a>(first: &'a Study, second: &'a Study, renamed: Vec<Renamed>) -> Result<Versus<'a>, ReportError> {
    let results = [evaluate(first)?, evaluate(second)?];
    let studies = [first, second];
    let (joined, common) = joined(first, second);
    let mut shared = lines(studies, &results);
    shared.extend(layers(studies, &results));
    shared.extend(offsets(studies, &results));
    if let Some(joined) = &joined {
        pair(joined, first, &mut shared)?;
    }
    let rows = studies.map(|s| s.test.len());
    let half_lives = half_lives(studies, &results);
    let only = [0, 1].map(|i| only::only([studies[i], studies[1 - i]], [&results[i], &results[1 - i]]));
    let (changed, specs) = (asked::changed(first, second), asked::differing(&first.spec, &second.spec));
    let groups = results.each_ref().map(|r| r.groups);
    let resampled = joined.as_ref().map(|both| both.test.iter().map(|row| &row.group).collect::<BTreeSet<_>>().len());
    let too_few = joined.as_ref().and_then(|both| too_few(both.test.iter().map(|row| row.group.as_str())));
    Ok(Versus {
        studies,
        rows,
        common,
        paired: joined.is_some(),
        shared,
        half_lives,
        renamed,
        only,
        changed,
        specs,
        groups,
        resampled,
        too_few,
        results,
    })
}

/// The paired differences of everything shared.
fn pair(joined: &Study, first: &Study, shared: &mut [Shared]) -> Result<(), ReportError> {
    let ground = Ground::new(joined);
    let mut bench = bench(joined, &ground);
    let after = first.predictions.len();
    let side = |predictions: &[usize], by: usize| Side { name: String::new(), predictions: predictions.iter().map(|i| i + by).collect() };
    let one = |s: &Shared| {
        let (subject, against) = (side(&s.predictions[1], after), side(&s.predictions[0], 0));
        difference(&bench, &Pair { family: s.family, model: 0, condition: None, subject, against })
    };
    let found: Vec<Option<crate::Comparison>> = shared.iter().map(one).collect();
    let at: Vec<usize> = (0..found.len()).filter(|i| found[*i].is_some()).collect();
    let mut found: Vec<crate::Comparison> = found.into_iter().flatten().collect();
    // What says the same of every row (often it is the same unit) tests nothing, and would only make the others' correction
    // stricter.
    let same = |c: &crate::Comparison| [Some(c.difference.value), c.difference.lo, c.difference.hi].iter().all(|v| *v == Some(0.0));
    found.iter_mut().filter(|c| same(c)).for_each(|c| (c.p, c.p_holm, c.p_bh) = (None, None, None));
    correct(&mut found);
    for (at, c) in at.into_iter().zip(found) {
        let (difference, p, p_holm, p_bh, detectable) = (c.difference, c.p, c.p_holm, c.p_bh, c.detectable);
        shared[at].paired = Some(Paired { difference, p, p_holm, p_bh, detectable });
    }
    match bench.failed.get_mut().expect("nobody panicked with it").take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// What a line is called, whatever the study.
type Name<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Option<&'static str>);

fn name<'a>(study: &'a Study, line: &'a Line) -> Name<'a> {
    let model = line.model.map(|m| study.models[m].name.as_str());
    (&line.probe, model, line.condition.map(|c| study.conditions[c].name.as_str()), line.pooling)
}

/// What a line is called where poolings other than the usual one are said with the probe.
fn with_pooling(probe: &str, pooling: Option<&str>) -> String {
    pooling.filter(|p| *p != "last").map_or_else(|| probe.to_owned(), |p| format!("{probe} ({p})"))
}

fn lines(studies: [&Study; 2], results: &[Results; 2]) -> Vec<Shared> {
    let all = |i: usize| results[i].baselines.iter().chain(&results[i].probes);
    let theirs: BTreeMap<Name<'_>, &Line> = all(1).map(|l| (name(studies[1], l), l)).collect();
    let one = |line: &Line| {
        let key = name(studies[0], line);
        let other = theirs.get(&key)?;
        Some(Shared {
            family: "lines",
            model: key.1.map(str::to_owned),
            condition: key.2.map(str::to_owned),
            probe: with_pooling(key.0, key.3),
            layers: [line.layer, other.layer],
            offset: None,
            scores: [line.score, other.score],
            paired: None,
            predictions: [line.predictions.clone(), other.predictions.clone()],
        })
    };
    all(0).filter_map(one).collect()
}

/// The place of the same names in the other study.
fn same_place(studies: [&Study; 2], place: Place) -> Option<Place> {
    let model = studies[1].models.iter().position(|m| m.name == studies[0].models[place.model].name)?;
    let condition = studies[1].conditions.iter().position(|c| c.name == studies[0].conditions[place.condition].name)?;
    Some(Place { model, condition })
}

fn named(study: &Study, place: Place) -> (String, String) {
    (study.models[place.model].name.clone(), study.conditions[place.condition].name.clone())
}

fn layers(studies: [&Study; 2], results: &[Results; 2]) -> Vec<Shared> {
    let mut shared = Vec::new();
    for curve in &results[0].depth {
        let Some(place) = same_place(studies, curve.place) else { continue };
        let same = |c: &&crate::DepthCurve| c.place == place && c.probe == curve.probe && c.pooling == curve.pooling;
        let Some(other) = results[1].depth.iter().find(same) else { continue };
        let (model, condition) = named(studies[0], curve.place);
        for point in &curve.points {
            let Some(its) = other.points.iter().find(|p| p.layer == point.layer) else { continue };
            shared.push(Shared {
                family: "layers",
                model: Some(model.clone()),
                condition: Some(condition.clone()),
                probe: curve.probe.clone(),
                layers: [Some(point.layer), Some(its.layer)],
                offset: None,
                scores: [point.score, its.score],
                paired: None,
                predictions: [point.predictions.clone(), its.predictions.clone()],
            });
        }
    }
    shared
}

/// The main probe's predictions at a place, layer and offset, in full context.
fn at(study: &Study, place: Place, probe: &str, layer: Layer, offset: u32) -> Vec<usize> {
    let ours = |p: &crate::Prediction| {
        (p.model, p.condition, p.layer) == (Some(place.model), Some(place.condition), Some(layer))
            && &*p.probe == probe
            && p.at_home()
            && p.exists()
            && p.read_out.is_some_and(|r| (r.offset, r.context) == (offset, Context::Full) && r.pooling.as_str() == "last")
    };
    (0..study.predictions.len()).filter(|i| ours(&study.predictions[*i])).collect()
}

fn offsets(studies: [&Study; 2], results: &[Results; 2]) -> Vec<Shared> {
    let mut shared = Vec::new();
    let Some(probe) = results[0].probe.as_deref().filter(|p| results[1].probe.as_deref() == Some(*p)) else { return shared };
    for (ours, theirs) in both_last(studies, results) {
        let points = |p: &crate::Persistence| p.decay(probe, Context::Full, None).map(|d| d.points.clone()).unwrap_or_default();
        let (model, condition) = named(studies[0], ours.place);
        let other = points(theirs);
        for (offset, score) in points(ours).into_iter().filter(|p| p.0 > 0) {
            let Some((_, its)) = other.iter().find(|p| p.0 == offset) else { continue };
            shared.push(Shared {
                family: "offsets",
                model: Some(model.clone()),
                condition: Some(condition.clone()),
                probe: probe.to_owned(),
                layers: [Some(ours.layer), Some(theirs.layer)],
                offset: Some(offset),
                scores: [score, *its],
                paired: None,
                predictions: [
                    at(studies[0], ours.place, probe, ours.layer, offset),
                    at(studies[1], theirs.place, probe, theirs.layer, offset),
                ],
            });
        }
    }
    shared
}

/// Places at which both measured how long the signal lasts.
fn both_last<'a>(studies: [&Study; 2], results: &'a [Results; 2]) -> Vec<(&'a crate::Persistence, &'a crate::Persistence)> {
    let other = |p: &crate::Persistence| {
        let place = same_place(studies, p.place)?;
        results[1].persistence.iter().find(|o| o.place == place)
    };
    results[0].persistence.iter().filter_map(|p| Some((p, other(p)?))).collect()
}

fn half_lives(studies: [&Study; 2], results: &[Results; 2]) -> Vec<HalfLives> {
    let mut all = Vec::new();
    let Some(probe) = results[0].probe.as_deref().filter(|p| results[1].probe.as_deref() == Some(*p)) else { return all };
    for (ours, theirs) in both_last(studies, results) {
        let fits = |p: &crate::Persistence| {
            p.decay(probe, Context::Full, None).map(|d| d.shown().cloned().collect::<Vec<_>>()).unwrap_or_default()
        };
        let (model, condition) = named(studies[0], ours.place);
        let other = fits(theirs);
        for fit in fits(ours) {
            let Some(its) = other.iter().find(|f| f.towards == fit.towards) else { continue };
            all.push(HalfLives {
                model: model.clone(),
                condition: condition.clone(),
                towards: fit.towards,
                half_lives: [fit.half_life, its.half_life.clone()],
            });
        }
    }
    all
}

impl Shared {
    /// Whether the difference is there, after Holm's correction at the first study's confidence.
    pub fn sure(&self, study: &Study) -> bool {
        self.paired.as_ref().and_then(|p| p.p_holm).is_some_and(|p| p < 1.0 - study.options.confidence)
    }

    /// What it is, in words: `tiny-4m, raw, logistic, layer 4`.
    pub fn words(&self) -> String {
        let layers = match self.layers {
            [Some(a), Some(b)] if a != b => Some(format!("layers {} and {}", wording::layer(a), wording::layer(b))),
            [Some(a), _] => Some(format!("layer {}", wording::layer(a))),
            _ => None,
        };
        let offset = self.offset.map(|k| format!("offset {k}"));
        let parts = [self.model.clone(), self.condition.clone(), Some(self.probe.clone()), layers, offset];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}
