//! A weight matrix in bf16, in the order in which a tile's product reads it.

use rayon::prelude::*;

use super::rows::round;
use super::tile::{COLUMNS, DEPTH, Kernel, PanelBlock};
use crate::slab::Slab;

/// A matrix `[in, out]`, panel after panel of 32 columns; columns and depth are filled up with zeros.
pub(crate) struct Panels {
    input: usize,
    output: usize,
    blocks: Slab<PanelBlock>,
    kernel: Kernel,
}

impl std::fmt::Debug for Panels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Panels[{}, {}] of {:?}", self.input, self.output, self.kernel)
    }
}

impl Panels {
    /// A matrix of blocks that [`joined`] or [`gated`] has made, here or in another process.
    ///
    /// # Panics
    /// If there are not [`Panels::blocks`].
    pub(crate) fn new(kernel: Kernel, input: usize, output: usize, blocks: Slab<PanelBlock>) -> Panels {
        assert_eq!(blocks.len(), Panels::blocks(input, output), "blocks of a matrix [{input}, {output}]");
        Panels { input, output, blocks, kernel }
    }

    /// How many blocks a matrix has.
    pub(crate) fn blocks(input: usize, output: usize) -> usize {
        output.div_ceil(COLUMNS) * input.div_ceil(DEPTH)
    }

    /// Numbers of a row that is multiplied.
    pub(crate) fn input(&self) -> usize {
        self.input
    }

    /// Columns.
    pub(crate) fn output(&self) -> usize {
        self.output
    }

    /// What multiplies.
    pub(super) fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// How many panels there are.
    pub(super) fn panels(&self) -> usize {
        self.output.div_ceil(COLUMNS)
    }

    /// The blocks of a panel.
    pub(super) fn panel(&self, panel: usize) -> &[PanelBlock] {
        let deep = self.input.div_ceil(DEPTH);
        &self.blocks[panel * deep..][..deep]
    }

    /// Some columns, one after another: `[columns, in]`.
    ///
    /// # Panics
    /// If there is no such column.
    pub(crate) fn columns(&self, columns: &[u32]) -> Vec<f32> {
        let mut out = vec![0f32; columns.len() * self.input];
        out.par_chunks_mut(self.input).zip(columns).for_each(|(out, &column)| {
            let (panel, at) = (self.panel(column as usize / COLUMNS), column as usize % COLUMNS);
            for (out, block) in out.chunks_mut(DEPTH).zip(panel) {
                for (out, pairs) in out.chunks_mut(2).zip(&block.0) {
                    out.iter_mut().zip(pairs[at]).for_each(|(to, number)| *to = f32::from_bits(u32::from(number) << 16));
                }
            }
        });
        out
    }
}

/// The blocks of matrices that are stored as `[out_i, in]`, rounded; their columns are side by side.
pub(crate) fn joined(input: usize, parts: &[Vec<f32>]) -> Vec<PanelBlock> {
    let rows: Vec<&[f32]> = parts.iter().flat_map(|part| part.chunks_exact(input)).collect();
    blocks(input, rows.len(), |column| rows.get(column).copied())
}

/// Columns of one half of a panel of [`gated`].
const HALF: usize = COLUMNS / 2;

/// Columns of a matrix of [`gated`] for projections to so many numbers.
pub(crate) fn gated_width(width: usize) -> usize {
    width.div_ceil(HALF) * COLUMNS
}

/// The blocks of a gate and an up projection, stored as `[i, in]` both, rounded: each panel has 16 columns of the gate, then the
/// same of the other.
pub(crate) fn gated(input: usize, gate: &[f32], up: &[f32]) -> Vec<PanelBlock> {
    blocks(input, gated_width(gate.len() / input), |column| {
        let from = if column % COLUMNS < HALF { gate } else { up };
        from.chunks_exact(input).nth(column / COLUMNS * HALF + column % HALF)
    })
}

/// Column by column; those that are missing are zeros.
fn blocks<'a>(input: usize, output: usize, column: impl Fn(usize) -> Option<&'a [f32]> + Sync) -> Vec<PanelBlock> {
    let deep = input.div_ceil(DEPTH);
    let mut blocks = vec![PanelBlock::ZERO; Panels::blocks(input, output)];
    blocks.par_chunks_mut(deep).enumerate().for_each(|(panel, blocks)| {
        for at in 0..COLUMNS {
            let Some(numbers) = column(panel * COLUMNS + at) else { continue };
            for (block, numbers) in blocks.iter_mut().zip(numbers.chunks(DEPTH)) {
                for (pairs, numbers) in block.0.iter_mut().zip(numbers.chunks(2)) {
                    pairs[at].iter_mut().zip(numbers).for_each(|(to, number)| *to = round(*number));
                }
            }
        }
    });
    blocks
}
