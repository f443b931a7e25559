//! What sweeps a store holds. Whatever else lies among them (a stray folder, a sweep of another version) is named and
//! passed over, so that it can't keep the others from being read.

use limbic_proto::layout;
use limbic_proto::logs::tell;
use limbic_store::{Store, StoreError};
use serde::Deserialize;
use tracing::Level;

use crate::failure::Failure;
use crate::sweep::{self, Sweep};

/// A sweep by id and label, without its rows and plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: String,
    /// Its label; none where it can't be read.
    pub name: Option<String>,
}

/// As much of a sweep's spec object as a list needs: other versions' objects have it too.
#[derive(Deserialize)]
struct Labelled {
    spec: Label,
}

#[derive(Deserialize)]
struct Label {
    name: String,
}

/// Everything that lies among the sweeps of a store, by id.
///
/// # Errors
/// The store can't be read.
pub async fn entries(store: &Store) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    for id in store.list(layout::sweeps()).await? {
        let name = match label(store, &id).await {
            Err(error) if error.out_of_reach() => return Err(error.into()),
            label => label.ok().flatten(),
        };
        entries.push(Entry { id, name });
    }
    Ok(entries)
}

/// The label in the last revision of a sweep's spec.
async fn label(store: &Store, id: &str) -> Result<Option<String>, StoreError> {
    let revisions = store.list(&layout::spec_folder(id)).await?;
    let last = revisions.iter().filter_map(|name| name.parse::<u64>().ok()).max().unwrap_or(0);
    let bytes = store.get(&layout::spec(id, last)).await?;
    Ok(serde_json::from_slice::<Labelled>(&bytes).ok().map(|body| body.spec.name))
}

/// The id of the one sweep that a user means by an id, a unique prefix of one, or a name.
///
/// # Errors
/// None or several fit, or the store can't be read.
pub async fn id(store: &Store, wanted: &str) -> Result<String, Failure> {
    choose(&entries(store).await?, wanted)
}

/// The one sweep that a user means by an id, a unique prefix of one, or a name; that one alone is read as a whole.
///
/// # Errors
/// None or several fit, or the one that fits can't be read.
pub async fn open(store: &Store, wanted: &str) -> Result<Sweep, Failure> {
    sweep::open(store, &id(store, wanted).await?).await
}

/// Every sweep that can be read; a warning names each one that can't.
///
/// # Errors
/// The store can't be read.
pub async fn open_all(store: &Store) -> Result<Vec<Sweep>, Failure> {
    let mut sweeps = Vec::new();
    for entry in entries(store).await? {
        match sweep::open(store, &entry.id).await {
            Ok(sweep) => sweeps.push(sweep),
            Err(again @ Failure::Again(_)) => return Err(again),
            Err(Failure::User(error)) => {
                tell(Level::WARN, &format_args!("sweeps/{} is passed over: {error}", entry.id));
            }
        }
    }
    Ok(sweeps)
}

/// The id of the sweep that is meant. Entries without a name are meant only by their id, and never by leaving it out.
fn choose(entries: &[Entry], wanted: &str) -> Result<String, Failure> {
    let named = entries.iter().filter_map(|e| Some((e.id.as_str(), e.name.as_deref()?)));
    let found = sweep::find(named, wanted);
    match entries.iter().find(|e| e.name.is_none() && !wanted.is_empty() && e.id.starts_with(wanted)) {
        Some(unnamed) if found.is_err() => Ok(unnamed.id.clone()),
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, choose};

    #[test]
    fn what_has_no_name_is_meant_by_its_id_alone() {
        let entry = |id: &str, name: Option<&str>| Entry { id: id.into(), name: name.map(str::to_owned) };
        let entries = [entry(".DS_Store", None), entry("aa11", Some("quick")), entry("stray", None)];
        assert_eq!(choose(&entries, "").unwrap(), "aa11");
        assert_eq!(choose(&entries, "quick").unwrap(), "aa11");
        assert_eq!(choose(&entries, "str").unwrap(), "stray");
        assert!(choose(&entries, "other").unwrap_err().to_string().contains("there are aa11 (quick)"));
    }
}
