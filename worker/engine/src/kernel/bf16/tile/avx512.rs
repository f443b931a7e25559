//! The tile's product with `vdpbf16ps`: all that is unsafe about multiplying bf16 is in this file.

use std::arch::x86_64::{
    __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_load_ps, _mm512_load_si512, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_store_ps,
};

use super::{COLUMNS, DEPTH, PanelBlock, ROWS, RowsBlock, Sums};

/// Lanes of a register.
const LANES: usize = 16;
/// Registers of a row's sums.
const WIDE: usize = COLUMNS / LANES;

/// The proof that this CPU has AVX512-BF16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found(());

impl Found {
    pub(super) fn detect() -> Option<Found> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")).then_some(Found(()))
    }

    /// See [`super::Kernel::add`].
    pub(super) fn add(self, rows: &[RowsBlock], panel: &[PanelBlock], sums: &mut Sums) {
        // SAFETY: a `Found` is only made where the CPU has the features that `add` is compiled for.
        unsafe { add(rows, panel, sums) }
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn add(rows: &[RowsBlock], panel: &[PanelBlock], sums: &mut Sums) {
    let mut all = [[_mm512_setzero_ps(); WIDE]; ROWS];
    for (all, sums) in all.iter_mut().zip(&sums.0) {
        for (all, sums) in all.iter_mut().zip(sums.as_chunks::<LANES>().0) {
            // SAFETY: the array holds the 16 numbers that are read, at a multiple of 64 bytes in an aligned struct.
            *all = unsafe { _mm512_load_ps(sums.as_ptr()) };
        }
    }
    for (rows, panel) in rows.iter().zip(panel) {
        for pair in 0..DEPTH / 2 {
            let weights: [__m512bh; WIDE] = std::array::from_fn(|wide| {
                let columns = &panel.0[pair].as_chunks::<LANES>().0[wide];
                // SAFETY: the array holds the 64 bytes that are read, at a multiple of 64 bytes in an aligned struct.
                bits(unsafe { _mm512_load_si512(columns.as_ptr().cast()) })
            });
            for (all, row) in all.iter_mut().zip(&rows.0) {
                let [first, second] = row.as_chunks::<2>().0[pair];
                let activations = bits(_mm512_set1_epi32((u32::from(first) | u32::from(second) << 16).cast_signed()));
                for (sums, weights) in all.iter_mut().zip(weights) {
                    *sums = _mm512_dpbf16_ps(*sums, activations, weights);
                }
            }
        }
    }
    for (all, sums) in all.iter().zip(&mut sums.0) {
        for (all, sums) in all.iter().zip(sums.as_chunks_mut::<LANES>().0) {
            // SAFETY: the array has room for the 16 numbers that are written, at a multiple of 64 bytes in an aligned struct.
            unsafe { _mm512_store_ps(sums.as_mut_ptr(), *all) };
        }
    }
}

/// The same bits as 32 numbers of bf16.
#[inline(always)]
fn bits(register: __m512i) -> __m512bh {
    // SAFETY: both types are 512 bits of which every pattern is valid.
    unsafe { std::mem::transmute(register) }
}
