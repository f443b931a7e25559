//! Selectors: which of a sweep's units somebody means, in words such as `model=tiny-4m layer=10..20 condition=calm`.
//!
//! Every term narrows the selection; values of one term are alternatives. `layer=10..20` holds both ends.
//!
//! A unit is selected where what it computes is among what is asked. Probes are bundled by layer, so `layer=12` selects the
//! probes of that layer, `offset=1` those that are fitted at that offset too. Extract units hold all layers and offsets of
//! their rows: they are selected by model and condition, but by layer or offset only if `kind=extract` says so, for
//! somebody who doubts one layer seldom wants all states again. A transfer belongs to the condition whose states it reads,
//! and to offset 0; a verdict to the model that replied. `sampling_seed=1` selects what reads the replies of that seed. Units that have no such axis (a baseline on the words has no
//! model, a zero-shot prompt no condition) are not selected by a term about it.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use limbic_proto::axis::Layer;
use limbic_proto::key::UnitKey;
use limbic_proto::unit::{UnitKind, UnitSpec};

use crate::plan::{Place, Plan};

/// The keys of terms.
const KEYS: &str = "model, layer, condition, offset, sampling_seed, kind";

/// Why a selector means nothing; the words are for the user who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Nothing is selected by.
    #[error("the selector is empty: write terms such as `model=NAME layer=10..20`; the keys are {KEYS}")]
    Empty,
    /// A term without a key, a value or a known key.
    #[error("selector `{term}`: {message}")]
    Term {
        /// The term.
        term: String,
        /// What is wrong with it.
        message: String,
    },
    /// A value that the sweep doesn't have.
    #[error("selector `{key}={value}`: the sweep has no such {key}; it has {known}")]
    Unknown {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What there is.
        known: String,
    },
    /// Every value exists, but no unit has them all.
    #[error("the selector fits no unit of the sweep{hint}")]
    Nothing {
        /// Why that may be.
        hint: &'static str,
    },
}

/// Alternatives for one axis; none = all.
type Wanted<T> = Option<Vec<T>>;

/// A parsed selector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    models: Wanted<String>,
    layers: Wanted<Layers>,
    conditions: Wanted<String>,
    offsets: Wanted<RangeInclusive<u32>>,
    sampling_seeds: Wanted<u64>,
    kinds: Wanted<UnitKind>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Layers {
    Blocks(RangeInclusive<u32>),
    Final,
}

impl Layers {
    fn hold(&self, layer: Layer) -> bool {
        match (self, layer) {
            (Layers::Blocks(range), Layer::Block(l)) => range.contains(&l),
            (Layers::Final, Layer::Final) => true,
            _ => false,
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Selector, SelectorError> {
        let mut selector = Selector::default();
        for term in text.split_whitespace() {
            selector.add(term).map_err(|message| SelectorError::Term { term: term.to_owned(), message })?;
        }
        if selector == Selector::default() { Err(SelectorError::Empty) } else { Ok(selector) }
    }
}

/// Takes a term's values, once.
fn put<T>(into: &mut Wanted<T>, values: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<(), String> {
    let values = values.split(',').map(|value| if value.is_empty() { Err("a value is missing".to_owned()) } else { parse(value) });
    match into.replace(values.collect::<Result<_, _>>()?) {
        None => Ok(()),
        Some(_) => Err("stands twice: write alternatives in one term, separated by commas".to_owned()),
    }
}

fn range(value: &str) -> Result<RangeInclusive<u32>, String> {
    let number = |text: &str| text.parse().map_err(|_| format!("`{value}` is no number and no range such as 10..20"));
    match value.split_once("..") {
        None => number(value).map(|n| n..=n),
        Some((from, to)) => match (number(from)?, number(to)?) {
            (from, to) if from <= to => Ok(from..=to),
            _ => Err(format!("the range {value} is empty: write the smaller number first")),
        },
    }
}

impl Selector {
    /// Whether it means an offset; without such a term it means all.
    pub fn means_offset(&self, offset: u32) -> bool {
        self.offsets.as_ref().is_none_or(|all| all.iter().any(|range| range.contains(&offset)))
    }

    /// Whether it means a hidden state: a model and a condition by their names, a layer and an offset, and the seed of the reply, where one
    /// is drawn.
    pub fn means_state(&self, model: &str, condition: &str, layer: Layer, offset: u32, sampling_seed: Option<u64>) -> bool {
        let named = |wanted: &Wanted<String>, name: &str| wanted.as_ref().is_none_or(|all| all.iter().any(|one| one == name));
        named(&self.models, model)
            && named(&self.conditions, condition)
            && self.means_layer(layer)
            && self.means_offset(offset)
            && self.sampling_seeds.as_ref().is_none_or(|all| sampling_seed.is_some_and(|seed| all.contains(&seed)))
            && self.kinds.as_ref().is_none_or(|all| all.contains(&UnitKind::Extract))
    }

    fn means_layer(&self, layer: Layer) -> bool {
        self.layers.as_ref().is_none_or(|all| all.iter().any(|wanted| wanted.hold(layer)))
    }

    fn add(&mut self, term: &str) -> Result<(), String> {
        let (key, values) = term.split_once('=').ok_or_else(|| format!("write KEY=VALUE; the keys are {KEYS}"))?;
        match key {
            "model" => put(&mut self.models, values, |value| Ok(value.to_owned())),
            "condition" => put(&mut self.conditions, values, |value| Ok(value.to_owned())),
            "layer" => put(&mut self.layers, values, |value| match value {
                "final" => Ok(Layers::Final),
                _ => range(value).map(Layers::Blocks).map_err(|e| format!("{e}, nor `final`")),
            }),
            "offset" => put(&mut self.offsets, values, range),
            "sampling_seed" => put(&mut self.sampling_seeds, values, |value| {
                value.parse().map_err(|_| format!("`{value}` is no whole number, 0 or above"))
            }),
            "kind" => put(&mut self.kinds, values, |value| {
                let named = UnitKind::ALL.into_iter().find(|kind| kind.as_str() == value);
                let kinds = UnitKind::ALL.map(UnitKind::as_str).join(", ");
                named.ok_or_else(|| format!("`{value}` is no kind of unit: write one of {kinds}"))
            }),
            _ => Err(format!("there is no key `{key}`; the keys are {KEYS}")),
        }
    }

    /// The units that are meant, in plan order; at least one.
    ///
    /// # Errors
    /// A value that the sweep doesn't have, or values that no unit has together.
    pub fn resolve(&self, plan: &Plan) -> Result<Vec<UnitKey>, SelectorError> {
        self.check(plan)?;
        let selected: Vec<UnitKey> = plan.order.iter().filter(|key| self.selects(plan, key)).copied().collect();
        if !selected.is_empty() {
            return Ok(selected);
        }
        let by_cell = self.layers.is_some() || self.offsets.is_some();
        let hint = if by_cell && self.kinds.is_none() && !plan.units.values().any(|p| matches!(p.place, Place::Fit { .. })) {
            ": without probes there are only extract units, which hold all layers and offsets; add kind=extract to mean them"
        } else {
            ": no unit has all of these values"
        };
        Err(SelectorError::Nothing { hint })
    }

    /// Checks that a sweep has every value.
    ///
    /// # Errors
    /// The first value that it doesn't have.
    pub fn check(&self, plan: &Plan) -> Result<(), SelectorError> {
        let models: Vec<&String> = plan.models.iter().map(|model| &model.name).collect();
        known("model", &self.models, &models, |wanted, name| wanted == *name)?;
        known(
            "condition",
            &self.conditions,
            &plan.conditions.iter().map(|condition| &condition.name).collect::<Vec<_>>(),
            |wanted, name| wanted == *name,
        )?;
        let layers: Vec<Layer> = plan.layers.iter().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect();
        known("layer", &self.layers, &layers, |wanted, layer| wanted.hold(*layer))?;
        let offsets: Vec<u32> = plan.cells.iter().map(|cell| cell.offset).collect::<BTreeSet<_>>().into_iter().collect();
        known("offset", &self.offsets, &offsets, |wanted, offset| wanted.contains(offset))?;
        let seeds: Vec<u64> = plan.sampling_seeds().into_iter().collect();
        known("sampling_seed", &self.sampling_seeds, &seeds, |wanted, seed| wanted == seed)
    }

    fn selects(&self, plan: &Plan, key: &UnitKey) -> bool {
        let planned = &plan.units[key];
        let kind = planned.unit.spec.kind();
        if self.kinds.as_ref().is_some_and(|kinds| !kinds.contains(&kind)) {
            return false;
        }
        if let Some(seeds) = &self.sampling_seeds
            && planned.place.sampling_seed().is_none_or(|seed| !seeds.contains(&seed))
        {
            return false;
        }
        let model = |index: &usize| self.models.as_ref().is_none_or(|all| all.contains(&plan.models[*index].name));
        let condition = |index: &usize| self.conditions.as_ref().is_none_or(|all| all.contains(&plan.conditions[*index].name));
        let layer = |layer: &Layer| self.means_layer(*layer);
        let at_zero = self.means_offset(0);
        // Of an extended sweep a fit may hold some of a layer's offsets only.
        let offset = |spec: &UnitSpec| {
            let UnitSpec::Fit(fit) = spec else { return true };
            self.offsets.is_none() || fit.read_outs.iter().any(|read_out| self.means_offset(read_out.offset))
        };
        let by_cell = self.layers.is_some() || self.offsets.is_some();
        match &planned.place {
            // A transfer is of offset 0.
            Place::Fit { model: m, condition: c, layer: l, .. } => model(m) && condition(c) && layer(l) && offset(&planned.unit.spec),
            Place::Transfer { model: m, condition: c, layer: l, .. } => model(m) && condition(c) && layer(l) && at_zero,
            Place::Extract { model: m, condition: c, .. } => model(m) && condition(c) && (!by_cell || self.kinds.is_some()),
            Place::Judge { model: m, condition: c, .. } => model(m) && condition(c) && !by_cell,
            Place::Prompt { model: m, .. }
            | Place::Writing { model: m, .. }
            | Place::Embedding { model: m, .. }
            | Place::Baseline { model: Some(m), .. } => model(m) && self.conditions.is_none() && !by_cell,
            Place::Baseline { model: None, .. } => self.models.is_none() && self.conditions.is_none() && !by_cell,
        }
    }
}

/// Every wanted value must be one that there is.
fn known<W: Written, T: Display>(
    key: &'static str,
    wanted: &Wanted<W>,
    there: &[T],
    fits: impl Fn(&W, &T) -> bool,
) -> Result<(), SelectorError> {
    match wanted.iter().flatten().find(|wanted| !there.iter().any(|value| fits(wanted, value))) {
        None => Ok(()),
        Some(value) => {
            let known = there.iter().map(T::to_string).collect::<Vec<_>>().join(", ");
            Err(SelectorError::Unknown { key, value: value.written(), known })
        }
    }
}

/// A value as the user wrote it.
trait Written {
    fn written(&self) -> String;
}

impl Written for String {
    fn written(&self) -> String {
        self.clone()
    }
}

impl Written for u64 {
    fn written(&self) -> String {
        self.to_string()
    }
}

impl Written for RangeInclusive<u32> {
    fn written(&self) -> String {
        if self.start() == self.end() { self.start().to_string() } else { format!("{}..{}", self.start(), self.end()) }
    }
}

impl Written for Layers {
    fn written(&self) -> String {
        match self {
            Layers::Blocks(range) => range.written(),
            Layers::Final => "final".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limbic_proto::unit::Versions;

    use crate::plan::{Revision, plan_revisions};
    use crate::testkit::{facts, rows, small_plan, spec};

    const FIELDS: &str = "offsets: [0, 2]\ncontinuation: {}\nexecution: {rows_per_unit: 10}\n\
                          conditions: [{name: raw}, {name: calm, template: 'calm {text}'}]";

    fn titles(selector: &str, plan: &Plan) -> Vec<String> {
        let units = selector.parse::<Selector>().unwrap().resolve(plan).unwrap();
        units.iter().map(|key| plan.units[key].unit.hints.title.clone()).collect()
    }

    #[test]
    fn terms_narrow_and_values_are_alternatives() {
        let plan = small_plan(&["a", "b"], FIELDS);
        assert_eq!(titles("model=a condition=calm layer=1", &plan), ["fit a calm layer 1"]);
        assert_eq!(titles("model=b condition=raw layer=0,final", &plan), ["fit b raw layer 0", "fit b raw layer final"]);
        assert_eq!(titles("layer=1..2 model=a condition=raw", &plan), ["fit a raw layer 1", "fit a raw layer 2"]);
        assert_eq!(titles("offset=2 layer=2", &plan).len(), 4, "two models, two conditions");
        assert_eq!(titles("kind=prompt model=a", &plan), ["prompt a rows 4..14", "prompt a rows 14..20"]);
        // Two extracts, four fits and two prompts each; prompts have no condition.
        assert_eq!(titles("model=a", &plan).len(), 2 * (2 + 4) + 2);
        assert_eq!(titles("condition=raw", &plan).len(), 2 * (2 + 4));
        assert_eq!(titles("kind=fit", &plan).len(), 16 + 2, "with the two baselines");
    }

    #[test]
    fn extracts_are_meant_by_a_layer_only_if_the_kind_says_so() {
        let plan = small_plan(&["a"], FIELDS);
        assert!(titles("layer=1", &plan).iter().all(|title| title.starts_with("fit")));
        assert_eq!(titles("layer=1 kind=extract condition=raw", &plan), ["extract a raw rows 0..10", "extract a raw rows 10..20"]);
    }

    #[test]
    fn a_fit_that_an_extension_added_is_meant_by_the_offsets_that_it_has() {
        let spec = |offsets: &str| spec(&["a"], &format!("layers: [1]\ncontinuation: {{}}\nbaselines: []\noffsets: {offsets}"));
        let (first, second, models) = (spec("[0, 2]"), spec("[0, 2, 8]"), [facts("a", 2)]);
        let revision = |spec| Revision { spec, models: &models };
        let plan = plan_revisions(&[revision(&first), revision(&second)], &rows(20, &["joy", "anger"]), Versions::CURRENT).unwrap();
        let fits = |offset: u32| format!("offset={offset} kind=fit").parse::<Selector>().unwrap().resolve(&plan).unwrap();
        assert_eq!([0, 2, 8].map(|offset| fits(offset).len()), [1, 1, 1]);
        assert!(fits(0) == fits(2) && fits(2) != fits(8));
    }

    #[test]
    fn transfers_and_verdicts_are_meant_by_what_they_are_about() {
        let fields = format!("{FIELDS}\ntransfer: [conditions]\njudge: {{}}\nbaselines: [mean-embedding]");
        let plan = small_plan(&["a", "b"], &fields);
        assert_eq!(titles("kind=transfer model=a layer=1", &plan), ["transfer a to raw layer 1", "transfer a to calm layer 1"]);
        assert_eq!(
            titles("kind=transfer condition=calm layer=final", &plan),
            ["transfer a to calm layer final", "transfer b to calm layer final"]
        );
        assert_eq!(titles("offset=0 layer=2 model=a condition=raw", &plan), ["fit a raw layer 2", "transfer a to raw layer 2"]);
        assert_eq!(titles("offset=2 layer=2 model=a condition=raw", &plan), ["fit a raw layer 2"], "transfers are of offset 0");
        let verdicts = titles("kind=judge model=a condition=raw", &plan);
        assert_eq!(verdicts, ["judge a raw rows 0..10 by a", "judge a raw rows 10..20 by a"]);
        assert!("kind=judge layer=1".parse::<Selector>().unwrap().resolve(&plan).is_err());
        let of_a = titles("model=a", &plan);
        assert!(
            of_a.contains(&"extract a embeddings rows 0..10".to_owned()) && of_a.contains(&"fit a mean-embedding".to_owned()),
            "{of_a:?}"
        );
        assert!(!titles("condition=raw", &plan).iter().any(|title| title.contains("embedding")));
    }

    #[test]
    fn replies_are_meant_by_their_seed() {
        let fields = "offsets: [0, 2]\ncontinuation: {temperature: 1, seeds: [4, 6]}\njudge: {}\nlayers: [1]\nbaselines: []";
        let plan = small_plan(&["a"], fields);
        let of = |seed: u64| ["extract a raw", "judge a raw", "fit a raw"].map(|what| (what, seed));
        let found = titles("sampling_seed=6", &plan);
        for (title, (what, seed)) in found.iter().zip(of(6)) {
            assert!(title.starts_with(&format!("{what} sampling seed {seed} ")), "{found:?}");
        }
        assert_eq!((found.len(), titles("sampling_seed=4,6", &plan).len()), (3, 6));
        let error = "sampling_seed=5".parse::<Selector>().unwrap().resolve(&plan).unwrap_err().to_string();
        assert!(error.contains("`sampling_seed=5`") && error.contains("it has 4, 6"), "{error}");
        assert!("sampling_seed=x".parse::<Selector>().unwrap_err().to_string().contains("no whole number"));
    }

    #[test]
    fn what_means_nothing_is_said_with_what_there_is() {
        let plan = small_plan(&["a", "b"], FIELDS);
        let says = |selector: &str, words: &[&str]| {
            let error = selector.parse::<Selector>().and_then(|s| s.resolve(&plan)).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{selector}: {error}");
        };
        says("  ", &["empty", "model=NAME", "offset"]);
        says("tiny", &["`tiny`", "KEY=VALUE"]);
        says("modle=a", &["no key `modle`", "model, layer"]);
        says("model=", &["value is missing"]);
        says("model=a,,b", &["value is missing"]);
        says("model=a model=b", &["`model=b`", "twice", "commas"]);
        says("layer=x", &["`x`", "10..20", "final"]);
        says("layer=3..1", &["3..1", "empty"]);
        says("offset=-1", &["`-1`"]);
        says("kind=guess", &["`guess`", "extract, fit, transfer, prompt, judge"]);
        says("model=c", &["`model=c`", "a, b"]);
        says("condition=angry", &["raw, calm"]);
        says("layer=7..9", &["`layer=7..9`", "0, 1, 2, final"]);
        says("offset=1", &["`offset=1`", "it has 0, 2"]);
        says("kind=prompt layer=1", &["fits no unit"]);
        let bare = small_plan(&["a"], "probes: []\nbaselines: []");
        let error = "layer=1".parse::<Selector>().unwrap().resolve(&bare).unwrap_err();
        assert!(error.to_string().contains("kind=extract"), "{error}");
    }
}
