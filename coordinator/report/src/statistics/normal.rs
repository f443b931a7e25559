//! The normal distribution's tails.

/// The complementary error function for x >= 0, to 1.2e-7 of its value (Press et al., Numerical Recipes, 6.2).
pub fn erfc(x: f64) -> f64 {
    const C: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * x);
    let series = C.iter().rev().fold(0.0, |sum, c| sum * t + c);
    t * (-x * x + series).exp()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::SQRT_2;

    use super::*;

    #[test]
    fn the_normal_tail_is_the_tables() {
        for (z, p) in [(1.959_963_985, 0.05), (2.575_829_304, 0.01), (3.290_526_731, 0.001), (0.0, 1.0)] {
            assert!((erfc(z / SQRT_2) / p - 1.0).abs() < 1e-6, "{z}");
        }
    }
}
