//! The logs that attempts leave beside their artifacts. No commit names them, and nothing depends on them.

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use limbic_proto::key::UnitKey;
use limbic_proto::layout;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStoreExt};

use crate::error::StoreError;
use crate::store::Store;

/// How many logs are read at once.
const READERS: usize = 8;

/// An attempt's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptLog {
    /// The attempt.
    pub attempt: String,
    /// What it said, oldest first.
    pub text: String,
}

impl Store {
    /// Writes an attempt's log.
    ///
    /// # Errors
    /// The store can't be written.
    pub async fn put_log(&self, unit: &UnitKey, attempt: &str, text: String) -> Result<(), StoreError> {
        self.upload(&layout::artifact(unit, attempt, layout::ATTEMPT_LOG), Bytes::from(text)).await
    }

    /// The logs of a unit's attempts, by when they were written. Attempts whose worker was killed have none.
    ///
    /// # Errors
    /// The store can't be listed or read.
    pub async fn logs(&self, unit: &UnitKey) -> Result<Vec<AttemptLog>, StoreError> {
        let folder = layout::attempts(unit);
        let is_log = |meta: &ObjectMeta| meta.location.filename() == Some(layout::ATTEMPT_LOG);
        let listed = self.inner.list(Some(&Path::from(folder.as_str()))).try_filter(|meta| std::future::ready(is_log(meta)));
        let mut listed: Vec<ObjectMeta> = listed.try_collect().await.map_err(self.io(format!("listing {folder}")))?;
        listed.sort_by(|a, b| (a.last_modified, &a.location).cmp(&(b.last_modified, &b.location)));
        let read = listed.into_iter().map(|meta| self.log(meta.location));
        Ok(stream::iter(read).buffered(READERS).try_collect::<Vec<_>>().await?.into_iter().flatten().collect())
    }

    /// The log at a path; none if it was removed meanwhile.
    async fn log(&self, path: Path) -> Result<Option<AttemptLog>, StoreError> {
        let bytes = match self.inner.get(&path).await {
            Ok(found) => found.bytes().await,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => Err(error),
        };
        let bytes = bytes.map_err(self.io(format!("reading {path}")))?;
        let attempt = path.parts().nth_back(1).map(|part| part.as_ref().to_owned()).unwrap_or_default();
        Ok(Some(AttemptLog { attempt, text: String::from_utf8_lossy(&bytes).into_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use limbic_proto::key::Digest;

    use super::*;

    #[tokio::test]
    async fn the_logs_of_a_unit_come_in_the_order_they_were_written_and_without_its_artifacts() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let [unit, other] = [b"unit", b"else"].map(|text| Digest::of(text));
        assert_eq!(store.logs(&unit).await.unwrap(), []);
        for (n, attempt) in ["1-10", "1-9"].into_iter().enumerate() {
            store.put_artifact(&unit, attempt, "states.safetensors", Bytes::from_static(b"numbers")).await.unwrap();
            store.put_log(&unit, attempt, format!("said by {attempt}\n")).await.unwrap();
            let file = std::fs::File::open(folder.path().join(layout::artifact(&unit, attempt, layout::ATTEMPT_LOG))).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(n as u64)).unwrap();
        }
        store.put_log(&other, "2-1", "another's".to_owned()).await.unwrap();
        store.put_content(&layout::part(&unit, "0000-block"), Bytes::from_static(b"block")).await.unwrap();
        let expected = ["1-10", "1-9"].map(|attempt| AttemptLog { attempt: attempt.to_owned(), text: format!("said by {attempt}\n") });
        assert_eq!(store.logs(&unit).await.unwrap(), expected);
    }
}
