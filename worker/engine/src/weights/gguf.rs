//! Tensors of a GGUF file, dequantised, under Hugging Face names.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::gguf_file::Content;
use limbic_proto::architecture::{Architecture, Family};
use limbic_proto::gguf::Header;

use super::{LoadError, Rows, Tensors};

/// An open GGUF file.
pub(crate) struct GgufFile {
    path: PathBuf,
    reader: BufReader<File>,
    pub content: Content,
    /// LLaMA files order the rows of q and k for interleaved rotation.
    interleaved: bool,
}

impl GgufFile {
    /// Reads the header and refuses files shorter than their tensor directory says.
    pub(crate) fn open(path: &Path) -> Result<(GgufFile, Architecture, Header), LoadError> {
        let io = |source| LoadError::Io { path: path.to_owned(), source };
        let damaged = |what: String| LoadError::Damaged { path: path.to_owned(), what };
        let file = File::open(path).map_err(io)?;
        let there = file.metadata().map_err(io)?.len();
        let mut reader = BufReader::new(file);
        let header = Header::read(&mut reader).map_err(|e| damaged(e.to_string()))?;
        if let Some(needed) = header.file_bytes().filter(|needed| *needed > there) {
            return Err(damaged(format!("it has {there} bytes, its tensors need {needed}")));
        }
        let architecture = Architecture::from_gguf(&header).map_err(|source| LoadError::Architecture { path: path.to_owned(), source })?;
        let pairs = architecture.head_dim as u64 / 2;
        if let Some(info) = header.tensors.get("rope_freqs.weight").filter(|info| info.dims != [pairs]) {
            return Err(damaged(format!(
                "rope_freqs.weight has the shape {:?}, expected [{pairs}]: a divisor for each pair of a head",
                info.dims
            )));
        }
        std::io::Seek::rewind(&mut reader).map_err(io)?;
        let content = Content::read(&mut reader).map_err(|e| damaged(e.to_string()))?;
        let interleaved = matches!(architecture.family, Family::Llama | Family::Mistral);
        Ok((GgufFile { path: path.to_owned(), reader, content, interleaved }, architecture, header))
    }

    fn dequantised(&mut self, tensor: &str, shape: Option<&[usize]>) -> Result<Vec<f32>, LoadError> {
        let (path, tensor) = (self.path.clone(), tensor.to_owned());
        let Some(info) = self.content.tensor_infos.get(&tensor) else {
            return Err(LoadError::TensorMissing { path, tensor });
        };
        let found = info.shape.dims();
        if let Some(expected) = shape.filter(|s| *s != found) {
            return Err(LoadError::Shape { path, tensor, expected: expected.to_vec(), found: found.to_vec() });
        }
        let damaged = |e: candle_core::Error| LoadError::Damaged { path: path.clone(), what: format!("tensor `{tensor}`: {e}") };
        let numbers = self.content.tensor(&mut self.reader, &tensor, &Device::Cpu).map_err(damaged)?;
        let numbers = numbers.dequantize(&Device::Cpu).and_then(|t| t.flatten_all()?.to_vec1::<f32>());
        numbers.map_err(damaged)
    }
}

/// The name a tensor has in GGUF files.
fn gguf_name(name: &str) -> String {
    match name {
        "model.embed_tokens.weight" => return "token_embd.weight".to_owned(),
        "model.norm.weight" => return "output_norm.weight".to_owned(),
        "lm_head.weight" => return "output.weight".to_owned(),
        _ => {}
    }
    let rest = name.strip_prefix("model.layers.").unwrap_or(name);
    let (block, rest) = rest.split_once('.').unwrap_or(("", rest));
    let (part, kind) = rest.rsplit_once('.').unwrap_or((rest, ""));
    let part = match part {
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" => "ffn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        other => other,
    };
    format!("blk.{block}.{part}.{kind}")
}

/// Undoes the row order of interleaved rotation: row 2i + j of a head becomes row j * w/2 + i.
///
/// `numbers` is `[heads * w, columns]`; a bias has one column.
fn halves(numbers: &[f32], heads: usize, columns: usize) -> Vec<f32> {
    let width = numbers.len() / columns / heads;
    let mut out = Vec::with_capacity(numbers.len());
    for head in numbers.chunks_exact(width * columns) {
        for row in 0..width {
            let (j, i) = (row / (width / 2), row % (width / 2));
            out.extend_from_slice(&head[(2 * i + j) * columns..][..columns]);
        }
    }
    out
}

impl Tensors for GgufFile {
    fn load(&mut self, name: &str, shape: &[usize], rows: Rows) -> Result<Vec<f32>, LoadError> {
        let numbers = self.dequantised(&gguf_name(name), Some(shape))?;
        Ok(match rows {
            Rows::Rotated { heads } if self.interleaved => halves(&numbers, heads, shape.get(1).copied().unwrap_or(1)),
            _ => numbers,
        })
    }

    fn rope_factors(&mut self) -> Result<Option<Vec<f32>>, LoadError> {
        match self.content.tensor_infos.contains_key("rope_freqs.weight") {
            true => self.dequantised("rope_freqs.weight", None).map(Some),
            false => Ok(None),
        }
    }

    fn not_finite(&self, name: &str) -> LoadError {
        LoadError::NotFinite { path: self.path.clone(), tensor: gguf_name(name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaved_rows_become_halves() {
        // Two heads of width 4, one column: pairs (0, 1) and (2, 3) hold (first half, second half).
        assert_eq!(halves(&[0., 2., 1., 3., 10., 12., 11., 13.], 2, 1), [0., 1., 2., 3., 10., 11., 12., 13.]);
    }

    #[test]
    fn names_follow_the_gguf_convention() {
        assert_eq!(gguf_name("model.layers.7.self_attn.q_proj.weight"), "blk.7.attn_q.weight");
        assert_eq!(gguf_name("model.norm.weight"), "output_norm.weight");
        assert_eq!(gguf_name("model.layers.0.self_attn.k_proj.bias"), "blk.0.attn_k.bias");
    }
}
