//! NumPy's format for one array (`.npy`, version 1.0), written row by row.

use std::io::{self, Write};
use std::path::Path;

use limbic_store::whole::WholeFile;

/// An array of little-endian f32 `[rows, width]` in the making.
pub(super) struct Array {
    file: WholeFile,
}

impl Array {
    /// Begins a file for so many rows.
    pub(super) fn create(path: &Path, rows: usize, width: usize) -> io::Result<Array> {
        let mut file = WholeFile::create(path)?;
        file.write_all(&head(rows, width))?;
        Ok(Array { file })
    }

    /// Adds numbers.
    pub(super) fn push(&mut self, numbers: &[f32]) -> io::Result<()> {
        numbers.iter().try_for_each(|number| self.file.write_all(&number.to_le_bytes()))
    }

    /// Puts the file in its place.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.finish()
    }
}

/// Everything before the numbers, which begin at a multiple of 64 bytes.
fn head(rows: usize, width: usize) -> Vec<u8> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    let unpadded = MAGIC.len() + 2 + text.len() + 1;
    text.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
    text.push('\n');
    let length = u16::try_from(text.len()).expect("two numbers are short");
    [MAGIC, &length.to_le_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::head;

    #[test]
    fn the_head_is_what_numpy_writes() {
        // numpy.lib.format.write_array_header_1_0 of a C-contiguous float32 array of shape (3, 576).
        let expected = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3, 576), }                                                        \n";
        assert_eq!(head(3, 576), expected);
        for (rows, width) in [(0, 1), (1, 1), (usize::MAX, usize::MAX), (434_192, 4096)] {
            assert_eq!(head(rows, width).len() % 64, 0);
        }
    }
}
