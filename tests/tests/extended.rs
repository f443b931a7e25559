//! Sweeps that are extended, and sweeps whose files have moved: only what is missing is computed.

use std::collections::{BTreeMap, BTreeSet};

use limbic_tests::Sandbox;
use limbic_tests::tables::words;

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"))
}

const MODELS: &str = "[{source: MODEL}]";
const RUN: [&str; 6] = ["run", "small.yaml", "--store", "store", "--out", "out"];

#[test]
fn whoever_reports_a_sweep_later_finds_what_was_asked_last() {
    let sandbox = sandbox();
    let title = |title: &str| sandbox.small(&[("report: {", &format!("report: {{title: {title}, "))]);
    let report = || {
        assert_eq!(sandbox.limbic(&["report", "small", "--store", "store", "--out", "later"]).code, Some(0));
        std::fs::read_to_string(sandbox.path("later/report.md")).unwrap()
    };
    title("First");
    sandbox.json(&[&RUN[..], &["--json"]].concat());
    assert!(report().starts_with("# First\n"));
    title("Second");
    assert_eq!(sandbox.json(&[&RUN[..], &["--json"]].concat())["computed_units"], 0);
    assert!(std::fs::read_to_string(sandbox.path("out/report.md")).unwrap().starts_with("# Second\n"));
    assert!(report().starts_with("# Second\n"));
}

#[test]
fn a_finished_sweep_is_extended_by_a_model_and_a_layer_and_only_those_run() {
    let sandbox = sandbox();
    let second = Sandbox::repository().join("configs/quickstart/models/tiny-1m");
    let two = format!("[{{source: MODEL}}, {{source: {}}}]", second.display());
    sandbox.small(&[("offsets:", "layers: [0, 2]\noffsets:")]);
    let first = sandbox.json(&[&RUN[..], &["--json"]].concat());
    let before = sandbox.objects("commit");

    // One model more, and layer 1. It goes on under its name, whatever the file that extends it is called.
    sandbox.small(&[("name: small", "name: more"), (MODELS, &two), ("offsets:", "layers: [0, 1, 2]\noffsets:")]);
    let extend = [&RUN[..], &["--extend", "small", "--json"]].concat();
    let extended = sandbox.json(&extend);
    assert_eq!(extended["sweep"], first["sweep"], "it is the same sweep");
    assert_eq!(sandbox.json(&["status", "small", "--store", "store", "--json"])["name"], "small");
    assert!(std::fs::read_to_string(sandbox.path("out/report.md")).unwrap().starts_with("# small\n"));
    // 1 model x 2 conditions x 2 layers x 3 offsets, then 2 x 2 x 3 x 3.
    assert_eq!((&first["cells"]["total"], &extended["cells"]["done"]), (&12.into(), &36.into()));
    let new = extended["units"]["total"].as_u64().unwrap() - first["units"]["total"].as_u64().unwrap();
    assert_eq!(extended["computed_units"], new);
    // Of the first model 7 shards x 2 conditions of the new layer, and its 2 fits. Of the second 14 shards, 6 fits and the
    // zero-shot prompts.
    assert!(new > 14 + 2 + 14 + 6, "{new}");
    let after = sandbox.objects("commit");
    assert_eq!(after.len() as u64, extended["units"]["total"].as_u64().unwrap());
    assert!(before.iter().all(|object| after.contains(object)), "no commit changed");
    assert_eq!(sandbox.json(&extend)["computed_units"], 0, "again, it adds nothing");

    // The numbers are those of one sweep over all of it.
    let whole = self::sandbox();
    whole.small(&[(MODELS, &two), ("offsets:", "layers: [0, 1, 2]\noffsets:")]);
    whole.json(&[&RUN[..], &["--json"]].concat());
    let sorted = |of: &Sandbox| {
        let mut values = accuracies(of);
        values.sort();
        values
    };
    assert_eq!(sorted(&sandbox), sorted(&whole));

    // Its first spec alone means the whole of it, and that is said.
    sandbox.small(&[("offsets:", "layers: [0, 2]\noffsets:")]);
    let said = sandbox.limbic(&RUN);
    assert!(said.stderr.contains("this is the first spec of the sweep small, which was extended since"), "{}", said.stderr);
    assert!(said.stdout.contains("36 cells, ") && said.stdout.contains(": 0 computed now"), "{}", said.stdout);

    // What would change it is refused, and nothing is lost.
    sandbox.small(&[("kind: mlp, hidden: 8", "kind: mlp, hidden: 9")]);
    let refused = sandbox.limbic(&[&RUN[..], &["--extend", "small"]].concat());
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("probes: differs from what the sweep was first asked"), "{}", refused.stderr);
}

#[test]
fn a_second_sweep_of_one_name_is_told_and_keeps_its_report_apart() {
    let sandbox = sandbox();
    let run = ["run", "small.yaml", "--store", "store"];
    sandbox.small(&[("offsets:", "layers: [0, 2]\noffsets:")]);
    let first = sandbox.json(&[&run[..], &["--json"]].concat());
    assert_eq!(first["out"], "limbic-out/small");
    let report = std::fs::read(sandbox.path("limbic-out/small/report.md")).unwrap();

    // More layers and no `--extend`.
    sandbox.small(&[("offsets:", "layers: [0, 1, 2]\noffsets:")]);
    let said = sandbox.limbic(&run);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let id = first["sweep"].as_str().unwrap();
    let note = format!("another sweep of this store goes by the name small: {id} of 12 cells; `--extend {id}` adds what this spec asks");
    assert!(said.stderr.contains(&note), "{}", said.stderr);
    let folders: BTreeSet<String> =
        std::fs::read_dir(sandbox.path("limbic-out")).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(folders.len(), 2, "{folders:?}");
    assert_eq!(std::fs::read(sandbox.path("limbic-out/small/report.md")).unwrap(), report, "nothing was overwritten");

    // Each keeps its folder.
    sandbox.small(&[("offsets:", "layers: [0, 2]\noffsets:")]);
    assert_eq!(sandbox.json(&[&run[..], &["--json"]].concat())["out"], "limbic-out/small");

    // The name alone means either; what is said tells them apart.
    let asked = sandbox.limbic(&["status", "small", "--store", "store"]);
    assert_eq!(asked.code, Some(2));
    assert!(asked.stderr.contains("(small: 12 cells, ") && asked.stderr.contains("(small: 18 cells, "), "{}", asked.stderr);

    // Another probe is no extension, and isn't offered as one.
    sandbox.small(&[("kind: mlp, hidden: 8", "kind: mlp, hidden: 9")]);
    let said = sandbox.limbic(&run);
    assert!(said.stderr.contains(&format!("{id} of 12 cells; it differs in `probes`")), "{}", said.stderr);
}

#[test]
fn a_sweep_is_extended_by_a_seed_of_sampling_and_only_its_replies_are_computed() {
    let sandbox = sandbox();
    let sampled = |of: &Sandbox, seeds: &str| of.small(&[("continuation: {", &format!("continuation: {{temperature: 0.9, {seeds}, "))]);
    sampled(&sandbox, "seed: 4");
    let first = sandbox.json(&[&RUN[..], &["--json"]].concat());
    let before = sandbox.objects("commit");

    sampled(&sandbox, "seeds: [4, 7]");
    let plan = sandbox.json(&["plan", "small.yaml", "--json"]);
    // 2 conditions x 6 layers x (offset 0, and two further offsets for each seed).
    assert_eq!((&plan["cells"], &plan["sampling_seeds"]), (&(2 * 6 * (1 + 2 * 2)).into(), &serde_json::json!([4, 7])));
    let said = sandbox.limbic(&["validate", "small.yaml"]);
    assert!(said.stdout.contains("replies 2 to every prompt, one for each sampling seed: 4, 7"), "{}", said.stdout);
    // What is left of it is said before, and nothing is written by that.
    let specs = sandbox.objects("sweeps");
    let foresee = ["plan", "small.yaml", "--store", "store", "--extend", "small", "--json"];
    let foreseen = sandbox.json(&foresee);
    assert_eq!((&foreseen["sweep"], &foreseen["left"]["units"], &foreseen["cells"]), (&first["sweep"], &(2 * (7 + 6)).into(), &60.into()));
    assert!(foreseen["left"]["seconds"].as_f64() < foreseen["seconds"].as_f64() && foreseen["left"]["seconds"].as_f64() > Some(0.0));
    let said = sandbox.limbic(&foresee[..6]).stdout;
    let units = foreseen["units"].as_u64().unwrap();
    assert!(said.contains(&format!("left    26 of {units} units: store holds the results of the others")), "{said}");
    assert_eq!(sandbox.objects("sweeps"), specs);
    let extend = [&RUN[..], &["--extend", "small", "--json"]].concat();
    let extended = sandbox.json(&extend);
    assert_eq!((&extended["sweep"], &extended["cells"]["done"]), (&first["sweep"], &60.into()));
    // 7 shards and 6 fits under each condition.
    assert_eq!(extended["computed_units"], 2 * (7 + 6));
    let after = sandbox.objects("commit");
    assert!(before.iter().all(|object| after.contains(object)), "no commit changed");
    assert_eq!(sandbox.json(&extend)["computed_units"], 0, "again, it adds nothing");
    let foreseen = sandbox.json(&foresee);
    assert_eq!((&foreseen["left"]["units"], &foreseen["left"]["seconds"]), (&0.into(), &0.0.into()));
    let said = sandbox.limbic(&foresee[..6]).stdout;
    assert!(said.contains("nothing is added to it") && said.contains("left    nothing: store holds the results of all"), "{said}");
    // Another sweep shares its units; a store that isn't there has none.
    let shared = sandbox.json(&["plan", "small.yaml", "--store", "store", "--json"]);
    assert_eq!((&shared["left"]["units"], &sandbox.json(&["plan", "small.yaml", "--json"])["left"]), (&0.into(), &serde_json::Value::Null));
    assert!(sandbox.limbic(&["plan", "small.yaml", "--store", "elsewhere"]).stdout.contains("left    everything"));

    // The same seeds give the same numbers in another store, and each its own.
    let whole = self::sandbox();
    sampled(&whole, "seeds: [4, 7]");
    assert_eq!(whole.json(&[&RUN[..], &["--json"]].concat())["cells"]["done"], 60);
    let by_seed = |of: &Sandbox| -> BTreeMap<String, Vec<(String, u64)>> {
        let mut by_seed: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
        for (name, value) in accuracies(of) {
            let (name, seed) = name.rsplit_once(' ').unwrap();
            by_seed.entry(seed.to_owned()).or_default().push((name.to_owned(), value));
        }
        by_seed.values_mut().for_each(|values| values.sort());
        by_seed
    };
    let (ours, theirs) = (by_seed(&sandbox), by_seed(&whole));
    assert_eq!(ours, theirs);
    assert_eq!(ours.keys().collect::<Vec<_>>(), ["", "4", "7"], "offset 0 and the baselines depend on no reply");
    let names = |seed: &str| ours[seed].iter().map(|value| &value.0).collect::<Vec<_>>();
    assert!(names("4") == names("7") && !names("4").is_empty() && ours["4"] != ours["7"]);
    // Each row of offset 0 stands there once: 2 conditions x 6 layers x 2 probes, and the baselines.
    assert_eq!(ours[""].iter().filter(|(name, _)| name.contains(" 0 last full ")).count(), 2 * 6 * 2);

    let report = std::fs::read_to_string(sandbox.path("out/report.md")).unwrap();
    assert!(report.contains("Every prompt has 2 sampled replies, of the seeds 4 and 7"), "{report}");
    assert!(report.contains("Between the 2 sampling seeds accuracy differs by"), "{report}");
}

#[test]
fn a_sweep_goes_on_where_its_files_have_moved_to() {
    let sandbox = sandbox();
    let shipped = Sandbox::repository().join("configs/quickstart/models/tiny-0.3m");
    let copy = |to: &str| {
        std::fs::create_dir_all(sandbox.path(to)).unwrap();
        for file in std::fs::read_dir(&shipped).unwrap().map(|f| f.unwrap().path()) {
            std::fs::copy(&file, sandbox.path(to).join(file.file_name().unwrap())).unwrap();
        }
    };
    copy("here/tiny-0.3m");
    sandbox.small(&[(MODELS, "[{source: here/tiny-0.3m}]")]);
    // Accepted, and killed before anything is computed.
    let killed = sandbox.spawn(&RUN);
    sandbox.until("the sweep is accepted", || sandbox.objects("sweeps").iter().any(|(name, _)| name.contains("/spec/")));
    killed.kill();
    std::fs::rename(sandbox.path("here"), sandbox.path("there")).unwrap();
    sandbox.small(&[(MODELS, "[{source: there/tiny-0.3m}]"), ("name: small", "name: renamed")]);
    let done = sandbox.json(&[&RUN[..], &["--json"]].concat());
    assert_eq!(done["state"], "complete");
    assert_eq!((&done["units"]["quarantined"], &done["attempts"]["failed"]), (&0.into(), &0.into()));
    // It has a further revision, and was extended by nothing.
    let said = sandbox.limbic(&RUN);
    assert!(said.code == Some(0) && !said.stderr.contains("extended"), "{}", said.stderr);
    // Another name in the file makes neither another sweep nor another name of it.
    assert!(said.stderr.contains("this sweep stands in the store as small"), "{}", said.stderr);
    assert_eq!(sandbox.json(&["status", "small", "--store", "store", "--json"])["sweep"], done["sweep"]);
}

#[test]
fn a_sweep_with_few_shot_examples_is_extended_over_the_same_rows_and_examples() {
    let sandbox = sandbox();
    let few = |draw: &str| {
        format!("conditions: [{{name: raw}}, {{name: few, template: '{{text}} ->', few_shot: {draw}}}]\nprobes: []\nbaselines: []\n")
    };
    let small = |draw: &str, models: &str| {
        let (conditions, rest) = (
            "conditions: [{name: raw}, {name: calm, chat: {system: You always remain calm and composed.}}]\n",
            "probes: [{kind: logistic, c: [0.01]}, {kind: mlp, hidden: 8}]\n",
        );
        sandbox.small(&[(conditions, &few(draw)), (rest, ""), (MODELS, models)]);
    };
    small("{per_class: 1, seed: 4}", MODELS);
    let plan = sandbox.json(&["plan", "small.yaml", "--json"]);
    let examples = plan["conditions"][1]["examples"].as_array().unwrap();
    assert_eq!((examples.len(), plan["rows"].as_u64()), (7, Some(210 - 7)), "what is shown is in the dataset no longer");
    let first = sandbox.json(&[&RUN[..], &["--json"]].concat());
    assert_eq!(first["state"], "complete");

    let second = Sandbox::repository().join("configs/quickstart/models/tiny-1m");
    let two = format!("[{{source: MODEL}}, {{source: {}}}]", second.display());
    small("{per_class: 1, seed: 4}", &two);
    assert_eq!(sandbox.json(&["plan", "small.yaml", "--json"])["conditions"][1]["examples"], plan["conditions"][1]["examples"]);
    let extend = [&RUN[..], &["--extend", "small", "--json"]].concat();
    let extended = sandbox.json(&extend);
    assert_eq!(extended["sweep"], first["sweep"]);
    // 203 rows make 7 shards under each of 2 conditions: those of the new model.
    assert_eq!((&extended["computed_units"], &extended["units"]["total"]), (&14.into(), &28.into()));
    assert_eq!(sandbox.json(&extend)["computed_units"], 0, "again, it adds nothing");

    // Other examples are other rows.
    small("{per_class: 1, seed: 5}", &two);
    let refused = sandbox.limbic(&[&RUN[..], &["--extend", "small"]].concat());
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("dataset: its rows are not those of sweep") && refused.stderr.contains("`few_shot`"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_further_judge_runs_alone_and_no_reply_is_judged_twice_by_anybody() {
    let sandbox = sandbox();
    let second = Sandbox::repository().join("configs/quickstart/models/tiny-1m");
    let two = format!("[{{source: MODEL}}, {{source: {}}}]", second.display());
    let small = |layers: &str, judge: &str| {
        sandbox.small(&[(MODELS, &two), ("offsets:", &format!("layers: [{layers}]\njudge: {judge}\noffsets:"))]);
    };
    small("0", "{model: tiny-1m}");
    let first = sandbox.json(&[&RUN[..], &["--json"]].concat());
    let before = sandbox.objects("commit");
    small("0", "{models: [tiny-0.3m]}");
    let extended = sandbox.json(&[&RUN[..], &["--extend", "small", "--json"]].concat());
    assert_eq!(extended["sweep"], first["sweep"]);
    let commits = |known: &[(String, Vec<u8>)]| -> Vec<serde_json::Value> {
        let new = sandbox.objects("commit").into_iter().filter(|object| !known.contains(object));
        new.map(|(_, body)| serde_json::from_slice(&body).unwrap()).collect()
    };
    let new = commits(&before);
    assert_eq!((extended["computed_units"].as_u64(), new.is_empty()), (Some(new.len() as u64), false));
    let scores = |commit: &serde_json::Value| commit["artifacts"].as_array().unwrap().iter().all(|a| a["name"] == "scores.safetensors");
    assert!(
        new.iter().all(|commit| scores(commit) && commit["provenance"]["counts"]["judged_replies"].is_u64()),
        "verdicts and nothing else"
    );
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(sandbox.path("out/summary.json")).unwrap()).unwrap();
    let results = &summary["results"];
    let between = results["kappas"].as_array().unwrap().iter().filter(|k| k["with"]["judge"]["model"] == 1).count();
    let verdicts = results["verdicts"].as_array().unwrap();
    assert_eq!(verdicts.len(), 4 * 3, "two judges and the probe");
    // Which labels each judge gives to any reply at a place. Chance alone explains that both give one and the same to all: then there
    // is no kappa.
    let mut said: BTreeMap<String, BTreeMap<u64, BTreeSet<usize>>> = BTreeMap::new();
    for verdict in verdicts {
        let Some(judge) = verdict["source"]["judge"]["model"].as_u64() else { continue };
        let labels = |row: &serde_json::Value| -> Vec<usize> {
            let counts = row.as_array().unwrap().iter().enumerate();
            counts.filter(|(_, n)| n.as_u64() != Some(0)).map(|(label, _)| label).collect()
        };
        let given = verdict["shift"].as_array().unwrap().iter().flat_map(labels).collect();
        said.entry(verdict["place"].to_string()).or_default().insert(judge, given);
    }
    assert!(said.len() == 4 && said.values().all(|judges| judges.keys().eq(&[0, 1])), "{said:?}");
    let alike = |judges: &BTreeMap<u64, BTreeSet<usize>>| judges[&0_u64].len() == 1 && judges[&0_u64] == judges[&1_u64];
    assert_eq!(between, said.values().filter(|judges| !alike(judges)).count(), "{said:?}");

    // Another layer is in other units, whose replies are the same.
    let verdicts = |known: &[(String, Vec<u8>)], name: &str| -> u64 {
        commits(known).iter().filter_map(|commit| commit["provenance"]["counts"][name].as_u64()).sum()
    };
    let given = verdicts(&[], "judged_replies") + verdicts(&[], "known_replies");
    let before = sandbox.objects("commit");
    small("2", "{models: all}");
    let other = sandbox.json(&[&RUN[..], &["--json"]].concat());
    assert!(other["sweep"] != first["sweep"] && other["state"] == "complete");
    assert_eq!(verdicts(&before, "judged_replies"), 0);
    assert!(given > 0);
    assert_eq!(verdicts(&before, "known_replies"), given);
}

/// Every accuracy of the report, as (what it is of, bits of the value).
fn accuracies(sandbox: &Sandbox) -> Vec<(String, u64)> {
    use arrow_array::{Array, Float64Array};
    let file = std::fs::File::open(sandbox.path("out/results.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let mut all = Vec::new();
    for batch in reader.map(Result::unwrap) {
        let text = |name: &str, row: usize| words(&batch, name, row).unwrap_or_default();
        let values = batch.column_by_name("value").unwrap().as_any().downcast_ref::<Float64Array>().unwrap();
        for row in (0..batch.num_rows()).filter(|&row| text("metric", row) == "accuracy" && !values.is_null(row)) {
            let names = ["model", "layer", "condition", "offset", "pooling", "context", "probe", "seed", "split", "sampling_seed"];
            all.push((names.map(|name| text(name, row)).join(" "), values.value(row).to_bits()));
        }
    }
    assert!(!all.is_empty());
    all
}
