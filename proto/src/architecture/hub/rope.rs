//! Rotary positions: their base and scaling, in the older and the newer style of a `config.json`.

use serde_json::Value;

use super::super::{ArchitectureError, RopeScaling};
use super::{Config, other, wrong};

impl Config {
    /// Base and scaling of RoPE, in either style.
    pub(super) fn rope(&self) -> Result<(f64, Option<RopeScaling>), ArchitectureError> {
        let (newer, older) = (self.object("rope_parameters")?, self.object("rope_scaling")?);
        // The older one counts in transformers, if there are both, and with it another base of RoPE.
        if !newer.0.is_empty() && !older.0.is_empty() && contradict(&newer, &older) {
            return Err(other("rope_scaling", &Value::Object(older.0), "none, or what `rope_parameters` says"));
        }
        if let (Some(inner), Some(outer)) = (newer.number("rope_theta")?, self.number("rope_theta")?)
            && inner != outer
        {
            return Err(other("rope_theta", &Value::from(outer), "none, or what `rope_parameters` says"));
        }
        let older_theta = older.number("rope_theta")?;
        let settings = if newer.0.is_empty() { older } else { newer };
        let theta = match settings.number("rope_theta")? {
            Some(theta) => theta,
            None => self.number("rope_theta")?.or(older_theta).unwrap_or(10_000.0),
        };
        Ok((theta, self.scaling(&settings)?))
    }

    /// The scaling that settings of RoPE ask for.
    fn scaling(&self, settings: &Config) -> Result<Option<RopeScaling>, ArchitectureError> {
        let required = |key: &str| settings.number(key)?.ok_or_else(|| ArchitectureError::Missing { key: key.to_owned() });
        let factor = || match required("factor")? {
            factor if factor > 0.0 => Ok(factor),
            factor => Err(wrong("factor", &Value::from(factor), "a number above 0")),
        };
        match settings.scheme().as_deref() {
            None if settings.get("factor").is_some() && settings.get("rope_type").or(settings.get("type")).is_none() => {
                Err(ArchitectureError::Missing { key: "rope_type".to_owned() })
            }
            None => Ok(None),
            Some("linear") => Ok(Some(RopeScaling::Linear { factor: factor()? })),
            Some("llama3") => {
                let original = "original_max_position_embeddings";
                if let (Some(inner), Some(outer)) = (settings.get(original), self.get(original))
                    && !same(inner, outer)
                {
                    return Err(other(original, outer, "the number that the settings of RoPE have"));
                }
                Ok(Some(RopeScaling::Llama3 {
                    factor: factor()?,
                    low_freq_factor: required("low_freq_factor")?,
                    high_freq_factor: required("high_freq_factor")?,
                    original_context: settings.size(original)?,
                }))
            }
            Some(unknown) => Err(ArchitectureError::Rope { found: unknown.to_owned() }),
        }
    }

    /// The scheme of scaling that settings of RoPE name, if they name one.
    fn scheme(&self) -> Option<String> {
        let named = self.get("rope_type").or_else(|| self.get("type")).and_then(Value::as_str);
        named.filter(|scheme| *scheme != "default").map(str::to_owned)
    }
}

/// Whether settings in the newer and the older style say different things.
fn contradict(newer: &Config, older: &Config) -> bool {
    let apart =
        |(key, value): (&String, &Value)| key != "type" && key != "rope_type" && newer.0.get(key).is_some_and(|other| !same(other, value));
    newer.scheme() != older.scheme() || older.0.iter().any(apart)
}

/// Whether two values are the same, numbers however they are written.
fn same(a: &Value, b: &Value) -> bool {
    a == b || matches!((a.as_f64(), b.as_f64()), (Some(a), Some(b)) if a == b)
}
