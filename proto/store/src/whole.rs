//! Files of this computer that are there whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Writes a file, and its folder where there is none. Whoever reads it meanwhile, or writes it, too, has one or the other whole file
/// before and afterwards. A crash of the computer may cost it; it isn't written through.
///
/// # Errors
/// The file can't be written; what was written of it is removed.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder)?;
    let mut making = tempfile::Builder::new();
    making.suffix(".partial");
    // As any new file's, less the mask of the process: by default nobody else could read it.
    #[cfg(unix)]
    let making = making.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = making.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
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

    #[cfg(unix)]
    #[test]
    fn it_may_be_read_by_whom_any_file_may() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_whole(&ours, b"x").unwrap();
        fs::write(&plain, b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn those_who_write_one_file_side_by_side_leave_one_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::thread::scope(|scope| {
            for of in 0..8u8 {
                let path = &path;
                scope.spawn(move || (0..20).for_each(|_| write_whole(path, &vec![of; 100_000]).unwrap()));
            }
        });
        let found = fs::read(&path).unwrap();
        assert!(found.len() == 100_000 && found.iter().all(|byte| *byte == found[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
