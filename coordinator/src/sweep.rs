//! How a spec becomes an accepted sweep: rows ingested, models described, the work planned, all of it written down.

mod assumed;
mod resolve;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use limbic_core::plan::{ModelFacts, Plan, PlanError, Revision, plan, plan_revisions, room};
use limbic_proto::key::Digest;
use limbic_proto::rows::{Rows, Split};
use limbic_proto::spec::{CorpusSpec, Facts, ModelSpec, Sources, Spec, sweep_id};
use limbic_proto::unit::Versions;
use limbic_proto::{layout, rows};
use limbic_report::too_few;
use limbic_store::create::nonce;
use limbic_store::model::Need;
use limbic_store::{Created, ModelFiles, Store, source};
use serde::{Deserialize, Serialize};

use crate::dataset::{File, Ingested, ingest};
use crate::failure::Failure;
use crate::journal;
use crate::progress::{Phase, bytes, count, counted};

/// The body of a spec object, one per revision: everything that planning needs, so that a coordinator can take the sweep
/// up with nothing but the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// Drawn at random: whose create won.
    pub nonce: String,
    /// The spec as it is carried out: paths absolute, few-shot examples drawn, a condition for every stimulus, the models'
    /// twins added.
    pub spec: Spec,
    /// The rows artifact.
    pub rows: Digest,
    /// The models, described and pinned.
    pub models: Vec<ModelFacts>,
    /// What ingestion noticed.
    pub notes: Vec<String>,
    /// What its units compute. Those of releases that didn't say so are taken for today's.
    #[serde(default)]
    pub versions: Versions,
}

/// A sweep with its rows and its plan.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Its id: that of its first revision.
    pub id: String,
    /// What was accepted last.
    pub accepted: Accepted,
    /// The revisions before.
    pub earlier: Vec<Accepted>,
    /// Its rows.
    pub rows: Rows,
    /// Its work.
    pub plan: Plan,
}

impl Sweep {
    /// Its label.
    pub fn name(&self) -> &str {
        &self.accepted.spec.name
    }

    /// What is worth saying before it is run: what was noticed when it was accepted, and what its test rows are too few for.
    pub fn notes(&self) -> Vec<String> {
        let test = self.rows.rows.iter().filter(|row| row.split == Split::Test);
        self.accepted.notes.iter().cloned().chain(too_few(test.map(|row| row.group.as_str()))).collect()
    }

    /// What is worth saying where a sweep of such a name and so many units was asked for, and this one stood already.
    pub fn standing(&self, name: &str, units: usize) -> Vec<String> {
        let (mut notes, known) = (Vec::new(), self.name());
        notes.extend(self.renewed());
        // A further revision may only say where the models lie by now, or how it is reported.
        if self.plan.units.len() > units {
            notes
                .push(format!("this is the first spec of the sweep {known}, which was extended since: all of it is computed and reported"));
        }
        if known != name {
            notes.push(format!("this sweep stands in the store as {known}, by which name other commands know it"));
        }
        notes
    }

    /// What is worth saying where its last revision is of another release than the one before.
    fn renewed(&self) -> Option<String> {
        let renewed = self.earlier.last().is_some_and(|before| before.versions != self.accepted.versions);
        renewed.then(|| {
            "this release computes hidden states or fits otherwise than the one that accepted the sweep (their versions differ): all of it is \
             computed anew, and the old results stay in the store"
                .to_owned()
        })
    }

    /// What is worth saying of what a spec asked beyond it, now that it is among what it has been asked.
    pub fn added(&self, asked: &Accepted) -> Vec<String> {
        let mut notes = Vec::new();
        if self.accepted.nonce != asked.nonce {
            notes.push("the sweep had all that this spec asks already: nothing is added to it".to_owned());
        }
        notes.extend(self.renewed());
        let (models, conditions) = (&self.plan.models, &self.plan.conditions);
        for condition in &asked.spec.conditions {
            if let Some(known) = conditions.iter().find(|known| known.prompt() == condition.prompt() && known.name != condition.name) {
                let (new, known) = (&condition.name, &known.name);
                notes.push(format!("conditions: `{new}` puts the same prompt as the sweep's `{known}`, and goes by that name"));
            }
        }
        for model in &asked.models {
            if let Some(known) = models.iter().find(|known| known.identity() == model.identity() && known.name != model.name) {
                let (new, known) = (&model.name, &known.name);
                notes.push(format!("models: `{new}` is the same model as the sweep's `{known}`, and goes by that name"));
            }
        }
        notes
    }

    /// Its size and what it costs.
    pub fn in_words(&self) -> String {
        let (plan, e) = (&self.plan, &self.plan.estimate);
        let things = [
            counted(self.rows.rows.len(), "row"),
            counted(plan.models.len(), "model"),
            if e.cells == 1 { "1 cell".to_owned() } else { format!("{} cells", count(e.cells as f64)) },
            counted(plan.units.len(), "unit"),
        ];
        format!(
            "{}; about {} tokens, {} FLOPs, {} to store",
            things.join(", "),
            count(e.tokens as f64),
            count(e.flops),
            bytes(e.bytes_stored)
        )
    }

    /// Whether another sweep asks anything beyond this one, by which it can be extended.
    ///
    /// # Errors
    /// The field that keeps it from being extended so.
    pub fn extended_by(&self, other: &Sweep) -> Result<bool, String> {
        if self.accepted.rows != other.accepted.rows {
            return Err("dataset".to_owned());
        }
        let all: Vec<Accepted> = self.earlier.iter().chain([&self.accepted]).cloned().collect();
        let revised = planned(&all, &other.accepted, &self.rows);
        // Errors begin with the field.
        let revised = revised.map_err(|error| error.to_string().split(':').next().unwrap_or_default().to_owned())?;
        Ok(revised != self.plan)
    }
}

/// Reads and checks a spec file.
///
/// # Errors
/// The file can't be read, or isn't a spec.
pub fn read_spec(file: &Path) -> Result<Spec, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Failure::user(format_args!("{}: can't be read: {e}; name a spec file", file.display())))?;
    Spec::from_yaml(&text, file).map_err(|error| match CorpusSpec::from_yaml(&text, file) {
        Ok(_) => Failure::user(format_args!("{}: is the spec of a corpus, not of a sweep: `limbic corpus build` takes it", file.display())),
        Err(_) => Failure::user(error),
    })
}

/// Ingests, describes, resolves and plans, without writing anything.
///
/// It is boxed so that it is compiled here, with all readers of files, and not in every program that calls it.
///
/// # Errors
/// Whatever is wrong with dataset, models or what the spec asks of them.
pub fn prepare(spec: Spec) -> BoxFuture<'static, Result<Sweep, Failure>> {
    prepared(spec).boxed()
}

async fn prepared(mut spec: Spec) -> Result<Sweep, Failure> {
    let ingested = ingested(&spec).await?;
    let mut resolved = resolve::all(&mut spec, &ingested.examples).await?;
    resolved.extend(resolve::shown(&spec, &ingested.rows));
    let mut models = Vec::new();
    for model in &spec.models {
        models.push(described(model).await?);
    }
    let notes = ingested.notes.into_iter().chain(resolved).collect();
    put_together(spec, ingested.rows, models, notes)
}

/// The same over rows and models that are not there: what [`Facts`] say of them is enough to plan. Such a sweep can't be
/// accepted: its id means nothing.
///
/// # Errors
/// As [`prepare`], and models or classes that the facts don't speak of.
pub async fn prepare_assuming(mut spec: Spec, facts: &Facts) -> Result<Sweep, Failure> {
    let ingested = assumed::rows(&spec, facts)?;
    let resolved = resolve::all(&mut spec, &ingested.examples).await?;
    let models = spec.models.iter().map(|model| assumed::model(model, facts)).collect::<Result<_, _>>()?;
    let notes = ingested.notes.into_iter().chain(resolved).collect();
    put_together(spec, ingested.rows, models, notes)
}

/// The files of `dataset.source`.
///
/// # Errors
/// One of them can't be had.
pub async fn fetched(sources: &Sources) -> Result<Vec<File>, Failure> {
    let wrong = |error| Failure::user(format_args!("dataset.source: {error}"));
    let (mut files, mut named) = (Vec::new(), BTreeMap::new());
    for (split, source) in sources.files() {
        for name in source::files(source).await.map_err(wrong)? {
            // Rows that stand in two files would be held out in one and trained on in the other.
            if let Some(before) = named.insert(name.clone(), source) {
                return Err(Failure::user(format_args!(
                    "dataset.source: `{name}` is meant twice, by `{before}` and by `{source}`; name it once"
                )));
            }
            let _phase = Phase::on_source("fetching", &name);
            let bytes = source::fetch(&name).await.map_err(wrong)?;
            files.push(File { name, split, bytes });
        }
    }
    Ok(files)
}

/// The rows of a spec's dataset.
async fn ingested(spec: &Spec) -> Result<Ingested, Failure> {
    let files = fetched(&spec.dataset.source).await?;
    let _phase = Phase::new("ingesting rows (labels, near-duplicates, splits)");
    let (dataset, few_shot) = (spec.dataset.clone(), resolve::few_shot(spec));
    let ingested = tokio::task::spawn_blocking(move || ingest(&dataset, files, &few_shot)).await.expect("ingestion doesn't panic");
    ingested.map_err(Failure::user)
}

/// Rows that no spec's dataset names, with the models that are asked about them; see [`prepare`].
///
/// # Errors
/// What the spec asks of the rows or models that they don't have.
pub fn of_rows(spec: Spec, rows: Rows, models: Vec<ModelFacts>) -> Result<Sweep, Failure> {
    put_together(spec, rows, models, Vec::new())
}

/// What planning must know of a model.
///
/// # Errors
/// Its files can't be had, or are not a model's.
pub async fn described(model: &ModelSpec) -> Result<ModelFacts, Failure> {
    let _phase = Phase::on_source("reading and digesting", &model.source);
    let files = ModelFiles::resolve(&model.source, Need::Description).await.map_err(Failure::user)?;
    Ok(ModelFacts {
        name: model.name(),
        digest: files.identity(model.random_weights),
        source: files.pinned,
        dtype: model.dtype,
        architecture: files.architecture,
        chat_template: files.chat_template,
        random_weights: model.random_weights,
    })
}

/// A resolved spec with its rows and models, planned.
fn put_together(spec: Spec, rows: Rows, models: Vec<ModelFacts>, notes: Vec<String>) -> Result<Sweep, Failure> {
    room(&spec, &models).map_err(Failure::user)?;
    let plan = plan(&spec, &rows, &models).map_err(Failure::user)?;
    let digest = rows.digest();
    let contents: Vec<_> = models.iter().map(|m| (m.name.clone(), m.digest, m.dtype)).collect();
    let id = sweep_id(&spec, &digest, &contents);
    let accepted = Accepted { nonce: nonce(), spec, rows: digest, models, notes, versions: plan.versions };
    Ok(Sweep { id, accepted, earlier: Vec::new(), rows, plan })
}

/// Writes the rows of a sweep that is about to be accepted, also where those that stand are damaged: no sweep over them could be read.
///
/// # Errors
/// The store can't be read or written.
pub async fn keep_rows(store: &Store, sweep: &Sweep) -> Result<(), Failure> {
    Ok(store.mend_content(&layout::rows(&sweep.accepted.rows), Bytes::from(sweep.rows.to_bytes())).await?)
}

/// Writes an accepted sweep down; if the same sweep stands already, that one is returned. Where its models lie elsewhere
/// by now, it is to be reported otherwise, or this release computes other versions, a new revision says so.
///
/// # Errors
/// The same sweep was cancelled; or the store can't be written.
pub async fn accept(store: &Store, sweep: Sweep) -> Result<Sweep, Failure> {
    store.put_content(&layout::rows(&sweep.accepted.rows), Bytes::from(sweep.rows.to_bytes())).await?;
    match create(store, &sweep.id, 0, &sweep.accepted).await? {
        Created::Won => Ok(sweep),
        // The axes and contents are the same, for the id is; how the work is cut may differ, and then what stands counts,
        // for its units are under way.
        Created::Lost { .. } => {
            let id = sweep.id.clone();
            extend(store, &id, sweep).await
        }
    }
}

/// Extends a sweep by what another spec asks beyond it: adds a revision, unless there is nothing new in it. Nothing that is planned
/// already changes.
///
/// # Errors
/// The sweep was cancelled; the other spec changes what it may not, or is over other rows; or the store can't be written.
pub async fn extend(store: &Store, id: &str, by: Sweep) -> Result<Sweep, Failure> {
    loop {
        let foreseen = foresee(store, id, &by).await?;
        let new = foreseen.accepted.nonce == by.accepted.nonce;
        if !new || create(store, id, foreseen.earlier.len() as u64, &foreseen.accepted).await? == Created::Won {
            return Ok(foreseen);
        }
        // Somebody else was faster: what is missing now may be less.
    }
}

/// What a sweep would be once it is extended, without writing anything: the sweep as it stands where the other spec asks nothing
/// beyond it.
///
/// # Errors
/// As [`extend`].
pub async fn foresee(store: &Store, id: &str, by: &Sweep) -> Result<Sweep, Failure> {
    let standing = open(store, id).await?;
    if journal::read(store, id).await?.history.cancelled {
        return Err(cancelled(id, standing.name()));
    }
    if standing.accepted.rows != by.accepted.rows {
        return Err(Failure::user(format_args!(
            "dataset: its rows are not those of sweep {id} ({}): a sweep is extended over the same rows only (`few_shot` takes its examples out of them, so it must be asked for alike); submit this as a sweep of its own",
            standing.name()
        )));
    }
    let mut accepted = by.accepted.clone();
    // It goes on under the name by which people know it.
    standing.name().clone_into(&mut accepted.spec.name);
    let mut earlier = standing.earlier.clone();
    earlier.push(standing.accepted.clone());
    let plan = planned(&earlier, &accepted, &standing.rows).map_err(Failure::user)?;
    // How it is reported is no work, but whoever reports it later shall find what was asked last.
    let same = plan == standing.plan && accepted.spec.report == standing.accepted.spec.report;
    if same { Ok(standing) } else { Ok(Sweep { accepted, earlier, plan, ..standing }) }
}

async fn create(store: &Store, id: &str, revision: u64, accepted: &Accepted) -> Result<Created, Failure> {
    let body = serde_json::to_vec(accepted).expect("an accepted sweep serializes").into();
    Ok(store.create(&layout::spec(id, revision), &accepted.nonce, body).await?)
}

fn planned(earlier: &[Accepted], last: &Accepted, rows: &Rows) -> Result<Plan, PlanError> {
    let all: Vec<Revision<'_>> = earlier.iter().chain([last]).map(|a| Revision { spec: &a.spec, models: &a.models }).collect();
    plan_revisions(&all, rows, last.versions)
}

/// Takes up a sweep from the store.
///
/// # Errors
/// There is no such sweep, or its objects can't be read.
pub async fn open(store: &Store, id: &str) -> Result<Sweep, Failure> {
    let unreadable = |what: &str, e: &dyn std::fmt::Display| {
        Failure::user(format_args!("sweep {id}: {what} can't be read: {e} (was it written by another version?)"))
    };
    let mut revisions: Vec<Accepted> = Vec::new();
    // The first one is there, or the folder is no sweep.
    let names = store.list(&layout::spec_folder(id)).await?;
    let count = names.iter().filter(|name| name.parse::<u64>().is_ok()).count().max(1) as u64;
    for revision in 0..count {
        let bytes = store.get(&layout::spec(id, revision)).await?;
        revisions.push(serde_json::from_slice(&bytes).map_err(|e| unreadable("spec", &e))?);
    }
    let accepted = revisions.pop().expect("at least one was read");
    let path = layout::rows(&accepted.rows);
    let bytes = store.get(&path).await?;
    if Digest::of(&bytes) != accepted.rows {
        return Err(Failure::user(format_args!(
            "sweep {id}: its rows, {path} in store `{}`, are damaged: `limbic run SPEC` (or submit), with its spec and dataset, writes them anew",
            store.url()
        )));
    }
    let rows = rows::Rows::from_bytes(&bytes).map_err(|e| unreadable("rows", &e))?;
    let plan = planned(&revisions, &accepted, &rows).map_err(|e| unreadable("plan", &e))?;
    Ok(Sweep { id: id.to_owned(), accepted, earlier: revisions, rows, plan })
}

/// The answer to whoever wants something computed of a sweep of other versions than this release's; none where it is of the same.
pub fn foreign(id: &str, name: &str, theirs: &Versions) -> Option<Failure> {
    let ours = Versions::CURRENT;
    (*theirs != ours).then(|| {
        Failure::user(format_args!(
            "sweep {id} ({name}) was accepted by a release that computes other versions (hidden states {}, fits {}; this one {} and {}), so nothing \
             of it can be computed here: submit or run its spec again, and all of it is computed in this release's",
            theirs.engine, theirs.repeated, ours.engine, ours.repeated
        ))
    })
}

/// The answer to whoever wants a cancelled sweep to go on by something else than resuming it.
pub fn cancelled(id: &str, name: &str) -> Failure {
    Failure::user(format_args!(
        "sweep {id} ({name}) is cancelled: a coordinator that leads it takes it up again with `limbic resume {id}`; do that first"
    ))
}
