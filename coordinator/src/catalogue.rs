//! What sweeps a store holds. Whatever else lies among them (a stray folder, a sweep of another version) is named and
//! passed over, so that it can't keep the others from being read.

use std::fmt::{self, Display, Formatter};
use std::io::Read;
use std::path::PathBuf;

use limbic_proto::layout;
use limbic_proto::logs::tell;
use limbic_proto::status::Status;
use limbic_store::{Store, StoreError};
use serde::Deserialize;
use tracing::Level;

use crate::failure::Failure;
use crate::journal;
use crate::progress::date;
use crate::sweep::{self, Sweep};

/// A sweep by id and label, without its rows and plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: String,
    /// Its label; none where it can't be read.
    pub name: Option<String>,
    /// What tells it from others of its name, where it was looked at.
    pub traits: Option<Traits>,
}

/// How large a sweep is and since when it has been there: what tells sweeps of one name apart at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// Its cells.
    pub cells: u64,
    /// Its units.
    pub units: u64,
    /// See [`Status::since`].
    pub since: Option<u64>,
}

impl Display for Traits {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} cells, {} units", self.cells, self.units)?;
        self.since.map_or(Ok(()), |since| write!(f, ", since {}", date(since)))
    }
}

impl Entry {
    /// What a coordinator says of one.
    pub fn of(status: &Status) -> Entry {
        let traits = Traits { cells: status.cells.total, units: status.units.total, since: status.since };
        Entry { id: status.sweep.clone(), name: Some(status.name.clone()), traits: Some(traits) }
    }

    /// `3f2a… (study)`, with its size and date where others have the same name.
    fn among(&self, all: &[&Entry]) -> String {
        let Some(name) = &self.name else { return self.id.clone() };
        let alike = all.iter().filter(|e| e.name.as_ref() == Some(name)).count() > 1;
        match self.traits.filter(|_| alike) {
            Some(traits) => format!("{} ({name}: {traits})", self.id),
            None => format!("{} ({name})", self.id),
        }
    }
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
        entries.push(Entry { id, name, traits: None });
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

/// The id of the one sweep that a user means by an id, a unique prefix of one, or a name. Where several of one name fit, they
/// are read to say how large each is and since when it has been there.
///
/// # Errors
/// None or several fit, or the store can't be read.
pub async fn id(store: &Store, wanted: &str) -> Result<String, Failure> {
    let mut entries = entries(store).await?;
    let name_of = |e: &Entry| e.name.clone().filter(|_| fits(e, wanted));
    let names: Vec<String> = entries.iter().filter_map(name_of).collect();
    for entry in &mut entries {
        let alike = |name: &String| names.iter().filter(|n| *n == name).count() > 1;
        if fits(entry, wanted) && entry.name.as_ref().is_some_and(alike) {
            // One that can't be read is listed without.
            let Ok(Sweep { plan, .. }) = sweep::open(store, &entry.id).await else { continue };
            let since = journal::read(store, &entry.id).await.ok().and_then(|read| read.history.since);
            entry.traits = Some(Traits { cells: plan.estimate.cells, units: plan.units.len() as u64, since });
        }
    }
    find(&entries, wanted)
}

/// Writes down what a spec asks: as a sweep of its own, or, where an id is given, beyond the sweep of that id. With it comes what
/// is worth saying of it beside [`Sweep::notes`].
///
/// # Errors
/// As [`sweep::accept`] and [`sweep::extend`].
pub async fn take_in(store: &Store, prepared: Sweep, beyond: Option<&str>) -> Result<(Sweep, Vec<String>), Failure> {
    let (asked, units) = (prepared.accepted.clone(), prepared.plan.units.len());
    if let Some(id) = beyond {
        let sweep = sweep::extend(store, id, prepared).await?;
        let notes = sweep.added(&asked);
        return Ok((sweep, notes));
    }
    let mut notes = beside(store, &prepared).await?;
    let sweep = sweep::accept(store, prepared).await?;
    notes.extend(sweep.standing(&asked.spec.name, units));
    Ok((sweep, notes))
}

/// What is worth saying of the sweeps that go by the name of a new one, which it is made beside.
async fn beside(store: &Store, new: &Sweep) -> Result<Vec<String>, Failure> {
    let (entries, mut notes) = (entries(store).await?, Vec::new());
    // One that stands already was told of when it was made.
    if entries.iter().any(|e| e.id == new.id) {
        return Ok(notes);
    }
    for Entry { id, .. } in entries.into_iter().filter(|e| e.name.as_deref() == Some(new.name())) {
        let other = match sweep::open(store, &id).await {
            Ok(other) => other,
            Err(again @ Failure::Again(_)) => return Err(again),
            Err(Failure::User(_)) => continue,
        };
        let (cells, name) = (other.plan.estimate.cells, new.name());
        let instead = match other.extended_by(new) {
            Ok(true) => format!("`--extend {id}` adds what this spec asks beyond it, instead of making this sweep"),
            Ok(false) => format!("it has all that this spec asks, and `--extend {id}` would compute nothing anew"),
            Err(field) => format!("it differs in `{field}`, so this is a sweep of its own; another `name` would tell them apart"),
        };
        notes.push(format!("another sweep of this store goes by the name {name}: {id} of {cells} cells; {instead}"));
    }
    Ok(notes)
}

/// The default folder of a sweep's report: its name, with the beginning of its id where that folder has another sweep's, so that
/// none overwrites another's.
pub fn report_folder(id: &str, name: &str) -> PathBuf {
    let folder = PathBuf::from("limbic-out").join(name);
    // The report's first lines say whose it is; the other files are large.
    let mut head = vec![0; HEAD];
    let read = std::fs::File::open(folder.join("report.md")).and_then(|mut file| file.read(&mut head)).unwrap_or(0);
    let head = String::from_utf8_lossy(&head[..read]);
    if head.is_empty() || head.contains(id) { folder } else { PathBuf::from("limbic-out").join(apart(id, name)) }
}

/// Bytes of a report within which the sweep's id stands.
const HEAD: usize = 4096;

/// A name by which a sweep is told apart from others of its name.
pub fn apart(id: &str, name: &str) -> String {
    format!("{name}-{}", &id[..id.len().min(8)])
}

/// The one sweep that a user means by an id, a unique prefix of one, or a name; that one alone is read as a whole.
///
/// # Errors
/// None or several fit, or the one that fits can't be read.
pub async fn open(store: &Store, wanted: &str) -> Result<Sweep, Failure> {
    sweep::open(store, &id(store, wanted).await?).await
}

/// The sweep of that very id, if it stands.
///
/// # Errors
/// The store can't be read, or the sweep can't.
pub async fn known(store: &Store, id: &str) -> Result<Option<Sweep>, Failure> {
    let stands = store.list(layout::sweeps()).await?.iter().any(|name| name == id);
    if stands { sweep::open(store, id).await.map(Some) } else { Ok(None) }
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

fn fits(entry: &Entry, wanted: &str) -> bool {
    entry.name.as_deref() == Some(wanted) || entry.id.starts_with(wanted)
}

/// The id of the one sweep that a user means by an id, a unique prefix of one, or a name. Entries without a name are meant only
/// by their id, and never by leaving it out.
///
/// # Errors
/// None or several fit.
pub fn find(entries: &[Entry], wanted: &str) -> Result<String, Failure> {
    let (named, unnamed): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|e| e.name.is_some());
    let fitting: Vec<&Entry> = named.iter().copied().filter(|e| fits(e, wanted)).collect();
    let list = |of: &[&Entry]| of.iter().map(|e| e.among(of)).collect::<Vec<_>>().join(", ");
    if let [one] = fitting.as_slice() {
        return Ok(one.id.clone());
    }
    if let Some(unnamed) = unnamed.iter().find(|e| fitting.is_empty() && !wanted.is_empty() && fits(e, wanted)) {
        return Ok(unnamed.id.clone());
    }
    Err(match fitting.as_slice() {
        [] if entries.is_empty() => Failure::user("there are no sweeps yet: `limbic run SPEC` or `limbic submit SPEC` makes one"),
        [] if named.is_empty() => {
            let ids: Vec<&str> = unnamed.iter().map(|entry| entry.id.as_str()).collect();
            Failure::user(format_args!("which sweep? There are {}, whose specs can't be read: say the beginning of its id", ids.join(", ")))
        }
        [] => Failure::user(format_args!("sweep `{wanted}`: there is none of that id or name; there are {}", list(&named))),
        several if wanted.is_empty() => {
            Failure::user(format_args!("which sweep? There are {}: say its name or the beginning of its id", list(several)))
        }
        several => Failure::user(format_args!("sweep `{wanted}` could be {}: say the beginning of its id", list(several))),
    })
}

#[cfg(test)]
mod tests {
    use super::{Entry, Traits, find};

    fn entry(id: &str, name: Option<&str>) -> Entry {
        Entry { id: id.into(), name: name.map(str::to_owned), traits: None }
    }

    #[test]
    fn a_sweep_is_found_by_name_or_prefix() {
        let sweeps = [entry("aa11", Some("quick")), entry("aa22", Some("paper"))];
        let said = |wanted: &str| find(&sweeps, wanted).unwrap_err().to_string();
        assert_eq!(find(&sweeps, "paper").unwrap(), "aa22");
        assert_eq!(find(&sweeps, "aa1").unwrap(), "aa11");
        assert!(said("aa").contains("could be aa11 (quick), aa22 (paper)"));
        assert!(said("").starts_with("which sweep? There are aa11 (quick), aa22 (paper): say"));
        assert!(said("zz").contains("there is none"));
    }

    #[test]
    fn sweeps_of_one_name_are_told_apart_by_their_size_and_date() {
        let known = |id: &str, cells, since| Entry { traits: Some(Traits { cells, units: 3, since }), ..entry(id, Some("quick")) };
        let sweeps = [known("aa11", 12, None), known("bb22", 24, Some(1_700_000_000)), entry("cc33", Some("paper"))];
        let said = find(&sweeps, "quick").unwrap_err().to_string();
        let expected = "could be aa11 (quick: 12 cells, 3 units), bb22 (quick: 24 cells, 3 units, since 2023-11-14 22:13 UTC): say";
        assert!(said.contains(expected), "{said}");
    }

    #[test]
    fn what_has_no_name_is_meant_by_its_id_alone() {
        let entries = [entry(".DS_Store", None), entry("aa11", Some("quick")), entry("stray", None)];
        assert_eq!(find(&entries, "").unwrap(), "aa11");
        assert_eq!(find(&entries, "quick").unwrap(), "aa11");
        assert_eq!(find(&entries, "str").unwrap(), "stray");
        assert!(find(&entries, "other").unwrap_err().to_string().contains("there are aa11 (quick)"));
        // Never before one that is named so.
        let entries = [entry("aa11", Some("quick")), entry("bb22", Some("quick")), entry("quick-backup", None)];
        assert!(find(&entries, "quick").unwrap_err().to_string().contains("could be aa11 (quick), bb22 (quick)"));
    }
}
