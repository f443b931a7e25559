//! Products in bf16 against one number after another, on shapes that fit no block.

use half::bf16;
use proptest::prelude::*;

use super::rows::round;
use super::*;
use crate::slab::Slab;

/// One number of a product, from rounded factors: pair after pair, the second number of a pair first.
fn naive(row: &[f32], column: &[f32]) -> f32 {
    let rounded = |x: Option<&f32>| x.map_or(0.0, |x| bf16::from_f32(*x).to_f32());
    let mut sum = 0f32;
    for first in (0..row.len()).step_by(2) {
        for at in [first + 1, first] {
            sum = rounded(row.get(at)).mul_add(rounded(column.get(at)), sum);
        }
    }
    sum
}

fn joined(kernel: Kernel, input: usize, parts: &[Vec<f32>]) -> Panels {
    let output = parts.iter().map(Vec::len).sum::<usize>() / input;
    Panels::new(kernel, input, output, Slab::Own(panels::joined(input, parts)))
}

fn gated(kernel: Kernel, input: usize, gate: &[f32], up: &[f32]) -> Panels {
    let output = panels::gated_width(gate.len() / input);
    Panels::new(kernel, input, output, Slab::Own(panels::gated(input, gate, up)))
}

fn kernels() -> Vec<Kernel> {
    let mut all = vec![Kernel::Portable, Kernel::best()];
    all.dedup();
    all
}

/// Numbers of many sizes, from a seed.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    use rand::{Rng, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| random.random_range(-1f32..1.0) * 2f32.powi(random.random_range(-6..6))).collect()
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

/// Runs with so many threads; where panels outnumber blocks of rows they are spread.
fn with_threads<R: Send>(threads: usize, run: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn products_are_the_naive_ones_bit_for_bit(
        count in 1usize..18, more in prop::sample::select(vec![0usize, 96, 200]), input in 1usize..100, output in 1usize..100,
        threads in 1usize..4, seed: u64,
    ) {
        let count = count + more;
        let (x, weight) = (numbers(count * input, seed), numbers(output * input, seed ^ 1));
        let expected: Vec<f32> =
            x.chunks_exact(input).flat_map(|row| weight.chunks_exact(input).map(move |column| naive(row, column))).collect();
        for kernel in kernels() {
            let split = output / 3 * input;
            let panels = joined(kernel, input, &[weight[..split].to_vec(), weight[split..].to_vec()]);
            let mut out = vec![f32::NAN; count * output];
            with_threads(threads, || times(&x, None, &panels, &mut out));
            prop_assert_eq!(bits(&out), bits(&expected), "{:?}", kernel);
            let (bias, before) = (numbers(output, 5), numbers(count * output, 6));
            let mut sum = before.clone();
            with_threads(threads, || add(&mut sum, &x, &panels, Some(&bias)));
            let with: Vec<f32> = (0..sum.len()).map(|i| before[i] + (expected[i] + bias[i % output])).collect();
            prop_assert_eq!(bits(&sum), bits(&with), "{:?}", kernel);
        }
    }

    #[test]
    fn a_feed_forward_part_is_its_steps_one_after_another(
        count in 1usize..18, more in prop::sample::select(vec![0usize, 96, 200]), width in 1usize..70, inner in 1usize..100,
        threads in 1usize..4, seed: u64,
    ) {
        let count = count + more;
        let x = numbers(count * width, seed);
        let [gate, up, down] = [1, 2, 3].map(|i| numbers(width * inner, seed ^ i));
        let norm = numbers(width, seed ^ 4);
        let mut all = Vec::new();
        for kernel in kernels() {
            let mut found = x.clone();
            let (gate_up, down) = (gated(kernel, width, &gate, &up), joined(kernel, inner, std::slice::from_ref(&down)));
            with_threads(threads, || feed(&mut found, (&norm, 1e-5), &gate_up, &down));
            let side_by_side = joined(kernel, width, &[gate.clone(), up.clone()]);
            let mut both = vec![0f32; count * 2 * inner];
            times(&x, Some((&norm, 1e-5)), &side_by_side, &mut both);
            let both = candle_core::Tensor::from_vec(both, (count, 2 * inner), &candle_core::Device::Cpu).unwrap();
            let gated = crate::kernel::gate::silu_times(crate::kernel::Steps::Fused, &both).unwrap();
            let mut expected = x.clone();
            add(&mut expected, &gated.flatten_all().unwrap().to_vec1::<f32>().unwrap(), &down, None);
            prop_assert_eq!(bits(&found), bits(&expected), "{:?}", kernel);
            all.push(found);
        }
        prop_assert_eq!(bits(&all[0]), bits(&all[all.len() - 1]));
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest_even_one(pattern: u32) {
        let (ours, theirs) = (bf16::from_bits(round(f32::from_bits(pattern))), bf16::from_f32(f32::from_bits(pattern)));
        prop_assert!(ours == theirs || ours.is_nan() && theirs.is_nan(), "{pattern:x}");
    }
}

#[test]
fn ties_and_extremes_are_rounded_as_they_should() {
    for (number, expected) in [
        (1.0 + 1.0 / 256.0, 1.0),
        (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),
        (-1.0 - 1.0 / 256.0, -1.0),
        (f32::MAX, f32::INFINITY),
        (f32::NEG_INFINITY, f32::NEG_INFINITY),
    ] {
        assert_eq!(bf16::from_bits(round(number)).to_f32(), expected, "{number}");
    }
    assert!([f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(0xffff_ffff)].iter().all(|x| bf16::from_bits(round(*x)).is_nan()));
}

#[test]
fn deep_products_go_through_several_spans() {
    let (input, output, count) = (SPAN * DEPTH + 70, 40, 14);
    let (x, weight) = (numbers(count * input, 1), numbers(output * input, 2));
    for kernel in kernels() {
        let panels = joined(kernel, input, std::slice::from_ref(&weight));
        let mut out = vec![0f32; count * output];
        times(&x, None, &panels, &mut out);
        for (at, sum) in out.iter().enumerate() {
            let expected = naive(&x[at / output * input..][..input], &weight[at % output * input..][..input]);
            assert_eq!(sum.to_bits(), expected.to_bits(), "{kernel:?} at {at}");
        }
    }
}

#[test]
fn a_row_that_is_not_finite_leaves_the_others_alone() {
    let (input, output, count) = (40, 33, 15);
    let weight = numbers(output * input, 1);
    let healthy = numbers(count * input, 2);
    let mut x = healthy.clone();
    x[3 * input + 7] = f32::NAN;
    x[14 * input] = f32::INFINITY;
    for kernel in kernels() {
        let panels = joined(kernel, input, std::slice::from_ref(&weight));
        let run = |x: &[f32]| {
            let mut out = vec![0f32; count * output];
            times(x, None, &panels, &mut out);
            out
        };
        for (row, (ours, expected)) in run(&x).chunks(output).zip(run(&healthy).chunks(output)).enumerate() {
            match row {
                3 | 14 => assert!(ours.iter().all(|x| !x.is_finite()), "{kernel:?} row {row}"),
                _ => assert_eq!(bits(ours), bits(expected), "{kernel:?} row {row}"),
            }
        }
    }
}

#[test]
fn columns_are_the_rounded_rows_that_were_packed() {
    let (input, output) = (45, 70);
    let weight = numbers(output * input, 3);
    let panels = joined(Kernel::Portable, input, std::slice::from_ref(&weight));
    let expected = |column: u32| weight[column as usize * input..][..input].iter().map(|x| bf16::from_f32(*x).to_f32());
    assert_eq!(panels.columns(&[69, 0, 33]), [69, 0, 33].into_iter().flat_map(expected).collect::<Vec<f32>>());
}
