//! Tokens per second of passes and of decoding, on the largest shipped model: `cargo bench -p limbic-engine --bench extraction`.
//!
//! Twice the rows should take twice as long, twice the layers or offsets hardly longer: a pass goes through all blocks below
//! the last one asked for anyway.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use limbic_engine::{Continuation, Model, Placement, Prompt, Prompts, Request, extract};
use limbic_proto::axis::{Layer, ReadOut};
use limbic_proto::spec::{self, TooLong};

fn main() {
    divan::main();
}

/// Texts that prompts are made of.
const ROWS: usize = 512;

fn quickstart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/quickstart")
}

fn load(placement: &Placement) -> Model {
    Model::load(&quickstart().join("models/tiny-4m"), placement).expect("the shipped model loads")
}

static MODEL: LazyLock<Model> = LazyLock::new(|| load(&Placement::cpu()));
/// In bf16: on a CPU without AVX512-BF16 it is slower.
static ROUNDED: LazyLock<Model> = LazyLock::new(|| load(&Placement::cpu_bf16()));

fn prompts(template: &str) -> Vec<Prompt> {
    let corpus = std::fs::read_to_string(quickstart().join("corpus.jsonl")).expect("the shipped corpus is there");
    let text = |line: &str| -> Option<String> { Some(serde_json::from_str::<serde_json::Value>(line).ok()?["text"].as_str()?.to_owned()) };
    let texts: Vec<String> = corpus.lines().filter_map(text).take(ROWS).collect();
    let condition = spec::Prompt::Template(template.to_owned());
    Prompts::new(&MODEL, &condition, &texts, 64, TooLong::Truncate).expect("the shipped texts are prompts").prompts
}

static PROMPTS: LazyLock<Vec<Prompt>> = LazyLock::new(|| prompts("{text}"));

/// Runs a request and counts the prompts' tokens and those that are decoded.
fn measure(bencher: Bencher<'_, '_>, prompts: &[Prompt], request: &Request) {
    measure_model(bencher, &MODEL, prompts, request);
}

fn measure_model(bencher: Bencher<'_, '_>, model: &Model, prompts: &[Prompt], request: &Request) {
    let decoded = prompts.len() * request.continuation.as_ref().map_or(0, Continuation::longest);
    let tokens = prompts.iter().map(|p| p.ids.len()).sum::<usize>() + decoded;
    let run = || extract(model, black_box(prompts), request, &mut |_| ControlFlow::Continue(())).expect("the shipped model runs");
    bencher.counter(ItemsCount::new(tokens)).bench_local(run);
}

fn every_layer() -> Vec<Layer> {
    let blocks = MODEL.architecture().layers as u32;
    (0..=blocks).map(Layer::Block).chain([Layer::Final]).collect()
}

#[divan::bench(args = [128, 256, 512], sample_count = 10)]
fn rows(bencher: Bencher<'_, '_>, rows: usize) {
    measure(bencher, &PROMPTS[..rows], &Request::new(every_layer(), vec![ReadOut::LAST]));
}

/// The same in bf16.
#[divan::bench(args = [128, 256, 512], sample_count = 10)]
fn rows_in_bf16(bencher: Bencher<'_, '_>, rows: usize) {
    measure_model(bencher, &ROUNDED, &PROMPTS[..rows], &Request::new(every_layer(), vec![ReadOut::LAST]));
}

/// How many of the last layers are read.
#[divan::bench(args = [1, 2, 4], sample_count = 10)]
fn layers(bencher: Bencher<'_, '_>, layers: usize) {
    let all = every_layer();
    measure(bencher, &PROMPTS[..256], &Request::new(all[all.len() - layers..].to_vec(), vec![ReadOut::LAST]));
}

#[divan::bench(args = [256, 512, 1024, 2048], sample_count = 5)]
fn tokens_a_pass(bencher: Bencher<'_, '_>, budget: usize) {
    let request = Request { batch_tokens: Some(budget), ..Request::new(every_layer(), vec![ReadOut::LAST]) };
    measure(bencher, &PROMPTS, &request);
}

/// With a header of about so many words before every text.
#[divan::bench(args = [50, 100], sample_count = 10)]
fn shared_header(bencher: Bencher<'_, '_>, words: usize) {
    let prompts = prompts(&format!("{}{{text}}", "calm ".repeat(words)));
    measure(bencher, &prompts[..128], &Request::new(every_layer(), vec![ReadOut::LAST]));
}

fn decoding(tokens: usize, offsets: &[u32]) -> Request {
    let mut request = Request::new(every_layer(), offsets.iter().map(|k| ReadOut::at(*k)).collect());
    request.continuation = Some(Continuation::Generated { tokens, temperature: 0.0, seeds: Vec::new(), stop_at_eos: false });
    request
}

#[divan::bench(args = [32, 64], sample_count = 5)]
fn decoded_rows(bencher: Bencher<'_, '_>, rows: usize) {
    measure(bencher, &PROMPTS[..rows], &decoding(16, &[0, 16]));
}

/// The same in bf16.
#[divan::bench(args = [32, 64], sample_count = 5)]
fn decoded_rows_in_bf16(bencher: Bencher<'_, '_>, rows: usize) {
    measure_model(bencher, &ROUNDED, &PROMPTS[..rows], &decoding(16, &[0, 16]));
}

#[divan::bench(args = [16, 32], sample_count = 5)]
fn decoded_tokens(bencher: Bencher<'_, '_>, tokens: usize) {
    measure(bencher, &PROMPTS[..32], &decoding(tokens, &[0, tokens as u32]));
}

#[divan::bench(args = [4, 8], sample_count = 5)]
fn decoded_offsets(bencher: Bencher<'_, '_>, offsets: usize) {
    let offsets: Vec<u32> = (1..=offsets as u32).collect();
    measure(bencher, &PROMPTS[..32], &decoding(16, &offsets));
}
