//! Two studies over the same test rows, side by side.
