//! The section about what the states look like.

use limbic_proto::rows::Scheme;

use super::section::{Cell, Section, dash};
use crate::figures::Figure;
use crate::results::{PlaceGeometry, Results};
use crate::study::Study;
use crate::wording::{Notation, layer, list};

/// What the states look like; none where no geometry was described.
pub fn geometry(study: &Study, results: &Results, figures: &[Figure]) -> Option<Section> {
    let found = &results.geometry;
    if found.places.is_empty() && found.scatters.is_empty() && found.affect.is_empty() {
        return None;
    }
    let mut section = Section::new("geometry", "Geometry");
    if !results.geometry.places.is_empty() {
        section.say("How do the states lie? Everything about states is at offset 0, standardised on train.");
    }
    for figure in [
        "geometry-states",
        "geometry-probabilities",
        "geometry-directions",
        "geometry-separation",
        "geometry-angles",
        "geometry-affect",
        "geometry-layers",
        "geometry-across",
    ] {
        section.figure(figures, figure);
    }
    let rows = results.geometry.places.iter().map(|p| place(study, p));
    let columns = ["model", "condition", "#layer shown", "nearest classes", "farthest classes", "#best silhouette", "#best Fisher's ratio"];
    let named = study.scheme != Scheme::Continuous;
    if named {
        section.table("Which classes lie together, and at which layer they lie farthest apart", &columns, rows.collect());
    } else {
        angles(study, results, &mut section);
    }
    Some(section)
}

fn place(study: &Study, p: &PlaceGeometry) -> Vec<Cell> {
    let n = p.directions.len();
    let pairs = || (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).filter(|(a, b)| p.directions[*a][*b].is_finite());
    let words = |pair: Option<(usize, usize)>| {
        pair.map_or_else(dash, |(a, b)| {
            format!("{} ({})", list(&[study.classes[a].clone(), study.classes[b].clone()]), Notation::Real.value(p.directions[a][b])).into()
        })
    };
    let by = |x: &(usize, usize), y: &(usize, usize)| p.directions[x.0][x.1].total_cmp(&p.directions[y.0][y.1]);
    let best = |of: &dyn Fn(&crate::results::LayerGeometry) -> f64| {
        let known = p.layers.iter().filter(|l| of(l).is_finite());
        known
            .max_by(|a, b| of(a).total_cmp(&of(b)))
            .map_or_else(dash, |l| Cell::sorted(format!("{} at {}", Notation::Real.value(of(l)), layer(l.layer)), of(l)))
    };
    vec![
        study.models[p.place.model].name.clone().into(),
        study.conditions[p.place.condition].name.clone().into(),
        layer(p.layers[p.shown].layer).into(),
        words(pairs().max_by(by)),
        words(pairs().min_by(by)),
        best(&|l| l.silhouette),
        best(&|l| l.fisher),
    ]
}

/// Angles between scales at the shown layer.
fn angles(study: &Study, results: &Results, section: &mut Section) {
    let n = study.classes.len();
    let pairs: Vec<(usize, usize)> = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).collect();
    let rows = results.geometry.places.iter().flat_map(|p| {
        let shown = &p.layers[p.shown];
        pairs.iter().zip(&shown.angles).map(move |((a, b), angle)| {
            vec![
                Cell::from(study.models[p.place.model].name.clone()),
                study.conditions[p.place.condition].name.clone().into(),
                layer(shown.layer).into(),
                list(&[study.classes[*a].clone(), study.classes[*b].clone()]).into(),
                if angle.is_finite() { format!("{angle:.0}°").into() } else { dash() },
            ]
        })
    });
    section.table(
        "Degrees between the directions of every two scales",
        &["model", "condition", "#layer", "scales", "#angle"],
        rows.collect(),
    );
}
