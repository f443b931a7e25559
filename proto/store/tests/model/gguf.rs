//! The smallest GGUF file: a header that describes a model, without tensors.

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A file whose tokenizer is of that kind and splits text that way.
pub fn file(model: &str, pre: &str) -> Vec<u8> {
    let words = [("general.architecture", "llama"), ("tokenizer.ggml.model", model), ("tokenizer.ggml.pre", pre)];
    let sizes = [
        ("llama.embedding_length", 8),
        ("llama.attention.head_count", 2),
        ("llama.block_count", 1),
        ("llama.feed_forward_length", 16),
        ("llama.context_length", 64),
        ("llama.vocab_size", 32),
    ];
    let lists = ["tokenizer.ggml.tokens", "tokenizer.ggml.merges"];
    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend(0u64.to_le_bytes());
    out.extend(((words.len() + sizes.len() + lists.len()) as u64).to_le_bytes());
    for (key, value) in words {
        text(&mut out, key);
        out.extend(8u32.to_le_bytes());
        text(&mut out, value);
    }
    for (key, value) in sizes {
        text(&mut out, key);
        out.extend(4u32.to_le_bytes());
        out.extend(u32::to_le_bytes(value));
    }
    for key in lists {
        text(&mut out, key);
        out.extend(9u32.to_le_bytes());
        out.extend(8u32.to_le_bytes());
        out.extend(1u64.to_le_bytes());
        text(&mut out, "a b");
    }
    out
}
