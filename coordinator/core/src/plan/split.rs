//! The halves of a planned unit: where their results belong and what they cost.

use limbic_proto::unit::Versions;

use super::PlannedUnit;

impl PlannedUnit {
    /// The halves, in order; none of a unit that can't be split. See [`limbic_proto::unit::Unit::split`].
    pub fn split(&self, versions: &Versions) -> Vec<PlannedUnit> {
        let halves = self.unit.split(versions);
        let half = |unit: limbic_proto::unit::Unit| {
            let place = self.place.of_rows(unit.hints.rows);
            let share = if self.unit.hints.flops > 0.0 { unit.hints.flops / self.unit.hints.flops } else { 0.5 };
            let part = |whole: u64| (whole as f64 * share).round() as u64;
            PlannedUnit { place, tokens: part(self.tokens), bytes: part(self.bytes), state_bytes: part(self.state_bytes), unit }
        };
        halves.into_iter().map(half).collect()
    }
}
