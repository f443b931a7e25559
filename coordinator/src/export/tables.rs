//! Rows, tokens and written answers as Parquet.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, UInt32Builder};
use arrow_array::types::Float32Type;
use arrow_array::{ArrayRef, ListArray, StringArray, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field};
use limbic_core::plan::Place;
use limbic_proto::key::UnitKey;
use limbic_proto::rows::Scheme;
use limbic_proto::spec::Baseline;
use limbic_proto::unit::RowTokens;
use limbic_report::{ReportError, Table, constant, field};
use limbic_store::whole::WholeFile;

use super::{Export, Exported, Reading};
use crate::failure::Failure;
use crate::progress::Phase;

fn texts<'t>(values: impl IntoIterator<Item = &'t str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn list_of(kind: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", kind, true)))
}

/// Token ids, a list for each row.
fn ids<'t>(rows: &'t [RowTokens], of: impl Fn(&'t RowTokens) -> &'t [u32]) -> ArrayRef {
    let mut lists = ListBuilder::new(UInt32Builder::new());
    for row in rows {
        lists.values().append_slice(of(row));
        lists.append(true);
    }
    Arc::new(lists.finish())
}

impl Export<'_> {
    /// Begins a table.
    fn table(&self, file: &'static str, fields: Vec<Field>) -> Result<Table<WholeFile>, Failure> {
        let into = WholeFile::create(&self.path(file)).map_err(|e| self.unwritten(file, &e))?;
        Table::new(file, crate::SOFTWARE, fields, into).map_err(|e| self.no_table(&e))
    }

    /// Puts a table in its place.
    fn close(&self, file: &'static str, table: Table<WholeFile>, done: &mut Exported) -> Result<(), Failure> {
        table.finish().map_err(|e| self.no_table(&e))?.finish().map_err(|e| self.unwritten(file, &e))?;
        done.files.push(file.to_owned());
        Ok(())
    }

    fn no_table(&self, error: &ReportError) -> Failure {
        Failure::user(format_args!("--out {}: {error}", self.out.display()))
    }

    /// `rows.parquet`: the rows of all arrays.
    pub(super) fn rows(&self, done: &mut Exported) -> Result<(), Failure> {
        const FILE: &str = "rows.parquet";
        let (rows, classes) = (&self.sweep.rows.rows, &self.sweep.rows.classes);
        let single = self.sweep.rows.scheme == Scheme::Single;
        let text = DataType::Utf8;
        let mut table = self.table(
            FILE,
            vec![
                field("row", DataType::UInt32, false),
                field("row_id", text.clone(), false),
                field("text", text.clone(), false),
                field("split", text.clone(), false),
                field("group", text.clone(), false),
                field("weight", DataType::UInt32, false),
                field("class", text, true),
                field("values", list_of(DataType::Float32), true),
            ],
        )?;
        let values = rows.iter().map(|row| (!single).then(|| row.values.iter().copied().map(Some)));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from_iter_values(0..rows.len() as u32)),
            texts(rows.iter().map(|row| row.id.as_str())),
            texts(rows.iter().map(|row| row.text.as_str())),
            texts(rows.iter().map(|row| row.split.as_str())),
            texts(rows.iter().map(|row| row.group.as_str())),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.weight))),
            Arc::new(StringArray::from_iter(rows.iter().map(|row| single.then(|| classes[row.class as usize].as_str())))),
            Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(values)),
        ];
        table.append(columns).map_err(|e| self.no_table(&e))?;
        self.close(FILE, table, done)
    }

    /// `tokens.parquet`: prompts and replies. Of a model under a condition (and of a seed) that was read several times, the pass with the
    /// longest replies.
    pub(super) fn tokens(&self, readings: &[Reading<'_>], done: &mut Exported) -> Result<(), Failure> {
        const FILE: &str = "tokens.parquet";
        let length = |reading: &Reading<'_>| reading.unit.continuation.as_ref().and_then(|c| c.tokens).unwrap_or(0);
        let mut longest: BTreeMap<(usize, usize, Option<u64>), &Reading<'_>> = BTreeMap::new();
        for reading in readings {
            let known = longest.entry((reading.model, reading.condition, reading.sampling_seed)).or_insert(reading);
            if length(reading) > length(known) {
                *known = reading;
            }
        }
        let (text, number) = (DataType::Utf8, DataType::UInt32);
        let mut table = self.table(
            FILE,
            vec![
                field("model", text.clone(), false),
                field("condition", text.clone(), false),
                field("sampling_seed", DataType::UInt64, true),
                field("row_id", text.clone(), false),
                field("prompt_tokens", list_of(number.clone()), false),
                field("utterance_from", number.clone(), false),
                field("utterance_to", number.clone(), false),
                field("reply_tokens", list_of(number), false),
                field("reply", text, true),
            ],
        )?;
        let phase = Phase::of(longest.values().map(|reading| reading.extracts.len()).sum(), "reading tokens");
        for reading in longest.values() {
            let (model, condition) = (&self.sweep.plan.models[reading.model].name, &self.sweep.plan.conditions[reading.condition].name);
            // What follows the prompt may be a fixed text, which nobody wrote.
            let writes = reading.unit.continuation.as_ref().is_some_and(|c| c.instead().is_none());
            for unit in &reading.extracts {
                let rows = self.inputs.tokens(*unit).map_err(|e| self.unread(e))?;
                let reply = |row: &RowTokens| (writes && !row.prompt.is_empty()).then(|| row.reply_text.clone());
                let columns: Vec<ArrayRef> = vec![
                    constant(Some(model), rows.len()),
                    constant(Some(condition), rows.len()),
                    Arc::new(UInt64Array::from_iter(std::iter::repeat_n(reading.sampling_seed, rows.len()))),
                    texts(rows.iter().map(|row| row.id.as_str())),
                    ids(&rows, |row| &row.prompt),
                    Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.utterance.0 as u32))),
                    Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.utterance.1 as u32))),
                    ids(&rows, |row| &row.reply),
                    Arc::new(StringArray::from_iter(rows.iter().map(reply))),
                ];
                table.append(columns).map_err(|e| self.no_table(&e))?;
                phase.step();
            }
        }
        self.close(FILE, table, done)
    }

    /// `answers.parquet`: what models wrote when they were asked, where they were.
    pub(super) fn answers(&self, done: &mut Exported) -> Result<(), Failure> {
        const FILE: &str = "answers.parquet";
        let (mut units, mut missing): (Vec<(UnitKey, usize, &str)>, usize) = (Vec::new(), 0);
        for key in &self.sweep.plan.order {
            let (model, asked) = match self.sweep.plan.units[key].place {
                Place::Prompt { model, baseline: Baseline::ZeroShotJson, .. } => (model, Baseline::ZeroShotJson.name()),
                Place::Writing { model, .. } => (model, "writing"),
                _ => continue,
            };
            match self.chains.done(key) {
                true => units.push((*key, model, asked)),
                false => missing += 1,
            }
        }
        if missing > 0 {
            done.notes
                .push(format!("answers: {missing} of {} prompt units are not done yet, so theirs are left out", units.len() + missing));
        }
        if units.is_empty() {
            return Ok(());
        }
        let text = DataType::Utf8;
        let fields = ["model", "asked", "row_id"].map(|name| field(name, text.clone(), false));
        let mut table = self.table(FILE, fields.into_iter().chain([field("answer", text, true)]).collect())?;
        let phase = Phase::of(units.len(), "reading answers");
        for (unit, model, asked) in units {
            let rows = self.inputs.answers(unit).map_err(|e| self.unread(e))?;
            let columns: Vec<ArrayRef> = vec![
                constant(Some(&self.sweep.plan.models[model].name), rows.len()),
                constant(Some(asked), rows.len()),
                texts(rows.iter().map(|row| row.id.as_str())),
                Arc::new(StringArray::from_iter(rows.iter().map(|row| (!row.skipped).then(|| row.text.clone())))),
            ];
            table.append(columns).map_err(|e| self.no_table(&e))?;
            phase.step();
        }
        self.close(FILE, table, done)
    }
}
