//! One copy for all: whoever comes first prepares the weights, and everybody maps the file.

use std::fs::{self, File, TryLockError};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Prepared, SharedFile, Store, Writer};
use crate::weights::{LoadError, OnTensor};

/// How long another process that prepares the same weights may write nothing. One that is stopped must not stop the others for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// Calls `lay_out` with the shared file, which is made first where there is none that can be used. Where it can't be made the
/// weights stay in this process's memory.
///
/// `lay_out` may be called several times.
pub(crate) fn share<D>(
    shared: &SharedFile,
    on_tensor: OnTensor<'_>,
    mut lay_out: impl FnMut(&mut Store, OnTensor<'_>) -> Result<D, LoadError>,
) -> Result<D, LoadError> {
    let path = &shared.path;
    if let Some(found) = mapped(shared, on_tensor, &mut lay_out)? {
        return Ok(found);
    }
    let turn = Turn::wait(path, PATIENCE, on_tensor)?;
    if turn.waited
        && let Some(found) = mapped(shared, on_tensor, &mut lay_out)?
    {
        return Ok(found);
    }
    let private = |error: io::Error| {
        tracing::warn!(file = %path.display(), %error, "prepared weights can't be kept there; they stay in this process's memory");
    };
    let writer = match Writer::create(shared) {
        Ok(writer) => writer,
        Err(error) => {
            private(error);
            return lay_out(&mut Store::Private, on_tensor);
        }
    };
    let mut store = Store::Written(writer);
    let own = lay_out(&mut store, on_tensor)?;
    let Store::Written(writer) = store else { return Ok(own) };
    // The last time to say that they are not what the file's name promises.
    if let ControlFlow::Break(()) = on_tensor() {
        return Err(LoadError::Cancelled);
    }
    match writer.finish(path) {
        // What somebody removes or damages at once, this process has anyway.
        Ok(()) => Ok(mapped(shared, on_tensor, &mut lay_out)?.unwrap_or(own)),
        Err(error) => {
            private(error);
            Ok(own)
        }
    }
}

/// Lays out what is in the file, if it can be used.
fn mapped<D>(
    shared: &SharedFile,
    on_tensor: OnTensor<'_>,
    lay_out: &mut impl FnMut(&mut Store, OnTensor<'_>) -> Result<D, LoadError>,
) -> Result<Option<D>, LoadError> {
    let path = &shared.path;
    let unusable = |why: &dyn std::fmt::Display| {
        tracing::warn!(file = %path.display(), "prepared weights can't be used and are made again: {why}");
        Ok(None)
    };
    match Prepared::open(shared) {
        Ok(prepared) => match lay_out(&mut Store::Mapped(prepared), on_tensor) {
            Err(LoadError::Damaged { path: of, what }) if of == *path => unusable(&what),
            laid_out => laid_out.map(Some),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => unusable(&error),
    }
}

/// The turn to prepare a file: one process at a time, as long as the file system can tell them apart. Two that prepare the same
/// file do so for nothing, but harm nobody.
struct Turn {
    lock: Option<(PathBuf, File)>,
    /// Whether somebody else has had it before.
    waited: bool,
}

impl Turn {
    /// Waits for as long as somebody else has the turn and its file grows, and for `patience` while it doesn't.
    fn wait(path: &Path, patience: Duration, on_tensor: OnTensor<'_>) -> Result<Turn, LoadError> {
        let lock = path.with_extension("lock");
        let made = fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).and_then(|()| File::create(&lock));
        // Where there can be no lock there can be no file either, and whoever tries to write it says why.
        let Ok(file) = made else { return Ok(Turn { lock: None, waited: false }) };
        let (mut grown, mut written, mut waited) = (Instant::now(), 0, false);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Turn { lock: Some((lock, file)), waited }),
                Err(TryLockError::WouldBlock) if grown.elapsed() < patience => {
                    let now = in_the_making(path);
                    if now != written {
                        (grown, written) = (Instant::now(), now);
                    }
                    if let ControlFlow::Break(()) = on_tensor() {
                        return Err(LoadError::Cancelled);
                    }
                    waited = true;
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(_) => return Ok(Turn { lock: None, waited }),
            }
        }
    }
}

/// Bytes of the files that are being made for a path, by whomever.
fn in_the_making(path: &Path) -> u64 {
    let (Some(folder), Some(stem)) = (path.parent(), path.file_stem()) else { return 0 };
    let made = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with(&*stem.to_string_lossy()) && name.ends_with(".partial")
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().filter(made);
    entries.filter_map(|entry| entry.metadata().ok()).map(|m| m.len()).sum()
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.lock {
            // Whoever waits for it holds it open, and finds the weights there.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn wait(path: &Path, patience: u64) -> Turn {
        Turn::wait(path, Duration::from_millis(patience), &mut || ControlFlow::Continue(())).unwrap()
    }

    #[test]
    fn what_is_not_what_was_promised_is_not_shared() {
        let folder = tempfile::tempdir().unwrap();
        let shared = SharedFile { path: folder.path().join("weights.bin"), identity: limbic_proto::key::Digest::of(b"weights") };
        let laid_out = share(&shared, &mut || ControlFlow::Break(()), |_, _| Ok(()));
        assert!(matches!(laid_out, Err(LoadError::Cancelled)));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "neither the file nor a part of it");
        share(&shared, &mut || ControlFlow::Continue(()), |_, _| Ok(())).unwrap();
        assert!(shared.path.exists());
    }

    #[test]
    fn patience_lasts_while_the_file_grows_and_ends_where_it_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.bin");
        let (began, turn) = (Instant::now(), wait(&path, 400));
        assert!(turn.lock.is_some() && !turn.waited, "nobody else is there");
        // One that is stopped in the middle.
        let second = wait(&path, 400);
        assert!(second.lock.is_none() && second.waited && began.elapsed() >= Duration::from_millis(400));
        // One that writes for five times as long as the others' patience.
        let mut file = File::create(folder.path().join("weights.1-2.partial")).unwrap();
        let writing = std::thread::spawn(move || {
            for _ in 0..40 {
                file.write_all(b"weights").unwrap();
                std::thread::sleep(Duration::from_millis(50));
            }
            drop(turn);
        });
        let third = wait(&path, 400);
        assert!(third.lock.is_some() && third.waited, "it has the turn once the other is done");
        writing.join().unwrap();
    }
}
