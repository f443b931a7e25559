//! Content digests and unit keys: BLAKE3 over canonical JSON.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A BLAKE3 digest, written as 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// The key of a unit: the digest of the canonical description of everything that determines its result.
pub type UnitKey = Digest;

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// The digest of a value's canonical JSON: object keys sorted, no white space, shortest numbers.
    ///
    /// # Panics
    /// If the value can't be written as JSON, which for our own types would be a bug.
    pub fn of_json<T: Serialize + ?Sized>(value: &T) -> Digest {
        Digest::of(canonical_json(value).as_bytes())
    }

    /// From a finished hasher.
    pub fn from_hasher(hasher: &blake3::Hasher) -> Digest {
        Digest(*hasher.finalize().as_bytes())
    }

    /// All 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.to_string()
    }

    /// The first 12 digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }

    /// The first two digits: the store's fan-out folder.
    pub fn fan_out(&self) -> String {
        self.to_string()[..2].to_owned()
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A 64-bit number drawn from the digest, for deriving seeds.
    pub fn seed(&self) -> u64 {
        u64::from_le_bytes(self.0[..8].try_into().expect("a digest has 32 bytes"))
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }
}

/// A value's canonical JSON: object keys sorted, no white space.
///
/// # Panics
/// If the value can't be written as JSON.
pub fn canonical_json<T: Serialize + ?Sized>(value: &T) -> String {
    let value = serde_json::to_value(value).expect("our own types serialize to JSON");
    sorted(value).to_string()
}

/// Objects rebuilt in key order, so that the text doesn't depend on whether some crate in the build switched on
/// serde_json's `preserve_order`.
fn sorted(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let ordered: std::collections::BTreeMap<String, Value> = map.into_iter().collect();
            Value::Object(ordered.into_iter().map(|(k, v)| (k, sorted(v))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        blake3::Hash::from_hex(s).map(|h| Digest(*h.as_bytes())).map_err(|_| format!("`{s}` is not a digest of 64 hexadecimal digits"))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_json_sorts_keys_at_every_level() {
        let value: serde_json::Value = serde_json::from_str(r#"{"b":1,"a":{"d":[2,1],"c":null}}"#).unwrap();
        assert_eq!(canonical_json(&value), r#"{"a":{"c":null,"d":[2,1]},"b":1}"#);
    }

    #[test]
    fn a_digest_survives_its_text() {
        let digest = Digest::of(b"limbic");
        assert_eq!(digest.hex().parse::<Digest>().unwrap(), digest);
        assert_eq!(Digest::from(*digest.bytes()), digest);
        assert!("xyz".parse::<Digest>().is_err());
    }
}
