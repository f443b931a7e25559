//! Why a probe cannot be fitted, applied or loaded: every case is bad input, so the caller rejects and never retries.

/// What went wrong while a probe was fitted, applied, saved or loaded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProbeError {
    /// Two lengths that must agree do not.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// Which length was compared.
        what: &'static str,
        /// The length that was needed.
        expected: usize,
        /// The length that was given.
        found: usize,
    },
    /// A feature, weight or target is NaN or infinite.
    #[error("{split} row {row}, column {column} is {value}: features must be finite")]
    NonFinite {
        /// Which split holds the value.
        split: &'static str,
        /// Row of the value, from 0.
        row: usize,
        /// Column of the value, from 0.
        column: usize,
        /// The value, `NaN` or infinite.
        value: String,
    },
    /// A split without rows, or without columns.
    #[error("the {split} split is empty")]
    EmptySplit {
        /// Which split is empty.
        split: &'static str,
    },
    /// A class that no (positively weighted) training row shows.
    #[error("class {class} of {classes} is absent from the training rows")]
    AbsentClass {
        /// The absent class.
        class: usize,
        /// Number of classes asked for.
        classes: usize,
    },
    /// A label that is not below the number of classes.
    #[error("{split} row {row} has label {label}, but there are {classes} classes")]
    LabelOutOfRange {
        /// Which split holds the label.
        split: &'static str,
        /// Row of the label, from 0.
        row: usize,
        /// The label.
        label: u32,
        /// Number of classes asked for.
        classes: usize,
    },
    /// A label that the scheme doesn't know.
    #[error("{split} row {row} has {value} as its label {output}: {need} is needed")]
    Value {
        /// Which split holds the label.
        split: &'static str,
        /// Row of the label, from 0.
        row: usize,
        /// Class or scale of the label, from 0.
        output: usize,
        /// The label.
        value: String,
        /// What is needed instead.
        need: &'static str,
    },
    /// Labels of a scheme that the probe isn't made for.
    #[error("{probe} can't be fitted to {scheme} labels")]
    Scheme {
        /// The probe.
        probe: &'static str,
        /// The scheme.
        scheme: &'static str,
    },
    /// Training texts without words.
    #[error("no training text has a word of two letters or digits")]
    NoWords,
    /// A setting outside its range.
    #[error("{name} is {value}: {need}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// The value that was given.
        value: String,
        /// What is needed instead.
        need: &'static str,
    },
    /// A stored probe lacks a tensor or holds one of another shape.
    #[error("stored probe: tensor {name}: {reason}")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A covariance without an inverse.
    #[error("{probe}: the covariance of {columns} columns over {rows} rows has no inverse: shrink it")]
    Singular {
        /// The probe.
        probe: &'static str,
        /// Columns of the features.
        columns: usize,
        /// Training rows.
        rows: usize,
    },
    /// Training left the finite numbers.
    #[error("{probe} diverged at step {step}: the loss is not finite")]
    Diverged {
        /// Which probe diverged.
        probe: &'static str,
        /// Optimiser step, from 0.
        step: usize,
    },
}
