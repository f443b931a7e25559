//! Probes: what a linear map, a small network, the words alone, or nothing but class frequencies read from hidden states.
//!
//! Pure functions over plain slices: features are row-major `f32` `[n, d]`, labels `u32` `[n]`, probabilities row-major
//! `f32` `[n, K]`. The same inputs and seed give the same bits on one kind of CPU, whatever the number of threads; a fit
//! runs on its caller's thread (only Gram matrices are spread), so a sweep fits many cells side by side.

pub mod bag_of_words;
pub mod csr;
pub mod error;
pub mod fitted;
pub mod logistic;
pub mod majority;
pub mod matrix;
pub mod mlp;
pub mod report;
pub mod standardizer;
pub mod tfidf;

mod adam;
mod cholesky;
mod product;
mod rotation;
mod softmax;
mod solver;
mod space;

pub use bag_of_words::{BagOfWords, BagOfWordsSettings, Texts};
pub use csr::Csr;
pub use error::ProbeError;
pub use fitted::{Fitted, Linear, NamedTensor, ProbeKind};
pub use logistic::{ClassWeight, LogisticSettings};
pub use matrix::{Matrix, Split};
pub use mlp::MlpSettings;
pub use report::{FitReport, PathPoint, Score};
pub use standardizer::Standardizer;
pub use tfidf::{TfIdf, TfIdfSettings};
