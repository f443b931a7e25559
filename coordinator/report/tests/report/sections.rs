//! Sections of a whole study: what each finds.
