//! The machine's ceilings: how fast it multiplies large f32 matrices, and pairs of bf16 numbers, on all cores.

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

/// Floating-point operations per second of `vdpbf16ps` on numbers that are in registers already, on all cores; `None` where
/// the CPU doesn't have it.
pub(super) fn bf16_flops_per_second() -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
        let began = Instant::now();
        let repeat = || {
            let mut rounds = 0u64;
            while began.elapsed() < TIME {
                // SAFETY: the CPU has the features that `pairs` is compiled for.
                unsafe { pairs(ROUNDS) };
                rounds += ROUNDS;
            }
            rounds as f64 / began.elapsed().as_secs_f64()
        };
        let threads = super::stage::cores();
        let rounds: f64 = std::thread::scope(|scope| {
            let all: Vec<_> = (0..threads).map(|_| scope.spawn(repeat)).collect();
            all.into_iter().map(|thread| thread.join().expect("nothing in it panics")).sum()
        });
        return Some(rounds * OPERATIONS);
    }
    None
}

/// Floating-point operations per second of square bf16 products on `cuda:N` through the library that our own passes go through; of the
/// processor, [`bf16_flops_per_second`].
pub(super) fn device_flops_per_second(device: &str) -> anyhow::Result<Option<f64>> {
    #[cfg(feature = "cuda")]
    if let Some(number) = device.strip_prefix("cuda:") {
        /// Rows and columns: enough to keep every multiprocessor busy.
        const SIDE: usize = 8192;
        let device = candle_core::Device::new_cuda(number.parse()?)?;
        let square = || candle_core::Tensor::randn(0f32, 1.0, (SIDE, SIDE), &device)?.to_dtype(candle_core::DType::BF16);
        let (a, b) = (square()?, square()?);
        a.matmul(&b)?;
        device.synchronize()?;
        let (began, mut times) = (Instant::now(), 0);
        while began.elapsed() < TIME {
            a.matmul(&b)?;
            times += 1;
            // Products are queued, and the clock is to tell of those that are done.
            if times % 8 == 0 {
                device.synchronize()?;
            }
        }
        device.synchronize()?;
        return Ok(Some(f64::from(times) * 2.0 * (SIDE as f64).powi(3) / began.elapsed().as_secs_f64()));
    }
    Ok(if device == "cpu" { bf16_flops_per_second() } else { None })
}

/// Rounds between two looks at the clock.
#[cfg(target_arch = "x86_64")]
const ROUNDS: u64 = 1 << 20;

/// Operations of a round: 24 instructions, 16 lanes, two multiplications and two additions each.
#[cfg(target_arch = "x86_64")]
const OPERATIONS: f64 = 24.0 * 16.0 * 4.0;

/// Rounds of 24 instructions that don't wait for one another, as many as fit into the registers beside their factors. In
/// assembly, because a compiler moves sums of a loop without loads between registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn pairs(rounds: u64) {
    macro_rules! sums {
        ($($register:tt)*) => {
            // SAFETY: no memory is touched, and all registers that are written are named.
            unsafe {
                std::arch::asm!(
                    $(concat!("vpxord ", $register, ", ", $register, ", ", $register),)*
                    "vpxord zmm30, zmm30, zmm30",
                    "2:",
                    $(concat!("vdpbf16ps ", $register, ", zmm30, zmm30"),)*
                    "dec {rounds}",
                    "jnz 2b",
                    rounds = inout(reg) rounds => _,
                    $(out($register) _,)*
                    out("zmm30") _,
                    options(nomem, nostack),
                );
            }
        };
    }
    sums!("zmm0" "zmm1" "zmm2" "zmm3" "zmm4" "zmm5" "zmm6" "zmm7" "zmm8" "zmm9" "zmm10" "zmm11" "zmm12" "zmm13" "zmm14" "zmm15"
        "zmm16" "zmm17" "zmm18" "zmm19" "zmm20" "zmm21" "zmm22" "zmm23");
}
