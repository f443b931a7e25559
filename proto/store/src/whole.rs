//! Files of this computer that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::chance::draw;

/// A file in the making. Whoever reads its place meanwhile, or writes it, too, has one or the other whole file before and after
/// [`WholeFile::finish`]; without that, what was written is removed. A crash of the computer may cost it; it isn't written through.
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    partial: PathBuf,
    /// None once it stands in its place.
    file: Option<BufWriter<File>>,
}

impl WholeFile {
    /// Begins a file, and makes its folder where there is none.
    ///
    /// # Errors
    /// The folder or the file can't be made.
    pub fn create(path: &Path) -> io::Result<WholeFile> {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{}-{:08x}.partial", std::process::id(), draw::<u32>()));
        let partial = PathBuf::from(partial);
        let file = Some(BufWriter::new(File::create(&partial)?));
        Ok(WholeFile { path: path.to_owned(), partial, file })
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// It can't be written to its end, or its place can't be taken.
    pub fn finish(mut self) -> io::Result<()> {
        self.open().flush()?;
        fs::rename(&self.partial, &self.path)?;
        self.file = None;
        Ok(())
    }

    fn open(&mut self) -> &mut BufWriter<File> {
        self.file.as_mut().expect("only a finished file is closed, and that is gone")
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open().flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // It is useless; if it can't be removed either, it does no harm.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Writes a file in one go, as a [`WholeFile`].
///
/// # Errors
/// The file can't be written; what was written of it is removed.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write_all(bytes)?;
    file.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_stays_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.txt");
        for text in ["one", "another"] {
            write_whole(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        // A folder can't be replaced by a file.
        assert!(write_whole(&folder.path().join("a"), b"x").is_err());
        // What isn't finished is nothing.
        let mut begun = WholeFile::create(&path).unwrap();
        begun.write_all(b"a third").unwrap();
        drop(begun);
        assert_eq!(fs::read_to_string(&path).unwrap(), "another");
        let files = |folder: &Path| fs::read_dir(folder).unwrap().count();
        assert_eq!((files(folder.path()), files(&folder.path().join("a"))), (1, 1));
    }

    #[test]
    fn whoever_reads_a_file_that_others_write_reads_one_of_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::thread::scope(|scope| {
            for of in 1..=4u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..100 {
                        write_whole(path, &vec![of; usize::from(of) * 100_000]).unwrap();
                        let found = fs::read(path).unwrap();
                        let whose = found[0];
                        assert!(found.len() == usize::from(whose) * 100_000 && found.iter().all(|byte| *byte == whose));
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
