//! How fast the engine is on a real model, beside the matrix products alone. Run with `--ignored --nocapture`.

use std::time::Instant;

use candle_core::{Device, Tensor};
use limbic_engine::{Model, Placement, Request};
use limbic_proto::axis::{Layer, ReadOut};

use crate::reference::{all_layers, greedy, prompts, raw, run};

/// Texts of `LIMBIC_SPEED_TEXTS` (JSON lines with `text`).
fn texts(count: usize) -> Option<Vec<String>> {
    let lines = std::fs::read_to_string(std::env::var_os("LIMBIC_SPEED_TEXTS")?).ok()?;
    let text = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    Some(lines.lines().take(count).map(text).collect())
}

#[test]
#[ignore = "a measurement, not a check"]
fn tokens_per_second() {
    let (Some(path), Some(texts)) = (crate::smollm2::path(), texts(300)) else {
        println!("SKIPPED: set LIMBIC_SMOLLM2_GGUF and LIMBIC_SPEED_TEXTS");
        return;
    };
    let start = Instant::now();
    let model = Model::load(&path, &Placement::cpu()).unwrap();
    println!("loaded in {:.2} s", start.elapsed().as_secs_f64());
    let a = model.architecture();
    let prompts = prompts(&model, &raw(), &texts);
    for batch_tokens in [256, 512, 1024, 2048] {
        let request = Request { batch_tokens: Some(batch_tokens), ..Request::new(all_layers(a.layers), vec![ReadOut::LAST]) };
        let start = Instant::now();
        let found = run(&model, &prompts, &request);
        let seconds = start.elapsed().as_secs_f64();
        let rate = found.tokens as f64 / seconds;
        let flops = rate * a.flops_per_token(10) as f64 / 1e9;
        println!("extraction at {batch_tokens}: {} tokens, {rate:.0} tokens/s, {flops:.0} GFLOP/s", found.tokens);
    }
    let weight = |i: usize, o: usize| Tensor::zeros((i, o), candle_core::DType::F32, &Device::Cpu).unwrap();
    let (q, d, i) = (a.query_width() + 2 * a.kv_width(), a.hidden, a.intermediate);
    let products = [weight(d, q), weight(a.query_width(), d), weight(d, 2 * i), weight(i, d)];
    for tokens in [256, 512, 1024, 2048] {
        let start = Instant::now();
        let passes = 5000 / tokens;
        for _ in 0..passes * a.layers {
            for w in &products {
                let x = weight(tokens, w.dim(0).unwrap());
                std::hint::black_box(x.matmul(w).unwrap());
            }
        }
        println!("products alone at {tokens}: {:.0} tokens/s", (passes * tokens) as f64 / start.elapsed().as_secs_f64());
    }
    let mut request = Request::new(vec![Layer::Block(15)], vec![ReadOut::at(16)]);
    request.continuation = Some(greedy(16));
    let start = Instant::now();
    let found = run(&model, &prompts[..100], &request);
    let generated: usize = found.replies.iter().map(Vec::len).sum();
    println!("decoding: {generated} tokens behind {} in {:.2} s", found.tokens, start.elapsed().as_secs_f64());
}
