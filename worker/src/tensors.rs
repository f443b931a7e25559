//! Tensors on their way into a safetensors artifact. Their numbers are never copied: the artifact is made of them.
//!
//! The header's `__metadata__` holds the BLAKE3 digest of every tensor's bytes under `blake3.NAME`, so that who has
//! verified the header (its digest is in the commit) can read one tensor alone and verify it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use bytes::Bytes;
use limbic_proto::key::Digest;
use limbic_store::Content;
use rayon::prelude::*;

/// What stands before a tensor's name in the metadata, where its digest is.
pub(crate) const DIGEST: &str = "blake3.";

/// Why tensors can't be put into a file.
#[derive(Debug, thiserror::Error)]
pub enum TensorFileError {
    /// The numbers don't fill the shape.
    #[error("tensor `{name}` has {found} numbers, its shape {shape:?} has room for {expected}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Numbers of the shape.
        expected: usize,
        /// Numbers there are.
        found: usize,
    },
}

#[derive(Debug)]
struct Tensor {
    dtype: &'static str,
    /// Bytes per number.
    width: usize,
    shape: Vec<usize>,
    bytes: Bytes,
}

/// A safetensors file in the making.
#[derive(Debug, Default)]
pub(crate) struct TensorFile {
    tensors: BTreeMap<String, Tensor>,
    notes: BTreeMap<String, String>,
}

/// Numbers that are their own bytes, as little-endian machines keep them.
struct Numbers<T>(Vec<T>);

impl<T: bytemuck::NoUninit> AsRef<[u8]> for Numbers<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// The numbers of a tensor's bytes.
pub(crate) fn numbers<const WIDTH: usize, T>(bytes: &[u8], number: impl Fn([u8; WIDTH]) -> T) -> impl Iterator<Item = T> {
    bytes.as_chunks::<WIDTH>().0.iter().map(move |bytes| number(*bytes))
}

#[cfg(target_endian = "big")]
compile_error!("artifacts are little-endian");

impl TensorFile {
    fn add<T>(&mut self, dtype: &'static str, name: String, shape: Vec<usize>, numbers: Vec<T>)
    where
        T: bytemuck::NoUninit + Send + 'static,
    {
        let bytes = Bytes::from_owner(Numbers(numbers));
        self.tensors.insert(name, Tensor { dtype, width: size_of::<T>(), shape, bytes });
    }

    pub(crate) fn f32(&mut self, name: impl Into<String>, shape: Vec<usize>, numbers: Vec<f32>) {
        self.add("F32", name.into(), shape, numbers);
    }

    pub(crate) fn f64(&mut self, name: impl Into<String>, shape: Vec<usize>, numbers: Vec<f64>) {
        self.add("F64", name.into(), shape, numbers);
    }

    pub(crate) fn u8(&mut self, name: impl Into<String>, shape: Vec<usize>, numbers: Vec<u8>) {
        self.add("U8", name.into(), shape, numbers);
    }

    pub(crate) fn i64(&mut self, name: impl Into<String>, shape: Vec<usize>, numbers: Vec<i64>) {
        self.add("I64", name.into(), shape, numbers);
    }

    /// A note in the file's header.
    pub(crate) fn note(&mut self, key: &'static str, text: String) {
        self.notes.insert(key.to_owned(), text);
    }

    pub(crate) fn len(&self) -> usize {
        self.tensors.len()
    }

    /// The file. The order of its tensors depends on their formats and names alone (wide formats first, which keeps each
    /// aligned), so equal numbers give equal bytes.
    pub(crate) fn content(self) -> Result<Content, TensorFileError> {
        for (name, tensor) in &self.tensors {
            let (expected, found) = (tensor.shape.iter().product(), tensor.bytes.len() / tensor.width);
            if expected != found {
                return Err(TensorFileError::Shape { name: name.clone(), shape: tensor.shape.clone(), expected, found });
            }
        }
        let digests: Vec<(String, String)> =
            self.tensors.par_iter().map(|(name, tensor)| (format!("{DIGEST}{name}"), Digest::of(&tensor.bytes).hex())).collect();
        let mut notes = self.notes;
        notes.extend(digests);
        let mut tensors: Vec<(String, Tensor)> = self.tensors.into_iter().collect();
        tensors.sort_by(|(a, x), (b, y)| (Reverse(x.width), a).cmp(&(Reverse(y.width), b)));
        let header = header(&notes, &tensors);
        let digest = Digest::of(&header);
        let pieces = std::iter::once(Bytes::from(header)).chain(tensors.into_iter().map(|(_, tensor)| tensor.bytes));
        Ok(Content::of_pieces(pieces.filter(|piece| !piece.is_empty()).collect()).with_header(digest))
    }
}

/// Hexadecimal digits of the digest before sealed bytes.
const SEAL: usize = 64;

/// A file behind its own digest: for objects whose digest stands in no commit.
pub(crate) fn sealed(file: Content) -> Content {
    let digest = file.digest().hex();
    file.behind(Bytes::from(digest))
}

/// The file behind its digest, if it is what was written.
pub(crate) fn unsealed(bytes: &[u8]) -> Option<&[u8]> {
    let (digest, file) = bytes.split_at_checked(SEAL)?;
    (Digest::of(file).hex().as_bytes() == digest).then_some(file)
}

/// The header with its length before it, padded so that the first tensor is aligned.
fn header(notes: &BTreeMap<String, String>, tensors: &[(String, Tensor)]) -> Vec<u8> {
    let text = |value: &str| serde_json::Value::from(value).to_string();
    let mut json = format!("{{\"__metadata__\":{}", serde_json::to_string(notes).expect("texts serialize"));
    let mut start = 0;
    for (name, tensor) in tensors {
        let end = start + tensor.bytes.len();
        let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
        json +=
            &format!(",{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{start},{end}]}}", text(name), tensor.dtype, shape.join(","));
        start = end;
    }
    json.push('}');
    let padded = json.len().next_multiple_of(8);
    json.extend(std::iter::repeat_n(' ', padded - json.len()));
    let mut bytes = (padded as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(order: &[&str]) -> TensorFile {
        let mut file = TensorFile::default();
        for name in order {
            file.f32(*name, vec![2, 1], vec![1.0, name.len() as f32]);
        }
        file.i64("n", vec![1], vec![7]);
        file.note("terms", "[\"a \\\"b\\\"\"]".into());
        file
    }

    #[test]
    fn equal_tensors_give_equal_bytes_which_the_safetensors_crate_reads() {
        let bytes = file(&["b", "a\"ä"]).content().unwrap().to_bytes();
        assert_eq!(bytes, file(&["a\"ä", "b"]).content().unwrap().to_bytes());
        let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let tensor = read.tensor("a\"ä").unwrap();
        assert_eq!((tensor.shape(), tensor.data()), ([2, 1].as_slice(), bytemuck::cast_slice(&[1f32, 4.0])));
        assert_eq!(read.tensor("n").unwrap().data(), 7i64.to_le_bytes());
        let (length, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!((length + 8) % 8, 0, "the first tensor is aligned");
        let notes = metadata.metadata().as_ref().unwrap();
        assert_eq!(notes["terms"], "[\"a \\\"b\\\"\"]");
        assert_eq!(notes["blake3.n"], Digest::of(&7i64.to_le_bytes()).hex());
    }

    #[test]
    fn the_header_has_a_digest_of_its_own_and_wrong_shapes_are_refused() {
        let content = file(&["b"]).content().unwrap();
        let bytes = content.to_bytes();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(content.header(), Some(Digest::of(&bytes[..8 + length])));
        assert_eq!(content.digest(), Digest::of(&bytes));
        let mut wrong = TensorFile::default();
        wrong.f64("x", vec![3], vec![0.0]);
        assert!(wrong.content().unwrap_err().to_string().contains("`x` has 1 numbers"));
    }
}
