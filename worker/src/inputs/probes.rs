//! The probes that a fit unit has kept.

use limbic_engine::probe::{Fitted, ProbeKind};
use limbic_proto::key::UnitKey;
use limbic_proto::rows::Scheme;
use limbic_proto::unit::{FITS, FitName, FitRecord, WEIGHTS};

use super::{InputError, Inputs, Shard};

/// A fitted probe and what it is called in its unit.
#[derive(Debug, Clone)]
pub struct KeptProbe {
    /// Its name.
    pub name: FitName,
    /// The probe.
    pub fitted: Fitted,
}

impl Inputs {
    /// Those of a fit unit's probes that are `wanted`, verified, in the order of its records; a unit that was split stands
    /// for its children. Fits that are absent or were used at another read-out than their own have no probe.
    ///
    /// # Errors
    /// The unit (or a child) has no result, or an artifact can't be read or is not what was written.
    pub fn probes(&self, fit: UnitKey, scheme: Scheme, wanted: impl Fn(&FitName) -> bool) -> Result<Vec<KeptProbe>, InputError> {
        let mut all = Vec::new();
        for (of, done) in self.results(&[fit])? {
            let malformed = |message: String| InputError::Artifact { unit: of.unit, message };
            let bytes = self.now(self.artifact(of, &done, FITS))?;
            let records: Vec<FitRecord> = serde_json::from_slice(&bytes).map_err(|e| malformed(format!("{FITS} can't be read: {e}")))?;
            let kept = |record: &FitRecord| record.absent.is_none() && record.name.fitted_at.is_none() && wanted(&record.name);
            let weights = self.now(Shard::open(self, of, done, WEIGHTS))?;
            for name in records.into_iter().filter(kept).map(|record| record.name) {
                let prefix = format!("{}.", name.tensor());
                let kind = ProbeKind::named(&name.probe).ok_or_else(|| malformed(format!("`{}` is no probe on states", name.probe)))?;
                let tensors = weights.read_named(&prefix)?;
                let fitted = Fitted::from_tensors(kind, scheme, &tensors).map_err(|e| malformed(format!("{}: {e}", name.tensor())))?;
                all.push(KeptProbe { name, fitted });
            }
        }
        Ok(all)
    }
}
