//! Verdicts as bytes: a sealed safetensors file of replies' digests, likelihoods and lengths.

use limbic_proto::key::Digest;
use limbic_store::Content;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::verdicts::Verdict;
use crate::tensors::{TensorFile, TensorFileError, numbers, sealed, unsealed};

/// Bytes of a digest.
const DIGEST: usize = 32;

/// The bytes to be kept of verdicts on `labels` labels, each behind the digest that it is known by.
pub(super) fn content(verdicts: &[(Digest, &Verdict)], labels: usize) -> Result<Content, TensorFileError> {
    let n = verdicts.len();
    let mut file = TensorFile::default();
    file.u8("keys", vec![n, DIGEST], verdicts.iter().flat_map(|(key, _)| *key.bytes()).collect());
    file.f64("log_likelihood", vec![n, labels], verdicts.iter().flat_map(|(_, verdict)| verdict.scores.iter().copied()).collect());
    file.i64("prompt_tokens", vec![n], verdicts.iter().map(|(_, verdict)| verdict.prompt).collect());
    file.i64("cut", vec![n], verdicts.iter().map(|(_, verdict)| i64::from(verdict.cut)).collect());
    file.content().map(sealed)
}

/// The verdicts in some bytes, if these are what was written and each is on `labels` labels.
pub(super) fn read(bytes: &[u8], labels: usize) -> Option<Vec<(Digest, Verdict)>> {
    let file = SafeTensors::deserialize(unsealed(bytes)?).ok()?;
    let tensor = |name: &str, dtype: Dtype, width: Option<usize>| {
        let tensor = file.tensor(name).ok().filter(|t| t.dtype() == dtype)?;
        let shape = tensor.shape();
        (shape.get(1).copied() == width && shape.len() == 1 + usize::from(width.is_some())).then(|| (shape[0], tensor.data().to_vec()))
    };
    let (n, keys) = tensor("keys", Dtype::U8, Some(DIGEST))?;
    let (of_scores, scores) = tensor("log_likelihood", Dtype::F64, Some(labels))?;
    let (of_prompts, prompts) = tensor("prompt_tokens", Dtype::I64, None)?;
    let (of_cuts, cuts) = tensor("cut", Dtype::I64, None)?;
    if [of_scores, of_prompts, of_cuts] != [n; 3] {
        return None;
    }
    let scores: Vec<f64> = numbers(&scores, f64::from_le_bytes).collect();
    let [prompts, cuts] = [prompts, cuts].map(|data| numbers(&data, i64::from_le_bytes).collect::<Vec<_>>());
    if !scores.iter().all(|score| score.is_finite()) || !prompts.iter().all(|n| *n > 0) || !cuts.iter().all(|cut| [0, 1].contains(cut)) {
        return None;
    }
    let keys = keys.chunks_exact(DIGEST).map(|b| Digest::from(<[u8; DIGEST]>::try_from(b).expect("a digest's bytes")));
    let verdict = |at: usize| Verdict { scores: scores[at * labels..][..labels].to_vec(), prompt: prompts[at], cut: cuts[at] == 1 };
    Some(keys.enumerate().map(|(at, key)| (key, verdict(at))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_read_as_they_were_written_and_not_with_a_bit_flipped() {
        let verdict = |scores: [f64; 2], prompt, cut| Verdict { scores: scores.to_vec(), prompt, cut };
        let written = [verdict([-0.1, -3.0e-17], 9, false), verdict([-700.25, f64::MIN_POSITIVE], 1, true)];
        let keyed: Vec<(Digest, &Verdict)> = written.iter().enumerate().map(|(i, v)| (Digest::of(&[i as u8]), v)).collect();
        let bytes = content(&keyed, 2).unwrap().to_bytes();
        assert_eq!(bytes, content(&keyed, 2).unwrap().to_bytes(), "the same verdicts are the same bytes");
        let found = read(&bytes, 2).unwrap();
        assert!(found.iter().zip(&keyed).all(|(a, b)| (&a.0, &a.1) == (&b.0, b.1)) && found.len() == 2);
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            assert!(read(&damaged, 2).is_none(), "byte {at}");
        }
        assert!(read(&bytes[..bytes.len() - 1], 2).is_none() && read(b"", 2).is_none());
        assert!(read(&bytes, 3).is_none(), "verdicts on other labels");
        for wrong in [verdict([f64::NAN, 0.0], 1, false), verdict([0.0, 0.0], 0, false)] {
            let bytes = content(&[(Digest::of(b"x"), &wrong)], 2).unwrap().to_bytes();
            assert!(read(&bytes, 2).is_none(), "no judge says {wrong:?}");
        }
        assert_eq!(read(&content(&[], 2).unwrap().to_bytes(), 2), Some(Vec::new()));
    }
}
