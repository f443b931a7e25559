//! What the states look like: where classes lie, and how alike layers, conditions and models are. NaN (null in JSON)
//! stands where something is undefined.

use limbic_proto::axis::Layer;
use serde::Serialize;

use super::Place;
use crate::statistics::linkage::Merge;

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerGeometry {
    /// The tap.
    pub layer: Layer,
    /// Mean silhouette of the classes over test rows, in -1..=1; NaN where the states are all the same.
    pub silhouette: f64,
    /// Scatter between classes over scatter within; NaN where there is neither.
    pub fisher: f64,
    /// The share of train's variance along each of the first principal components.
    pub explained: Vec<f64>,
    /// Degrees between the directions of every two scales, in the order (0, 1), (0, 2), …, (1, 2), …; empty where labels
    /// are classes.
    pub angles: Vec<f64>,
}

/// All layers of one model under one condition, at offset 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlaceGeometry {
    /// Whose.
    pub place: Place,
    /// The pooling.
    pub pooling: &'static str,
    /// Layers ascending.
    pub layers: Vec<LayerGeometry>,
    /// `[layers][layers]`: linear CKA, debiased.
    pub cka: Vec<Vec<f64>>,
    /// `[layers][layers]`: Spearman's correlation of distances between rows.
    pub rsa: Vec<Vec<f64>>,
    /// `[layers][layers]`: cosine of the directions of a class at two layers, mean over classes.
    pub alignment: Vec<Vec<f64>>,
    /// Index into `layers` of the one that the rest is about: the probe's representative layer.
    pub shown: usize,
    /// `[classes][classes]`: cosine of their directions there.
    pub directions: Vec<Vec<f64>>,
    /// The directions clustered by average linkage of 1 - cosine.
    pub merges: Vec<Merge>,
    /// The classes in the order of the tree's leaves.
    pub order: Vec<usize>,
}

/// Representations at every place's shown layer, compared.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Across {
    /// The places.
    pub places: Vec<Place>,
    /// `[places][places]`: linear CKA, debiased.
    pub cka: Vec<Vec<f64>>,
    /// `[places][places]`: Spearman's correlation of distances between rows.
    pub rsa: Vec<Vec<f64>>,
    /// `[places][places]`: mean cosine of the directions of the same class, within one model.
    pub alignment: Vec<Vec<f64>>,
    /// `[places][places]`: Spearman's correlation of the cosines between the directions of every two classes, whatever the widths:
    /// whether classes lie to one another as they do elsewhere. NaN with fewer than four classes.
    pub arrangement: Vec<Vec<f64>>,
}

/// A test row in a plane.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScatterPoint {
    /// Index of the test row.
    pub row: usize,
    /// Along the first component.
    pub x: f64,
    /// Along the second component.
    pub y: f64,
    /// Its class; under several labels or intensities the strongest, none where it has none.
    pub class: Option<usize>,
}

/// A line along which a class lies equally thick.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Contour {
    /// The class.
    pub class: usize,
    /// The share of the class's peak density, 0.25 or 0.5.
    pub share: f64,
    /// The lines.
    #[serde(skip)]
    pub lines: Vec<Vec<(f64, f64)>>,
}

/// Test rows along two principal components.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scatter {
    /// Whose.
    pub place: Place,
    /// `states` or `probabilities`.
    pub what: &'static str,
    /// The layer.
    pub layer: Layer,
    /// Shares of variance along the two.
    pub explained: (f64, f64),
    /// The rows that have a state.
    #[serde(skip)]
    pub points: Vec<ScatterPoint>,
    /// Contours per class; empty where rows have no class.
    pub contours: Vec<Contour>,
}

/// Where a probe places the test rows on the scales of valence and arousal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AffectPlane {
    /// Whose.
    pub place: Place,
    /// The layer.
    pub layer: Layer,
    /// Indices of the two scales.
    pub axes: (usize, usize),
    /// `(row, (valence, arousal))` of the rows that have a state.
    #[serde(skip)]
    pub points: Vec<(usize, (f64, f64))>,
}

/// Everything about geometry.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct GeometryResults {
    /// One per model, condition and pooling.
    pub places: Vec<PlaceGeometry>,
    /// Across them.
    pub across: Across,
    /// Planes of states and of probabilities.
    pub scatters: Vec<Scatter>,
    /// Planes of valence and arousal, one per model; none where labels are not on those scales.
    pub affect: Vec<AffectPlane>,
}
