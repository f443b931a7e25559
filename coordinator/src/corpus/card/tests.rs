//! What a card says of corpora whose numbers are known.

use limbic_core::plan::ModelFacts;
use limbic_proto::architecture::Architecture;
use limbic_proto::key::Digest;
use limbic_proto::spec::{CorpusSpec, Dtype};

use super::{Account, Stage, card, caveats};
use crate::corpus::tests::{comment, spec, written};
use crate::corpus::{Entry, Provenance, Reason};

fn model(name: &str) -> ModelFacts {
    let config = r#"{"model_type": "llama", "vocab_size": 64, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5}"#;
    ModelFacts {
        name: name.into(),
        source: format!("/models/{name}"),
        digest: Digest::of(name.as_bytes()),
        dtype: Dtype::F32,
        architecture: Architecture::from_config(config).unwrap(),
        chat_template: true,
        random_weights: None,
    }
}

/// What a card and its caveats say of entries, with the same model in both roles or two.
fn told(spec: &CorpusSpec, entries: &[Entry], classifier: &str) -> (String, String) {
    let (writer, classifier) = (model("writer"), model(classifier));
    let stages = [Stage { what: "label", sweep: "aa11".into(), name: "c.label".into(), model: "writer".into(), rows: 9, units: 2 }];
    let notes = ["a row was odd".to_owned()];
    let account =
        Account { spec, entries, files: Digest::of(b"files"), writer: &writer, classifier: &classifier, stages: &stages, notes: &notes };
    (card(&account), caveats(&account).join("\n"))
}

/// Comments of which so many have the given label that was found.
fn comments(right: usize, wrong: usize) -> Vec<Entry> {
    (0..right + wrong)
        .map(|i| Entry { given: Some(if i < right { i % 3 } else { (i + 1) % 3 }), ..comment(&format!("c{i}"), "text", Some(i % 3)) })
        .collect()
}

fn left_out(entry: Entry, reason: Reason) -> Entry {
    Entry { refused: Some(reason), ..entry }
}

#[test]
fn counts_are_those_of_the_entries() {
    let mut entries = comments(4, 2);
    entries.push(left_out(comment("short", "x", None), Reason::Short));
    entries.push(written("c0.to-joy", Provenance::Rewritten, 0, 0));
    entries.push(left_out(written("c1.to-joy", Provenance::Rewritten, 0, 2), Reason::Disagrees));
    entries.push(left_out(written("s0", Provenance::Synthetic, 1, 1), Reason::Copy));
    let (text, _) = told(&spec("rewrite: {}"), &entries, "writer");
    for line in [
        "7 texts of 3 classes in 7 groups: 6 natural, 1 rewritten, 0 synthetic. All labels are writer's.",
        "| joy | 2 | 1 | 0 |",
        "| read, or asked for | 7 | 2 | 1 |",
        "| too few words | 1 | 0 | 0 |",
        "| exact duplicate | 0 | 0 | 1 |",
        "| not what was asked for | 0 | 1 | 0 |",
        "| in the corpus | 6 | 1 | 0 |",
        "| all | 4 of 6: 67 % (30–90 %) | 1 of 2: 50 % (9–91 %) |",
        "| label | aa11 (c.label) | writer | 9 | 2 |",
        "rewrite a comment of `neutral`, at most 64 tokens",
        "- a row was odd",
    ] {
        assert!(text.contains(line), "`{line}` is missing in\n{text}");
    }
    assert!(!text.contains("| other language |"), "reasons that nothing was left out for are not listed");
}

#[test]
fn labels_that_are_no_better_than_one_for_all_are_called_so() {
    let says = |entries: &[Entry]| told(&spec(""), entries, "writer").1;
    let good = says(&comments(290, 10));
    assert!(good.contains("290 of 300: 97 % (94–98 %). Answering `") && good.contains("` each time would be right for 34 %.\n"), "{good}");
    assert!(says(&comments(110, 190)).contains("The labels are not shown to be better than that."));
    assert!(says(&comments(15, 285)).contains("The labels are worse than that."));
    let none: Vec<Entry> = comments(30, 0).into_iter().map(|entry| Entry { given: None, ..entry }).collect();
    assert!(says(&none).contains("how good they are is unknown"));
}

#[test]
fn what_was_written_is_judged_by_chance_and_by_half() {
    let says = |right: usize, wrong: usize, classifier: &str| {
        let of = |i: usize| written(&format!("r{i}"), Provenance::Rewritten, 0, if i < right { 0 } else { 2 });
        let disagree = |(i, entry): (usize, Entry)| if i < right { entry } else { left_out(entry, Reason::Disagrees) };
        let entries: Vec<Entry> = (0..right + wrong).map(of).enumerate().map(disagree).collect();
        told(&spec("rewrite: {}"), &entries, classifier).1
    };
    let good = says(90, 10, "other");
    assert!(
        good.contains("found 90 of 100: 90 % (83–94 %) of the rewritten texts to be what was asked for; chance would be 33 %.\n"),
        "{good}"
    );
    assert!(!good.contains("judged what it wrote itself"));
    assert!(says(90, 10, "writer").contains("`writer` judged what it wrote itself"));
    assert!(says(3, 7, "other").contains("That is not shown to be more than chance."));
    assert!(says(86, 114, "other").contains("chance would be 33 %."));
    let most = says(84, 116, "other");
    assert!(most.contains("Most did not become what was asked for."), "{most}");
}

#[test]
fn lopsided_scarce_unsure_and_telling_texts_are_named() {
    let mut entries: Vec<Entry> = (0..30).map(|i| comment(&format!("c{i}"), "text", Some(0))).collect();
    entries.push(Entry { text: "So much JOY!".into(), ..written("s", Provenance::Synthetic, 0, 0) });
    entries.push(Entry { text: "I am sorry. ".repeat(5), ..written("r", Provenance::Synthetic, 0, 0) });
    entries.extend((0..3).map(|i| left_out(comment(&format!("u{i}"), "text", None), Reason::Unlabelled)));
    let (_, said) = told(&spec("synthesize: {}"), &entries, "other");
    for sentence in [
        "100 % of the comments were labelled `joy`. No comment was labelled anger, neutral.",
        "the median probability of a label in the corpus is 20 %, where 33 % would be a guess.",
        "Fewer than 20 texts each have anger (0), neutral (0)",
        "The classifier gave no label to 3 of 35: 9 % (3–22 %) of the texts",
        "The word for the label stands in 1 of 2: 50 % (9–91 %) of the written texts",
        "1 of 2: 50 % (9–91 %) of the written texts repeat themselves",
    ] {
        assert!(said.contains(sentence), "`{sentence}` is missing in\n{said}");
    }
}
