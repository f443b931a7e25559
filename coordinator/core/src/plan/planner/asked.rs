//! What models are asked beside their states: zero-shot answers, written ones, and verdicts on replies.

use limbic_proto::key::UnitKey;
use limbic_proto::rows::{Rows, Split};
use limbic_proto::spec::{Baseline, Judge, Judges, Writing};
use limbic_proto::unit::UnitSpec;

use super::super::axes::{Axes, Cut};
use super::super::{Place, PlanError, Revision, questions};
use super::{Part, Planner};

impl Planner<'_> {
    /// The models that judge: those that are named (as the revision names them), or all that are trained, or the largest of these.
    pub(super) fn judges(&self, asked: &Judge, revision: &Revision<'_>, models: &[usize]) -> Vec<usize> {
        let named = |name: &String| revision.models.iter().position(|facts| facts.name == *name).map(|index| models[index]);
        let trained = models.iter().copied().filter(|model| self.models[*model].random_weights.is_none());
        let size = |model: &usize| (self.models[*model].architecture.parameters(), usize::MAX - *model);
        match (&asked.model, &asked.models) {
            (Some(name), _) => named(name).into_iter().collect(),
            (None, Some(Judges::Named(names))) => names.iter().filter_map(named).collect(),
            (None, Some(Judges::All)) => trained.collect(),
            (None, None) => trained.max_by_key(size).into_iter().collect(),
        }
    }

    pub(super) fn zero_shot(&mut self, revision: &Revision<'_>, axes: &Axes, model: usize, baseline: Baseline) -> Result<(), PlanError> {
        let facts = self.models[model].clone();
        for range in questions::shards(self.rows, axes.rows_per_prompt_unit) {
            let texts = Rows::texts_digest(&self.rows.rows[range.0..range.1]);
            let unit = questions::zero_shot(revision.spec, &self.rows.classes, &facts, baseline, texts, range, &axes.versions)?;
            let cost = self.costs.prompt(&facts, &unit, range);
            let asked = if baseline == Baseline::ZeroShot { "" } else { " json" };
            let title = format!("prompt {}{asked} rows {}..{}", facts.name, range.0, range.1);
            self.add((UnitSpec::Prompt(unit), Place::Prompt { model, baseline, rows: range }), revision, range, cost, title);
        }
        Ok(())
    }

    pub(super) fn writing(&mut self, revision: &Revision<'_>, axes: &Axes, model: usize, writing: &Writing) -> Result<(), PlanError> {
        let facts = self.models[model].clone();
        for shard in self.shards(Cut::every(axes.rows_per_prompt_unit)) {
            let range = shard.range;
            let unit = questions::writing(revision.spec, writing, &facts, shard.identity, &axes.versions)?;
            let cost = self.costs.prompt(&facts, &unit, range);
            let title = format!("prompt {} writing rows {}..{}", facts.name, range.0, range.1);
            self.add((UnitSpec::Prompt(unit), Place::Writing { model, rows: range }), revision, range, cost, title);
        }
        Ok(())
    }

    /// Those judges who are to judge a part's replies, and have not yet.
    pub(super) fn unjudged(&self, part: &Part<'_>, judges: &[usize]) -> Vec<usize> {
        // A condition that an earlier revision has under another name is asked for by this revision's.
        let (spec, prompt) = (part.revision.spec, self.conditions[part.condition].prompt());
        let names: Vec<&str> = spec.conditions.iter().filter(|c| c.prompt() == prompt).map(|c| c.name.as_str()).collect();
        let wanted = |asked: &Judge| asked.conditions.is_empty() || asked.conditions.iter().any(|name| names.contains(&name.as_str()));
        let wanted = spec.judge.as_ref().is_some_and(wanted);
        let judged = |judge: usize| self.judged.contains(&(judge, part.model, part.condition, part.sampling_seed()));
        judges.iter().copied().filter(|judge| wanted && !judged(*judge)).collect()
    }

    /// Each judge's verdicts on one part's replies, of shards that have test rows.
    pub(super) fn judgements(&mut self, part: &Part<'_>, judges: &[usize], extracts: &[UnitKey]) -> Result<(), PlanError> {
        let Some(asked) = part.revision.spec.judge.as_ref().filter(|_| !judges.is_empty()) else { return Ok(()) };
        let (model, condition, sampling_seed) = (part.model, part.condition, part.sampling_seed());
        self.replies.entry((model, condition, sampling_seed)).or_insert_with(|| extracts.to_vec());
        let whose = format!("{} {}{}", self.models[model].name, self.conditions[condition].name, part.drawn());
        for &judge in judges {
            self.judged.insert((judge, model, condition, sampling_seed));
            let facts = self.models[judge].clone();
            for replies in extracts {
                let range = self.units[replies].unit.hints.rows;
                if !(range.0..range.1).any(|row| self.rows.rows[row].split == Split::Test) {
                    continue;
                }
                let unit = questions::judge(part.revision.spec, asked, &self.rows.classes, &facts, *replies, &part.axes.versions)?;
                let tokens = self.units[replies].unit.spec.reply_tokens();
                let cost = self.costs.judge(&facts, &unit, tokens, range);
                let title = format!("judge {whose} rows {}..{} by {}", range.0, range.1, facts.name);
                let place = Place::Judge { judge, model, condition, sampling_seed, rows: range };
                self.add((UnitSpec::Judge(unit), place), part.revision, range, cost, title);
            }
        }
        Ok(())
    }
}
