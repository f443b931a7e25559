//! CREATE(key, body): a conditional put whose outcome is always definite.
//!
//! The body carries a nonce. On `AlreadyExists` the object is read: our own nonce means that an earlier try of ours
//! took effect (the answer was lost), another nonce means that somebody else won. After an error of unknown outcome
//! the same bytes are sent again; nothing is ever cleaned up.

use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::time::Instant;

/// The definite outcome of a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// Our body stands.
    Won,
    /// Another body stood first.
    Lost {
        /// The body that stands.
        winner: Bytes,
    },
}

/// How often a create of unknown outcome is sent before the store counts as unreachable, and for how long at most; each
/// time the store's own client has tried for some seconds already.
const TRIES: u32 = 6;
const LONGEST: Duration = Duration::from_secs(10);

/// Creates an object; see the module's description.
///
/// # Errors
/// The store refuses (permissions, no such bucket) or stays unreachable.
pub(crate) async fn create(store: &dyn ObjectStore, path: &Path, nonce: &str, body: Bytes) -> Result<Created, Error> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(50);
    let mut tries = 0;
    loop {
        tries += 1;
        let put = store.put_opts(path, PutPayload::from_bytes(body.clone()), PutMode::Create.into()).await;
        let (error, definite) = match put {
            Ok(_) => return Ok(Created::Won),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => match winner(store, path).await {
                Ok(winner) if carries(&winner, nonce) => return Ok(Created::Won),
                Ok(winner) => return Ok(Created::Lost { winner }),
                // Not found: the other create did not take effect after all, so it is ours to try.
                Err(error) => (error, false),
            },
            // Here it is the bucket that is not found.
            Err(error @ Error::NotFound { .. }) => (error, true),
            Err(error) => (error, false),
        };
        let definite = definite
            || matches!(
                error,
                Error::PermissionDenied { .. }
                    | Error::Unauthenticated { .. }
                    | Error::NotImplemented { .. }
                    | Error::NotSupported { .. }
                    | Error::InvalidPath { .. }
            )
            || crate::error::denied(&error);
        if definite || tries == TRIES || began.elapsed() > LONGEST {
            return Err(error);
        }
        tracing::warn!(%path, tries, %error, "create of unknown outcome; sending the same bytes again");
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

async fn winner(store: &dyn ObjectStore, path: &Path) -> Result<Bytes, Error> {
    store.get(path).await?.bytes().await
}

/// Whether the body is ours: every created body is a JSON object with a top-level `nonce`.
fn carries(body: &[u8], nonce: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Nonce {
        nonce: String,
    }
    serde_json::from_slice::<Nonce>(body).is_ok_and(|n| n.nonce == nonce)
}

/// A fresh nonce: 128 random bits in hexadecimal.
pub fn nonce() -> String {
    format!("{:032x}", crate::chance::draw::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    fn body(nonce: &str) -> Bytes {
        format!(r#"{{"nonce":"{nonce}","v":1}}"#).into()
    }

    #[tokio::test]
    async fn of_many_creators_exactly_one_wins_and_the_others_learn_who() {
        let store = std::sync::Arc::new(InMemory::new());
        let path = Path::from("commit/aa/unit");
        let tasks: Vec<_> = (0..64)
            .map(|i| {
                let (store, path) = (store.clone(), path.clone());
                tokio::spawn(async move { create(&*store, &path, &i.to_string(), body(&i.to_string())).await.unwrap() })
            })
            .collect();
        let mut won = 0;
        let mut winners = std::collections::BTreeSet::new();
        for task in tasks {
            match task.await.unwrap() {
                Created::Won => won += 1,
                Created::Lost { winner } => drop(winners.insert(winner)),
            }
        }
        assert_eq!((won, winners.len()), (1, 1));
    }

    #[tokio::test]
    async fn our_own_earlier_create_counts_as_won() {
        let store = InMemory::new();
        let path = Path::from("log/1");
        assert_eq!(create(&store, &path, "me", body("me")).await.unwrap(), Created::Won);
        assert_eq!(create(&store, &path, "me", body("me")).await.unwrap(), Created::Won);
        assert_eq!(create(&store, &path, "you", body("you")).await.unwrap(), Created::Lost { winner: body("me") });
    }
}
