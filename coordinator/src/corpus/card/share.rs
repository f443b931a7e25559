//! A share of some texts, with its interval.

use std::fmt;

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// How many are.
    pub found: usize,
    /// Of how many.
    pub of: usize,
}

/// The normal quantile of a two-sided 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

impl Share {
    /// How many of these are true.
    pub fn of(all: impl Iterator<Item = bool>) -> Share {
        all.fold(Share::default(), |share, is| Share { found: share.found + usize::from(is), of: share.of + 1 })
    }

    /// The share, in 0..=1; 0 of nothing.
    pub fn value(self) -> f64 {
        self.found as f64 / self.of.max(1) as f64
    }

    /// The 95 % interval of the share (Wilson 1927); everything is possible where nothing was counted.
    pub fn interval(self) -> (f64, f64) {
        if self.of == 0 {
            return (0.0, 1.0);
        }
        let (n, p) = (self.of as f64, self.value());
        let centre = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        ((centre - half).max(0.0), (centre + half).min(1.0))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of == 0 {
            return f.write_str("-");
        }
        let (low, high) = self.interval();
        write!(f, "{} of {}: {} ({}–{})", self.found, self.of, percent(self.value()), percent(low).trim_end_matches(" %"), percent(high))
    }
}

/// `41 %`.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::Share;

    #[test]
    fn the_interval_is_wilsons() {
        // R: binom::binom.confint(8, 20, methods = "wilson").
        let (low, high) = Share { found: 8, of: 20 }.interval();
        assert!((low - 0.218_803).abs() < 1e-5 && (high - 0.613_417).abs() < 1e-5, "{low} {high}");
        assert_eq!(Share { found: 0, of: 0 }.interval(), (0.0, 1.0));
        assert_eq!(Share { found: 8, of: 20 }.to_string(), "8 of 20: 40 % (22–61 %)");
        assert_eq!(Share::default().to_string(), "-");
    }
}
