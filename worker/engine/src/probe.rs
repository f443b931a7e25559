//! Probes: what a linear map, a small network, the words alone, or nothing but class frequencies read from hidden states.
//!
//! Pure functions over plain slices: features are row-major `f32` `[n, d]`, labels one class a row or numbers `[n, K]`,
//! predictions row-major `f32` `[n, K]`. The same inputs and seed give the same bits on one kind of CPU, whatever the number
//! of threads.

pub mod bag_of_words;
pub mod control;
pub mod csr;
pub mod error;
pub mod fitted;
pub mod geometry;
pub mod head;
pub mod labels;
pub mod lda;
pub mod logistic;
pub mod majority;
pub mod matrix;
pub mod mean_difference;
pub mod measure;
pub mod mlp;
pub mod offset_mlp;
pub mod report;
pub mod ridge;
pub mod standardizer;
pub mod tfidf;

mod adam;
mod cholesky;
mod eigen;
mod loss;
mod moments;
mod narrow;
mod network;
mod rotation;
mod softmax;
mod solver;
mod space;
mod temperature;

use crate::product;

pub use bag_of_words::{BagOfWords, Regression, Texts};
pub use csr::Csr;
pub use error::ProbeError;
pub use fitted::{Fitted, Linear, NamedTensor, ProbeKind};
pub use geometry::Geometry;
pub use head::{Head, Levels};
pub use labels::{Labels, Targets, Trial};
pub use lda::LdaSettings;
pub use logistic::{LogisticSettings, OnlineCode};
pub use matrix::{Matrix, Split};
pub use measure::measure;
pub use mlp::MlpSettings;
pub use moments::{MOMENT_TENSORS, MomentTensors, Moments, Standard};
pub use offset_mlp::{OffsetProbe, OffsetSplit};
pub use report::{FitReport, PathPoint};
pub use ridge::RidgeSettings;
pub use standardizer::Standardizer;
pub use tfidf::TfIdf;
