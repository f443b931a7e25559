//! Files on the Hugging Face hub, with the revision pinned to a commit.

mod room;
mod silence;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Repo, RepoType};

pub use room::make_room;
use silence::{SILENCE, unless_silent};

/// Why the hub can't be read.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Not `hf://[datasets/]OWNER/NAME[@REVISION][/FILE]`.
    #[error(
        "`{0}` is not a hub id: write hf://OWNER/NAME[@REVISION] for a model, hf://OWNER/NAME[@REVISION]/FILE.gguf for a GGUF file or hf://datasets/OWNER/NAME[@REVISION]/FILE"
    )]
    Id(String),
    /// The hub refused or can't be reached.
    #[error("{id}: {message} (is there a network, does the repository exist, and is HF_TOKEN set if it is gated?)")]
    Api {
        /// What was asked for.
        id: String,
        /// What the hub said.
        message: String,
    },
    /// The hub was reached, and brings nothing more.
    #[error(
        "{id}: the hub has brought nothing for {seconds} s; start again: what has come is kept, and the rest is fetched (is the network well?)"
    )]
    Silent {
        /// What was asked for.
        id: String,
        /// For how long.
        seconds: u64,
    },
}

/// A repository or a file on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubId {
    /// Whether it is a dataset.
    pub dataset: bool,
    /// `OWNER/NAME`.
    pub repository: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// A file in the repository.
    pub file: Option<String>,
}

impl FromStr for HubId {
    type Err = HubError;

    fn from_str(s: &str) -> Result<Self, HubError> {
        let bad = || HubError::Id(s.to_owned());
        let rest = s.strip_prefix("hf://").ok_or_else(bad)?;
        let (dataset, rest) = rest.strip_prefix("datasets/").map_or((false, rest), |r| (true, r));
        let mut parts = rest.splitn(3, '/');
        let (owner, name, file) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next());
        let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
        if owner.is_empty() || name.is_empty() || revision.is_empty() || file == Some("") || (dataset && file.is_none()) {
            return Err(bad());
        }
        Ok(HubId { dataset, repository: format!("{owner}/{name}"), revision: revision.to_owned(), file: file.map(str::to_owned) })
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf://{}{}@{}", if self.dataset { "datasets/" } else { "" }, self.repository, self.revision)?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, "/{file}"))
    }
}

impl HubId {
    fn error(&self) -> impl Fn(ApiError) -> HubError {
        let id = self.to_string();
        move |e| HubError::Api { id: id.clone(), message: e.to_string() }
    }

    fn kind(&self) -> RepoType {
        if self.dataset { RepoType::Dataset } else { RepoType::Model }
    }

    /// Asks the hub, for as long as files in the repository's cache grow.
    fn ask<T: Send + 'static>(
        &self,
        repo: ApiRepo,
        ask: impl FnOnce(ApiRepo) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, HubError> {
        let come = || room::bytes_of(&self.repository, self.kind());
        let answer = unless_silent(SILENCE, come, move || ask(repo));
        answer.ok_or_else(|| HubError::Silent { id: self.to_string(), seconds: SILENCE.as_secs() })?.map_err(self.error())
    }

    fn repo(&self) -> Result<ApiRepo, HubError> {
        crate::source::use_ring();
        // A bar with bytes and rate for each file; where standard error is no terminal, none.
        let mut builder = ApiBuilder::from_env().with_progress(true);
        // The library itself reads only the file that `hf auth login` writes.
        if let Some(token) = std::env::var("HF_TOKEN").ok().filter(|token| !token.is_empty()) {
            builder = builder.with_token(Some(token));
        }
        let api = builder.build().map_err(self.error())?;
        Ok(api.repo(Repo::with_revision(self.repository.clone(), self.kind(), self.revision.clone())))
    }

    /// The same id with its revision pinned to a commit, and the repository's file names.
    ///
    /// # Errors
    /// The hub can't be reached or has no such repository or revision.
    pub fn pin(&self) -> Result<(HubId, Vec<String>), HubError> {
        let info = self.ask(self.repo()?, |repo| repo.info())?;
        let files = info.siblings.into_iter().map(|s| s.rfilename).collect();
        Ok((HubId { revision: info.sha, ..self.clone() }, files))
    }

    /// The local path of the named file, downloaded if the cache lacks it.
    ///
    /// # Errors
    /// As [`HubId::get`]; or no file is named.
    pub fn file(&self) -> Result<PathBuf, HubError> {
        let file = self.file.as_ref().ok_or_else(|| HubError::Id(self.to_string()))?;
        self.get(file)
    }

    /// The local path of a file of the repository, downloaded if the cache lacks it.
    ///
    /// # Errors
    /// The hub can't be reached or has no such file.
    pub fn get(&self, file: &str) -> Result<PathBuf, HubError> {
        let file = file.to_owned();
        self.ask(self.repo()?, move |repo| repo.get(&file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_and_written() {
        for text in ["hf://Qwen/Qwen3-0.6B@main", "hf://a/b@v1/c.gguf", "hf://datasets/a/b@main/data/train.parquet"] {
            assert_eq!(text.parse::<HubId>().unwrap().to_string(), text);
        }
        assert_eq!("hf://Qwen/Qwen3-0.6B".parse::<HubId>().unwrap().revision, "main");
        for bad in ["hf://", "hf://a", "hf://a/@x", "hf://datasets/a/b", "s3://a/b"] {
            assert!(bad.parse::<HubId>().is_err(), "{bad}");
        }
    }
}
