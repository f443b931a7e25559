//! A finished block as bytes: a sealed safetensors file.

use limbic_engine::{Extraction, Request, States};
use limbic_store::Content;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use crate::tensors::{TensorFile, TensorFileError, numbers, sealed, unsealed};

/// The bytes to be kept.
pub(super) fn content(found: &Extraction) -> Result<Content, TensorFileError> {
    let mut file = TensorFile::default();
    for states in &found.states {
        let shape = vec![states.values.len() / found.width.max(1), found.width];
        file.f32(states.read_out.tensor(states.layer), shape, states.values.clone());
    }
    let mut put = |name: &str, numbers: Vec<i64>| file.i64(name, vec![numbers.len()], numbers);
    put("replies", found.replies.iter().flatten().map(|id| i64::from(*id)).collect());
    put("reply_lengths", found.replies.iter().map(|reply| reply.len() as i64).collect());
    put("shuffled", found.shuffled.iter().map(|n| *n as i64).collect());
    put("fillers", found.fillers.iter().map(|n| *n as i64).collect());
    put("bad", found.bad.iter().map(|row| *row as i64).collect());
    file.content().map(sealed)
}

/// A block of `rows` rows, if the bytes are what was written and answer the request. It has run no tokens.
pub(super) fn read(bytes: &[u8], request: &Request, rows: usize, width: usize) -> Option<Extraction> {
    let file = SafeTensors::deserialize(unsealed(bytes)?).ok()?;
    let counts = |name: &str| -> Option<Vec<i64>> {
        let tensor = file.tensor(name).ok().filter(|t| t.dtype() == Dtype::I64)?;
        Some(numbers(tensor.data(), i64::from_le_bytes).collect())
    };
    let mut states = Vec::new();
    for &layer in &request.layers {
        for &read_out in &request.read_outs {
            let tensor = file.tensor(&read_out.tensor(layer)).ok().filter(|t| t.dtype() == Dtype::F32 && t.shape() == [rows, width])?;
            states.push(States { layer, read_out, values: numbers(tensor.data(), f32::from_le_bytes).collect() });
        }
    }
    let (ids, lengths) = (counts("replies")?, counts("reply_lengths")?);
    let mut ids = ids.into_iter().map(|id| u32::try_from(id).ok());
    let replies = lengths.into_iter().map(|n| ids.by_ref().take(usize::try_from(n).ok()?).collect()).collect::<Option<Vec<Vec<u32>>>>()?;
    let sizes = |name: &str| counts(name)?.into_iter().map(|n| usize::try_from(n).ok()).collect::<Option<Vec<usize>>>();
    let (shuffled, fillers, bad) = (sizes("shuffled")?, sizes("fillers")?, sizes("bad")?);
    let fits = [replies.len(), shuffled.len(), fillers.len()] == [rows; 3] && bad.iter().all(|row| *row < rows);
    fits.then_some(Extraction { width, states, replies, shuffled, fillers, bad, ..Extraction::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use limbic_proto::axis::{Layer, ReadOut};

    #[test]
    fn a_block_is_read_as_it_was_written_and_not_with_a_bit_flipped() {
        let request = Request::new(vec![Layer::Block(1), Layer::Final], vec![ReadOut::LAST, ReadOut::at(2)]);
        let all = request.layers.iter().flat_map(|l| request.read_outs.iter().map(move |r| (*l, *r)));
        let states = all.enumerate().map(|(i, (layer, read_out))| States { layer, read_out, values: vec![i as f32; 6] }).collect();
        let replies = vec![vec![7, 8], vec![], vec![9]];
        let (shuffled, fillers, bad) = (vec![1, 0, 1], vec![5, 0, 5], vec![1]);
        let found = Extraction { width: 2, states, replies, shuffled, fillers, bad, ..Extraction::default() };
        let bytes = content(&found).unwrap().to_bytes().to_vec();
        assert_eq!(read(&bytes, &request, 3, 2).unwrap(), found);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(read(&damaged, &request, 3, 2).is_none(), "byte {at}");
        }
        assert!(read(&bytes[..bytes.len() - 1], &request, 3, 2).is_none() && read(b"", &request, 3, 2).is_none());
        assert!(read(&bytes, &request, 4, 2).is_none(), "a block of other rows");
        let other = Request::new(vec![Layer::Block(2)], vec![ReadOut::LAST]);
        assert!(read(&bytes, &other, 3, 2).is_none(), "other layers");
    }
}
