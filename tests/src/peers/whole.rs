//! A whole study: `limbic run` on an empty store beside a script that loads, extracts, fits and writes a table.

use std::path::{Path, PathBuf};

use limbic_proto::axis::Layer;
use serde_json::{Value, json};

use super::comparison::{Comparison, Contender, alternate};
use super::program::Program;
use super::stage::{Row, Stage, cores};

/// Both as processes, from their start to their end.
pub(super) fn whole(stage: &Stage) -> anyhow::Result<Comparison> {
    let rows = write_rows(stage, "rows.jsonl", &stage.rows)?;
    let sweep = Sweep::write(stage, "whole", &rows, &stage.layers(), json!({}))?;
    let ours = || {
        let ran = Program::limbic(&stage.path(""), &sweep.args(&[]))?.run()?;
        sweep.remove()?;
        Ok(ran.seconds)
    };
    let mut contenders = vec![Contender::new("limbic run", ours)];
    if let Some(peer) = &stage.peer {
        contenders.push(Contender::new("the peer's script", || peer.whole(&rows, &stage.path("whole.csv"), stage.peer_batch)));
    }
    let lines = alternate(stage.rounds, contenders)?;
    let about = format!(
        "From start to end on {} cores: {} rows, states at {} layers, a logistic probe at C = 1 at each, test scores. `limbic run` into an \
         empty store, with intervals and its report; the peer's script in f32 (load, tokenize, extract, fit, a CSV of accuracies).",
        cores(),
        stage.rows.len(),
        stage.layers().len()
    );
    Ok(Comparison { name: "whole", about, unit: "s", work: None, lines, facts: Vec::new() })
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
