//! Coordinator and workers as separate processes over gRPC on loopback.

use limbic_tests::Sandbox;

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"))
}

/// A free port: bound once and given back.
fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_killed_worker_and_a_restarted_coordinator_change_no_number() {
    let undisturbed = sandbox();
    undisturbed.small(&[]);
    undisturbed.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);

    let sandbox = sandbox();
    sandbox.small(&[]);
    let listen = format!("127.0.0.1:{}", port());
    let url = format!("http://{listen}");
    let coordinator = ["coordinator", "--store", "store", "--listen", &listen, "--heartbeat", "0.5", "--lease-ttl", "2"];
    let first = sandbox.spawn(&coordinator);
    let submit = ["submit", "small.yaml", "--coordinator", &url, "--json"];
    let mut accepted = None;
    sandbox.until("the sweep is accepted", || {
        let ended = sandbox.limbic(&submit);
        accepted = serde_json::from_str::<serde_json::Value>(&ended.stdout).ok();
        accepted.is_some()
    });
    let id = accepted.unwrap()["sweep"].as_str().unwrap().to_owned();
    let worker = |name: &'static str| sandbox.spawn_worker(&["--coordinator", &url, "--threads", "1", "--id", name]);
    let (doomed, _survivor) = (worker("doomed"), worker("survivor"));
    let committed = || sandbox.objects("commit").len();
    sandbox.until("some units are committed", || committed() >= 4);
    doomed.kill();
    let at_kill = committed();
    sandbox.until("the other worker goes on", || committed() > at_kill);
    first.kill();
    let second = sandbox.spawn(&coordinator);
    sandbox.until("the sweep is complete", || {
        let ended = sandbox.limbic(&["status", &id, "--coordinator", &url, "--json"]);
        serde_json::from_str::<serde_json::Value>(&ended.stdout).is_ok_and(|status| status["state"] == "complete")
    });
    let status = sandbox.json(&["status", &id, "--coordinator", &url, "--json"]);
    assert_eq!(status["units"]["committed"], status["units"]["total"]);
    assert_eq!(status["attempts"]["failed"], 0);
    second.kill();
    assert_eq!(sandbox.limbic(&["report", &id, "--store", "store", "--out", "out"]).code, Some(0));
    for name in ["results.parquet", "predictions.parquet"] {
        let read = |of: &Sandbox| std::fs::read(of.path("out").join(name)).unwrap();
        assert!(read(&undisturbed) == read(&sandbox), "{name} equals that of the undisturbed run");
    }
}

#[test]
fn a_second_coordinator_supersedes_the_first() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let listen = || format!("127.0.0.1:{}", port());
    let (one, two) = (listen(), listen());
    let mut first = sandbox.spawn(&["coordinator", "--store", "store", "--listen", &one]);
    sandbox.until("the sweep is accepted", || {
        sandbox.limbic(&["submit", "small.yaml", "--coordinator", &format!("http://{one}")]).code == Some(0)
    });
    let mut second = sandbox.spawn(&["coordinator", "--store", "store", "--listen", &two]);
    assert_eq!(first.wait(), Some(75), "the superseded one says: try again");
    assert!(second.runs());
    second.signal(libc::SIGTERM);
    assert_eq!(second.wait(), Some(0));
}

#[test]
fn a_coordinator_that_ends_when_complete_ends_although_workers_stay() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let listen = format!("127.0.0.1:{}", port());
    let url = format!("http://{listen}");
    let mut coordinator = sandbox.spawn(&["coordinator", "--store", "store", "--listen", &listen, "--exit-when-complete"]);
    sandbox.until("the sweep is accepted", || sandbox.limbic(&["submit", "small.yaml", "--coordinator", &url]).code == Some(0));
    let mut staying = sandbox.spawn_worker(&["--coordinator", &url, "--threads", "1", "--id", "staying"]);
    let mut leaving = sandbox.spawn_worker(&["--coordinator", &url, "--threads", "1", "--id", "leaving", "--exit-when-finished"]);
    assert_eq!((leaving.wait(), coordinator.wait()), (Some(0), Some(0)));
    assert!(staying.runs(), "it waits for the next coordinator");
    staying.signal(libc::SIGTERM);
    assert_eq!(staying.wait(), Some(75), "a drain is no end of the work");
    let status = sandbox.json(&["list", "--store", "store", "--json"]);
    assert_eq!(status[0]["state"], "complete", "{status}");
}

#[test]
fn a_second_sigterm_ends_a_draining_worker_at_once() {
    let sandbox = sandbox();
    sandbox.small(&[("hidden: 8", "hidden: 64, epochs: 1000000"), ("limit: 210", "limit: 70")]);
    let listen = format!("127.0.0.1:{}", port());
    let url = format!("http://{listen}");
    let _coordinator = sandbox.spawn(&["coordinator", "--store", "store", "--listen", &listen, "--heartbeat", "0.2", "--lease-ttl", "2"]);
    let submit = ["submit", "small.yaml", "--coordinator", &url, "--json"];
    let mut accepted = None;
    sandbox.until("the sweep is accepted", || {
        accepted = serde_json::from_str::<serde_json::Value>(&sandbox.limbic(&submit).stdout).ok();
        accepted.is_some()
    });
    let id = accepted.unwrap()["sweep"].as_str().unwrap().to_owned();
    let mut worker = sandbox.spawn_worker(&["--coordinator", &url, "--threads", "1"]);
    sandbox.until("a fit that takes for ever runs", || {
        let status = sandbox.json(&["status", &id, "--coordinator", &url, "--json"]);
        status["workers"].to_string().contains("fit tiny")
    });
    worker.signal(libc::SIGTERM);
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(worker.runs(), "it drains");
    worker.signal(libc::SIGTERM);
    let asked = std::time::Instant::now();
    assert_eq!(worker.wait(), Some(130));
    assert!(asked.elapsed() < std::time::Duration::from_secs(2));
}

#[test]
fn with_json_logs_every_line_of_standard_error_is_a_json_object() {
    let sandbox = sandbox();
    let shipped = Sandbox::repository().join("configs/quickstart/models/tiny-0.3m");
    for file in std::fs::read_dir(&shipped).unwrap() {
        let file = file.unwrap();
        let text = std::fs::read(file.path()).unwrap();
        let name = file.file_name().into_string().unwrap();
        std::fs::write(sandbox.write(&format!("cramped/{name}"), ""), text).unwrap();
    }
    let config = std::fs::read_to_string(sandbox.path("cramped/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["max_position_embeddings"] = 24.into();
    sandbox.write("cramped/config.json", &config.to_string());
    sandbox.small(&[("MODEL", &sandbox.path("cramped").to_string_lossy())]);
    let ended =
        sandbox.limbic(&["run", "small.yaml", "--store", "store", "--out", "out", "--json", "--log-format", "json", "--workers", "1"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    let lines: Vec<serde_json::Value> = ended.stderr.lines().map(read).collect();
    assert!(lines.iter().all(|line| line["level"].is_string() && line["message"].is_string() && line["timestamp"].is_string()));
    assert!(lines.iter().any(|line| line["target"] == "limbic_worker::session::attempt"), "the worker's are among them: {}", ended.stderr);
    assert_eq!(lines.last().unwrap()["level"], "ERROR");
}
