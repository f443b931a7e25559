//! How fast the engine is on a real model. Run with `--ignored --nocapture`.

use std::io::BufRead;
use std::ops::ControlFlow;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use limbic_engine::{Continuation, Model, Placement, Prompt, Request, SharedFile};
use limbic_proto::axis::{Layer, Pooling, ReadOut};
use limbic_proto::key::Digest;
use limbic_proto::spec;

use crate::reference::{all_layers, greedy, prompts, raw, run};

/// Texts of `LIMBIC_SPEED_TEXTS` (JSON lines with `text`).
fn texts(count: usize) -> Option<Vec<String>> {
    let lines = std::fs::read_to_string(std::env::var_os("LIMBIC_SPEED_TEXTS")?).ok()?;
    let text = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    Some(lines.lines().take(count).map(text).collect())
}

/// Seconds of CPU time this process has used: with `RAYON_NUM_THREADS=1`, a measure that a busy machine disturbs little.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    fields.iter().skip(11).take(2).filter_map(|f| f.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Runs something and tells tokens per second of wall and of CPU time. Returns the CPU time.
fn measured(what: &str, run: impl FnOnce() -> u64) -> f64 {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let tokens = run() as f64;
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!("{what}: {tokens} tokens in {wall:.1} s, {:.0} tokens/s, {:.0} tokens per CPU second", tokens / wall, tokens / cpu);
    cpu
}

#[test]
#[ignore = "a measurement, not a check"]
fn tokens_per_second() {
    let (Some(path), Some(texts)) = (crate::smollm2::path(), texts(300)) else {
        crate::skipped("tokens_per_second: set LIMBIC_SMOLLM2_GGUF and LIMBIC_SPEED_TEXTS");
        return;
    };
    let start = Instant::now();
    let model = Model::load(&path, &Placement::cpu()).unwrap();
    println!("loaded in {:.2} s", start.elapsed().as_secs_f64());
    let a = model.architecture();
    let prompts = prompts(&model, &raw(), &texts);
    for batch_tokens in [256, 512, 1024, 2048] {
        let request = Request { batch_tokens: Some(batch_tokens), ..Request::new(all_layers(a.layers), vec![ReadOut::LAST]) };
        measured(&format!("extraction at {batch_tokens}"), || run(&model, &prompts, &request).tokens);
    }
    let weight = |i: usize, o: usize| Tensor::ones((i, o), DType::F32, &Device::Cpu).unwrap();
    let (q, d, i) = (a.query_width() + 2 * a.kv_width(), a.hidden, a.intermediate);
    let products = [weight(d, q), weight(a.query_width(), d), weight(d, 2 * i), weight(i, d)];
    for tokens in [256, 512, 1024, 2048] {
        let inputs = products.each_ref().map(|w| weight(tokens, w.dim(0).unwrap()));
        let passes = 4096 / tokens;
        measured(&format!("products alone at {tokens}"), || {
            for (x, w) in inputs.iter().zip(&products).cycle().take(passes * a.layers * 4) {
                std::hint::black_box(x.matmul(w).unwrap());
            }
            (passes * tokens) as u64
        });
    }
    let mut request = Request::new(vec![Layer::Block(15)], vec![ReadOut::at(16)]);
    request.continuation = Some(greedy(16));
    measured("prompts and 16 reply tokens each", || run(&model, &prompts[..100], &request).tokens);
    let words: String = texts.join(" ");
    let ids = model.tokenizer().ids(&words, false).unwrap();
    let long: Vec<Prompt> = ids.chunks_exact(1000).map(|ids| Prompt { ids: ids.to_vec(), ..prompts[0].clone() }).collect();
    let request = Request::new(all_layers(a.layers), vec![ReadOut::LAST]);
    measured("prompts of 1000 tokens", || run(&model, &long, &request).tokens);
}

/// The number formats of CPUs beside one another, taking turns:
/// `LIMBIC_SMOLLM2_GGUF=FILE LIMBIC_SPEED_TEXTS=FILE.jsonl cargo test --release -p limbic-engine --test engine number_formats --
/// --ignored --nocapture`
#[test]
#[ignore = "a measurement, not a check"]
fn number_formats() {
    let (Some(path), Some(texts)) = (crate::smollm2::path(), texts(600)) else {
        crate::skipped("number_formats: set LIMBIC_SMOLLM2_GGUF and LIMBIC_SPEED_TEXTS");
        return;
    };
    let models = FORMATS.map(|(name, placement)| (name, Model::load(&path, &placement()).unwrap()));
    let layers = all_layers(models[0].1.architecture().layers);
    let prompts = prompts(&models[0].1, &raw(), &texts);
    let request = Request { batch_tokens: Some(2048), ..Request::new(layers, vec![ReadOut::LAST]) };
    for round in 0..3 {
        // The slow one once is enough.
        for (name, model) in models.iter().take(if round == 0 { 3 } else { 2 }) {
            measured(name, || run(model, &prompts, &request).tokens);
        }
    }
}

/// A condition whose prompts begin with about 200 tokens that are the same.
fn header(model: &Model, turns: bool, topic: &str) -> spec::Prompt {
    let sentence = |i: usize| format!("For the {i}th time, {topic} is what this is about.");
    let mut chat = spec::Chat { system: Some(String::new()), ..spec::Chat::default() };
    let tokens = |chat: &spec::Chat| Prompt::new(model, &spec::Prompt::Chat(chat.clone()), "").unwrap().ids.len();
    for i in 0.. {
        if tokens(&chat) >= 200 {
            break;
        }
        match turns {
            true => chat.turns.push(spec::Turn { user: sentence(i), assistant: "joy".to_owned() }),
            false => chat.system = chat.system.map(|text| format!("{text} {}", sentence(i))),
        }
    }
    spec::Prompt::Chat(chat)
}

/// What it saves to run once what all prompts begin with:
/// `LIMBIC_SMOLLM2_GGUF=FILE LIMBIC_SPEED_TEXTS=configs/quickstart/corpus.jsonl cargo test --release -p limbic-engine --test engine
/// shared_headers -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, not a check"]
fn shared_headers() {
    let (Some(path), Some(texts)) = (crate::smollm2::path(), texts(64)) else {
        crate::skipped("shared_headers: set LIMBIC_SMOLLM2_GGUF and LIMBIC_SPEED_TEXTS");
        return;
    };
    let model = Model::load(&path, &Placement::cpu()).unwrap();
    let shared = Request::new(all_layers(model.architecture().layers), vec![ReadOut::LAST]);
    // Where the first token is read, nothing is shared.
    let mut apart = shared.clone();
    apart.read_outs.push(ReadOut { pooling: Pooling::First, ..ReadOut::LAST });
    let (mut with, mut without) = (0.0, 0.0);
    for (name, turns, topic) in
        [("calm", false, "calm"), ("cheerful", false, "cheer"), ("few-shot", true, "a day"), ("few-shot 2", true, "a night")]
    {
        let prompts = prompts(&model, &header(&model, turns, topic), &texts);
        let longest = prompts.iter().map(|p| p.ids.len()).max().unwrap();
        println!("{name}: a header of {} tokens, prompts of up to {longest}", shared.shared(&prompts));
        with += measured("  run once", || run(&model, &prompts, &shared).tokens);
        without += measured("  run with every row", || run(&model, &prompts, &apart).tokens);
    }
    println!("CPU seconds: {with:.1} with a shared header, {without:.1} without: {:.1} times as many", without / with);
}

/// What it saves that rows of a pass which begin alike are a tree of their tokens, taking turns:
/// `LIMBIC_SMOLLM2_GGUF=FILE LIMBIC_SPEED_TEXTS=FILE.jsonl cargo test --release -p limbic-engine --test engine rows_that_begin_alike --
/// --ignored --nocapture`
#[test]
#[ignore = "a measurement, not a check"]
fn rows_that_begin_alike() {
    let (Some(path), Some(texts)) = (crate::smollm2::path(), texts(usize::MAX)) else {
        crate::skipped("rows_that_begin_alike: set LIMBIC_SMOLLM2_GGUF and LIMBIC_SPEED_TEXTS");
        return;
    };
    let model = Model::load(&path, &Placement::cpu()).unwrap();
    let prompts = prompts(&model, &raw(), &texts);
    let all: usize = prompts.iter().map(|p| p.ids.len()).sum();
    let tree = Request::new(all_layers(model.architecture().layers), vec![ReadOut::LAST]);
    // Where the first token is read, nothing is shared.
    let mut apart = tree.clone();
    apart.read_outs.push(ReadOut { pooling: Pooling::First, ..ReadOut::LAST });
    let (requests, mut seconds) = ([("as a tree", tree), ("row by row", apart)], [vec![], vec![]]);
    for round in 0..6 {
        let which = (round + round / 2) % 2;
        let (name, request) = &requests[which];
        let began = Instant::now();
        let tokens = run(&model, &prompts, request).tokens;
        seconds[which].push(began.elapsed().as_secs_f64());
        println!("{name}: {tokens} of {all} tokens run in {:.1} s", seconds[which][seconds[which].len() - 1]);
    }
    let [tree, apart] = seconds.map(median);
    println!("{tree:.1} s as a tree, {apart:.1} s row by row: {:.2} times as long", apart / tree);
}

/// What it saves that rows whose reply ends make room for the next:
/// `LIMBIC_SMOLLM2_GGUF=FILE LIMBIC_SPEED_TEXTS=FILE.jsonl cargo test --release -p limbic-engine --test engine replies_that_end --
/// --ignored --nocapture`
#[test]
#[ignore = "a measurement, not a check"]
fn replies_that_end_early() {
    let (Some(path), Some(texts)) = (crate::smollm2::path(), texts(120)) else {
        crate::skipped("replies_that_end_early: set LIMBIC_SMOLLM2_GGUF and LIMBIC_SPEED_TEXTS");
        return;
    };
    let model = Model::load(&path, &Placement::cpu()).unwrap();
    let prompts = prompts(&model, &spec::Prompt::Chat(spec::Chat::default()), &texts);
    let mut request = Request::new(vec![Layer::Final], vec![ReadOut::at(1)]);
    request.continuation = Some(Continuation::Generated { tokens: 128, temperature: 0.0, seeds: Vec::new(), stop_at_eos: true });
    for _ in 0..2 {
        measured("all rows, each in the place of one that ended", || {
            let found = run(&model, &prompts, &request);
            let lengths: Vec<usize> = found.replies.iter().map(Vec::len).collect();
            let whole = lengths.iter().filter(|n| **n == 128).count();
            println!(
                "replies have {:.1} tokens on average, {whole} are not ended",
                lengths.iter().sum::<usize>() as f64 / lengths.len() as f64
            );
            found.tokens
        });
        measured("batch after batch", || {
            let batches = request.batches(&prompts);
            let alone = |rows: &Vec<usize>| rows.iter().map(|&row| prompts[row].clone()).collect::<Vec<_>>();
            batches.iter().map(|rows| run(&model, &alone(rows), &request).tokens).sum()
        });
    }
}

/// Private and shared weights beside one another: loading, speed, and the memory of two processes, in MiB of proportional set size
/// (a page that two processes map counts half for each):
/// `LIMBIC_SMOLLM2_GGUF=FILE LIMBIC_SPEED_TEXTS=FILE.jsonl cargo test --release -p limbic-engine --test engine shared_weights --
/// --ignored --nocapture`
#[test]
#[ignore = "a measurement, not a check"]
fn shared_weights() {
    let (Some(path), Some(texts)) = (crate::smollm2::path(), texts(120)) else {
        crate::skipped("shared_weights: set LIMBIC_SMOLLM2_GGUF and LIMBIC_SPEED_TEXTS");
        return;
    };
    for (format, placement) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let shared = SharedFile { path: folder.path().join("weights"), identity: Digest::of(format.as_bytes()) };
        let load = |shared: Option<&SharedFile>| {
            let start = Instant::now();
            let model = Model::prepare(&path, None, &placement(), shared, &mut || ControlFlow::Continue(())).unwrap();
            (model, start.elapsed().as_secs_f64())
        };
        let made = load(Some(&shared)).1;
        let mut seconds = [vec![], vec![]];
        for _ in 0..5 {
            seconds[0].push(load(None).1);
            seconds[1].push(load(Some(&shared)).1);
        }
        let size = std::fs::metadata(&shared.path).unwrap().len() >> 20;
        let [private, mapped] = seconds.map(median);
        println!("{format}: loading {private:.2} s, shared {mapped:.2} s (made in {made:.2} s, {size} MiB)");
        let models = [load(None).0, load(Some(&shared)).0];
        let layers = all_layers(models[0].architecture().layers);
        let prompts = prompts(&models[0], &raw(), &texts);
        let request = Request { batch_tokens: Some(2048), ..Request::new(layers, vec![ReadOut::LAST]) };
        let mut times = [vec![], vec![]];
        let rounds = if placement().swift() { 7 } else { 3 };
        for round in 0..2 * rounds {
            let which = (round + round / 2) % 2;
            times[which].push(measured(["private", "shared"][which], || run(&models[which], &prompts, &request).tokens));
        }
        let [private, mapped] = times.map(median);
        println!("{format}: speed of shared weights beside private ones {:.3}", private / mapped);
        drop(models);
        let two = |shared: Option<&SharedFile>| {
            let processes = [(); 2].map(|()| Holder::start(format, shared.map(|shared| shared.path.as_path())));
            let kib: u64 = processes.iter().map(Holder::proportional).sum();
            processes.into_iter().for_each(Holder::end);
            kib >> 10
        };
        println!("{format}: two processes {} MiB, shared {} MiB", two(None), two(Some(&shared)));
    }
}

type Named = (&'static str, fn() -> Placement);
const FORMATS: [Named; 3] =
    [("f32", Placement::cpu), ("bf16", Placement::cpu_bf16), ("bf16 without AVX512-BF16", Placement::cpu_bf16_portable)];

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// A process that holds a model, by [`holds_a_model`].
struct Holder {
    process: std::process::Child,
}

const HELD: &str = "LIMBIC_TEST_HELD_FORMAT";
const SHARED: &str = "LIMBIC_TEST_HELD_FILE";

impl Holder {
    fn start(format: &str, shared: Option<&std::path::Path>) -> Holder {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "speed::holds_a_model", "--nocapture"]).env(HELD, format);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut process = command.envs(shared.map(|path| (SHARED, path))).spawn().unwrap();
        let mut lines = std::io::BufReader::new(process.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("holding")), "it ended");
        Holder { process }
    }

    /// Its proportional set size, KiB.
    fn proportional(&self) -> u64 {
        let all = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.process.id())).unwrap();
        let line = all.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn end(mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

/// Loads a model, uses it and waits: for [`shared_weights`], which starts it twice.
#[test]
#[ignore = "for shared_weights"]
fn holds_a_model() {
    let (Some(path), Some(texts), Ok(format)) = (crate::smollm2::path(), texts(8), std::env::var(HELD)) else { return };
    let placement = FORMATS.iter().find(|(name, _)| *name == format).unwrap().1();
    let shared = std::env::var_os(SHARED).map(|path| SharedFile { path: path.into(), identity: Digest::of(format.as_bytes()) });
    let model = Model::prepare(&path, None, &placement, shared.as_ref(), &mut || ControlFlow::Continue(())).unwrap();
    let request = Request::new(all_layers(model.architecture().layers), vec![ReadOut::LAST]);
    run(&model, &prompts(&model, &raw(), &texts), &request);
    println!("holding");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}
