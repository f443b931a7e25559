//! Numbers of weights in memory: this process's own, or a part of a file that all processes on a machine map.

use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::Pod;
use memmap2::Mmap;

/// Numbers that are only read.
pub(crate) enum Slab<T> {
    /// This process's.
    Own(Vec<T>),
    /// Some bytes of a mapped file; [`Slab::mapped`] has seen that they are numbers.
    Mapped { file: Arc<Mmap>, bytes: Range<usize> },
}

impl<T: Pod> Slab<T> {
    /// A part of a mapped file, where it is made of whole numbers that lie as the processor wants them.
    pub(crate) fn mapped(file: Arc<Mmap>, bytes: Range<usize>) -> Option<Slab<T>> {
        let fits = bytemuck::try_cast_slice::<u8, T>(file.get(bytes.clone())?).is_ok();
        fits.then_some(Slab::Mapped { file, bytes })
    }
}

impl<T: Pod> Deref for Slab<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Slab::Own(numbers) => numbers,
            Slab::Mapped { file, bytes } => bytemuck::cast_slice(&file[bytes.clone()]),
        }
    }
}
