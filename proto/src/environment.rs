//! The environment of a program of ours.

/// What the names of our variables begin with.
const OURS: &str = "LIMBIC_";

/// Forgets our variables that are empty, as templates of jobs leave those which nobody has set: such a one is as good as none.
///
/// # Safety
/// No other thread may run yet: it could be reading the environment.
pub unsafe fn forget_empty() {
    for (name, value) in std::env::vars_os() {
        if value.is_empty() && name.to_string_lossy().starts_with(OURS) {
            // SAFETY: there is no other thread.
            unsafe { std::env::remove_var(name) };
        }
    }
}
