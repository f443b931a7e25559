//! Trains the three quickstart models (Qwen3 architecture, 0.3, 1 and 4 M parameters) on GoEmotions; the shipped weights were made by
//! `cargo run --release -p limbic-engine --example train_tiny -- $DATA --minutes 32 --only tiny-0.3m,tiny-1m`, then with
//! `$DATA --minutes 36 --only tiny-4m` and `$DATA --minutes 20 --only tiny-4m --resume`, where `$DATA` stands for
//!
//! ```text
//! --data goemotions.train.jsonl --label-map goemotions-to-seven.json --exclude goemotions.validation.jsonl
//! --exclude goemotions.test.jsonl --test goemotions.test.jsonl --out configs/quickstart/models
//! ```
//!
//! The data are GoEmotions (Demszky et al. 2020, CC BY 4.0), one JSONL file `{text, labels}` per split, and a JSON map from its 28 labels
//! to seven classes (the published Ekman mapping). Nothing of the corpus beside the models is read: that one is there to be measured on.
//!
//! A run that is bounded by `--minutes` follows the clock; one bounded by `--steps` repeats itself. On a machine that is shared, set
//! `RAYON_NUM_THREADS=1` and run two models side by side: candle's worker threads spin at their barriers while they wait for each other.
//! With glibc, `MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184` keeps activations from being mapped anew each step.

#[path = "train_tiny/corpus.rs"]
mod corpus;
#[path = "train_tiny/export.rs"]
mod export;
#[path = "train_tiny/kernels.rs"]
mod kernels;
#[path = "train_tiny/model.rs"]
mod model;
#[path = "train_tiny/score.rs"]
mod score;
#[path = "train_tiny/tokenizer.rs"]
mod tokenizer;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use candle_core::backprop::GradStore;
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use clap::Parser;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokenizers::Tokenizer;

use crate::corpus::{Corpus, Row, TIME};
use crate::kernels::CrossEntropy;
use crate::model::{Model, SIZES, Size};
use crate::score::ZeroShot;

/// Share of the training that warms up, and the end of the cosine as a share of the highest rate.
const WARM_UP: f64 = 0.04;
const LAST_RATE: f64 = 0.05;
/// Gradients are scaled down to this norm.
const CLIP: f64 = 1.0;
const WEIGHT_DECAY: f64 = 0.05;
/// What tells the documents of a resumed run from those of a fresh one.
const FRESH: u64 = 0x7261_696e;
const RESUMED: u64 = 0x6d6f_7265;
const REPORT_EVERY: Duration = Duration::from_secs(20);
const SAVE_EVERY: Duration = Duration::from_secs(180);

/// Trains the quickstart models.
#[derive(Parser)]
struct Options {
    /// Labelled utterances: JSONL with `text` and `labels`.
    #[arg(long)]
    data: PathBuf,
    /// JSON object from those labels to the seven classes.
    #[arg(long)]
    label_map: PathBuf,
    /// JSONL files whose texts must not be trained on.
    #[arg(long)]
    exclude: Vec<PathBuf>,
    /// Further labelled utterances, only to score the finished models on.
    #[arg(long)]
    test: Option<PathBuf>,
    /// Where the model folders go.
    #[arg(long)]
    out: PathBuf,
    /// Time for the training of all the models together.
    #[arg(long, default_value_t = 50.0)]
    minutes: f64,
    /// Number of steps of each model, in place of the time.
    #[arg(long)]
    steps: Option<usize>,
    /// Only the models of these names.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Start from the weights that are already in the folders, with a fresh optimizer and other documents.
    #[arg(long)]
    resume: bool,
    /// Blocks of 256 tokens in a step.
    #[arg(long, default_value_t = 4)]
    blocks: usize,
    /// Weight of the loss of a head that reads an utterance's class at each of its tokens and is not exported.
    #[arg(long, default_value_t = 0.5)]
    reader: f64,
    /// Seeds the split, the initial weights and the order of documents.
    #[arg(long, default_value_t = 17)]
    seed: u64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let corpus = Corpus::read(&options.data, &options.label_map, &options.exclude, options.seed)?;
    println!("{} training rows, {} held out; per class {:?}", corpus.train.len(), corpus.held_out.len(), corpus.counts());
    let test = options.test.as_ref().map(|path| corpus::rows(path, &options.label_map)).transpose()?;
    let tokenizer = tokenizer::train(&corpus)?;
    let chosen = |size: &&Size| options.only.is_empty() || options.only.iter().any(|name| name == size.name);
    let sizes: Vec<&Size> = SIZES.iter().filter(chosen).collect();
    ensure!(!sizes.is_empty(), "--only names none of the models");
    let shares: f64 = sizes.iter().map(|size| size.share).sum();
    for size in sizes {
        let limit = Duration::from_secs_f64(60.0 * options.minutes * size.share / shares);
        let model = Model::new(*size, tokenizer::VOCABULARY, options.seed)?;
        if options.resume {
            export::read(&model, &options.out.join(size.name))?;
        }
        println!("{}: {} parameters, {:.1} minutes", size.name, model.parameters(), limit.as_secs_f64() / 60.0);
        let run = Run { options: &options, corpus: &corpus, tokenizer: &tokenizer, size, model, limit };
        run.train()?;
        run.finish(test.as_deref())?;
    }
    Ok(())
}

/// The training of one model.
struct Run<'a> {
    options: &'a Options,
    corpus: &'a Corpus,
    tokenizer: &'a Tokenizer,
    size: &'a Size,
    model: Model,
    limit: Duration,
}

impl Run<'_> {
    /// How much of the training is done, from 0 to 1.
    fn progress(&self, step: usize, elapsed: Duration) -> f64 {
        match self.options.steps {
            Some(steps) => step as f64 / steps as f64,
            None => elapsed.as_secs_f64() / self.limit.as_secs_f64(),
        }
    }

    fn train(&self) -> Result<()> {
        // Matrices decay, norms do not.
        let (matrices, norms): (Vec<_>, Vec<_>) = self.model.trained().into_iter().partition(|var| var.rank() > 1);
        let settings = |weight_decay| ParamsAdamW { lr: 0.0, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay };
        let mut optimizers = [AdamW::new(matrices, settings(WEIGHT_DECAY))?, AdamW::new(norms, settings(0.0))?];
        let mut random = ChaCha8Rng::seed_from_u64(self.options.seed ^ if self.options.resume { RESUMED } else { FRESH });
        let (started, mut reported, mut saved) = (Instant::now(), Instant::now(), Instant::now());
        let (mut step, mut recent) = (0usize, None);
        loop {
            let progress = self.progress(step, started.elapsed());
            if progress >= 1.0 {
                break;
            }
            let rate = self.size.rate * schedule(progress);
            let loss = self.step(&mut optimizers, rate, &mut random)?;
            ensure!(loss.is_finite(), "{}: the loss is {loss} at step {step}", self.size.name);
            recent = Some(recent.map_or(loss, |recent| 0.98 * recent + 0.02 * loss));
            step += 1;
            if reported.elapsed() >= REPORT_EVERY || step == 5 {
                reported = Instant::now();
                self.report(step, started.elapsed(), rate, recent.unwrap_or(loss));
            }
            if saved.elapsed() >= SAVE_EVERY {
                self.save()?;
                let zero_shot = ZeroShot::of(&self.model, self.tokenizer, &self.corpus.held_out, 40)?;
                println!("{}: saved; zero-shot on held-out rows {:.3}", self.size.name, zero_shot.balanced_accuracy());
                saved = Instant::now();
            }
        }
        self.report(step, started.elapsed(), 0.0, recent.unwrap_or_default());
        Ok(())
    }

    fn step(&self, optimizers: &mut [AdamW], rate: f64, random: &mut ChaCha8Rng) -> Result<f64> {
        let batch = self.corpus.batch(self.tokenizer, self.options.blocks, random)?;
        let total: f32 = batch.weights.iter().sum();
        let weights = batch.weights.iter().map(|weight| weight / total).collect();
        let states = self.model.states(&batch)?;
        let loss = self.model.logits(&states)?.apply_op1(CrossEntropy { targets: batch.targets, weights })?;
        let reading = self.model.classes(&states)?.apply_op1(read(&batch.classes))?;
        let mut gradients = (&loss + (reading * self.options.reader)?)?.backward()?;
        self.clip(&mut gradients)?;
        for optimizer in optimizers {
            optimizer.set_learning_rate(rate);
            optimizer.step(&gradients)?;
        }
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }

    fn clip(&self, gradients: &mut GradStore) -> Result<()> {
        let mut square = 0.0;
        for var in &self.model.trained() {
            let gradient = gradients.get(var).context("a weight has no gradient")?;
            square += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        let scale = CLIP / square.sqrt();
        if scale < 1.0 {
            for var in &self.model.trained() {
                if let Some(gradient) = gradients.remove(var) {
                    gradients.insert(var, (gradient * scale)?);
                }
            }
        }
        Ok(())
    }

    fn report(&self, step: usize, elapsed: Duration, rate: f64, loss: f64) {
        let tokens = step * self.options.blocks * TIME;
        let (seconds, progress) = (elapsed.as_secs_f64(), self.progress(step, elapsed));
        println!(
            "{}: step {step}, {tokens} tokens, {:.0} tokens/s, loss {loss:.3}, rate {rate:.1e}, {seconds:.0} s, {:.0} s left",
            self.size.name,
            tokens as f64 / seconds,
            seconds / progress.max(1e-9) * (1.0 - progress).max(0.0),
        );
    }

    fn save(&self) -> Result<()> {
        export::write(&self.model, self.size, self.tokenizer, &self.options.out.join(self.size.name))
    }

    /// Writes the final weights, and scores them as they are written.
    fn finish(&self, test: Option<&[Row]>) -> Result<()> {
        export::round(&self.model)?;
        self.save()?;
        for (name, rows) in [("held-out", Some(self.corpus.held_out.as_slice())), ("test", test)] {
            let Some(rows) = rows else { continue };
            let zero_shot = ZeroShot::of(&self.model, self.tokenizer, rows, 150)?;
            println!(
                "{}: {name}: raw text {:.3} nats/token; zero-shot of {} rows: accuracy {:.3}, balanced {:.3}, coverage {:.3}, recalls {:.2?}",
                self.size.name,
                score::raw_loss(&self.model, self.tokenizer, rows)?,
                zero_shot.count(),
                zero_shot.accuracy(),
                zero_shot.balanced_accuracy(),
                zero_shot.coverage(),
                zero_shot.recalls(),
            );
        }
        Ok(())
    }
}

/// Mean loss of reading the class of an utterance at each of its tokens; tokens of no class have no weight.
fn read(classes: &[Option<usize>]) -> CrossEntropy {
    let weight = 1.0 / classes.iter().flatten().count().max(1) as f32;
    let targets = classes.iter().map(|class| class.unwrap_or_default() as u32).collect();
    CrossEntropy { targets, weights: classes.iter().map(|class| if class.is_some() { weight } else { 0.0 }).collect() }
}

/// Linear warm-up, then a cosine down to [`LAST_RATE`].
fn schedule(progress: f64) -> f64 {
    let fall = ((progress - WARM_UP) / (1.0 - WARM_UP)).clamp(0.0, 1.0);
    let cosine = LAST_RATE + (1.0 - LAST_RATE) * 0.5 * (1.0 + (std::f64::consts::PI * fall).cos());
    cosine.min((progress / WARM_UP).max(0.01))
}
