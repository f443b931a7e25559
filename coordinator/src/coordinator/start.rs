//! Taking up all sweeps of a store at the start of a coordinator.

use limbic_proto::logs::tell;
use tracing::Level;

use super::Handle;
use crate::chains::{Chains, Listing};
use crate::failure::Failure;
use crate::journal::{self, Journal, JournalError};
use crate::patience::Patience;
use crate::sweep::Sweep;

impl Handle {
    /// Takes the lead of accepted sweeps, and says that these are all ([`Handle::all_open`]). What is damaged in one sweep
    /// doesn't keep the others from going on: it is warned about, and the last such failure comes back. Nobody
    /// knows which activations a damaged sweep needs, so nothing is released while there is one.
    ///
    /// The store is listed once for all of them, and only when every one is led: what another coordinator decides later
    /// doesn't come to pass, and what it decided before stands in the journals.
    ///
    /// # Errors
    /// The store can't be read or written, for longer than the patience where it is out of reach.
    pub async fn open_all(&self, sweeps: Vec<Sweep>, patience: Patience) -> Result<Option<Failure>, Failure> {
        let _one_at_a_time = self.opening.lock().await;
        let (mut led, mut damaged): (Vec<(Sweep, Journal)>, _) = (Vec::new(), None);
        for sweep in sweeps {
            match patience.wait_for(async || self.lead(&sweep).await).await {
                Ok(journal) => led.push((sweep, journal)),
                Err(failure) if matches!(journal::read(self.store(), &sweep.id).await, Err(JournalError::Entry { .. })) => {
                    let id = &sweep.id;
                    tell(Level::WARN, &format_args!("sweep {id} can't be led: {failure}; while that is so no activations are released"));
                    damaged = Some(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        let listing = patience.wait_for(async || Ok(Listing::read(self.store()).await?)).await?;
        for (sweep, journal) in led {
            let chains = patience.wait_for(async || Chains::among(&listing, self.store(), &sweep).await).await?;
            self.take_up(sweep, journal, chains).await?;
        }
        if damaged.is_none() {
            self.all_open().await.map_err(Failure::again)?;
        }
        Ok(damaged)
    }
}
