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
