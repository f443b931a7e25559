//! Verdicts on replies that units leave for others under the question that was asked: an accelerator, never the truth.
//!
//! No commit names them. They are garbage like any attempt's artifacts, once nobody has written to a question's folder for long.

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use limbic_proto::key::Digest;
use limbic_proto::layout;
use object_store::ObjectStore;
use object_store::path::Path;

use crate::content::Content;
use crate::error::StoreError;
use crate::store::Store;

/// How many objects are read at once.
const READERS: usize = 16;

impl Store {
    /// The names of what is kept under a question, the last written first.
    ///
    /// # Errors
    /// The store can't be listed.
    pub async fn kept_verdicts(&self, asked: &Digest) -> Result<Vec<String>, StoreError> {
        let folder = layout::verdicts(asked);
        let listing = self.inner.list_with_delimiter(Some(&Path::from(folder.as_str()))).await;
        let mut objects = listing.map_err(self.io(format!("listing {folder}")))?.objects;
        objects.sort_by(|a, b| b.last_modified.cmp(&a.last_modified).then_with(|| a.location.cmp(&b.location)));
        Ok(objects.iter().filter_map(|object| object.location.filename().map(str::to_owned)).collect())
    }

    /// The bytes of some of it, each with its name; what is gone by now is left out.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn verdicts(&self, asked: &Digest, names: &[String]) -> Result<Vec<(String, Bytes)>, StoreError> {
        let read = |name: String| async move {
            match self.get(&layout::verdicts_named(asked, &name)).await {
                Ok(bytes) => Ok(Some((name, bytes))),
                Err(error) if error.not_found() => Ok(None),
                Err(error) => Err(error),
            }
        };
        stream::iter(names.iter().cloned())
            .map(read)
            .buffered(READERS)
            .try_filter_map(|found| std::future::ready(Ok(found)))
            .try_collect()
            .await
    }

    /// Keeps verdicts whole, in the place of what stands under their name: the same ones, or damaged ones.
    ///
    /// # Errors
    /// The store can't be written.
    pub async fn keep_verdicts(&self, asked: &Digest, name: &str, content: Content) -> Result<(), StoreError> {
        self.upload(&layout::verdicts_named(asked, name), content).await
    }
}
