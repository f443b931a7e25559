//! What running processes draw at random: nonces, names, jitter. A simulation seeds its thread, so that the same seed
//! gives the same run; everybody else draws from the operating system's entropy.

use std::cell::RefCell;

use rand::distr::{Distribution, StandardUniform};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

thread_local! {
    static SEEDED: RefCell<Option<ChaCha8Rng>> = const { RefCell::new(None) };
}

/// A random value; of floats, one in 0..1.
pub fn draw<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    SEEDED.with_borrow_mut(|seeded| match seeded {
        Some(draws) => draws.random(),
        None => rand::random(),
    })
}

/// From here on everything that this thread draws follows from the seed.
pub fn seed(seed: u64) {
    SEEDED.set(Some(ChaCha8Rng::seed_from_u64(seed)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seeded_thread_draws_the_same_again_and_no_other_does() {
        let drawn = |given: Option<u64>| {
            let thread = std::thread::spawn(move || {
                given.into_iter().for_each(seed);
                (draw::<u128>(), draw::<u64>())
            });
            thread.join().unwrap()
        };
        assert_eq!(drawn(Some(7)), drawn(Some(7)));
        assert_ne!(drawn(Some(7)), drawn(Some(8)));
        assert_ne!(drawn(None), drawn(None));
    }
}
