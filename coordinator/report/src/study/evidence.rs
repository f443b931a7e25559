//! What a study holds beside predictions: verdicts on replies, and the geometry of states.

use std::collections::BTreeSet;

use limbic_proto::axis::{Layer, ReadOut};
use limbic_proto::key::UnitKey;

use super::Deferred;

/// What a judge says of the replies of one model under one condition.
#[derive(Debug, Clone)]
pub struct Verdicts {
    /// The judging model; index into [`super::Study::models`].
    pub judge: usize,
    /// The model that replied; index into [`super::Study::models`].
    pub model: usize,
    /// The condition under which it did; index into [`super::Study::conditions`].
    pub condition: usize,
    /// The seed of the replies; none where nothing was drawn.
    pub sampling_seed: Option<u64>,
    /// The extract units whose replies they are. Judges who joined at different times may have read different ones.
    pub replies: BTreeSet<UnitKey>,
    /// `[test, classes]`: the judge's probability of each label; NaN where a row has no verdict.
    pub values: Vec<f32>,
}

/// The geometry of the states of one cell at offset 0.
#[derive(Debug, Clone)]
pub struct GeometryEntry {
    /// Index into [`super::Study::models`].
    pub model: usize,
    /// Index into [`super::Study::conditions`].
    pub condition: usize,
    /// The tap.
    pub layer: Layer,
    /// The read-out, at offset 0.
    pub read_out: ReadOut,
    /// The tensors.
    pub tensors: Deferred<Geometry>,
}

/// What [`limbic_proto::unit::GEOMETRY`] holds of one read-out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Geometry {
    /// `[test, 3]`: test rows along the first three principal components of train.
    pub coordinates: Vec<f32>,
    /// The share of train's variance along each of the first components.
    pub explained: Vec<f32>,
    /// `[classes, d]`: the direction of each class or scale.
    pub directions: Vec<f32>,
    /// `[s, s]`: inner products of some test rows, centred.
    pub similarity: Vec<f32>,
    /// Mean silhouette of the classes; NaN where rows have no single class.
    pub silhouette: f32,
    /// Fisher's ratio: scatter between classes over scatter within.
    pub fisher: f32,
}
