//! Tensors on their way into a safetensors artifact: numbers are kept once and copied once, into the file's bytes.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use safetensors::tensor::{Dtype, View};

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
    /// The header can't be written.
    #[error("writing a safetensors header: {0}")]
    Header(#[from] safetensors::SafeTensorError),
}

#[derive(Debug)]
enum Numbers {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
}

#[derive(Debug)]
struct Tensor {
    shape: Vec<usize>,
    numbers: Numbers,
}

/// A safetensors file in the making.
#[derive(Debug, Default)]
pub(crate) struct TensorFile {
    tensors: BTreeMap<String, Tensor>,
    /// A note in the header; a single one, because the header keeps several in no order.
    note: Option<(&'static str, String)>,
}

impl TensorFile {
    pub(crate) fn f32(&mut self, name: impl Into<String>, shape: Vec<usize>, numbers: Vec<f32>) {
        self.tensors.insert(name.into(), Tensor { shape, numbers: Numbers::F32(numbers) });
    }

    pub(crate) fn f64(&mut self, name: impl Into<String>, shape: Vec<usize>, numbers: Vec<f64>) {
        self.tensors.insert(name.into(), Tensor { shape, numbers: Numbers::F64(numbers) });
    }

    pub(crate) fn i64(&mut self, name: impl Into<String>, shape: Vec<usize>, numbers: Vec<i64>) {
        self.tensors.insert(name.into(), Tensor { shape, numbers: Numbers::I64(numbers) });
    }

    /// A note in the file's header; it replaces the one before.
    pub(crate) fn note(&mut self, key: &'static str, text: String) {
        self.note = Some((key, text));
    }

    pub(crate) fn len(&self) -> usize {
        self.tensors.len()
    }

    /// The file. The order of its tensors depends on their formats and names alone, so equal numbers give equal bytes.
    pub(crate) fn to_bytes(&self) -> Result<Bytes, TensorFileError> {
        for (name, tensor) in &self.tensors {
            let (expected, found) = (tensor.shape.iter().product(), tensor.numbers());
            if expected != found {
                return Err(TensorFileError::Shape { name: name.clone(), shape: tensor.shape.clone(), expected, found });
            }
        }
        let note = self.note.as_ref().map(|(key, text)| HashMap::from([((*key).to_owned(), text.clone())]));
        Ok(Bytes::from(safetensors::serialize(self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)), note)?))
    }
}

impl Tensor {
    fn numbers(&self) -> usize {
        match &self.numbers {
            Numbers::F32(x) => x.len(),
            Numbers::F64(x) => x.len(),
            Numbers::I64(x) => x.len(),
        }
    }
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        match self.numbers {
            Numbers::F32(_) => Dtype::F32,
            Numbers::F64(_) => Dtype::F64,
            Numbers::I64(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(match &self.numbers {
            Numbers::F32(x) => bytemuck::cast_slice(x),
            Numbers::F64(x) => bytemuck::cast_slice(x),
            Numbers::I64(x) => bytemuck::cast_slice(x),
        })
    }

    fn data_len(&self) -> usize {
        self.data().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_tensors_give_equal_bytes_and_wrong_shapes_are_refused() {
        let file = |order: &[&str]| {
            let mut file = TensorFile::default();
            for name in order {
                file.f32(*name, vec![2, 1], vec![1.0, 2.0]);
            }
            file.i64("n", vec![1], vec![7]);
            file.to_bytes().unwrap()
        };
        assert_eq!(file(&["b", "a"]), file(&["a", "b"]));
        let bytes = file(&["b", "a"]);
        let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(read.tensor("a").unwrap().shape(), [2, 1]);
        let mut wrong = TensorFile::default();
        wrong.f64("x", vec![3], vec![0.0]);
        assert!(wrong.to_bytes().unwrap_err().to_string().contains("`x` has 1 numbers"));
    }
}
