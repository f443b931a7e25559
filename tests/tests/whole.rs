//! A sweep from its spec to its report.

use limbic_tests::Sandbox;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"))
}

fn rows(path: &std::path::Path) -> usize {
    let file = std::fs::File::open(path).unwrap();
    ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(|batch| batch.unwrap().num_rows()).sum()
}

/// The test rows of the sandbox's only dataset, from its rows object.
fn test_rows(sandbox: &Sandbox) -> usize {
    let objects = sandbox.objects("rows");
    let [(_, bytes)] = objects.as_slice() else { panic!("{} datasets", objects.len()) };
    limbic_proto::rows::Rows::from_bytes(bytes).unwrap().rows.iter().filter(|row| row.split == limbic_proto::rows::Split::Test).count()
}

#[test]
fn a_sweep_runs_reports_and_is_found_done_the_second_time() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let first = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    assert_eq!(first["state"], "complete");
    // 1 model x (4 blocks + embeddings + final) x 2 conditions x 3 offsets
    assert_eq!(first["cells"], serde_json::json!({"total": 36, "done": 36, "quarantined": 0}));
    assert_eq!(first["computed_units"], first["units"]["total"]);
    assert_eq!(first["granted_attempts"], first["units"]["total"]);
    let attempts = sandbox.attempts();
    assert_eq!(attempts.len() as u64, first["units"]["total"]);
    assert!(attempts.values().all(|of_unit| of_unit.len() == 1), "one attempt each: {attempts:?}");
    for name in ["report.html", "report.md", "results.parquet", "predictions.parquet", "runs.parquet", "summary.json"] {
        assert!(std::fs::metadata(sandbox.path("out").join(name)).unwrap().len() > 0, "{name}");
    }
    // Per cell: 3 read-outs of 2 probes at offset 0; the masked control doubles offsets 1 and 3.
    let fits = 6 * 2 * 5 * 2;
    let test = test_rows(&sandbox);
    assert_eq!(rows(&sandbox.path("out/predictions.parquet")), test * (fits + 5), "each fit and baseline predicts every test row");

    let before = sandbox.objects("commit");
    let second = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "again", "--json"]);
    assert_eq!((&second["computed_units"], &second["granted_attempts"]), (&0.into(), &0.into()));
    assert_eq!(sandbox.objects("commit"), before, "commits are never touched again");
    assert_eq!(sandbox.attempts(), attempts, "nothing is attempted again");
    for name in ["report.html", "report.md", "results.parquet", "predictions.parquet"] {
        let read = |folder: &str| std::fs::read(sandbox.path(folder).join(name)).unwrap();
        assert_eq!(read("out"), read("again"), "{name} is the same each time");
    }

    let status = sandbox.json(&["status", "small", "--store", "store", "--json"]);
    assert_eq!(status["units"]["committed"], first["units"]["total"]);
    assert_eq!(status["attempts"]["failed"], 0);
    for (part, keys) in [
        ("cells", ["total", "done", "quarantined"].as_slice()),
        ("units", &["total", "committed", "running", "pending", "quarantined"]),
        ("attempts", &["started", "committed", "failed", "lost"]),
    ] {
        for key in keys {
            assert!(status[part][*key].is_u64(), "status has {part}.{key}");
        }
    }
}

#[test]
fn work_is_shared_between_sweeps_of_one_store() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let first = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    let attempts = sandbox.attempts();
    // Another condition: what the first sweep extracted and fitted is found done.
    sandbox.small(&[("{name: raw}", "{name: raw}, {name: said, template: 'She said: {text}'}")]);
    let second = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    assert_ne!(first["sweep"], second["sweep"]);
    let total = |run: &serde_json::Value| run["units"]["total"].as_u64().unwrap();
    assert_eq!(second["computed_units"].as_u64().unwrap(), total(&second) - total(&first));
    assert_eq!(second["granted_attempts"], second["computed_units"]);
    let now = sandbox.attempts();
    assert!(attempts.iter().all(|(unit, before)| now.get(unit) == Some(before)), "what the first sweep had is not attempted again");
    // A report over what is committed can be had at any time, without computing.
    let ended = sandbox.limbic(&["report", first["sweep"].as_str().unwrap(), "--store", "store", "--out", "later"]);
    assert_eq!((ended.code, ended.stdout.trim()), (Some(0), "later/report.html"));

    // Side by side, what both have is the same; of two sweeps of one name it takes ids to say which.
    let ids = [&first, &second].map(|run| run["sweep"].as_str().unwrap());
    let ended = sandbox.json(&["compare", ids[0], ids[1], "--store", "store", "--out", "both", "--json"]);
    assert_eq!(ended["page"], "both/compare.html");
    let found: serde_json::Value = serde_json::from_slice(&std::fs::read(sandbox.path("both/compare.json")).unwrap()).unwrap();
    let shared = found["comparison"]["shared"].as_array().unwrap();
    assert!(found["comparison"]["paired"] == true && !shared.is_empty());
    assert!(shared.iter().all(|s| s["scores"][0] == s["scores"][1] && s["paired"]["difference"]["value"] == 0.0), "{shared:?}");
    assert!(std::fs::read_to_string(sandbox.path("both/compare.md")).unwrap().contains("Only in B: condition said."));
    let itself = sandbox.limbic(&["compare", ids[0], &ids[0][..8], "--store", "store"]);
    assert!(itself.code == Some(2) && itself.stderr.contains("are the same sweep"), "{}", itself.stderr);
    let unclear = sandbox.limbic(&["compare", "small", "small", "--store", "store"]);
    assert!(unclear.code == Some(2) && unclear.stderr.contains(ids[0]) && unclear.stderr.contains(ids[1]), "{}", unclear.stderr);
    let unknown = sandbox.limbic(&["compare", ids[0], "nothing", "--store", "store"]);
    assert!(unknown.code == Some(2) && unknown.stderr.contains("nothing"), "{}", unknown.stderr);
}

/// A coordinator with the small sweep, whose model was moved away before any worker came: everything that needs the
/// model is quarantined.
fn without_its_model(sandbox: &Sandbox) -> (limbic_tests::Running, String) {
    let shipped = Sandbox::repository().join("configs/quickstart/models/tiny-0.3m");
    std::fs::create_dir(sandbox.path("model")).unwrap();
    for entry in std::fs::read_dir(shipped).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), sandbox.path("model").join(entry.file_name())).unwrap();
    }
    sandbox.small(&[("source: MODEL", "source: model"), ("limit: 210", "limit: 70")]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    let coordinator = sandbox.spawn(&["coordinator", "--store", "store", "--listen", &listen]);
    sandbox.until("the sweep is accepted", || sandbox.limbic(&["submit", "small.yaml", "--coordinator", &url]).code == Some(0));
    std::fs::rename(sandbox.path("model"), sandbox.path("away")).unwrap();
    let worker = sandbox.spawn_worker(&["--coordinator", &url, "--threads", "1"]);
    sandbox.until("everything is given up", || status(sandbox, &url)["state"] == "incomplete");
    drop(worker);
    let status = status(sandbox, &url);
    assert_eq!(status["units"]["quarantined"], 21, "six extracts, a prompt unit and its halves, twelve fits: {status}");
    std::fs::rename(sandbox.path("away"), sandbox.path("model")).unwrap();
    (coordinator, url)
}

fn status(sandbox: &Sandbox, url: &str) -> serde_json::Value {
    sandbox.json(&["status", "small", "--coordinator", url, "--json"])
}

#[test]
fn a_coordinator_that_ends_once_all_is_done_says_what_failed() {
    let sandbox = sandbox();
    let (coordinator, _) = without_its_model(&sandbox);
    coordinator.kill();
    assert_eq!(sandbox.json(&["list", "--store", "store", "--json"])[0]["state"], "incomplete");
    let ended = sandbox.limbic(&["coordinator", "--store", "store", "--listen", "127.0.0.1:0", "--exit-when-complete"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("mend the cause, then `limbic retry"), "{ended:?}");
}

#[test]
fn what_was_quarantined_is_tried_again_when_the_sweep_is_run_again() {
    let sandbox = sandbox();
    let (coordinator, _) = without_its_model(&sandbox);
    coordinator.kill();
    let done = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    assert_eq!((&done["state"], &done["units"]["quarantined"]), (&"complete".into(), &0.into()), "{done}");
    assert_eq!(done["units"]["committed"], done["units"]["total"]);
}

#[test]
fn what_was_quarantined_is_tried_again_when_the_sweep_is_submitted_again() {
    let sandbox = sandbox();
    let (_coordinator, url) = without_its_model(&sandbox);
    let said = sandbox.limbic(&["submit", "small.yaml", "--coordinator", &url]);
    assert!(said.stdout.contains("units are tried again, which had failed"), "{said:?}");
    // Of 70 rows a tenth is for tests.
    for words in [
        "note    There are only 7 test rows",
        "(small): 70 rows, 1 model, ",
        "; 2 units are done already",
        &format!(" --coordinator {url}`"),
    ] {
        assert!(said.stdout.contains(words), "`{words}` in {said:?}");
    }
    let _worker = sandbox.spawn_worker(&["--coordinator", &url, "--threads", "1"]);
    sandbox.until("all is done", || {
        let status = status(&sandbox, &url);
        status["units"]["committed"] == status["units"]["total"]
    });
}

#[test]
fn prompts_that_were_left_out_and_fits_that_are_absent_are_told() {
    let sandbox = sandbox();
    let classes = ["anger", "joy", "neutral"];
    let row = |i: usize| {
        // Every eighth text is far longer than the model's context of 512 tokens.
        let text = "the river and the bridge ".repeat(if i % 8 == 7 { 400 } else { 1 + i % 3 });
        format!("{}\n", serde_json::json!({"text": format!("{i} {text}"), "label": classes[i % 3]}))
    };
    sandbox.write("rows.jsonl", &(0..240).map(row).collect::<String>());
    sandbox.small(&[
        ("{group: group, limit: 210, source: CORPUS}", "{source: rows.jsonl, near_duplicates: ignore}"),
        ("{name: raw}, {name: calm, chat: {system: You always remain calm and composed.}}", "{name: raw}"),
        ("execution:", "too_long: skip\nexecution:"),
        ("controls: [masked-prompt], stop_at_eos: false", "filler: two words"),
        ("offsets: [0, 1, 3]", "offsets: [0, 1, 40]"),
        ("rows_per_unit: 30", "rows_per_unit: 60"),
    ]);
    let run = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    assert_eq!(run["state"], "complete");
    let report = std::fs::read_to_string(sandbox.path("out/report.md")).unwrap();
    assert!(report.contains("tiny-0.3m, raw: 30 of 240 prompts were longer than the context and left out."), "{report}");
    assert!(report.contains("tiny-0.3m, zero-shot question: "), "{report}");
    // No filler reaches offset 40: 2 probes at 6 layers.
    assert!(report.contains("12 of 38 fits are absent from every table and figure (12 at offset 40: no train row of"), "{report}");
    let sum = |column: &str| -> u64 {
        let file = std::fs::File::open(sandbox.path("out/runs.parquet")).unwrap();
        let batches = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let of = |batch: arrow_array::RecordBatch| {
            let column = batch.column_by_name(column).unwrap();
            arrow_array::cast::AsArray::as_primitive::<arrow_array::types::UInt64Type>(column).iter().flatten().sum::<u64>()
        };
        batches.map(|batch| of(batch.unwrap())).sum()
    };
    assert_eq!(sum("absent_fits"), 12);
    assert!(sum("skipped_rows") >= 30);
}

#[test]
fn figures_of_an_earlier_report_do_not_stay() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    assert!(sandbox.path("out/figures/conditions.svg").exists());
    sandbox.write("out/figures/mine.svg", "<svg/>");
    sandbox.small(&[("{name: raw}, {name: calm, chat: {system: You always remain calm and composed.}}", "{name: raw}")]);
    sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    assert!(!sandbox.path("out/figures/conditions.svg").exists(), "one condition has no such figure");
    assert!(sandbox.path("out/figures/depth.svg").exists() && sandbox.path("out/figures/mine.svg").exists());
}

#[test]
fn what_lies_astray_among_the_sweeps_is_passed_over() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let run = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    std::fs::create_dir(sandbox.path("store/sweeps/stray")).unwrap();
    sandbox.write("store/sweeps/.DS_Store", "noise");
    // A sweep of a later version: its spec has a field that this one doesn't know.
    sandbox.write(
        &format!("store/sweeps/ffffffffffffffff/spec/{:010}", 0),
        r#"{"nonce": "n", "spec": {"name": "later", "novelty": 1}, "rows": "", "models": [], "notes": []}"#,
    );
    let status = sandbox.json(&["status", "small", "--store", "store", "--json"]);
    assert_eq!(status["sweep"], run["sweep"]);
    let list = sandbox.limbic(&["list", "--store", "store", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["sweep"]), (1, &run["sweep"]));
    assert!(list.stderr.contains("sweeps/stray is passed over") && list.stderr.contains("sweeps/ffffffffffffffff is passed over"));
    let report = sandbox.json(&["report", "small", "--store", "store", "--out", "later", "--json"]);
    assert_eq!(report["report"], "later/report.html");
    let asked = sandbox.limbic(&["status", "later", "--store", "store"]);
    assert!(asked.code == Some(2) && asked.stderr.contains("spec can't be read"), "{}", asked.stderr);
    let listen = "127.0.0.1:0";
    let mut coordinator = sandbox.spawn(&["coordinator", "--store", "store", "--listen", listen, "--exit-when-complete"]);
    assert_eq!(coordinator.wait(), Some(0), "it leads what it can read, which is complete");
}

#[test]
fn a_number_format_makes_a_model_of_its_own() {
    let sandbox = sandbox();
    let (model, both) = ("models: [{source: MODEL}]", "models: [{source: MODEL}, {source: MODEL, name: rounded, dtype: bf16}]");
    sandbox.small(&[(model, both)]);
    let done = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    assert_eq!((&done["state"], &done["cells"]["done"]), (&"complete".into(), &72.into()), "{done}");
    assert_eq!(done["units"]["quarantined"], 0);
}
