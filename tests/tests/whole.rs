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

#[test]
fn a_sweep_runs_reports_and_is_found_done_the_second_time() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let first = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    assert_eq!(first["state"], "complete");
    // 1 model x (4 blocks + embeddings + final) x 2 conditions x 3 offsets
    assert_eq!(first["cells"], serde_json::json!({"total": 36, "done": 36, "quarantined": 0}));
    assert_eq!(first["computed_units"], first["units"]["total"]);
    for name in ["report.html", "report.md", "results.parquet", "predictions.parquet", "runs.parquet", "summary.json"] {
        assert!(std::fs::metadata(sandbox.path("out").join(name)).unwrap().len() > 0, "{name}");
    }
    // Per cell: 3 read-outs of 2 probes at offset 0; the masked control doubles offsets 1 and 3.
    let fits = 6 * 2 * 5 * 2;
    let test = rows(&sandbox.path("out/predictions.parquet")) / (fits + 3);
    assert_eq!(rows(&sandbox.path("out/predictions.parquet")), test * (fits + 3), "each fit and baseline predicts every test row");

    let before = sandbox.objects("commit");
    let second = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "again", "--json"]);
    assert_eq!(second["computed_units"], 0);
    assert_eq!(sandbox.objects("commit"), before, "commits are never touched again");
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
    // Another condition: what the first sweep extracted and fitted is found done.
    sandbox.small(&[("{name: raw}", "{name: raw}, {name: said, template: 'She said: {text}'}")]);
    let second = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    assert_ne!(first["sweep"], second["sweep"]);
    let total = |run: &serde_json::Value| run["units"]["total"].as_u64().unwrap();
    assert_eq!(second["computed_units"].as_u64().unwrap(), total(&second) - total(&first));
    // A report over what is committed can be had at any time, without computing.
    let ended = sandbox.limbic(&["report", first["sweep"].as_str().unwrap(), "--store", "store", "--out", "later"]);
    assert_eq!((ended.code, ended.stdout.trim()), (Some(0), "later/report.html"));
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
    sandbox.until("everything is given up", || status(sandbox, &url)["state"] == "complete");
    drop(worker);
    let status = status(sandbox, &url);
    assert_eq!(status["units"]["quarantined"], 20, "six extracts, two prompts, twelve fits: {status}");
    std::fs::rename(sandbox.path("away"), sandbox.path("model")).unwrap();
    (coordinator, url)
}

fn status(sandbox: &Sandbox, url: &str) -> serde_json::Value {
    sandbox.json(&["status", "small", "--coordinator", url, "--json"])
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
    assert!(said.stdout.contains("are tried again"), "{said:?}");
    let _worker = sandbox.spawn_worker(&["--coordinator", &url, "--threads", "1"]);
    sandbox.until("all is done", || {
        let status = status(&sandbox, &url);
        status["units"]["committed"] == status["units"]["total"]
    });
}
