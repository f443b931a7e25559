//! Predictions on their way into a report: in memory where they are few, else in a file that goes when nobody reads it any more.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use limbic_report::Deferred;

/// Bytes of predictions that are held in memory.
pub(super) const HELD: usize = 1 << 30;

/// Keeps numbers until they are read.
#[derive(Debug)]
pub struct Spool {
    /// Bytes that still go into memory.
    room: usize,
    /// The file, once there is one.
    file: Option<Arc<File>>,
    /// How long it is.
    written: u64,
}

impl Default for Spool {
    fn default() -> Spool {
        Spool::holding(HELD)
    }
}

impl Spool {
    /// One that holds so many bytes in memory.
    fn holding(room: usize) -> Spool {
        Spool { room, file: None, written: 0 }
    }

    /// Keeps numbers: what doesn't go into memory goes into a temporary file without a name.
    ///
    /// # Errors
    /// The file can't be made or written (its folder is `TMPDIR`'s, else `/tmp`).
    pub fn keep(&mut self, numbers: Vec<f32>) -> io::Result<Deferred<Vec<f32>>> {
        let bytes = size_of_val(numbers.as_slice());
        if let Some(left) = self.room.checked_sub(bytes) {
            self.room = left;
            return Ok(Deferred::held(numbers));
        }
        // Small ones that would still find room are not to be scattered.
        self.room = 0;
        let file = match &self.file {
            Some(file) => file.clone(),
            None => self.file.insert(Arc::new(tempfile::tempfile()?)).clone(),
        };
        let (at, count) = (self.written, numbers.len());
        file.write_all_at(bytemuck::cast_slice(&numbers), at)?;
        self.written += bytes as u64;
        Ok(Deferred::new(move || {
            let mut numbers = vec![0f32; count];
            let read = file.read_exact_at(bytemuck::cast_slice_mut(&mut numbers), at);
            read.map(|()| Arc::new(numbers)).map_err(|e| format!("the temporary file of predictions can't be read: {e}"))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_from_memory_and_from_the_file() {
        let numbers = |i: usize| (0..i % 5).map(|j| (i * 10 + j) as f32 - 0.5).collect::<Vec<f32>>();
        let mut spool = Spool::holding(40);
        let kept: Vec<Deferred<Vec<f32>>> = (0..20).map(|i| spool.keep(numbers(i)).unwrap()).collect();
        assert_eq!((spool.room, spool.written), (0, (4 * (0..20).map(|i| i % 5).sum::<usize>() - 40) as u64));
        // In any order, and as often as asked.
        for _ in 0..2 {
            assert!(kept.iter().enumerate().rev().all(|(i, kept)| *kept.read().unwrap() == numbers(i)));
        }
    }
}
