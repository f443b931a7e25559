//! Four conditions with a header of about 200 tokens each, which is run once or with every row.

use std::time::Instant;

use limbic_engine::{Prompt, Request};
use limbic_proto::axis::{Pooling, ReadOut};
use limbic_proto::spec::{self, TEXT};
use serde_json::json;

use super::comparison::{Comparison, Contender, alternate};
use super::stage::{Stage, cores, prompts, spaced};

/// Tokens of a header, at least.
const HEADER: usize = 200;
/// What the four headers speak of.
const TOPICS: [&str; 4] = ["calm", "cheer", "grief", "a long day"];

/// All conditions with the header shared, and without.
pub(super) fn prefix(stage: &Stage) -> anyhow::Result<Comparison> {
    let texts: Vec<&str> = stage.rows.iter().map(|row| row.text.as_str()).collect();
    let texts = spaced(&texts, stage.prefix_rows);
    let conditions = TOPICS.iter().map(|topic| prompts(&stage.model, &header(stage, topic)?, &texts, 0));
    let conditions: Vec<Vec<Prompt>> = conditions.collect::<anyhow::Result<_>>()?;
    let request = stage.request();
    // The engine shares what prompts begin with, as far as it isn't read. The first token is all that this reads besides.
    let mut apart = request.clone();
    apart.read_outs.push(ReadOut { pooling: Pooling::First, ..ReadOut::LAST });
    let shared: Vec<usize> = conditions.iter().map(|rows| request.shared(rows)).collect();
    anyhow::ensure!(shared.iter().all(|n| *n + 16 >= HEADER), "the headers share {shared:?} tokens instead of about {HEADER}");
    anyhow::ensure!(conditions.iter().all(|rows| apart.shared(rows) == 0), "nothing is shared where the first token is read");
    let timed = |request: &Request| {
        let began = Instant::now();
        for rows in &conditions {
            std::hint::black_box(stage.extract(rows, request)?);
        }
        Ok(began.elapsed().as_secs_f64())
    };
    let mut contenders = vec![
        Contender::new("Limbic, each header run once", || timed(&request)),
        Contender::new("Limbic, four runs that share nothing", || timed(&apart)),
    ];
    if let Some(peer) = &stage.peer {
        peer.ask(&json!({"task": "load", "dtype": "float32"}))?;
        let mut asks = Vec::new();
        for (at, rows) in conditions.iter().enumerate() {
            let ids = stage.write_ids(&format!("condition-{at}.json"), rows)?;
            asks.push(json!({"task": "extract", "dtype": "float32", "rows": ids, "batch": stage.peer_batch}));
        }
        contenders.push(Contender::new("transformers, f32", move || asks.iter().map(|ask| peer.seconds(ask)).sum()));
    }
    let lines = alternate(stage.rounds, contenders)?;
    let tokens: usize = conditions.iter().flatten().map(|p| p.ids.len()).sum();
    let facts = vec![("tokens that all rows of a condition share", json!(shared.iter().sum::<usize>() as f64 / shared.len() as f64))];
    let about = format!(
        "{} conditions over the same {} texts, each behind a header of its own, {tokens} tokens in all; the last token's state at {} layers, \
         on {} cores. The second line is what separate runs without reuse take: the first token's states are read, too, so that the engine \
         finds nothing to share.",
        TOPICS.len(),
        texts.len(),
        stage.layers().len(),
        cores()
    );
    Ok(Comparison { name: "prefix", about, unit: "s", work: Some((tokens as f64, "prompt tokens")), lines, facts })
}

/// A template whose header has as many tokens as are asked for.
fn header(stage: &Stage, topic: &str) -> anyhow::Result<spec::Prompt> {
    let mut text = format!("These notes speak of {topic}.");
    for number in 1.. {
        let condition = spec::Prompt::Template(format!("{text}\n{TEXT}"));
        if prompts(&stage.model, &condition, &["."], 0)?[0].ids.len() > HEADER + 4 {
            return Ok(condition);
        }
        text = format!("{text} Note {number}: what was said came with {topic}, and was written down as it was said.");
    }
    unreachable!("the text grows")
}
