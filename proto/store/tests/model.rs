//! What a model's files are, and what is missing of them, is known before anything is computed: on disk and on the hub.

#[path = "model/gguf.rs"]
mod gguf;
#[path = "model/hub.rs"]
mod hub;

use std::path::Path;

use limbic_store::ModelFiles;
use limbic_store::model::{ModelError, Need};

async fn resolve(path: &Path) -> Result<ModelFiles, ModelError> {
    ModelFiles::resolve(&path.to_string_lossy(), Need::Description).await
}

#[tokio::test]
async fn a_gguf_file_whose_tokenizer_cannot_be_rebuilt_needs_one_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    std::fs::write(&file, gguf::file("llama", "default")).unwrap();
    let error = resolve(&file).await.unwrap_err().to_string();
    assert!(error.contains("(tokenizer.ggml.model = `llama`) is not supported; put the model's tokenizer.json beside the file"), "{error}");

    let tokenizer = folder.path().join("tokenizer.json");
    std::fs::write(&tokenizer, "{\"one\": 1}").unwrap();
    let one = resolve(&file).await.unwrap().digest;
    std::fs::write(&tokenizer, "{\"two\": 2}").unwrap();
    let two = resolve(&file).await.unwrap().digest;
    assert_ne!(one, two, "another tokenizer makes another model");
}

#[tokio::test]
async fn a_gguf_file_with_its_own_tokenizer_is_named_by_its_bytes_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    let bytes = gguf::file("gpt2", "qwen2");
    std::fs::write(&file, &bytes).unwrap();
    let alone = resolve(&file).await.unwrap().digest;
    assert_eq!(alone, limbic_proto::key::Digest::of(&bytes), "digests of what exists stay");
    // The engine doesn't read it, so it changes no result.
    std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    assert_eq!(resolve(&file).await.unwrap().digest, alone);
}

const CONFIG: &str = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8, "intermediate_size": 16,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 32, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true}"#;
const INDEX: &str = r#"{"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}"#;

#[tokio::test]
async fn a_folder_must_hold_what_its_index_names() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("config.json", CONFIG);
    write("tokenizer.json", "{}");
    write("model.safetensors.index.json", INDEX);
    write("model-1-of-2.safetensors", "1");
    let error = resolve(folder.path()).await.unwrap_err().to_string();
    assert!(error.contains("has no model-2-of-2.safetensors, which model.safetensors.index.json names: add it"), "{error}");
    write("model-2-of-2.safetensors", "2");
    let digest = resolve(folder.path()).await.unwrap().digest;
    // What is loaded is digested, and nothing else.
    write("consolidated.safetensors", "everything once more");
    assert_eq!(resolve(folder.path()).await.unwrap().digest, digest);
    write("model-2-of-2.safetensors", "3");
    assert_ne!(resolve(folder.path()).await.unwrap().digest, digest);
}

/// One test, for the hub's address is the process's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hub_repository_only_what_counts_is_fetched() {
    let cache = tempfile::tempdir().unwrap();
    let gguf = gguf::file("llama", "default");
    let hub = hub::Hub::serve(&[
        ("a/sharded/config.json", CONFIG.as_bytes()),
        ("a/sharded/tokenizer.json", b"{}"),
        ("a/sharded/model.safetensors.index.json", INDEX.as_bytes()),
        ("a/sharded/model-1-of-2.safetensors", b"1"),
        ("a/sharded/model-2-of-2.safetensors", b"2"),
        ("a/sharded/consolidated.safetensors", b"everything once more"),
        ("a/lacking/config.json", CONFIG.as_bytes()),
        ("a/lacking/model.safetensors", b"1"),
        ("a/quantised/small/model.gguf", &gguf),
        ("a/quantised/small/tokenizer.json", b"{}"),
        ("a/bare/model.gguf", &gguf),
    ]);
    // SAFETY: no other test of this program reads these variables.
    unsafe {
        std::env::set_var("HF_ENDPOINT", &hub.endpoint);
        std::env::set_var("HF_HOME", cache.path());
        std::env::set_var("NO_PROXY", "127.0.0.1");
    }
    let of = |source: &'static str, need| async move { ModelFiles::resolve(source, need).await };

    let planned = of("hf://a/sharded", Need::Description).await.unwrap();
    assert!(!hub.fetched().iter().any(|f| f.ends_with(".safetensors")), "planning fetches no weights: {:?}", hub.fetched());
    let whole = of(&*planned.pinned.clone().leak(), Need::Weights).await.unwrap();
    assert_eq!(whole.digest, planned.digest);
    let there = |name: &str| whole.path.join(name).is_file();
    assert!(there("model-1-of-2.safetensors") && there("model-2-of-2.safetensors") && there("tokenizer.json"));
    assert!(!there("consolidated.safetensors"), "a second copy of the weights is not fetched");

    let refused = |error: ModelError| error.to_string();
    let lacking = refused(of("hf://a/lacking", Need::Description).await.unwrap_err());
    assert!(lacking.contains("hf://a/lacking@") && lacking.contains("has no tokenizer.json"), "{lacking}");

    let quantised = of("hf://a/quantised/small/model.gguf", Need::Description).await.unwrap();
    assert!(quantised.path.with_file_name("tokenizer.json").is_file(), "the tokenizer beside the file is fetched too");
    let bare = refused(of("hf://a/bare/model.gguf", Need::Description).await.unwrap_err());
    assert!(bare.contains("put the model's tokenizer.json beside the file"), "{bare}");
}
