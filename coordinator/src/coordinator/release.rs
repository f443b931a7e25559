//! Releases activations in the store, some at a time, in the order in which the machine asks for it.

use futures::future::join_all;
use limbic_proto::key::UnitKey;
use limbic_store::{Store, StoreError};
use tokio::sync::{mpsc, oneshot};

use super::chain::{PAUSE, journalled};

/// How many are released at the same time: nobody waits for them, and whoever reads and commits is not to wait either.
const TOGETHER: usize = 8;

/// What is asked.
#[derive(Debug)]
pub(super) enum Wish {
    /// To release the activations of a unit's generation, once the journals say what was decided so far (`written`):
    /// who leads no more deletes nothing.
    Release { unit: UnitKey, generation: u32, written: Vec<oneshot::Receiver<()>> },
    /// To say when everything before has been seen to.
    Tell(oneshot::Sender<()>),
}

/// Does what is asked until the channel closes.
pub(super) async fn release(store: Store, mut wishes: mpsc::UnboundedReceiver<Wish>) {
    let mut together = Vec::with_capacity(TOGETHER);
    while wishes.recv_many(&mut together, TOGETHER).await > 0 {
        let (mut releases, mut told) = (Vec::new(), Vec::new());
        for wish in together.drain(..) {
            match wish {
                Wish::Release { unit, generation, written } => releases.push(one(&store, unit, generation, written)),
                Wish::Tell(done) => told.push(done),
            }
        }
        join_all(releases).await;
        for done in told {
            // Whoever asked may have gone meanwhile.
            let _ = done.send(());
        }
    }
}

async fn one(store: &Store, unit: UnitKey, generation: u32, written: Vec<oneshot::Receiver<()>>) {
    if !journalled(written).await {
        return tracing::debug!(unit = %unit.short(), "not released: another coordinator leads");
    }
    loop {
        match store.release(&unit, generation).await {
            Ok(()) => return tracing::debug!(unit = %unit.short(), generation, "its activations are released"),
            Err(error) if error.out_of_reach() || matches!(error, StoreError::Full { .. }) => {
                tracing::warn!(unit = %unit.short(), %error, "activations can't be released now; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            // What is refused now will be refused again, and the results don't depend on it.
            Err(error) => {
                return tracing::warn!(unit = %unit.short(), %error, "its activations can't be released; `limbic gc` may later");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use limbic_proto::commit::{self, Commit, Done, Provenance};
    use limbic_proto::key::Digest;
    use limbic_proto::layout;
    use limbic_proto::unit::{STATES, TOKENS};

    use super::*;

    /// A store in which each of these units is committed.
    async fn committed(store: &Store, units: &[UnitKey]) {
        for unit in units {
            let mut artifacts = Vec::new();
            for name in [STATES, TOKENS] {
                artifacts.push(store.put_artifact(unit, "a", name, Bytes::from_static(b"bytes")).await.unwrap());
            }
            let (worker, software, device) = ("w".to_owned(), "0".to_owned(), "cpu".to_owned());
            let provenance = Provenance { worker, software, device, seconds: 1.0, tokens: 1, counts: Default::default() };
            let done = Commit::Done(Done { nonce: "n".into(), attempt: "a".into(), artifacts, provenance });
            let body = serde_json::to_vec(&done).unwrap().into();
            store.create(&layout::commit(unit, commit::result(0)), "n", body).await.unwrap();
        }
    }

    #[tokio::test]
    async fn all_is_released_before_anybody_is_told_and_nothing_by_who_leads_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let units: Vec<UnitKey> = (0..20u8).map(|n| Digest::of(&[n])).collect();
        committed(&store, &units).await;
        let (wishes, inbox) = mpsc::unbounded_channel();
        let task = tokio::spawn(release(store.clone(), inbox));
        let wish = |unit: &UnitKey, leads: bool| {
            let (yes, written) = oneshot::channel();
            if leads {
                yes.send(()).unwrap();
            }
            wishes.send(Wish::Release { unit: *unit, generation: 0, written: vec![written] }).unwrap();
        };
        wish(&units[0], false);
        units[1..].iter().for_each(|unit| wish(unit, true));
        let (done, told) = oneshot::channel();
        wishes.send(Wish::Tell(done)).unwrap();
        told.await.unwrap();
        assert_eq!(store.releases().await.unwrap().len(), 19);
        for unit in &units {
            let there = |name: &str| folder.path().join(layout::artifact(unit, "a", name)).exists();
            assert_eq!((there(STATES), there(TOKENS)), (*unit == units[0], true));
        }
        drop(wishes);
        task.await.unwrap();
    }
}
