//! Which units a worker takes: those that run a model, those that don't, or both.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which units a worker takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Takes {
    /// Whatever there is.
    #[default]
    All,
    /// Units that run a model: `extract`, `prompt`, `judge`.
    Passes,
    /// Units that read what others computed and run no model: `fit`, `transfer`.
    Fits,
}

impl Takes {
    /// All of them, in the order of help texts.
    pub const ALL: [Takes; 3] = [Takes::All, Takes::Passes, Takes::Fits];

    /// Whether units are among them that [run a model](crate::unit::UnitKind::runs_model), or that don't.
    pub fn includes(self, runs_model: bool) -> bool {
        match self {
            Takes::All => true,
            Takes::Passes => runs_model,
            Takes::Fits => !runs_model,
        }
    }

    /// Whether these are all units.
    pub fn everything(&self) -> bool {
        *self == Takes::All
    }

    /// The word used on the command line, on the wire and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Takes::All => "all",
            Takes::Passes => "passes",
            Takes::Fits => "fits",
        }
    }
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Takes {
    type Err = String;

    fn from_str(text: &str) -> Result<Takes, String> {
        let known = Takes::ALL.into_iter().find(|takes| takes.as_str() == text);
        known.ok_or_else(|| format!("`{text}` is none of all, passes and fits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_a_pass_or_a_fit() {
        for runs_model in [true, false] {
            assert!(Takes::All.includes(runs_model));
            assert_ne!(Takes::Passes.includes(runs_model), Takes::Fits.includes(runs_model));
        }
        assert_eq!(Takes::ALL.map(|takes| takes.as_str().parse()), Takes::ALL.map(Ok));
        assert!("cpu".parse::<Takes>().unwrap_err().contains("`cpu` is none of"));
    }
}
