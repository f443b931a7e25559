//! Products of f32 rows with bf16 weights: both factors are rounded to bf16, sums and results are f32.
//!
//! Weights lie in panels from loading on ([`Panels`]); rows are rounded into tiles right before a product ([`Rows`]). The
//! steps go over blocks of rows that stay in a core's second-level cache, so that what lies between two products of a block
//! (norm, gate, residual) never leaves it. Every number is summed along the depth in one order, so a row's results depend
//! neither on its block nor on the number of threads, and they are the same on every CPU ([`tile`]).

pub(crate) mod panels;
mod rows;
mod tile;

use rayon::prelude::*;

pub(crate) use panels::Panels;
use rows::Rows;
pub(crate) use tile::Kernel;
use tile::{COLUMNS, DEPTH, ROWS, Sums};

use super::gate::gated;
use super::lanes::dispatch;
use super::norm;

/// Rows of a block at most: eight tiles, whose activations and results fit into a second-level cache of 1 MiB.
const BLOCK: usize = 8 * ROWS;
/// Whoever has done a block takes the next that nobody has begun: a thread that is held up, or has a block more, is not waited for.
const BLOCKS: usize = 1;
/// Blocks of the depth that a panel is worked through at a time: 2,048 numbers, 128 KiB of weights.
const SPAN: usize = 64;

/// `out = norm(x) * weights`, or `x * weights` without a norm.
///
/// Shapes: `x` [t, in], `norm` [in] and its epsilon, `weights` [in, out] -> `out` [t, out].
pub(crate) fn times(x: &[f32], norm: Option<(&[f32], f32)>, weights: &Panels, out: &mut [f32]) {
    let (block, spread) = blocks(x.len() / weights.input());
    let width = weights.output();
    x.par_chunks(block * weights.input()).zip(out.par_chunks_mut(block * width)).with_max_len(BLOCKS).for_each(|(x, out)| {
        product(&rounded(x, norm, weights.input()), weights, spread, |panel, tile, sums| {
            each(sums, out, width, panel, tile, |out, sums| out.copy_from_slice(sums));
        });
    });
}

/// `x += y * weights + bias`.
///
/// Shapes: `x` [t, out], `y` [t, in], `weights` [in, out], `bias` [out].
pub(crate) fn add(x: &mut [f32], y: &[f32], weights: &Panels, bias: Option<&[f32]>) {
    let (block, spread) = blocks(y.len() / weights.input());
    let width = weights.output();
    x.par_chunks_mut(block * width).zip(y.par_chunks(block * weights.input())).with_max_len(BLOCKS).for_each(|(x, y)| {
        let rows = rounded(y, None, weights.input());
        product(&rows, weights, spread, |panel, tile, sums| {
            let bias = bias.map(|bias| &bias[panel * COLUMNS..]);
            each(sums, x, width, panel, tile, |x, sums| match bias {
                Some(bias) => x.iter_mut().zip(sums).zip(bias).for_each(|((x, sum), bias)| *x += sum + bias),
                None => x.iter_mut().zip(sums).for_each(|(x, sum)| *x += sum),
            });
        });
    });
}

/// The feed-forward part of a block: `x += (silu(n * gate) * (n * up)) * down` with n = norm(x).
///
/// Shapes: `x` [t, d], `norm` [d] and its epsilon, `gate_up` [d, 2 i] of [`panels::gated`], `down` [i, d].
pub(crate) fn feed(x: &mut [f32], norm: (&[f32], f32), gate_up: &Panels, down: &Panels) {
    let width = gate_up.input();
    let (block, spread) = blocks(x.len() / width);
    x.par_chunks_mut(block * width).with_max_len(BLOCKS).for_each(|x| {
        let mut inner = Rows::zeros(x.len() / width, down.input());
        product(&rounded(x, Some(norm), width), gate_up, spread, |panel, tile, sums| gate(sums, inner.part(tile, panel)));
        product(&inner, down, spread, |panel, tile, sums| {
            each(sums, x, width, panel, tile, |x, sums| x.iter_mut().zip(sums).for_each(|(x, sum)| *x += sum));
        });
    });
}

/// How many rows a block has where there are `count`, and whether the panels of a block are spread over the threads, for
/// want of blocks.
fn blocks(count: usize) -> (usize, bool) {
    let threads = rayon::current_num_threads();
    if count <= BLOCK {
        return (BLOCK, threads > 1);
    }
    let each = count.div_ceil(threads);
    let block = each.div_ceil(each.div_ceil(BLOCK)).next_multiple_of(ROWS);
    (block, count.div_ceil(block) < threads)
}

/// Rows rounded to bf16, after a norm where there is one.
fn rounded(x: &[f32], norm: Option<(&[f32], f32)>, width: usize) -> Rows {
    let mut rows = Rows::zeros(x.len() / width, width);
    let mut normed = vec![0f32; width];
    for (index, row) in x.chunks_exact(width).enumerate() {
        match norm {
            Some((weight, eps)) => {
                norm::some_rows(row, weight, eps, &mut normed);
                rows.set(index, &normed);
            }
            None => rows.set(index, row),
        }
    }
    rows
}

/// Multiplies a block of rows with all panels; `put` gets the sums of each panel and tile.
fn product(rows: &Rows, weights: &Panels, spread: bool, mut put: impl FnMut(usize, usize, &Sums)) {
    let of = |panel: usize, sums: &mut [Sums]| {
        let panel = weights.panel(panel);
        for from in (0..panel.len()).step_by(SPAN) {
            let span = from..panel.len().min(from + SPAN);
            for (tile, sums) in sums.iter_mut().enumerate() {
                weights.kernel().add(&rows.tile(tile)[span.clone()], &panel[span.clone()], sums);
            }
        }
    };
    let tiles = rows.tiles();
    if spread {
        let mut all = vec![Sums::ZERO; weights.panels() * tiles];
        all.par_chunks_mut(tiles).enumerate().for_each(|(panel, sums)| of(panel, sums));
        all.iter().enumerate().for_each(|(at, sums)| put(at / tiles, at % tiles, sums));
        return;
    }
    let mut sums = vec![Sums::ZERO; tiles];
    for panel in 0..weights.panels() {
        sums.fill(Sums::ZERO);
        of(panel, &mut sums);
        sums.iter().enumerate().for_each(|(tile, sums)| put(panel, tile, sums));
    }
}

/// Shows `f` the rows of a tile in `out` [rows, width] at a panel's columns, and their sums.
fn each(sums: &Sums, out: &mut [f32], width: usize, panel: usize, tile: usize, f: impl Fn(&mut [f32], &[f32])) {
    let columns = panel * COLUMNS..width.min((panel + 1) * COLUMNS);
    for (row, sums) in out.chunks_exact_mut(width).skip(tile * ROWS).zip(&sums.0) {
        f(&mut row[columns.clone()], &sums[..columns.len()]);
    }
}

/// Rounds `silu(gate) * up` of a tile into half a block of the depth.
fn gate(sums: &Sums, mut out: rows::Part<'_>) {
    fn wide(sums: &Sums, out: &mut rows::Part<'_>) {
        #[inline(always)]
        fn body<const FMA: bool>(sums: &Sums, out: &mut rows::Part<'_>) {
            for (row, sums) in sums.0.iter().enumerate() {
                let mut inner = [0f32; DEPTH / 2];
                for (i, inner) in inner.iter_mut().enumerate() {
                    *inner = gated::<FMA>(sums[i], sums[COLUMNS / 2 + i]);
                }
                out.set(row, &inner);
            }
        }
        dispatch!(body(sums: &Sums, out: &mut rows::Part<'_>))
    }
    wide(sums, &mut out);
}

#[cfg(test)]
mod tests;
