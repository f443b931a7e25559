//! The bytes of an artifact on their way into the store, in the pieces in which they were computed.

use bytes::Bytes;
use limbic_proto::key::Digest;
use object_store::PutPayload;

/// An artifact's bytes. Cloning copies none of them.
#[derive(Debug, Clone, Default)]
pub struct Content {
    pieces: Vec<Bytes>,
    header: Option<Digest>,
}

impl Content {
    /// The bytes of all pieces, one after another.
    pub fn of_pieces(pieces: Vec<Bytes>) -> Content {
        Content { pieces, header: None }
    }

    /// The same bytes with the digest of their header; see [`limbic_proto::commit::Artifact::header`].
    #[must_use]
    pub fn with_header(self, header: Digest) -> Content {
        Content { header: Some(header), ..self }
    }

    /// The same bytes behind others.
    #[must_use]
    pub fn behind(mut self, first: Bytes) -> Content {
        self.pieces.insert(0, first);
        Content { header: None, ..self }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The digest of the header, where the bytes have one.
    pub fn header(&self) -> Option<Digest> {
        self.header
    }

    /// The digest of all bytes.
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        for piece in &self.pieces {
            hasher.update(piece);
        }
        Digest::from_hasher(&hasher)
    }

    /// All bytes in one piece; copies them if they are in several.
    pub fn to_bytes(&self) -> Bytes {
        match self.pieces.as_slice() {
            [one] => one.clone(),
            pieces => pieces.concat().into(),
        }
    }

    /// The bytes as they are sent.
    pub(crate) fn payload(&self) -> PutPayload {
        self.pieces.iter().cloned().collect()
    }

    /// The bytes in parts of `size`, the last one shorter; nothing is copied.
    pub(crate) fn parts(&self, size: usize) -> impl Iterator<Item = PutPayload> + '_ {
        let mut rest = self.pieces.iter().cloned();
        let mut current = Bytes::new();
        std::iter::from_fn(move || {
            let (mut part, mut room) = (Vec::new(), size);
            while room > 0 {
                if current.is_empty() {
                    match rest.next() {
                        Some(next) => current = next,
                        None => break,
                    }
                }
                let piece = current.split_to(room.min(current.len()));
                room -= piece.len();
                part.push(piece);
            }
            (room < size).then(|| part.into_iter().collect())
        })
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Content {
        Content::of_pieces(vec![bytes])
    }
}

impl PartialEq for Content {
    /// Whether the bytes are the same, however they are cut.
    fn eq(&self, other: &Content) -> bool {
        self.len() == other.len() && self.to_bytes() == other.to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_all_bytes_in_order_however_they_are_cut() {
        let whole: Vec<u8> = (0..=250).collect();
        for cuts in [vec![0, 251], vec![0, 0, 1, 100, 100, 251], (0..=251).collect()] {
            let pieces = cuts.windows(2).map(|w| Bytes::copy_from_slice(&whole[w[0]..w[1]])).collect();
            let content = Content::of_pieces(pieces);
            assert_eq!((content.len(), content.digest()), (251, Digest::of(&whole)));
            for size in [1, 7, 100, 251, 300] {
                let parts: Vec<PutPayload> = content.parts(size).collect();
                assert_eq!(parts.len(), 251usize.div_ceil(size));
                assert!(parts[..parts.len() - 1].iter().all(|part| part.content_length() == size));
                let joined: Vec<u8> = parts.iter().flat_map(|part| part.iter().flatten().copied()).collect();
                assert_eq!(joined, whole);
            }
        }
        assert_eq!(Content::default().parts(4).count(), 0);
    }
}
