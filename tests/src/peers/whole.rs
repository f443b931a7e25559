//! A whole study: `limbic run` on an empty store beside a script that loads, extracts, fits and writes a table.

use serde_json::json;

use super::comparison::{Comparison, Contender, alternate};
use super::program::Program;
use super::stage::{Stage, cores};

/// Both as processes, from their start to their end.
pub(super) fn whole(stage: &Stage) -> anyhow::Result<Comparison> {
    let rows = stage.path("rows.jsonl");
    let line = |(number, row): (usize, &super::stage::Row)| {
        format!("{}\n", json!({"id": format!("row-{number}"), "text": row.text, "label": row.label, "split": row.split}))
    };
    std::fs::write(&rows, stage.rows.iter().enumerate().map(line).collect::<String>())?;
    let spec = json!({
        "name": "peers",
        "dataset": {"source": rows, "id": "id", "text": "text", "label": "label", "split": "split"},
        "models": [{"source": stage.source()}],
        "layers": stage.layers(),
        "probes": [{"kind": "logistic", "c": [1.0]}],
        "baselines": [],
    });
    // JSON is YAML.
    std::fs::write(stage.path("whole.yaml"), spec.to_string())?;
    let folder = |name: &str| stage.path(name).to_string_lossy().into_owned();
    let ours = || {
        for name in ["whole-store", "whole-out"] {
            let _ = std::fs::remove_dir_all(stage.path(name));
        }
        let args = ["run", "whole.yaml", "--store", &folder("whole-store"), "--out", &folder("whole-out"), "--json"];
        Ok(Program::limbic(&stage.path(""), &args)?.run()?.seconds)
    };
    let mut contenders = vec![Contender::new("limbic run", ours)];
    if let Some(peer) = &stage.peer {
        contenders.push(Contender::new("the peer's script", || peer.whole(&rows, &stage.path("whole.csv"))));
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
