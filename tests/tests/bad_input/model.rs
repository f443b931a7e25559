//! Models: what is found when the spec is read, and what workers find.

use insta::assert_snapshot;
use serde_json::json;

use crate::damage::{Model, Tensor};
use crate::{limbic, run, sandbox, validate};

const UP: &str = "model.layers.1.mlp.up_proj.weight";

/// What `limbic validate` says of a model that was damaged.
fn refused(damage: impl FnOnce(&Model)) -> String {
    let sandbox = sandbox();
    damage(&Model::new(&sandbox, &[]));
    limbic(&sandbox, &["validate", "small.yaml"])
}

/// What `limbic run` says of one: a worker finds the damage.
fn quarantined(damage: impl FnOnce(&Model)) -> String {
    let sandbox = sandbox();
    damage(&Model::new(&sandbox, &[]));
    let said = run(&sandbox);
    let status = sandbox.json(&["status", "small", "--store", "store", "--json"]);
    let (failed, left) = (&status["attempts"]["failed"], status["quarantined"].as_array().unwrap().len());
    assert!(failed.as_u64().unwrap() <= left as u64, "no unit is tried again: {failed} attempts failed, {left} units are quarantined");
    assert!(sandbox.path("out/report.html").exists(), "the report holds everything else");
    said
}

#[test]
fn files_that_are_not_there() {
    assert_snapshot!(validate(&[("source: MODEL", "source: models/none")]), @r#"
    exit 2
    error: model `models/none`: can't be opened (No such file or directory (os error 2)): give a folder in Hugging Face layout, a .gguf file or hf://OWNER/NAME
    "#);
    assert_snapshot!(validate(&[("source: MODEL", "source: 'hf://none'")]), @r#"
    exit 2
    error: `hf://none` is not a hub id: write hf://OWNER/NAME[@REVISION] for a model, hf://OWNER/NAME[@REVISION]/FILE.gguf for a GGUF file or hf://datasets/OWNER/NAME[@REVISION]/FILE
    "#);
    for (file, expected) in [
        ("model.safetensors", "has no .safetensors file"),
        ("config.json", "config.json can't be read (No such file"),
        ("tokenizer.json", "has no tokenizer.json"),
    ] {
        let said = refused(|model| std::fs::remove_file(model.file(file)).unwrap());
        assert!(said.starts_with("exit 2\nerror: model `") && said.contains(expected), "{said}");
    }
}

#[test]
fn an_architecture_that_is_not_supported() {
    assert_snapshot!(refused(|model| model.json("config.json", |c| {
        c["model_type"] = json!("gpt2");
        c["architectures"] = json!(["GPT2LMHeadModel"]);
    })), @r#"
    exit 2
    error: model `[sandbox]/model/config.json`: architecture `gpt2 (GPT2LMHeadModel)` is not supported; supported are: llama, qwen2, qwen3, mistral
    "#);
    assert_snapshot!(refused(|model| model.json("config.json", |c| c["hidden_act"] = json!("gelu"))), @r#"
    exit 2
    error: model `[sandbox]/model/config.json`: `hidden_act` = "gelu" is not supported; expected silu
    "#);
    assert_snapshot!(refused(|model| model.json("config.json", |c| c["hidden_size"] = json!("64"))), @r#"
    exit 2
    error: model `[sandbox]/model/config.json`: `hidden_size` = "64" is wrong: expected a whole number
    "#);
    assert_snapshot!(refused(|model| std::fs::write(model.file("config.json"), "{").unwrap()), @r#"
    exit 2
    error: model `[sandbox]/model/config.json`: config.json is not a JSON object: EOF while parsing an object at line 1 column 1
    "#);
}

#[test]
fn weights_that_end_too_early() {
    assert_snapshot!(quarantined(|model| {
        let file = std::fs::File::options().write(true).open(model.file("model.safetensors")).unwrap();
        file.set_len(300_000).unwrap();
    }), @r#"
    exit 2
    error: extract model raw rows 0..30: loading model `model` from [sandbox]/model: [sandbox]/model/model.safetensors is damaged or truncated: incomplete metadata, file not fully covered (and 14 more units)
    the report holds everything else; mend the cause and run again
    "#);
}

#[test]
fn a_tensor_of_the_wrong_shape() {
    assert_snapshot!(quarantined(|model| model.tensor(UP, |t| t.shape.reverse())), @r#"
    exit 2
    error: extract model raw rows 0..30: loading model `model` from [sandbox]/model: [sandbox]/model/model.safetensors: tensor `model.layers.1.mlp.up_proj.weight` has shape [64, 192], expected [192, 64] (and 14 more units)
    the report holds everything else; mend the cause and run again
    "#);
}

#[test]
fn a_tensor_that_is_not_there() {
    assert_snapshot!(quarantined(|model| model.tensor(UP, |t| t.name += ".old")), @r#"
    exit 2
    error: extract model raw rows 0..30: loading model `model` from [sandbox]/model: [sandbox]/model: tensor `model.layers.1.mlp.up_proj.weight` is missing (and 14 more units)
    the report holds everything else; mend the cause and run again
    "#);
}

#[test]
fn a_tokenizer_of_another_model() {
    assert_snapshot!(quarantined(|model| model.json("tokenizer.json", |t| t["model"]["vocab"]["Ġis"] = json!(5000))), @r#"
    exit 2
    error: extract model raw rows 0..30: loading model `model` from [sandbox]/model: [sandbox]/model/tokenizer.json: the tokenizer has token id 5000 (`Ġis`), but the model embeds only 2048 tokens (and 14 more units)
    the report holds everything else; mend the cause and run again
    "#);
}

#[test]
fn a_state_that_is_not_finite() {
    // The largest number of bf16: finite as a weight, but not what it is multiplied with.
    let largest = |t: &mut Tensor| t.bytes.chunks_exact_mut(2).for_each(|b| b.copy_from_slice(&0x7f7f_u16.to_le_bytes()));
    assert_snapshot!(quarantined(|model| model.tensor("model.layers.2.input_layernorm.weight", largest)), @r#"
    exit 2
    error: extract model raw rows 0..30: the state L3.k0 (layer 3) of row `p1-009-sadness` is not finite: the model's weights are at fault: compare their digest with the publisher's, or set `bad_rows: skip` in the spec to leave such rows out (and 14 more units)
    the report holds everything else; mend the cause and run again
    "#);
}

#[test]
fn a_weight_that_is_not_a_number() {
    assert_snapshot!(quarantined(|model| model.tensor("model.layers.2.input_layernorm.weight", |t| t.bytes[..2].copy_from_slice(&0x7fc0_u16.to_le_bytes()))), @r#"
    exit 2
    error: extract model raw rows 0..30: loading model `model` from [sandbox]/model: [sandbox]/model/model.safetensors: tensor `model.layers.2.input_layernorm.weight` holds a NaN or an infinity (and 14 more units)
    the report holds everything else; mend the cause and run again
    "#);
}

#[test]
fn prompts_that_are_too_long() {
    let short = |model: &Model| model.json("config.json", |c| c["max_position_embeddings"] = json!(48));
    assert_snapshot!(quarantined(short), @r#"
    exit 2
    error: extract model raw rows 0..30: building prompts: 7 of 30 rows don't fit the 45 tokens that the model's context leaves them; the longest, row 5, has 76 (id `p1-009-sadness`); set `too_long` in the spec to `skip` or `truncate`, or shorten the continuation (and 14 more units)
    the report holds everything else; mend the cause and run again
    "#);
    for choice in ["skip", "truncate"] {
        let sandbox = sandbox();
        short(&Model::new(&sandbox, &[("offsets:", &format!("too_long: {choice}\noffsets:"))]));
        assert_eq!(run(&sandbox).trim(), "exit 0", "{choice}");
        let done = sandbox.json(&["status", "small", "--store", "store", "--json"]);
        assert_eq!((&done["state"], &done["cells"]["quarantined"]), (&json!("complete"), &json!(0)), "{choice}");
    }
}
