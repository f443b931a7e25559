//! How a whole sweep of ours grows: half the rows, half the layers, fewer offsets, one worker.

use std::path::Path;

use limbic_proto::axis::Layer;
use serde_json::{Value, json};

use super::comparison::{Comparison, Contender, alternate};
use super::program::Program;
use super::stage::{Stage, cores, share};
use super::whole::{Sweep, write_rows};

/// Where replies are read in the last three sweeps.
const OFFSETS: [u32; 4] = [1, 2, 4, 8];

/// One sweep, and others that ask for half as much of something.
pub(super) fn growth(stage: &Stage) -> anyhow::Result<Comparison> {
    let all = write_rows(stage, "growth.jsonl", &stage.rows)?;
    let fewer = share(&stage.rows, stage.rows.len() / 2);
    let half = write_rows(stage, "growth-half.jsonl", &fewer)?;
    let layers = stage.layers();
    let some: Vec<Layer> = layers.iter().copied().skip(1).step_by(2).collect();
    let replies = |offsets: &[u32]| json!({"offsets": offsets, "continuation": {"tokens": OFFSETS[3], "stop_at_eos": false}});
    let read = |offsets: &str| format!("{} rows, replies of 8 tokens read at {offsets}", fewer.len());
    let mut contenders = Vec::new();
    let mut add = |who: &str, rows: &Path, layers: &[Layer], fields: Value, flags: &'static [&'static str]| -> anyhow::Result<()> {
        let sweep = Sweep::write(stage, &format!("growth-{}", contenders.len()), rows, layers, fields)?;
        contenders.push(Contender::new(who, move || {
            let ran = Program::limbic(&stage.path(""), &sweep.args(flags))?.run()?;
            sweep.remove()?;
            Ok(ran.seconds)
        }));
        Ok(())
    };
    add(&format!("{} rows, {} layers, offset 0", stage.rows.len(), layers.len()), &all, &layers, json!({}), &[])?;
    add(&format!("{} rows", fewer.len()), &half, &layers, json!({}), &[])?;
    add(&format!("{} layers", some.len()), &all, &some, json!({}), &[])?;
    add("one worker with all cores", &all, &layers, json!({}), &["--workers", "1"])?;
    add(&read("1 offset"), &half, &layers, replies(&OFFSETS[3..]), &[])?;
    add(&read("2 offsets"), &half, &layers, replies(&OFFSETS[2..]), &[])?;
    add(&read("4 offsets"), &half, &layers, replies(&OFFSETS), &[])?;
    let lines = alternate(stage.rounds, contenders)?;
    let about = format!(
        "`limbic run` into an empty store, on {} cores: states, a logistic probe at C = 1 at each layer and offset, results, report.",
        cores()
    );
    Ok(Comparison { name: "growth", about, unit: "s", work: None, lines, facts: Vec::new() })
}
