//! Rows of activations, rounded to bf16 in the order in which a tile's product reads them.

use super::tile::{DEPTH, ROWS, RowsBlock};
use crate::kernel::lanes::dispatch;

/// Some rows, tile after tile; rows and depth are filled up with zeros.
#[derive(Debug)]
pub(super) struct Rows {
    blocks: Vec<RowsBlock>,
    /// Blocks of the depth.
    deep: usize,
}

impl Rows {
    /// So many rows of zeros.
    pub(super) fn zeros(count: usize, width: usize) -> Rows {
        let deep = width.div_ceil(DEPTH);
        Rows { blocks: vec![RowsBlock::ZERO; count.div_ceil(ROWS) * deep], deep }
    }

    /// How many tiles there are.
    pub(super) fn tiles(&self) -> usize {
        self.blocks.len() / self.deep
    }

    /// The blocks of a tile.
    pub(super) fn tile(&self, tile: usize) -> &[RowsBlock] {
        &self.blocks[tile * self.deep..][..self.deep]
    }

    /// Rounds a row.
    pub(super) fn set(&mut self, row: usize, numbers: &[f32]) {
        round_row(numbers, &mut self.blocks[row / ROWS * self.deep..][..self.deep], row % ROWS);
    }

    /// The numbers `16 * half..` of a tile's rows.
    pub(super) fn part(&mut self, tile: usize, half: usize) -> Part<'_> {
        Part { block: &mut self.blocks[tile * self.deep + half / 2], at: half % 2 * (DEPTH / 2) }
    }
}

/// Half a block: 16 successive numbers of each row of a tile.
pub(super) struct Part<'a> {
    block: &'a mut RowsBlock,
    at: usize,
}

impl Part<'_> {
    /// Rounds numbers of one of the tile's rows.
    #[inline(always)]
    pub(super) fn set(&mut self, row: usize, numbers: &[f32; DEPTH / 2]) {
        for (to, number) in self.block.0[row][self.at..].iter_mut().zip(numbers) {
            *to = round(*number);
        }
    }
}

fn round_row(numbers: &[f32], blocks: &mut [RowsBlock], row: usize) {
    #[inline(always)]
    fn body<const FMA: bool>(numbers: &[f32], blocks: &mut [RowsBlock], row: usize) {
        let (whole, rest) = numbers.as_chunks::<DEPTH>();
        for (block, numbers) in blocks.iter_mut().zip(whole) {
            block.0[row] = numbers.map(round);
        }
        if let Some(block) = blocks.get_mut(whole.len()) {
            block.0[row].iter_mut().zip(rest).for_each(|(to, number)| *to = round(*number));
        }
    }
    dispatch!(body(numbers: &[f32], blocks: &mut [RowsBlock], row: usize))
}

/// The nearest bf16 number, of two as near the even one; NaN stays NaN.
#[inline(always)]
pub(super) fn round(number: f32) -> u16 {
    let bits = number.to_bits();
    let nearest = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
    if number.is_nan() { 0x7fc0 } else { nearest }
}
