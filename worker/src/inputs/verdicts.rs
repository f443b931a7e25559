//! Verdicts that units have left in the store, by the question that was asked. They are an accelerator: whatever goes wrong with
//! them, replies are judged again.

use bytes::Bytes;
use limbic_proto::key::Digest;
use limbic_store::Content;

use super::Inputs;

/// What is kept under one question.
#[derive(Debug)]
pub(crate) struct KeptVerdicts<'a> {
    inputs: &'a Inputs,
    asked: Digest,
}

impl Inputs {
    /// The verdicts under a question, which is known by the digest of judge, kind of device, question,
    /// answers and policy.
    pub(crate) fn verdicts(&self, asked: Digest) -> KeptVerdicts<'_> {
        KeptVerdicts { inputs: self, asked }
    }
}

impl KeptVerdicts<'_> {
    /// The question.
    pub(crate) fn asked(&self) -> Digest {
        self.asked
    }

    /// Whether nothing that is known counts: whoever asked for a unit again asked for new numbers.
    pub(crate) fn anew(&self) -> bool {
        self.inputs.generation > 0
    }

    /// The names of all that is there, the last written first.
    pub(crate) fn names(&self) -> Vec<String> {
        let asked = self.asked;
        self.inputs.try_to(|store| async move { store.kept_verdicts(&asked).await }).unwrap_or_default()
    }

    /// The bytes of some of it as they were found; what can't be read is left out.
    pub(crate) fn get(&self, names: &[String]) -> Vec<Bytes> {
        let asked = self.asked;
        let found = self.inputs.try_to(|store| async move { store.verdicts(&asked, names).await }).unwrap_or_default();
        found.into_iter().map(|(_, bytes)| bytes).collect()
    }

    /// Keeps verdicts under a name.
    pub(crate) fn put(&self, name: &str, content: &Content) {
        let asked = self.asked;
        let written = self.inputs.try_to(|store| {
            let content = content.clone();
            async move { store.keep_verdicts(&asked, name, content).await }
        });
        if let Err(error) = written {
            tracing::warn!(%error, "verdicts can't be kept; going on without");
        }
    }
}
