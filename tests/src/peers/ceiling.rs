//! The machine's ceiling: how fast it multiplies large f32 matrices on all cores.

use std::time::{Duration, Instant};

/// Rows and columns of the matrices.
const SIDE: usize = 2048;
/// How long they are multiplied.
const TIME: Duration = Duration::from_secs(2);

/// Floating-point operations per second of square products through the `gemm` crate, which our own passes go through, on
/// all cores.
pub(super) fn flops_per_second() -> f64 {
    let number = |i: usize| (i % 17) as f32 / 17.0 - 0.5;
    let (a, b): (Vec<f32>, Vec<f32>) = (0..SIDE * SIDE).map(|i| (number(i), number(i / 3))).unzip();
    let mut c = vec![0f32; SIDE * SIDE];
    let mut multiply = || {
        let side = SIDE as isize;
        // SAFETY: all three are SIDE x SIDE, column after column, and the result is borrowed mutably.
        unsafe {
            gemm::gemm(
                SIDE,
                SIDE,
                SIDE,
                c.as_mut_ptr(),
                side,
                1,
                false,
                a.as_ptr(),
                side,
                1,
                b.as_ptr(),
                side,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::Rayon(0),
            );
        }
        std::hint::black_box(&mut c);
    };
    // The first touches the memory.
    multiply();
    let (began, mut times) = (Instant::now(), 0);
    while began.elapsed() < TIME {
        multiply();
        times += 1;
    }
    f64::from(times) * 2.0 * (SIDE as f64).powi(3) / began.elapsed().as_secs_f64()
}
