//! Peak memory of a sweep's processes as the rows grow a hundredfold.

use std::cell::RefCell;

use serde_json::json;

use super::comparison::{Comparison, Contender, alternate};
use super::program::Program;
use super::stage::{Row, Stage, budget};
use super::whole::{Sweep, write_rows};

/// How many times as many rows the large sweep has.
const TIMES: usize = 100;

/// An extraction by one worker, small and large.
pub(super) fn memory(stage: &Stage) -> anyhow::Result<Comparison> {
    let coordinators = RefCell::new(Vec::new());
    let all = stage.layers();
    let layers = [all[0], all[all.len() / 2], all[all.len() - 1]];
    let mut contenders = Vec::new();
    for times in [1, TIMES] {
        let count = stage.memory_rows * times;
        let row = |number: usize| Row {
            text: format!("It is {number}."),
            label: if number.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
            split: ["train", "validation", "test"][number % 3].to_owned(),
        };
        let rows: Vec<Row> = (0..count).map(row).collect();
        let rows = write_rows(stage, &format!("memory-{times}.jsonl"), &rows)?;
        let sweep = Sweep::write(stage, &format!("memory-{times}"), &rows, &layers, json!({"probes": []}))?;
        let coordinators = &coordinators;
        contenders.push(Contender::new(format!("worker, {count} rows"), move || {
            let ran = Program::limbic(&stage.path(""), &sweep.args(&["--workers", "1"]))?.run()?;
            sweep.remove()?;
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
