//! Coordinator and workers as separate processes over gRPC on loopback.

#[path = "cluster/apart.rs"]
mod apart;

use limbic_proto::status::Status;
use limbic_tests::{Running, Sandbox};

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"))
}

/// A free port: bound once and given back.
fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A coordinator that leads the small sweep, and its address.
fn leading() -> (Sandbox, Running, String) {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let listen = format!("127.0.0.1:{}", port());
    let url = format!("http://{listen}");
    let coordinator = sandbox.spawn(&["coordinator", "--store", "store", "--listen", &listen]);
    sandbox.until("the sweep is accepted", || sandbox.limbic(&["submit", "small.yaml", "--coordinator", &url]).code == Some(0));
    (sandbox, coordinator, url)
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
fn workers_that_take_passes_or_fits_share_a_sweep() {
    let (sandbox, _coordinator, url) = leading();
    let status = || sandbox.json(&["status", "small", "--coordinator", &url, "--json"]);
    let worker = |takes: &str| sandbox.spawn_worker(&["--coordinator", &url, "--threads", "1", "--id", takes, "--takes", takes]);
    let _fits = worker("fits");
    sandbox.until("only passes are left to begin with", || {
        let reasons = status()["waiting"].to_string();
        reasons.contains("a worker that takes passes: none of the 1 connected does")
    });
    let _passes = worker("passes");
    sandbox.until("the sweep is complete", || status()["state"] == "complete");
    let listed = sandbox.limbic(&["status", "small", "--coordinator", &url]).stdout;
    assert!(listed.contains("worker    fits on cpu (takes fits): ") && listed.contains("passes on cpu (takes passes): "), "{listed}");
    for (_, bytes) in sandbox.objects("commit") {
        let commit: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let fit = commit.to_string().contains("predictions");
        assert_eq!(commit["provenance"]["worker"], if fit { "fits" } else { "passes" }, "{commit}");
    }
}

#[test]
fn a_damaged_sweep_does_not_keep_the_others_from_going_on() {
    let sandbox = sandbox();
    let listen = format!("127.0.0.1:{}", port());
    let url = format!("http://{listen}");
    let coordinator = ["coordinator", "--store", "store", "--listen", &listen];
    let first = sandbox.spawn(&coordinator);
    for name in ["name: damaged", "name: sound"] {
        sandbox.small(&[("name: small", name), ("hidden: 8", if name == "name: sound" { "hidden: 16" } else { "hidden: 8" })]);
        sandbox.until("the sweep is accepted", || sandbox.limbic(&["submit", "small.yaml", "--coordinator", &url]).code == Some(0));
    }
    let id = |name: &str| sandbox.json(&["status", name, "--store", "store", "--json"])["sweep"].as_str().unwrap().to_owned();
    let (damaged, sound) = (id("damaged"), id("sound"));
    first.kill();
    let entry = sandbox.path("store/sweeps").join(&damaged).join(format!("log/{:020}", 0));
    assert!(entry.exists());
    std::fs::write(&entry, "not an entry").unwrap();

    let mut second = sandbox.spawn(&coordinator);
    let said = second.complains("can't be led");
    assert!(said.contains(&damaged), "{said}");
    let listed = |args: &[&str]| sandbox.json(&[&["list", "--json"], args].concat());
    sandbox.until("it listens", || sandbox.limbic(&["list", "--coordinator", &url]).code == Some(0));
    for of in [["--coordinator", &url], ["--store", "store"]] {
        let sweeps = listed(&of);
        let ids: Vec<&str> = sweeps.as_array().unwrap().iter().map(|sweep| sweep["sweep"].as_str().unwrap()).collect();
        assert_eq!(ids, [sound.as_str()]);
    }
    let asked = sandbox.limbic(&["status", "damaged", "--store", "store"]);
    assert!(asked.code == Some(2) && asked.stderr.contains("can't be read"), "trying again won't help: {asked:?}");

    // With nothing but damaged sweeps there is nothing to do.
    second.kill();
    std::fs::remove_dir_all(sandbox.path("store/sweeps").join(&sound)).unwrap();
    let alone = sandbox.limbic(&[&coordinator[..], &["--exit-when-complete"]].concat());
    assert!(alone.code == Some(2) && alone.stderr.contains("can't be read"), "{alone:?}");
}

/// The scripts for SLURM are run as it runs them: by bash, with its variables, and a signal where it would send one.
#[test]
fn the_scripts_for_slurm_lead_and_compute_a_sweep() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let bin = sandbox.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let programs = [("limbic", env!("CARGO_BIN_EXE_limbic-under-test")), ("limbic-worker", env!("CARGO_BIN_EXE_limbic-worker-under-test"))];
    for (name, program) in programs {
        std::os::unix::fs::symlink(program, bin.join(name)).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let command = |script: &str| {
        let mut command = std::process::Command::new("bash");
        command.arg(Sandbox::repository().join("deploy/slurm").join(script)).current_dir(sandbox.path(""));
        command.env("PATH", &path).env("LIMBIC_STORE", sandbox.path("store")).env("LIMBIC_ADDRESS", sandbox.path("address"));
        command.env("SLURM_JOB_ID", std::process::id().to_string()).env("SLURM_CPUS_PER_TASK", "1");
        command
    };
    let job = |script: &str| command(script).spawn().unwrap();
    let terminate = |job: &std::process::Child| {
        let sent = std::process::Command::new("kill").args(["-TERM", &job.id().to_string()]).status().unwrap();
        assert!(sent.success());
    };
    let alone = command("worker.sbatch").env("LIMBIC_PATIENCE", "1").output().unwrap();
    let said = String::from_utf8_lossy(&alone.stderr);
    let address = sandbox.path("address").display().to_string();
    assert!(alone.status.code() == Some(75), "nobody waits for ever for a coordinator: {said}");
    assert!(said.contains("waiting up to 1 s") && said.contains("start coordinator.sbatch") && said.contains(&address), "{said}");
    let mut workers = [job("worker.sbatch"), job("worker.sbatch")];
    let mut coordinator = job("coordinator.sbatch");
    let mut url = String::new();
    sandbox.until("the sweep is accepted", || {
        url = std::fs::read_to_string(sandbox.path("address")).unwrap_or_default().trim().to_owned();
        !url.is_empty() && sandbox.limbic(&["submit", "small.yaml", "--coordinator", &url]).code == Some(0)
    });
    // At the end of its time one is told to leave: it doesn't start again, and another takes its place.
    terminate(&workers[0]);
    assert_eq!(workers[0].wait().unwrap().code(), Some(0));
    workers[0] = job("worker.sbatch");
    sandbox.until("the sweep is complete", || sandbox.json(&["status", "small", "--coordinator", &url, "--json"])["state"] == "complete");
    // The one that has computed leaves once it hears that there is no more; both do when told.
    for worker in &mut workers {
        terminate(worker);
        assert_eq!(worker.wait().unwrap().code(), Some(0));
    }
    terminate(&coordinator);
    assert_eq!(coordinator.wait().unwrap().code(), Some(0));
}

#[test]
fn a_sweep_is_watched_to_its_end() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let listen = format!("127.0.0.1:{}", port());
    let url = format!("http://{listen}");
    let coordinator = sandbox.spawn(&["coordinator", "--store", "store", "--listen", &listen, "--heartbeat", "0.2", "--lease-ttl", "2"]);
    sandbox.until("the sweep is accepted", || sandbox.limbic(&["submit", "small.yaml", "--coordinator", &url]).code == Some(0));
    let worker = sandbox.spawn_worker(&["--coordinator", &url, "--threads", "1"]);
    let watched = sandbox.limbic(&["watch", "small", "--coordinator", &url, "--json"]);
    assert_eq!(watched.code, Some(0), "{}", watched.stderr);
    let statuses: Vec<serde_json::Value> = watched.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let committed = |status: &serde_json::Value| status["units"]["committed"].as_u64().unwrap();
    assert!(statuses.len() > 1 && statuses.is_sorted_by_key(committed));
    let timeless = |status: &serde_json::Value| serde_json::from_value::<Status>(status.clone()).unwrap().timeless();
    assert!(statuses.windows(2).all(|pair| timeless(&pair[0]) != timeless(&pair[1])), "one line for each change");
    let last = statuses.last().unwrap();
    assert_eq!((&last["state"], &last["units"]["committed"]), (&"complete".into(), &last["units"]["total"]));
    worker.kill();

    sandbox.small(&[("name: small", "name: other"), ("hidden: 8", "hidden: 16")]);
    assert_eq!(sandbox.limbic(&["submit", "small.yaml", "--coordinator", &url]).code, Some(0));
    assert_eq!(sandbox.limbic(&["cancel", "other", "--coordinator", &url]).code, Some(0));
    let watched = sandbox.limbic(&["watch", "other", "--coordinator", &url]);
    assert!(watched.code == Some(2) && watched.stdout.contains("(other): cancelled"), "what was cancelled is not complete: {watched:?}");
    sandbox.small(&[("name: small", "name: third"), ("hidden: 8", "hidden: 24")]);
    assert_eq!(sandbox.limbic(&["submit", "small.yaml", "--coordinator", &url]).code, Some(0));
    let mut watching = sandbox.spawn(&["watch", "third", "--coordinator", &url]);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(watching.runs());
    coordinator.kill();
    assert_eq!(watching.wait(), Some(75), "whoever watches is told to try again");
    let nobody = sandbox.limbic(&["watch", "other", "--coordinator", &url]);
    assert!(nobody.code == Some(75) && nobody.stderr.contains("nothing answers there"), "{nobody:?}");
}

#[test]
fn a_coordinator_says_that_it_is_well_and_what_it_serves() {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServiceResponse};

    let sandbox = sandbox();
    let listen = format!("127.0.0.1:{}", port());
    let url = format!("http://{listen}");
    let _coordinator = sandbox.spawn(&["coordinator", "--store", "store", "--listen", &listen]);
    sandbox.until("it listens", || sandbox.limbic(&["list", "--coordinator", &url]).code == Some(0));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let services = runtime.block_on(async {
        let channel = tonic::transport::Endpoint::from_shared(url).unwrap().connect().await.unwrap();
        let list = MessageRequest::ListServices(String::new());
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
        let mut answers =
            ServerReflectionClient::new(channel.clone()).server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap().message_response;
        let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
        let services: Vec<String> = list.service.into_iter().map(|ServiceResponse { name }| name).collect();
        let mut health = HealthClient::new(channel);
        for service in services.iter().filter(|name| name.starts_with("limbic")) {
            let status = health.check(HealthCheckRequest { service: service.clone() }).await.unwrap().into_inner().status();
            assert_eq!(status, ServingStatus::Serving, "{service}");
        }
        services
    });
    let named = |end: &str| services.iter().any(|name| name.starts_with("limbic") && name.ends_with(end));
    assert!(named("Workers") && named("Control") && services.iter().any(|name| name == "grpc.health.v1.Health"), "{services:?}");
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
fn a_second_sigterm_changes_nothing_and_a_second_ctrl_c_ends_a_draining_worker_at_once() {
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
    for signal in [libc::SIGTERM, libc::SIGTERM, libc::SIGINT] {
        worker.signal(signal);
        std::thread::sleep(std::time::Duration::from_secs(1));
        assert!(worker.runs(), "it drains");
    }
    worker.signal(libc::SIGINT);
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
    // What is said to people is said in objects, too.
    let ended = sandbox.limbic(&["run", "small.yaml", "--store", "store", "--out", "out", "--log-format", "json", "--workers", "1"]);
    let messages: Vec<String> = ended.stderr.lines().map(|line| read(line)["message"].as_str().unwrap().to_owned()).collect();
    assert!(messages[0].starts_with("sweep ") && messages.iter().any(|m| m.contains("tried again, which had failed")), "{messages:?}");
}

#[test]
fn shells_complete_both_programs() {
    let sandbox = sandbox();
    for (ended, words) in [
        (sandbox.limbic(&["completions", "bash"]), ["_limbic()", "--extend"]),
        (sandbox.worker(&["completions", "bash"]), ["nosort -o bashdefault -o default limbic-worker", "--exit-when-finished"]),
    ] {
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(words.iter().all(|word| ended.stdout.contains(word)), "{}", ended.stdout);
    }
}

#[test]
fn an_end_is_the_same_whoever_listens() {
    let sandbox = sandbox();
    // The other end of both pipes is closed before a word is said.
    let unheard = |command: &str| {
        let script = format!("'{}' {command}; echo $? >code", env!("CARGO_BIN_EXE_limbic-under-test"));
        let piped = format!("({{ sleep 0.3; {script}; }}) 2>&1 | true");
        assert!(std::process::Command::new("sh").args(["-c", &piped]).current_dir(sandbox.path("")).status().unwrap().success());
        let code = || std::fs::read_to_string(sandbox.path("code")).ok().filter(|code| code.ends_with('\n'));
        sandbox.until("it has ended", || code().is_some());
        let ended = code().unwrap().trim().to_owned();
        std::fs::remove_file(sandbox.path("code")).unwrap();
        ended
    };
    assert_eq!(["schema", "completions bash"].map(unheard), ["0", "0"]);
    assert_eq!(unheard("list --store nowhere"), "2", "a failure stays one");
    sandbox.small(&[]);
    assert_eq!(unheard("run small.yaml --store store --out out"), "0");
    assert!(sandbox.path("out/report.html").exists(), "and work is done to its end");
    let full = format!("'{}' schema >/dev/full", env!("CARGO_BIN_EXE_limbic-under-test"));
    let full = std::process::Command::new("sh").args(["-c", &full]).output().unwrap();
    let said = String::from_utf8_lossy(&full.stderr);
    assert!(full.status.code() == Some(2) && said.contains("standard output can't be written: No space left"), "{said}");
}

#[test]
fn a_worker_whose_disk_is_full_gives_its_unit_back_and_says_so() {
    let (sandbox, _coordinator, url) = leading();
    // In blocks of 512 or 1024 bytes: room for logs and commits, not for hidden states. A signal that is ignored stays so.
    let script = r#"trap '' XFSZ; ulimit -f 16; exec "$0" --coordinator "$1" --threads 1 --patience 1"#;
    let full = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_limbic-worker-under-test"), &url])
        .env("LIMBIC_LOG", "error")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&full.stderr);
    // Small artifacts were written, so the store has worked for it, and it waits before it ends for a later try.
    assert!(full.status.code() == Some(75) && said.contains("the disk is full: free some space"), "{:?}: {said}", full.status);
    let status = || sandbox.json(&["status", "small", "--coordinator", &url, "--json"]);
    let (attempts, running) = (&status()["attempts"], &status()["units"]["running"]);
    assert!(attempts["failed"] == 0 && attempts["released"].as_u64() > Some(0), "that is not the unit's fault: {attempts}");
    assert_eq!(running, 0, "what it had begun meanwhile is given back, too");
    let _worker = sandbox.spawn_worker(&["--coordinator", &url, "--threads", "1"]);
    sandbox.until("another worker has done everything", || status()["state"] == "complete");
    assert_eq!((&status()["units"]["quarantined"], &status()["attempts"]["lost"]), (&0.into(), &0.into()));
}
