//! The system's clock and entropy as a simulation's thread sees them.
//!
//! What asks tokio for the time is told the simulated one, but some libraries ask the system: h2 forgets streams that were
//! reset a second ago, hyper writes the date into every answer. And tokio itself draws at random which branch of a
//! `select!` it looks at first. All this changes what travels when, and so the run. So both of the system's answers are
//! replaced on threads that simulate; on all others they are passed on. (tokio's draws also count how many were made in the
//! process, which is why every simulation has a process of its own.)

use std::cell::Cell;
use std::time::Duration;

/// Seconds that the clocks show when a simulation begins.
const BEGINNING: i64 = 1_800_000_000;

thread_local! {
    static SIMULATED: Cell<Option<Duration>> = const { Cell::new(None) };
    static ENTROPY: Cell<u64> = const { Cell::new(0) };
}

/// From here on this thread's clocks stand at that simulated time; without one, clocks and entropy are the system's again.
pub(super) fn set(now: Option<Duration>) {
    SIMULATED.set(now);
}

/// Takes the place of the C library's function of that name, which the standard library calls.
///
/// # Safety
/// As there: `out` points to a `timespec` that may be written.
#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, out: *mut libc::timespec) -> libc::c_int {
    match SIMULATED.get() {
        Some(now) => {
            let seconds = BEGINNING + now.as_secs() as i64;
            // SAFETY: the caller promises that it may be written.
            unsafe { out.write(libc::timespec { tv_sec: seconds, tv_nsec: now.subsec_nanos().into() }) };
            0
        }
        // SAFETY: the arguments are the caller's own.
        None => unsafe { libc::syscall(libc::SYS_clock_gettime, clock, out) as libc::c_int },
    }
}

/// Takes the place of the C library's function of that name, from which hash maps and tokio draw their seeds.
///
/// # Safety
/// As there: `out` points to `len` bytes that may be written.
#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(out: *mut u8, len: usize, flags: libc::c_uint) -> isize {
    if SIMULATED.get().is_none() {
        // SAFETY: the arguments are the caller's own.
        return unsafe { libc::syscall(libc::SYS_getrandom, out, len, flags) as isize };
    }
    // SAFETY: the caller promises that they may be written.
    for byte in unsafe { std::slice::from_raw_parts_mut(out.cast::<std::mem::MaybeUninit<u8>>(), len) } {
        // Knuth's linear congruential generator (MMIX); its upper bits will do.
        let next = ENTROPY.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ENTROPY.set(next);
        byte.write((next >> 56) as u8);
    }
    len as isize
}
