//! What models are asked beside their states: zero-shot answers, written ones, and verdicts on replies.

use limbic_proto::key::UnitKey;
use limbic_proto::rows::{Rows, Split};
use limbic_proto::spec::{Baseline, Judge, Writing};
use limbic_proto::unit::UnitSpec;

use super::super::axes::Axes;
use super::super::{Place, PlanError, Revision, questions};
use super::{Part, Planner};

impl Planner<'_> {
    /// The model that judges: the one that is named, else the largest that is trained.
    pub(super) fn judge(&self, named: Option<&str>, models: &[usize]) -> Option<usize> {
        let trained = |model: &&usize| self.models[**model].random_weights.is_none();
        let size = |model: &&usize| (self.models[**model].architecture.parameters(), usize::MAX - **model);
        match named {
            Some(name) => models.iter().copied().find(|model| self.models[*model].name == name),
            None => models.iter().filter(trained).max_by_key(size).copied(),
        }
    }

    pub(super) fn zero_shot(&mut self, revision: &Revision<'_>, axes: &Axes, model: usize, baseline: Baseline) -> Result<(), PlanError> {
        let facts = self.models[model].clone();
        for range in questions::shards(self.rows, axes.rows_per_prompt_unit) {
            let texts = Rows::texts_digest(&self.rows.rows[range.0..range.1]);
            let unit = questions::zero_shot(revision.spec, &self.rows.classes, &facts, baseline, texts, range)?;
            let cost = self.costs.prompt(&facts, &unit, range);
            let asked = if baseline == Baseline::ZeroShot { "" } else { " json" };
            let title = format!("prompt {}{asked} rows {}..{}", facts.name, range.0, range.1);
            self.add((UnitSpec::Prompt(unit), Place::Prompt { model, baseline, rows: range }), revision, range, cost, title);
        }
        Ok(())
    }

    pub(super) fn writing(&mut self, revision: &Revision<'_>, axes: &Axes, model: usize, writing: &Writing) -> Result<(), PlanError> {
        let facts = self.models[model].clone();
        for (range, identity) in self.shards(axes.rows_per_prompt_unit) {
            let unit = questions::writing(revision.spec, writing, &facts, identity)?;
            let cost = self.costs.prompt(&facts, &unit, range);
            let title = format!("prompt {} writing rows {}..{}", facts.name, range.0, range.1);
            self.add((UnitSpec::Prompt(unit), Place::Writing { model, rows: range }), revision, range, cost, title);
        }
        Ok(())
    }

    /// Whether the replies under this condition are to be judged, and are not yet.
    pub(super) fn unjudged(&self, part: &Part<'_>, judge: usize) -> bool {
        // A condition that an earlier revision has under another name is asked for by this revision's.
        let names: Vec<&str> = part
            .revision
            .spec
            .conditions
            .iter()
            .filter(|c| c.prompt() == self.conditions[part.condition].prompt())
            .map(|c| c.name.as_str())
            .collect();
        let wanted = |asked: &Judge| asked.conditions.is_empty() || asked.conditions.iter().any(|name| names.contains(&name.as_str()));
        part.revision.spec.judge.as_ref().is_some_and(wanted) && !self.judged.contains(&part.judged_by(judge))
    }

    /// The verdicts on one condition's replies, of shards that have test rows.
    pub(super) fn judgements(&mut self, part: &Part<'_>, judge: usize, extracts: &[UnitKey]) -> Result<(), PlanError> {
        let Some(asked) = &part.revision.spec.judge else { return Ok(()) };
        let condition = self.conditions[part.condition].name.clone();
        self.judged.insert(part.judged_by(judge));
        let facts = self.models[judge].clone();
        for replies in extracts {
            let range = self.units[replies].unit.hints.rows;
            if !(range.0..range.1).any(|row| self.rows.rows[row].split == Split::Test) {
                continue;
            }
            let unit = questions::judge(part.revision.spec, asked, &self.rows.classes, &facts, *replies)?;
            let tokens = self.units[replies].unit.spec.reply_tokens();
            let cost = self.costs.judge(&facts, &unit, tokens, range);
            let (name, drawn) = (&self.models[part.model].name, part.drawn());
            let title = format!("judge {name} {condition}{drawn} rows {}..{} by {}", range.0, range.1, facts.name);
            let sampling_seed = part.draw.map(|draw| draw.seed);
            let place = Place::Judge { judge, model: part.model, condition: part.condition, sampling_seed, rows: range };
            self.add((UnitSpec::Judge(unit), place), part.revision, range, cost, title);
        }
        Ok(())
    }
}
