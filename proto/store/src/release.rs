//! Activations that nobody needs any more: a marker says that they were released, and then they are deleted.
//!
//! The marker comes first, so that nobody is told that they are there once some of them are gone. Whoever dies in between
//! leaves them to [`Store::leftovers`]. The commit and every other artifact stay.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use limbic_proto::commit::{self, Commit};
use limbic_proto::key::UnitKey;
use limbic_proto::layout;
use limbic_proto::unit::STATES;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Serialize;

use crate::create::nonce;
use crate::error::StoreError;
use crate::store::Store;

/// The body of a marker.
#[derive(Serialize)]
struct Released {
    /// Drawn at random, as in every object that is created.
    nonce: String,
    /// The generation whose activations were released.
    generation: u32,
}

impl Store {
    /// Releases the activations of a unit's result, and the finished blocks of an attempt that was interrupted. What is gone
    /// already is no error, and neither is a generation without a result of its own, of which nothing is done.
    ///
    /// # Errors
    /// The store can't be reached or written; it can be tried again. Or the commit can't be understood.
    pub async fn release(&self, unit: &UnitKey, generation: u32) -> Result<(), StoreError> {
        let Some(Commit::Done(done)) = self.commit(unit, generation).await? else { return Ok(()) };
        let marker = Released { nonce: nonce(), generation };
        let body = Bytes::from(serde_json::to_vec(&marker).expect("a marker serializes"));
        // Whoever's marker stands, it says the same.
        self.create(&layout::released(unit, generation), &marker.nonce, body).await?;
        let mut paths = self.parts(unit, generation).await?;
        paths.push(layout::artifact(unit, &done.attempt, STATES));
        self.remove(paths).await
    }

    /// Removes the finished blocks of a unit's generations up to one, which nobody needs once that is committed. Where there are
    /// none that is no error.
    ///
    /// # Errors
    /// The store can't be reached or written.
    pub async fn remove_parts(&self, unit: &UnitKey, generation: u32) -> Result<(), StoreError> {
        self.remove(self.parts(unit, generation).await?).await
    }

    /// The paths of the finished blocks of a unit's generations up to one.
    async fn parts(&self, unit: &UnitKey, generation: u32) -> Result<Vec<String>, StoreError> {
        let files = self.list(&layout::parts(unit)).await?;
        let files = files.iter().filter(|file| layout::part_generation(file).is_none_or(|of| of <= generation));
        Ok(files.map(|file| layout::part(unit, file)).collect())
    }

    /// Whether the activations of a unit's generation were released.
    ///
    /// # Errors
    /// The store can't be reached.
    pub async fn is_released(&self, unit: &UnitKey, generation: u32) -> Result<bool, StoreError> {
        let path = layout::released(unit, generation);
        let found = self.inner.head(&Path::from(path.as_str())).await.map_err(self.io(format!("reading {path}")));
        match found {
            Ok(_) => Ok(true),
            Err(e) if e.not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Of every unit whose activations were ever released, the last such generation, by one listing.
    ///
    /// # Errors
    /// The store can't be listed.
    pub async fn releases(&self) -> Result<BTreeMap<UnitKey, u32>, StoreError> {
        let highest = self.highest(layout::releases()).await?;
        Ok(highest.into_iter().map(|(unit, link)| (unit, commit::generation(link))).collect())
    }

    /// Removes objects; those that are gone already are no error.
    pub(crate) async fn remove(&self, paths: Vec<String>) -> Result<(), StoreError> {
        let folder = paths.first().and_then(|path| path.rsplit_once('/')).map_or("nothing", |(folder, _)| folder);
        let what = format!("removing objects of {folder}");
        let paths: Vec<_> = paths.iter().map(|path| Ok(Path::from(path.as_str()))).collect();
        let mut removed = self.inner.delete_stream(stream::iter(paths).boxed());
        let mut outcome = Ok(());
        // All of them are tried, whatever becomes of one.
        while let Some(one) = removed.next().await {
            if let Err(error) = one.map_err(self.io(what.clone()))
                && !error.not_found()
            {
                outcome = Err(error);
            }
        }
        outcome
    }
}
