//! Splitting a unit whose attempts keep failing: two halves that together compute the same, so that what is wrong with one
//! row or one probe doesn't take the others with it.
//!
//! Halves follow from the unit alone. Rows are known to it by their digest only, so a half names the whole rows and its
//! place among them.

use super::{ExtractUnit, Features, FitUnit, Hints, PromptUnit, RowsIdentity, RowsPart, Unit, UnitSpec, Versions};
use crate::spec::ProbeSpec;

impl Unit {
    /// The halves, in order; none of a unit that computes one thing (a single row, a single fit, a baseline), nor of
    /// transfer and judge units.
    ///
    /// Extract and prompt units are split by rows. Fit units are split by read-outs, unless fits at several of them belong
    /// together; then by probes; of one probe by the seeds that it draws from. `versions` are those of the unit's sweep.
    pub fn split(&self, versions: &Versions) -> Vec<Unit> {
        match &self.spec {
            UnitSpec::Extract(unit) => {
                self.by_rows(&unit.rows, |rows| UnitSpec::Extract(ExtractUnit { rows, ..unit.clone() })).unwrap_or_default()
            }
            UnitSpec::Prompt(unit) => {
                self.by_rows(&unit.rows, |rows| UnitSpec::Prompt(PromptUnit { rows, ..unit.clone() })).unwrap_or_default()
            }
            UnitSpec::Fit(unit) => self.by_fits(unit, versions),
            // What a transfer computes is little, and a judge's replies are known by the unit that made them.
            UnitSpec::Transfer(_) | UnitSpec::Judge(_) => Vec::new(),
        }
    }

    fn by_rows(&self, rows: &RowsIdentity, unit: impl Fn(RowsIdentity) -> UnitSpec) -> Option<Vec<Unit>> {
        let halves = rows.halves()?;
        let title = self.hints.title.rsplit_once(" rows ").map_or(self.hints.title.as_str(), |(title, _)| title);
        let mut from = self.hints.rows.0;
        let half = |half: RowsIdentity| {
            let (share, to) = (half.count as f64 / rows.count as f64, from + half.count);
            let title = format!("{title} rows {from}..{to}");
            let hints = Hints { rows: (from, to), flops: self.hints.flops * share, title, ..self.hints.clone() };
            from = to;
            Unit { spec: unit(half), hints }
        };
        Some(halves.into_iter().map(half).collect())
    }

    fn by_fits(&self, unit: &FitUnit, versions: &Versions) -> Vec<Unit> {
        if !matches!(unit.features, Features::States { .. }) {
            return Vec::new();
        }
        let of = |spec: FitUnit, share: f64, what: String| {
            let hints = Hints { flops: self.hints.flops * share, title: format!("{} ({what})", self.hints.title), ..self.hints.clone() };
            Unit { spec: UnitSpec::Fit(spec), hints }
        };
        let share = |part: usize, whole: usize| part as f64 / whole as f64;
        // Where fits at several read-outs belong together they stay together.
        let apart = !unit.transfer && !unit.probes.iter().any(|probe| matches!(probe, ProbeSpec::OffsetMlp(_)));
        if let Some(halves) = halves(&unit.read_outs).filter(|_| apart) {
            let named = |part: &[_]| names(part, |read_out: &crate::axis::ReadOut| read_out.name());
            return halves
                .map(|part| of(FitUnit { read_outs: part.to_vec(), ..unit.clone() }, share(part.len(), unit.read_outs.len()), named(part)))
                .into();
        }
        if let Some(halves) = halves(&unit.probes) {
            let fits = |part: &[ProbeSpec]| {
                // A seed that nothing draws from is 0, as in every key.
                let drawn = !unit.controls.is_empty() || part.iter().any(ProbeSpec::seeded);
                let seeds = match part.iter().any(ProbeSpec::coded) {
                    _ if drawn => unit.seeds.clone(),
                    true => unit.seeds[..1].to_vec(),
                    false => vec![0],
                };
                let geometry = unit.geometry && part.first() == unit.probes.first();
                // Where no probe of the whole heeds repeated rows, none of a part does.
                let version = versions.fit(part, unit.version == versions.repeated);
                FitUnit { version, probes: part.to_vec(), seeds, geometry, ..unit.clone() }
            };
            let named = |part: &[ProbeSpec]| names(part, |probe| probe.name().to_owned());
            return halves.map(|part| of(fits(part), share(part.len(), unit.probes.len()), named(part))).into();
        }
        match halves(&unit.seeds).filter(|_| unit.probes.iter().any(ProbeSpec::seeded)) {
            Some(halves) => {
                let named = |part: &[u64]| names(part, |seed| format!("seed {seed}"));
                let fits = |part: &[u64]| {
                    let geometry = unit.geometry && part.first() == unit.seeds.first();
                    FitUnit { seeds: part.to_vec(), geometry, ..unit.clone() }
                };
                halves.map(|part| of(fits(part), share(part.len(), unit.seeds.len()), named(part))).into()
            }
            None => Vec::new(),
        }
    }
}

impl RowsIdentity {
    /// The first and the second half; none of a single row.
    fn halves(&self) -> Option<[RowsIdentity; 2]> {
        if self.count < 2 {
            return None;
        }
        let RowsPart { first, of } = self.part.unwrap_or(RowsPart { first: 0, of: self.count });
        let middle = self.count / 2;
        let part = |first, count| RowsIdentity { texts: self.texts, count, part: Some(RowsPart { first, of }) };
        Some([part(first, middle), part(first + middle, self.count - middle)])
    }
}

fn halves<T>(all: &[T]) -> Option<[&[T]; 2]> {
    (all.len() > 1).then(|| all.split_at(all.len() / 2)).map(|(first, second)| [first, second])
}

fn names<T>(all: &[T], name: impl Fn(&T) -> String) -> String {
    all.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::{Layer, ReadOut};
    use crate::key::Digest;
    use crate::spec::{BadRows, Dtype, LogisticSpec, MlpSpec, Prompt, TooLong};
    use crate::unit::{ENGINE_VERSION, MDL_VERSION, ModelIdentity, PROBE_VERSION, REPEATED_VERSION};

    fn hints(rows: (usize, usize), title: &str) -> Hints {
        Hints { model: None, dataset: Digest::of(b"rows"), rows, token_budget: 1, flops: 12.0, title: title.to_owned() }
    }

    fn extract(count: usize) -> Unit {
        let spec = UnitSpec::Extract(ExtractUnit {
            version: ENGINE_VERSION,
            model: ModelIdentity { digest: Digest::of(b"model"), dtype: Dtype::F32 },
            prompt: Prompt::Template("{text}".to_owned()),
            rows: RowsIdentity { texts: Digest::of(b"texts"), count, part: None },
            layers: vec![Layer::Block(0)],
            read_outs: vec![ReadOut::LAST],
            continuation: None,
            too_long: TooLong::Error,
            bad_rows: BadRows::default(),
            moments: None,
        });
        Unit { spec, hints: hints((100, 100 + count), "extract m raw rows 100..200") }
    }

    fn fit(read_outs: usize, probes: Vec<ProbeSpec>, seeds: Vec<u64>) -> Unit {
        let spec = UnitSpec::Fit(FitUnit {
            version: PROBE_VERSION,
            features: Features::States { extracts: vec![Digest::of(b"extract")], layer: Layer::Block(1) },
            targets: Digest::of(b"targets"),
            read_outs: (0..read_outs as u32).map(ReadOut::at).collect(),
            probes,
            seeds,
            controls: Vec::new(),
            transfer: false,
            geometry: false,
        });
        Unit { spec, hints: hints((0, 5), "fit m raw layer 1") }
    }

    fn leaves(unit: &Unit) -> Vec<Unit> {
        match unit.split(&Versions::CURRENT) {
            halves if halves.is_empty() => vec![unit.clone()],
            halves => halves.iter().flat_map(leaves).collect(),
        }
    }

    #[test]
    fn only_fits_that_measure_description_lengths_have_their_version() {
        let logistic = |mdl| ProbeSpec::Logistic(LogisticSpec { mdl, ..LogisticSpec::default() });
        let mlp = || ProbeSpec::Mlp(MlpSpec::default());
        assert_eq!(Versions::CURRENT.fit(&[], false), PROBE_VERSION);
        assert_eq!(Versions::CURRENT.fit(&[logistic(false), mlp()], false), PROBE_VERSION);
        let of = Versions::CURRENT;
        let versions = |probes: Vec<ProbeSpec>, repeated: bool| {
            let mut unit = fit(1, probes, vec![0]);
            let UnitSpec::Fit(spec) = &mut unit.spec else { unreachable!("it is a fit unit") };
            spec.version = of.fit(&spec.probes, repeated);
            let version = |half: &Unit| if let UnitSpec::Fit(f) = &half.spec { f.version } else { 0 };
            leaves(&unit).iter().map(version).collect::<Vec<u32>>()
        };
        assert_eq!(versions(vec![logistic(true), mlp()], false), [MDL_VERSION, PROBE_VERSION]);
        // What repeated rows don't change keeps the key that it had.
        let ridge = || ProbeSpec::Ridge(crate::spec::RidgeSpec::default());
        assert_eq!(versions(vec![logistic(false), ridge()], true), [PROBE_VERSION; 2]);
        assert_eq!(versions(vec![logistic(true), mlp(), ridge()], true), [REPEATED_VERSION, REPEATED_VERSION, PROBE_VERSION]);
        assert_eq!((PROBE_VERSION, MDL_VERSION), (8, 9), "units of sweeps whose rows don't repeat");
    }

    #[test]
    fn halves_of_an_older_releases_fits_are_of_its_versions() {
        let probes =
            || vec![ProbeSpec::Logistic(LogisticSpec { mdl: true, ..LogisticSpec::default() }), ProbeSpec::Mlp(MlpSpec::default())];
        let older = Versions { engine: 1, probe: 2, mdl: 4, repeated: 5 };
        for (repeated, expected) in [(false, [4, 2]), (true, [5, 5])] {
            let mut unit = fit(1, probes(), vec![0]);
            let UnitSpec::Fit(spec) = &mut unit.spec else { unreachable!("it is a fit unit") };
            spec.version = older.fit(&spec.probes, repeated);
            let version = |half: &Unit| if let UnitSpec::Fit(f) = &half.spec { f.version } else { 0 };
            assert_eq!(unit.split(&older).iter().map(version).collect::<Vec<_>>(), expected);
        }
    }

    fn titles(units: &[Unit]) -> Vec<&str> {
        units.iter().map(|unit| unit.hints.title.as_str()).collect()
    }

    #[test]
    fn rows_are_halved_down_to_single_ones_that_cover_the_same() {
        let unit = extract(5);
        let halves = unit.split(&Versions::CURRENT);
        assert_eq!(titles(&halves), ["extract m raw rows 100..102", "extract m raw rows 102..105"]);
        assert_eq!(halves.iter().map(|half| half.hints.flops).sum::<f64>(), 12.0);
        let rows: Vec<_> = leaves(&unit).iter().map(|leaf| leaf.hints.rows).collect();
        assert_eq!(rows, (100..105).map(|row| (row, row + 1)).collect::<Vec<_>>());
        let parts = leaves(&unit).into_iter().map(|leaf| match leaf.spec {
            UnitSpec::Extract(unit) => (unit.rows.texts, unit.rows.count, unit.rows.part.unwrap()),
            other => panic!("{other:?}"),
        });
        let expected = (0..5).map(|first| (Digest::of(b"texts"), 1, RowsPart { first, of: 5 }));
        assert!(parts.eq(expected), "however often it was split, a part is one of the first whole");
        assert_eq!(unit.split(&Versions::CURRENT), halves);
    }

    #[test]
    fn fits_are_halved_by_read_outs_then_probes_then_seeds() {
        let logistic = || ProbeSpec::Logistic(LogisticSpec::default());
        let mlp = || ProbeSpec::Mlp(MlpSpec::default());
        let unit = fit(2, vec![logistic(), mlp()], vec![3, 4]);
        let all = leaves(&unit);
        let title = |rest: &str| format!("fit m raw layer 1 {rest}");
        let expected = [
            "(k0) (logistic)",
            "(k0) (mlp) (seed 3)",
            "(k0) (mlp) (seed 4)",
            "(k1) (logistic)",
            "(k1) (mlp) (seed 3)",
            "(k1) (mlp) (seed 4)",
        ];
        assert_eq!(titles(&all), expected.map(title));
        let UnitSpec::Fit(first) = &all[0].spec else { panic!() };
        assert_eq!(first.seeds, [0], "as in a sweep that has no other probe");
        assert_eq!(all.iter().map(|leaf| leaf.spec.key()).collect::<std::collections::BTreeSet<_>>().len(), 6);
        assert!(leaves(&fit(1, vec![logistic()], vec![0])).len() == 1);
    }

    #[test]
    fn what_was_never_split_keeps_its_key() {
        // Written down when units could not be split yet.
        let rows = RowsIdentity { texts: Digest::of(b"texts"), count: 5, part: None };
        let before = format!(r#"{{"count":5,"texts":"{}"}}"#, Digest::of(b"texts"));
        assert_eq!(crate::key::canonical_json(&rows), before);
    }
}
