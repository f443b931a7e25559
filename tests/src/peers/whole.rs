//! A whole study: `limbic run` on an empty store beside a script that loads, extracts, fits and writes a table.

use std::path::{Path, PathBuf};

use limbic_engine::Placement;
use limbic_proto::axis::Layer;
use serde_json::{Value, json};

use super::comparison::{Comparison, Contender, alternate};
use super::program::Program;
use super::stage::{Row, Stage, cores};

/// Both as processes, from their start to their end; in f32, and in bf16 where the processor has instructions for it.
pub(super) fn whole(stage: &Stage) -> anyhow::Result<Comparison> {
    let rows = write_rows(stage, "rows.jsonl", &stage.rows)?;
    let mut contenders = Vec::new();
    let mut formats = vec![("f32", "float32")];
    formats.extend(Placement::cpu_bf16().swift().then_some(("bf16", "bfloat16")));
    for &(format, theirs) in &formats {
        let models = json!([{"source": stage.source(), "dtype": format}]);
        let sweep = Sweep::write(stage, &format!("whole-{format}"), &rows, &stage.layers(), json!({"models": models}))?;
        contenders.push(Contender::new(format!("limbic run, {format}"), move || {
            let ran = Program::limbic(&stage.path(""), &sweep.args(&[]))?.run()?;
            sweep.remove()?;
            Ok(ran.seconds)
        }));
        if let Some(peer) = &stage.peer {
            let (rows, out) = (&rows, stage.path("whole.csv"));
            let run = move || peer.whole(rows, &out, stage.peer_batch, theirs);
            contenders.push(Contender::new(format!("the peer's script, {format}"), run));
        }
    }
    let lines = alternate(stage.rounds, contenders)?;
    // Ours and theirs in one format after another.
    let names = ["the peer's script in f32 over ours in f32", "the peer's script in bf16 over ours in bf16"];
    let pairs = lines.chunks_exact(2).filter(|_| stage.peer.is_some());
    let facts = names.into_iter().zip(pairs).map(|(name, pair)| (name, json!(pair[1].median() / pair[0].median()))).collect();
    let about = format!(
        "From start to end on {} cores: {} rows, states at {} layers, a logistic probe at C = 1 at each, test scores. `limbic run` into an \
         empty store, with intervals and its report; the peer's script: load, tokenize, extract, fit (in f32 in any case), a CSV of accuracies.",
        cores(),
        stage.rows.len(),
        stage.layers().len()
    );
    Ok(Comparison { name: "whole", about, unit: "s", work: None, lines, facts })
}

/// Writes rows as a dataset.
pub(super) fn write_rows(stage: &Stage, name: &str, rows: &[Row]) -> anyhow::Result<PathBuf> {
    let path = stage.path(name);
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let row = json!({"id": format!("row-{number}"), "text": row.text, "label": row.label, "split": row.split});
        text += &format!("{row}\n");
    }
    std::fs::write(&path, text)?;
    Ok(path)
}

/// A sweep in the run's folder.
pub(super) struct Sweep {
    spec: String,
    store: PathBuf,
    out: PathBuf,
    shown: [String; 2],
}

impl Sweep {
    /// Writes a spec: a logistic probe at C = 1 at every layer of some rows, with further fields.
    pub(super) fn write(stage: &Stage, name: &str, rows: &Path, layers: &[Layer], further: Value) -> anyhow::Result<Sweep> {
        let mut spec = json!({
            "name": name,
            "dataset": {"source": rows, "id": "id", "text": "text", "label": "label", "split": "split"},
            "models": [{"source": stage.source()}],
            "layers": layers,
            "probes": [{"kind": "logistic", "c": [1.0]}],
            "baselines": [],
        });
        let fields = spec.as_object_mut().expect("it is one");
        fields.extend(further.as_object().cloned().unwrap_or_default());
        let (file, store, out) = (format!("{name}.yaml"), stage.path(&format!("{name}-store")), stage.path(&format!("{name}-out")));
        // JSON is YAML.
        std::fs::write(stage.path(&file), spec.to_string())?;
        let shown = [&store, &out].map(|path| path.to_string_lossy().into_owned());
        Ok(Sweep { spec: file, store, out, shown })
    }

    /// The arguments of `limbic` that run it.
    pub(super) fn args<'a>(&'a self, flags: &[&'a str]) -> Vec<&'a str> {
        let run = ["run", &self.spec, "--store", &self.shown[0], "--out", &self.shown[1], "--json"];
        run.into_iter().chain(flags.iter().copied()).collect()
    }

    /// Removes what it left, so that the next run computes everything again.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        std::fs::remove_dir_all(&self.store)?;
        Ok(std::fs::remove_dir_all(&self.out)?)
    }
}
