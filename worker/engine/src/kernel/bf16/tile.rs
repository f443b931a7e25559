//! The innermost product: a tile of rows times a panel of columns, with AVX512-BF16 where the CPU has it.
//!
//! A pair of products is added to its sum as `vdpbf16ps` does: the second, rounded to f32, then the first, rounded again. The
//! products themselves are exact in f32, so it is the same whether it is added by one instruction or two, and plain loops give
//! the same bits on every CPU (but where something is smaller than 2^-126, which `vdpbf16ps` takes for zero).

use crate::kernel::lanes::{dispatch, madd};

/// Rows of a tile: twelve times two sums of 16 lanes, and what they are multiplied with, fill the registers.
pub(crate) const ROWS: usize = 12;
/// Columns of a panel.
pub(crate) const COLUMNS: usize = 32;
/// Numbers of the depth that a block holds.
pub(crate) const DEPTH: usize = 32;

/// `DEPTH` successive bf16 numbers of each row of a tile.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct RowsBlock(pub [[u16; DEPTH]; ROWS]);

impl RowsBlock {
    pub(crate) const ZERO: RowsBlock = RowsBlock([[0; DEPTH]; ROWS]);
}

/// `DEPTH` successive bf16 numbers of each column of a panel, in pairs: pair k of every column, then pair k + 1.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct PanelBlock(pub [[[u16; 2]; COLUMNS]; DEPTH / 2]);

impl PanelBlock {
    pub(crate) const ZERO: PanelBlock = PanelBlock([[[0; 2]; COLUMNS]; DEPTH / 2]);
}

// SAFETY: 2,048 bytes of `u16`, a multiple of its alignment, so it has no padding, and zeros are valid.
unsafe impl bytemuck::Zeroable for PanelBlock {}
// SAFETY: as above; every pattern of bits is valid, and it is `Copy` and without references.
unsafe impl bytemuck::Pod for PanelBlock {}

/// The sums of a tile's rows and a panel's columns.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Sums(pub [[f32; COLUMNS]; ROWS]);

impl Sums {
    pub(crate) const ZERO: Sums = Sums([[0.0; COLUMNS]; ROWS]);
}

/// What multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// Plain loops, on any CPU.
    Portable,
    /// `vdpbf16ps`; only [`Kernel::best`] makes it.
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Found),
}

impl Kernel {
    /// The fastest that this CPU has.
    pub(crate) fn best() -> Kernel {
        #[cfg(target_arch = "x86_64")]
        if let Some(found) = avx512::Found::detect() {
            return Kernel::Avx512(found);
        }
        Kernel::Portable
    }

    /// Adds the products of some blocks of a tile and the same blocks of a panel.
    pub(crate) fn add(self, rows: &[RowsBlock], panel: &[PanelBlock], sums: &mut Sums) {
        match self {
            Kernel::Portable => portable(rows, panel, sums),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(found) => found.add(rows, panel, sums),
        }
    }
}

fn portable(rows: &[RowsBlock], panel: &[PanelBlock], sums: &mut Sums) {
    #[inline(always)]
    fn body<const FMA: bool>(rows: &[RowsBlock], panel: &[PanelBlock], sums: &mut Sums) {
        let number = |bits: u16| f32::from_bits(u32::from(bits) << 16);
        for (rows, panel) in rows.iter().zip(panel) {
            // Two rows share what it takes to widen the weights.
            for (rows, sums) in rows.0.as_chunks::<2>().0.iter().zip(sums.0.as_chunks_mut::<2>().0) {
                let mut all = *sums;
                for (pair, columns) in panel.0.iter().enumerate() {
                    let [x, y] = rows.map(|row| row.as_chunks::<2>().0[pair].map(number));
                    for (at, column) in columns.iter().enumerate() {
                        let [first, second] = column.map(number);
                        all[0][at] = madd::<FMA>(x[0], first, madd::<FMA>(x[1], second, all[0][at]));
                        all[1][at] = madd::<FMA>(y[0], first, madd::<FMA>(y[1], second, all[1][at]));
                    }
                }
                *sums = all;
            }
        }
    }
    dispatch!(body(rows: &[RowsBlock], panel: &[PanelBlock], sums: &mut Sums))
}

#[cfg(target_arch = "x86_64")]
mod avx512;
