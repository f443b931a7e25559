//! A model's weights in one file, laid out as the engine computes with them, so that all processes on a machine map one copy.
//!
//! The file is a head of 64 bytes (mark, place and digest of the directory), the parts at multiples of a page, and the
//! directory as JSON: whose weights they are, and every part's place and digest. All of that is verified whenever a file is
//! opened. It appears under its name once it is whole, and is never changed afterwards.

mod share;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytemuck::Pod;
use limbic_proto::key::Digest;
use memmap2::Mmap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub(crate) use share::share;

use super::LoadError;
use crate::slab::Slab;

/// How weights are laid out. Whoever names files of prepared weights puts it into their identity.
pub const WEIGHTS_VERSION: u32 = 1;

/// A file that holds prepared weights, or will.
#[derive(Debug, Clone)]
pub struct SharedFile {
    /// Where it is. Its folder is made if it is missing.
    pub path: PathBuf,
    /// What determines its content: the model, the number format and [`WEIGHTS_VERSION`].
    pub identity: Digest,
}

const MARK: &[u8; 16] = b"limbic weights\r\n";
const HEAD: usize = 64;
const PAGE: u64 = 4096;

/// What is where in a file.
#[derive(Debug, Serialize, Deserialize)]
struct Directory {
    identity: Digest,
    parts: BTreeMap<String, Part>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Part {
    at: usize,
    bytes: usize,
    digest: Digest,
}

impl Part {
    fn of<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        file.get(self.at..)?.get(..self.bytes)
    }
}

fn head(at: u64, directory: &[u8]) -> [u8; HEAD] {
    let (len, digest) = (directory.len() as u64, Digest::of(directory));
    let mut head = [0; HEAD];
    head.copy_from_slice(&[MARK.as_slice(), &at.to_le_bytes(), &len.to_le_bytes(), digest.bytes()].concat());
    head
}

/// The directory of a file, unless it is damaged.
fn directory(file: &[u8]) -> Option<Directory> {
    let found = file.first_chunk::<HEAD>()?;
    let number = |at: usize| u64::from_le_bytes(*found[at..].first_chunk().expect("a head has 64 bytes"));
    let (at, len) = (number(16), number(24));
    let text = file.get(usize::try_from(at).ok()?..)?.get(..usize::try_from(len).ok()?)?;
    if head(at, text) != *found { None } else { serde_json::from_slice(text).ok() }
}

/// A verified, mapped file.
pub(crate) struct Prepared {
    path: PathBuf,
    file: Arc<Mmap>,
    parts: BTreeMap<String, Part>,
}

impl Prepared {
    /// Maps and verifies a file. One that is no such file, is damaged or holds other weights is invalid data.
    fn open(SharedFile { path, identity }: &SharedFile) -> io::Result<Prepared> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let opened = File::open(path)?;
        // SAFETY: nobody changes such files, they are only replaced as a whole and removed, which leaves a mapped one as it is.
        let file = unsafe { Mmap::map(&opened) }?;
        let Directory { identity: found, parts } = directory(&file).ok_or_else(|| invalid("it is damaged or something else"))?;
        if found != *identity {
            return Err(invalid("it holds other weights"));
        }
        let whole = |part: &Part| part.of(&file).is_some_and(|bytes| Digest::of(bytes) == part.digest);
        if !parts.par_iter().all(|(_, part)| whole(part)) {
            return Err(invalid("its weights are not those that were written"));
        }
        Ok(Prepared { path: path.clone(), file: Arc::new(file), parts })
    }

    fn part<T: Pod>(&self, name: &str, count: usize) -> Result<Slab<T>, LoadError> {
        let found = self.parts.get(name).and_then(|part| Slab::mapped(self.file.clone(), part.at..part.at + part.bytes));
        let damaged = || LoadError::Damaged { path: self.path.clone(), what: format!("its part `{name}` is not what is expected") };
        found.filter(|slab| slab.len() == count).ok_or_else(damaged)
    }
}

/// A file in the making.
pub(crate) struct Writer {
    file: File,
    partial: PathBuf,
    at: u64,
    directory: Directory,
    /// Why it won't come to be; nothing is written afterwards.
    failed: Option<io::Error>,
}

impl Writer {
    fn create(SharedFile { path, identity }: &SharedFile) -> io::Result<Writer> {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
        let tail = RandomState::new().hash_one(std::process::id());
        let partial = path.with_extension(format!("{tail:016x}.partial"));
        let directory = Directory { identity: *identity, parts: BTreeMap::new() };
        Ok(Writer { file: File::create_new(&partial)?, partial, at: HEAD as u64, directory, failed: None })
    }

    fn put(&mut self, name: &str, numbers: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        let at = self.at.next_multiple_of(PAGE);
        let written = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.write_all(numbers));
        self.failed = written.err();
        self.at = at + numbers.len() as u64;
        let part = Part { at: at as usize, bytes: numbers.len(), digest: Digest::of(numbers) };
        self.directory.parts.insert(name.to_owned(), part);
    }

    /// Writes what is left, and gives the file its name.
    fn finish(mut self, path: &Path) -> io::Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let directory = serde_json::to_vec(&self.directory)?;
        self.file.seek(SeekFrom::Start(self.at))?;
        self.file.write_all(&directory)?;
        self.file.rewind()?;
        self.file.write_all(&head(self.at, &directory))?;
        self.file.sync_all()?;
        fs::rename(&self.partial, path)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After `finish` there is none.
        let _ = fs::remove_file(&self.partial);
    }
}

/// Where weights are put once they are laid out, and whether they are there already.
pub(crate) enum Store {
    /// They stay in this process's memory.
    Private,
    /// They are written to a file besides.
    Written(Writer),
    /// They lie in a file.
    Mapped(Prepared),
}

impl Store {
    /// So many numbers under a name, made unless they are there.
    pub(crate) fn keep<T: Pod>(
        &mut self,
        name: &str,
        count: usize,
        make: impl FnOnce() -> Result<Vec<T>, LoadError>,
    ) -> Result<Slab<T>, LoadError> {
        if let Store::Mapped(prepared) = self {
            return prepared.part(name, count);
        }
        let numbers = make()?;
        if let Store::Written(writer) = self {
            writer.put(name, bytemuck::cast_slice(&numbers));
        }
        Ok(Slab::Own(numbers))
    }
}
