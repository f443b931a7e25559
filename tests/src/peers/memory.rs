//! Peak memory of a sweep's processes as the rows grow a hundredfold.

use std::cell::RefCell;

use serde_json::json;

use super::comparison::{Comparison, Contender, alternate};
use super::program::Program;
use super::stage::{Stage, budget};

/// How many times as many rows the large sweep has.
const TIMES: usize = 100;

/// An extraction by one worker, small and large.
pub(super) fn memory(stage: &Stage) -> anyhow::Result<Comparison> {
    let coordinators = RefCell::new(Vec::new());
    let mut contenders = Vec::new();
    for times in [1, TIMES] {
        let (name, count) = (format!("memory-{times}"), stage.memory_rows * times);
        let rows = stage.path(&format!("{name}.jsonl"));
        let line = |number: usize| {
            format!("{}\n", json!({"text": format!("It is {number}."), "label": if number.is_multiple_of(2) { "even" } else { "odd" }}))
        };
        std::fs::write(&rows, (0..count).map(line).collect::<String>())?;
        let spec = json!({
            "name": name,
            "dataset": {"source": rows, "text": "text", "label": "label", "near_duplicates": "ignore"},
            "models": [{"source": stage.source()}],
            "layers": {"depth": [0.0, 0.5, 1.0]},
            "probes": [],
            "baselines": [],
        });
        std::fs::write(stage.path(&format!("{name}.yaml")), spec.to_string())?;
        let coordinators = &coordinators;
        contenders.push(Contender::new(format!("worker, {count} rows"), move || {
            let (spec, store, out) = (format!("{name}.yaml"), format!("{name}-store"), format!("{name}-out"));
            let args = ["run", &spec, "--store", &store, "--out", &out, "--workers", "1", "--json"];
            let ran = Program::limbic(&stage.path(""), &args)?.run()?;
            for folder in [&store, &out] {
                std::fs::remove_dir_all(stage.path(folder))?;
            }
            coordinators.borrow_mut().push(format!("{:.0} MiB at {count} rows", ran.peaks["coordinator"]));
            ran.peaks.get("worker").copied().ok_or_else(|| anyhow::anyhow!("no worker was seen: /proc is needed to measure memory"))
        }));
    }
    // Memory hardly varies from run to run.
    let lines = alternate(1, contenders)?;
    let facts = vec![("the coordinator's peak", json!(coordinators.into_inner().join(", ")))];
    let about = format!(
        "Peak resident memory (VmHWM) of `limbic run --workers 1` that extracts the states of short texts at three layers, batches of {} tokens, \
         units of at most 512 rows; measured once.",
        budget()
    );
    Ok(Comparison { name: "memory", about, unit: "MiB", work: None, lines, facts })
}
