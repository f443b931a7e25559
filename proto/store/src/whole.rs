//! Files of this computer that are there whole or not at all.

use std::fs;
use std::io;
use std::path::Path;

use crate::chance::draw;

/// Writes a file, and its folder where there is none. Whoever reads it meanwhile, or writes it, too, has one or the other whole file
/// before and afterwards. A crash of the computer may cost it; it isn't written through.
///
/// # Errors
/// The file can't be written; what was written of it is removed.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}-{:08x}.partial", std::process::id(), draw::<u32>()));
    fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path)).inspect_err(|_| {
        // It is useless; if it can't be removed either, it does no harm.
        let _ = fs::remove_file(&partial);
    })
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
