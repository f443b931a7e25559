//! What a sweep that stores no states of train rows may not ask: whatever needs the rows and not just their moments.

use super::super::{Activations, ProbeSpec, Spec};
use super::{Finding, finding};
use crate::spec::Control;

impl Spec {
    pub(super) fn check_activations(&self) -> Result<(), Finding> {
        if self.execution.activations != Activations::None {
            return Ok(());
        }
        const KEEP: &str = "or write `execution.activations: release`";
        if self.probes.is_empty() {
            return finding("execution.activations", "is `none`, which leaves nothing but probes, and `probes` is empty: write `keep`");
        }
        if let Some((i, probe)) = self.probes.iter().enumerate().find(|(_, probe)| !probe.of_moments()) {
            let message = match probe {
                ProbeSpec::Lda(_) => {
                    "is missing: with `execution.activations: none` it can't be estimated, which takes more than the moments of train rows; \
                     write a number such as 0.1"
                }
                _ => {
                    "needs the states of train rows, which `execution.activations: none` doesn't store: leave it out (ridge, \
                     mean-difference, and lda with a `shrinkage`, need their moments alone)"
                }
            };
            let field = if matches!(probe, ProbeSpec::Lda(_)) { format!("probes[{i}].shrinkage") } else { format!("probes[{i}]") };
            let named = if matches!(probe, ProbeSpec::Lda(_)) { String::new() } else { format!("`{}` ", probe.name()) };
            return finding(field, format!("{named}{message}, {KEEP}"));
        }
        if let Some((i, control)) = self.controls.iter().enumerate().find(|(_, control)| **control != Control::RandomWeights) {
            let message = format!(
                "`{}` needs the states of train rows, which `execution.activations: none` doesn't store: leave it out, {KEEP}",
                control.name()
            );
            return finding(format!("controls[{i}]"), message);
        }
        if self.geometry {
            let message =
                format!("describes the states of train rows, which `execution.activations: none` doesn't store: leave it out, {KEEP}");
            return finding("geometry", message);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Spec;

    /// What is said of a minimal spec that stores no states of train rows, with a line added.
    fn said(line: &str) -> String {
        let text = format!("dataset: {{source: rows.jsonl}}\nmodels: [{{source: m}}]\nexecution: {{activations: none}}\n{line}\n");
        Spec::from_yaml(&text, Path::new("s.yaml")).map_or_else(|e| e.to_string(), |_| "fine".to_owned())
    }

    #[test]
    fn what_needs_the_states_of_train_rows_is_refused_where_it_stands() {
        let ridge = "probes: [{kind: ridge}]";
        for (line, field, words) in [
            ("", "probes[0]", "`logistic` needs the states of train rows"),
            ("probes: [{kind: ridge}, {kind: mlp}]", "probes[1]", "`mlp` needs the states"),
            ("probes: [{kind: offset-mlp}]", "probes[0]", "`offset-mlp` needs the states"),
            ("probes: [{kind: mean-difference}, {kind: lda}]", "probes[1].shrinkage", "write a number such as 0.1"),
            ("probes: []", "execution.activations", "`probes` is empty"),
            (&format!("{ridge}\ncontrols: [random-weights, shuffled-labels]"), "controls[1]", "`shuffled-labels` needs the states"),
            (&format!("{ridge}\ncontrols: [random-direction]"), "controls[0]", "`random-direction` needs the states"),
            (&format!("{ridge}\ngeometry: true"), "geometry", "describes the states of train rows"),
        ] {
            let said = said(line);
            assert!(said.starts_with(&format!("s.yaml: {field}: ")) && said.contains(words), "{line}: {said}");
            assert!(said.contains("`execution.activations: release`") || said.contains("write `keep`"), "{line}: {said}");
        }
        for line in [
            "probes: [{kind: ridge, alpha: [1, 10]}, {kind: lda, shrinkage: 0.1}, {kind: mean-difference}]\ncontrols: [random-weights]",
            "probes: [{kind: ridge}]\nbaselines: [majority, mean-embedding]\ntransfer: [offsets]\noffsets: [0, 1]\ncontinuation: {}",
        ] {
            assert_eq!(said(line), "fine", "{line}");
        }
    }
}
