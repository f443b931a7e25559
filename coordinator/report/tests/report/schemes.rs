//! Several labels a row, intensities, places on scales.
