//! Spec files.

use insta::assert_snapshot;

use crate::{limbic, run, sandbox, validate};

#[test]
fn a_field_that_is_not_known() {
    assert_snapshot!(validate(&[("offsets:", "ofsets:")]), @r#"
    exit 2
    error: small.yaml, line 5, column 1: unknown field `ofsets`; did you mean `offsets`? the fields here are name, store, dataset, models, layers, conditions, pooling, offsets, continuation, too_long, bad_rows, probes, controls, transfer, geometry, baselines, zero_shot, judge, writing, seeds, execution, report
      5 | ofsets: [0, 1, 3]
    "#);
    assert_snapshot!(validate(&[("limit: 210", "limt: 210")]), @r#"
    exit 2
    error: small.yaml, line 2, column 25: unknown field `limt`; did you mean `limit`? the fields here are source, format, text, empty_texts, scheme, label, values, id, group, split, labels, label_map, unknown_labels, label_separator, multiple_labels, balance, shares, near_duplicates, limit, seed
      2 | dataset: {group: group, limt: 210, source: [repository]/configs/quickstart/corpus.jsonl}
    "#);
}

#[test]
fn a_field_that_is_missing() {
    assert_snapshot!(validate(&[("source: MODEL", "name: tiny")]), @r#"
    exit 2
    error: small.yaml, line 3, column 11: the field `source` is missing
      3 | models: [{name: tiny}]
    "#);
}

#[test]
fn a_value_of_the_wrong_type() {
    assert_snapshot!(validate(&[("limit: 210", "limit: many")]), @r#"
    exit 2
    error: small.yaml, line 2, column 32: expected a whole number, 0 or above, found `many`
      2 | dataset: {group: group, limit: many, source: [repository]/configs/quickstart/corpus.jsonl}
    "#);
    assert_snapshot!(validate(&[("[0, 1, 3]", "[0, -1]")]), @r#"
    exit 2
    error: small.yaml, line 5, column 14: expected a whole number, 0 or above, found `-1`
      5 | offsets: [0, -1]
    "#);
    assert_snapshot!(validate(&[("stop_at_eos: false", "stop_at_eos: maybe")]), @r#"
    exit 2
    error: small.yaml, line 6, column 56: expected true or false, found `maybe`
      6 | continuation: {controls: [masked-prompt], stop_at_eos: maybe}
    "#);
    assert_snapshot!(validate(&[("kind: mlp", "kind: svm")]), @r#"
    exit 2
    error: small.yaml, line 7, column 40: `svm` is not known here; write one of logistic, mlp, ridge, lda, mean-difference, offset-mlp
      7 | probes: [{kind: logistic, c: [0.01]}, {kind: svm, hidden: 8}]
    "#);
    assert_snapshot!(validate(&[("kind: mlp", "kind: logstic")]), @r#"
    exit 2
    error: small.yaml, line 7, column 40: `logstic` is not known here; did you mean `logistic`? write one of logistic, mlp, ridge, lda, mean-difference, offset-mlp
      7 | probes: [{kind: logistic, c: [0.01]}, {kind: logstic, hidden: 8}]
    "#);
    assert_snapshot!(validate(&[("offsets:", "layers: [1, last]\noffsets:")]), @r#"
    exit 2
    error: small.yaml, line 5, column 13: `last` is not a layer: write a number (0 = embeddings) or `final`
      5 | layers: [1, last]
    "#);
}

#[test]
fn not_yaml_or_nothing_or_twice() {
    assert_snapshot!(validate(&[("offsets: ", "offsets: [")]), @r#"
    exit 2
    error: small.yaml, line 6, column 13: illegal placement of ':' indicator
      6 | continuation: {controls: [masked-prompt], stop_at_eos: false}
    "#);
    assert_snapshot!(validate(&[("report: ", "name: again\nreport: ")]), @r#"
    exit 2
    error: small.yaml, line 9, column 1: `name` is there twice: keep one
      9 | name: again
    "#);
    let sandbox = sandbox();
    sandbox.write("empty.yaml", "");
    assert_snapshot!(limbic(&sandbox, &["validate", "empty.yaml"]), @r#"
    exit 2
    error: empty.yaml, line 1, column 1: the file ends here; it needs at least `dataset` and `models`
    "#);
}

#[test]
fn names_that_occur_twice() {
    assert_snapshot!(validate(&[("[{source: MODEL}]", "[{source: MODEL}, {source: MODEL}]")]), @r#"
    exit 2
    error: small.yaml: models: name `tiny-0.3m` occurs twice: give each its own with `name` (otherwise it is the last part of `source`)
    "#);
    assert_snapshot!(validate(&[("name: calm", "name: raw")]), @r#"
    exit 2
    error: small.yaml: conditions: name `raw` occurs twice: give each its own
    "#);
    assert_snapshot!(validate(&[("[{source: MODEL}]", "[{source: MODEL}, {source: MODEL, name: again}]")]), @r#"
    exit 2
    error: models: `tiny-0.3m` and `again` have the same weights, tokenizer and dtype: drop one
    "#);
}

#[test]
fn layers_and_offsets_that_are_not_there() {
    assert_snapshot!(validate(&[("offsets:", "layers: [2, 9]\noffsets:")]), @r#"
    exit 2
    error: layers: model `tiny-0.3m` has no layer 9: it has 0 (embeddings) to 4, and `final`; drop the layer, or choose by `depth`, which fits models of any size
    "#);
    assert_snapshot!(validate(&[("{controls", "{tokens: 2, controls")]), @r#"
    exit 2
    error: small.yaml: offsets: offset 3 lies beyond the continuation of 2 tokens: raise continuation.tokens or drop the offset
    "#);
    assert_snapshot!(validate(&[("continuation: {controls: [masked-prompt], stop_at_eos: false}\n", "")]), @r#"
    exit 2
    error: small.yaml: offsets: offset 3 lies beyond the prompt, but there is no `continuation`: add one, or keep only offset 0
    "#);
}

const DATASET: &str = "{group: group, limit: 210, source: CORPUS}";

#[test]
fn labels_that_do_not_fit_their_scheme() {
    // Neither a probe nor a baseline that wants classes.
    let probes = ("probes: [{kind: logistic, c: [0.01]}, {kind: mlp, hidden: 8}]", "probes: [{kind: mlp, hidden: 8}]\nbaselines: []");
    let of = |dataset: &str| validate(&[(DATASET, dataset), probes]);
    assert_snapshot!(of("{source: CORPUS, scheme: continuous}"), @r#"
    exit 2
    error: small.yaml: dataset.values: is empty: name the columns of numbers, such as [valence, arousal]
    "#);
    assert_snapshot!(of("{source: CORPUS, values: [joy]}"), @r#"
    exit 2
    error: small.yaml: dataset.values: is for the schemes `multi`, `intensity` and `continuous`, and dataset.scheme is `single`
    "#);
    assert_snapshot!(of("{source: CORPUS, scheme: continuous, values: [v], labels: [joy]}"), @r#"
    exit 2
    error: small.yaml: dataset.labels: names classes, as `label_map` does, and dataset.scheme is `continuous`
    "#);
    assert_snapshot!(of("{source: CORPUS, scheme: multi, multiple_labels: skip}"), @r#"
    exit 2
    error: small.yaml: dataset.multiple_labels: is for the scheme `single`, and dataset.scheme is `multi`
    "#);
    assert_snapshot!(of("{source: CORPUS, unknown_labels: skip}"), @r#"
    exit 2
    error: small.yaml: dataset.unknown_labels: needs `dataset.labels` or `dataset.label_map`, which say what the classes are
    "#);
    assert_snapshot!(of("{source: CORPUS, scheme: multi, balance: undersample}"), @r#"
    exit 2
    error: small.yaml: dataset.balance: balances classes, which needs `dataset.scheme: single`
    "#);
    assert_snapshot!(of("{source: CORPUS, scheme: multi, values: [joy, rage], labels: [joy, anger]}"), @r#"
    exit 2
    error: small.yaml: dataset.values: names `rage`, which is not in dataset.labels (joy, anger)
    "#);
    assert_snapshot!(of("{scheme: sometimes, source: CORPUS}"), @r#"
    exit 2
    error: small.yaml, line 2, column 19: `sometimes` is not known here; write one of single, multi, intensity, continuous
      2 | dataset: {scheme: sometimes, source: [repository]/configs/quickstart/corpus.jsonl}
    "#);
}

#[test]
fn sources_that_say_too_little_or_too_much() {
    let of = |dataset: &str| validate(&[(DATASET, dataset)]);
    assert_snapshot!(of("{source: []}"), @r#"
    exit 2
    error: small.yaml: dataset.source: is empty: name at least one file
    "#);
    assert_snapshot!(of("{source: [CORPUS, CORPUS]}"), @r#"
    exit 2
    error: small.yaml: dataset.source: the file `[repository]/configs/quickstart/corpus.jsonl` occurs twice: give each its own
    "#);
    assert_snapshot!(of("{source: {train: CORPUS}}"), @r#"
    exit 2
    error: small.yaml: dataset.source: names no file of `test`: name one, or list all files and let the rows be split
    "#);
    assert_snapshot!(of("{source: {train: CORPUS, test: other.jsonl}, split: split}"), @r#"
    exit 2
    error: small.yaml: dataset.split: says what the files of dataset.source say already: leave it out
    "#);
}

#[test]
fn a_judge_of_replies_that_nobody_writes() {
    assert_snapshot!(validate(&[("stop_at_eos: false", "filler: and so on and on"), ("probes:", "judge: {}\nprobes:")]), @r#"
    exit 2
    error: small.yaml: judge: judges what models write, and continuation.filler follows the prompt instead: drop one, or make it a control
    "#);
}

#[test]
fn a_file_that_is_not_there() {
    let sandbox = sandbox();
    assert_snapshot!(limbic(&sandbox, &["run", "small.yaml", "--store", "store"]), @r#"
    exit 2
    error: small.yaml: can't be read: No such file or directory (os error 2); name a spec file
    "#);
    assert!(!sandbox.path("store").exists(), "nothing is made for a spec that isn't there");
}

#[test]
fn flags() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    assert_snapshot!(limbic(&sandbox, &["run", "small.yaml", "--wrokers", "2"]), @r#"
    exit 2
    error: unexpected argument '--wrokers' found

      tip: a similar argument exists: '--workers'

    Usage: limbic-under-test run --workers <N> <SPEC>

    For more information, try '--help'.
    "#);
    assert_snapshot!(limbic(&sandbox, &["run", "small.yaml", "--workers", "0"]), @r#"
    exit 2
    error: invalid value '0' for '--workers <N>': 0 is not in 1..=64

    For more information, try '--help'.
    "#);
    assert_snapshot!(limbic(&sandbox, &["run", "small.yaml", "--device", "gpu"]), @r#"
    exit 2
    error: --device gpu: write cpu, or cuda:N such as cuda:0
    "#);
    assert_snapshot!(limbic(&sandbox, &["coordinator", "--lease-ttl", "20"]), @r#"
    exit 2
    error: --lease-ttl 20: must be at least twice --heartbeat 15, or living workers lose their leases
    "#);
    assert_snapshot!(limbic(&sandbox, &["run"]), @r#"
    exit 2
    error: the following required arguments were not provided:
      <SPEC>

    Usage: limbic-under-test run <SPEC>

    For more information, try '--help'.
    "#);
}

#[test]
fn a_spec_that_breaks_later_touches_nothing() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    let (store, report) = (sandbox.objects(""), std::fs::read(sandbox.path("out/report.html")).unwrap());
    sandbox.small(&[("offsets:", "ofsets:")]);
    assert!(run(&sandbox).starts_with("exit 2\n"));
    sandbox.small(&[("group: group", "group: author")]);
    assert!(run(&sandbox).starts_with("exit 2\n"));
    assert!(sandbox.objects("") == store, "the store is as it was");
    assert_eq!(std::fs::read(sandbox.path("out/report.html")).unwrap(), report);
    sandbox.small(&[]);
    assert_eq!(sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"])["computed_units"], 0);
}
