//! A weight matrix in bf16, in the order in which a tile's product reads it.

use rayon::prelude::*;

use super::rows::round;
use super::tile::{COLUMNS, DEPTH, Kernel, PanelBlock};

/// A matrix `[in, out]`, panel after panel of 32 columns; columns and depth are filled up with zeros.
pub(crate) struct Panels {
    input: usize,
    output: usize,
    blocks: Vec<PanelBlock>,
    kernel: Kernel,
}

impl std::fmt::Debug for Panels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Panels[{}, {}] of {:?}", self.input, self.output, self.kernel)
    }
}

impl Panels {
    /// Rounds matrices that are stored as `[out_i, in]`; their columns are side by side.
    pub(crate) fn joined(kernel: Kernel, input: usize, parts: &[Vec<f32>]) -> Panels {
        let rows: Vec<&[f32]> = parts.iter().flat_map(|part| part.chunks_exact(input)).collect();
        Panels::new(kernel, input, rows.len(), |column| rows.get(column).copied())
    }

    /// Rounds a gate and an up projection, stored as `[i, in]` both: each panel has 16 columns of the gate, then the same of
    /// the other.
    pub(crate) fn gated(kernel: Kernel, input: usize, gate: &[f32], up: &[f32]) -> Panels {
        const HALF: usize = COLUMNS / 2;
        let width = gate.len() / input;
        Panels::new(kernel, input, width.div_ceil(HALF) * COLUMNS, |column| {
            let from = if column % COLUMNS < HALF { gate } else { up };
            from.chunks_exact(input).nth(column / COLUMNS * HALF + column % HALF)
        })
    }

    /// Column by column; those that are missing are zeros.
    fn new<'a>(kernel: Kernel, input: usize, output: usize, column: impl Fn(usize) -> Option<&'a [f32]> + Sync) -> Panels {
        let deep = input.div_ceil(DEPTH);
        let mut blocks = vec![PanelBlock::ZERO; output.div_ceil(COLUMNS) * deep];
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
        Panels { input, output, blocks, kernel }
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
