//! What users decide about sweeps that a coordinator leads: pause, resume, cancel, retry, again, extend; and what they are shown.

#[path = "decisions/cancel.rs"]
mod cancel;
#[path = "decisions/lost.rs"]
mod lost;

use std::time::Duration;

use limbic_proto::key::UnitKey;
use limbic_tests::{Running, Sandbox};
use serde_json::Value;

/// A coordinator with an accepted small sweep, and no workers yet.
struct Led {
    sandbox: Sandbox,
    url: String,
    listen: String,
    coordinator: Option<Running>,
}

impl Led {
    fn new() -> Led {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"));
        sandbox.small(&[]);
        Led::over(sandbox)
    }

    /// Leads the sweep whose spec stands in the sandbox.
    fn over(sandbox: Sandbox) -> Led {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let listen = format!("127.0.0.1:{port}");
        let mut led = Led { sandbox, url: format!("http://{listen}"), listen, coordinator: None };
        led.restart();
        led.sandbox.until("the sweep is accepted", || led.limbic("submit", &["small.yaml"]).0 == Some(0));
        led
    }

    fn restart(&mut self) {
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.kill();
        }
        let args = ["coordinator", "--store", "store", "--listen", &self.listen, "--heartbeat", "0.5", "--lease-ttl", "2"];
        self.coordinator = Some(self.sandbox.spawn(&args));
        self.sandbox.until("the coordinator answers", || self.limbic("list", &[]).0 == Some(0));
    }

    fn limbic(&self, command: &str, args: &[&str]) -> (Option<i32>, String) {
        let ended = self.sandbox.limbic(&[&[command], args, &["--coordinator", &self.url]].concat());
        (ended.code, ended.stdout + &ended.stderr)
    }

    fn status(&self) -> Value {
        self.sandbox.json(&["status", "small", "--coordinator", &self.url, "--json"])
    }

    fn units(&self, state: &str) -> u64 {
        self.status()["units"][state].as_u64().unwrap()
    }

    fn worker(&self) -> Running {
        self.sandbox.spawn_worker(&["--coordinator", &self.url, "--threads", "1"])
    }
}

#[test]
fn a_paused_sweep_waits_also_over_a_restart_and_goes_on_when_resumed() {
    let mut led = Led::new();
    let _worker = led.worker();
    led.sandbox.until("some units are committed", || led.units("committed") >= 2);
    let (code, said) = led.limbic("pause", &["small"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("is paused"), "{said}");
    led.sandbox.until("what runs has ended", || led.units("running") == 0);
    led.restart();
    assert_eq!(led.status()["state"], "paused", "the decision stands in the journal before it is answered");
    led.sandbox.until("the worker is back", || !led.status()["workers"].as_array().unwrap().is_empty());
    let at = led.units("committed");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((led.units("committed"), led.units("running")), (at, 0), "nothing is granted");
    assert_eq!(led.limbic("resume", &["small"]).0, Some(0));
    led.sandbox.until("the sweep is complete", || led.status()["state"] == "complete");
    let (code, said) = led.limbic("pause", &["small"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("is complete: nothing of it is left to run"), "{said}");
}

#[test]
fn a_run_spares_the_coordinator_that_leads_its_sweep() {
    let mut led = Led::new();
    let run = ["run", "small.yaml", "--store", "store"];
    let environment = [("LIMBIC_COORDINATOR", led.url.as_str())];
    let refused = led.sandbox.limbic_in(&environment, &run);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("the coordinator at {} leads it", led.url)), "{}", refused.stderr);
    assert_eq!(led.status()["led"], true, "it goes on");
    assert_eq!(led.limbic("pause", &["small"]).0, Some(0));
    let refused = led.sandbox.limbic_in(&environment, &run).stderr;
    assert!(refused.contains("it is paused there, and `limbic resume"), "{refused}");
    assert_eq!(led.limbic("resume", &["small"]).0, Some(0));

    // Nor is it extended behind its back.
    led.sandbox.small(&[("{name: raw},", "{name: raw}, {name: asked, template: 'How does this feel? {text}'},")]);
    let before = led.sandbox.objects("sweeps");
    let refused = led.sandbox.limbic_in(&environment, &[&run[..], &["--extend", "small"]].concat());
    assert!(refused.code == Some(2) && refused.stderr.contains("leads it"), "{}", refused.stderr);
    assert!(led.sandbox.objects("sweeps") == before, "nothing was written");
    led.sandbox.small(&[]);

    // In another store it is another sweep, though of the same id.
    let elsewhere = led.sandbox.limbic_in(&environment, &["run", "small.yaml", "--store", "elsewhere"]);
    assert_eq!(elsewhere.code, Some(0), "{}", elsewhere.stderr);
    assert!(elsewhere.stderr.contains("leads this sweep in another store, with 0 of "), "{}", elsewhere.stderr);
    assert!(led.coordinator.as_mut().unwrap().runs());

    // One that nobody knows of ends.
    assert_eq!(led.sandbox.limbic(&run).code, Some(0));
    assert_eq!(led.coordinator.as_mut().unwrap().wait(), Some(75));
}

#[test]
fn what_a_run_finds_rotten_its_coordinator_computes_again() {
    let mut led = Led::new();
    let _worker = led.worker();
    led.sandbox.until("the sweep is complete", || led.status()["state"] == "complete");
    let (path, mut body) = led.sandbox.objects("data").into_iter().find(|(path, _)| path.ends_with("predictions.safetensors")).unwrap();
    let middle = body.len() / 2;
    body[middle] ^= 1;
    std::fs::write(led.sandbox.path("store").join(path), body).unwrap();
    let url = led.url.clone();
    let run = || led.sandbox.limbic_in(&[("LIMBIC_COORDINATOR", &url)], &["run", "small.yaml", "--store", "store"]);
    let handed_over = run();
    assert_eq!(handed_over.code, Some(0), "{}", handed_over.stderr);
    assert!(handed_over.stderr.contains("a result is computed again"), "{}", handed_over.stderr);
    let status = led.status();
    let again = status["attempts"]["committed"].as_u64().unwrap() - status["units"]["total"].as_u64().unwrap();
    assert!(again > 0 && handed_over.stdout.contains(&format!(": {again} computed now")), "{status} {}", handed_over.stdout);
    assert!(run().stdout.contains(": 0 computed now"), "and then there is nothing to do");
    assert!(led.coordinator.as_mut().unwrap().runs());
}

#[test]
fn a_cancelled_sweep_stays_so_until_it_is_resumed() {
    let mut led = Led::new();
    let _worker = led.worker();
    led.sandbox.until("some units are committed", || led.units("committed") >= 2);
    let (code, said) = led.limbic("cancel", &["small"]);
    assert_eq!(code, Some(0), "{said}");
    let status = led.status();
    assert_eq!(status["state"], "cancelled");
    assert!(status["units"]["committed"].as_u64().unwrap() >= 2, "what was committed is kept");
    let (code, said) = led.limbic("watch", &["small"]);
    assert!(code == Some(2) && said.contains("takes it up again with `limbic resume"), "{said}");
    led.restart();
    assert_eq!(led.status()["state"], "cancelled");
    for (command, args) in [
        ("submit", &["small.yaml"][..]),
        ("submit", &["small.yaml", "--extend", "small"]),
        ("retry", &["small"]),
        ("again", &["small", "--select", "kind=fit"]),
        ("pause", &["small"]),
    ] {
        let (code, said) = led.limbic(command, args);
        assert!(code == Some(2) && said.contains("is cancelled: ") && said.contains("`limbic resume"), "{command}: {code:?} {said}");
    }
    let run = led.sandbox.limbic(&["run", "small.yaml", "--store", "store"]);
    assert!(run.code == Some(2) && run.stderr.contains("`limbic resume"), "{}", run.stderr);
    assert_eq!(led.sandbox.objects("sweeps").iter().filter(|(name, _)| name.contains("/spec/")).count(), 1, "no revision either");

    let (code, said) = led.limbic("resume", &["small"]);
    assert_eq!(code, Some(0), "{said}");
    led.restart();
    led.sandbox.until("the resumed sweep is complete", || led.status()["state"] == "complete");
}

#[test]
fn only_what_failed_for_good_is_tried_again() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"));
    let shipped = Sandbox::repository().join("configs/quickstart/models/tiny-0.3m");
    std::fs::create_dir(sandbox.path("model")).unwrap();
    for file in std::fs::read_dir(&shipped).unwrap().map(|f| f.unwrap().path()) {
        std::fs::copy(&file, sandbox.path("model").join(file.file_name().unwrap())).unwrap();
    }
    sandbox.small(&[("MODEL", "model"), ("limit: 210", "limit: 70")]);
    let led = Led::over(sandbox);
    std::fs::rename(led.sandbox.path("model"), led.sandbox.path("away")).unwrap();
    let _worker = led.worker();
    led.sandbox.until("everything that needs the model has failed for good", || led.status()["state"] == "incomplete");
    let failed = led.status();
    let (quarantined, committed) = (failed["quarantined"].as_array().unwrap().len() as u64, led.units("committed"));
    assert!(quarantined > 0 && committed == 2, "the baselines need no model: {failed}");
    let before = led.sandbox.objects("commit");

    std::fs::rename(led.sandbox.path("away"), led.sandbox.path("model")).unwrap();
    let (code, said) = led.limbic("retry", &["small"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with(&format!("{quarantined} units are tried again")), "{said}");
    led.sandbox.until("the sweep is complete", || led.units("committed") == led.units("total"));
    let attempts = |of: &Value, what: &str| of["attempts"][what].as_u64().unwrap();
    let done = led.status();
    assert_eq!(done["attempts"]["failed"], failed["attempts"]["failed"], "none failed again");
    // The one prompt unit was cut in halves, which run in its place.
    let (computed, ended) = (led.units("total") - 1, attempts(&done, "released"));
    assert_eq!(attempts(&done, "started"), computed + attempts(&done, "failed") + ended, "what was committed did not run again");
    let after = led.sandbox.objects("commit");
    assert!(before.iter().all(|object| after.contains(object)));
}

#[test]
fn selected_results_are_computed_again_beside_the_old_ones() {
    let led = Led::new();
    let _worker = led.worker();
    led.sandbox.until("the sweep is complete", || led.status()["state"] == "complete");
    let before = led.sandbox.objects("commit");

    let selected = "kind=fit layer=1..2 condition=calm";
    let shown = |of: &[&str]| {
        let (code, said) = led.limbic("show", &[of, &["--json"]].concat());
        assert_eq!(code, Some(0), "{said}");
        said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let old = shown(&[selected]);
    assert_eq!(old.len(), 2);
    let (code, said) = led.limbic("again", &["small", "--select", selected]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("2 units are computed again"), "{said}");
    let (code, said) = led.limbic("retry", &["small", "--select", "kind=extract"]);
    assert!(code == Some(0) && said.starts_with("nothing is tried again"), "they are meant, but none has failed: {said}");
    led.sandbox.until("the sweep is complete again", || led.status()["state"] == "complete" && led.units("running") == 0);

    let after = led.sandbox.objects("commit");
    assert!(before.iter().all(|object| after.contains(object)), "old results stay as they are");
    assert_eq!(after.len(), before.len() + 4, "two voids and two new results");
    for (old, new) in old.iter().zip(shown(&[selected])) {
        assert_eq!((&old["unit"], &old["generation"], &new["generation"]), (&new["unit"], &0.into(), &1.into()));
        assert_ne!(old["commit"]["attempt"], new["commit"]["attempt"]);
        assert_eq!(old["commit"]["artifacts"], new["commit"]["artifacts"], "the same bytes");
        let voided = new["voided"].as_array().unwrap();
        assert_eq!((voided.len(), &voided[0]["generation"], &voided[0]["attempt"]), (1, &0.into(), &old["commit"]["attempt"]));
    }
    // A unit by the beginning of its key, from the store alone and for people.
    let key = old[0]["unit"].as_str().unwrap();
    let ended = led.sandbox.limbic(&["show", &key[..10], "--store", "store"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains(key) && ended.stdout.contains("generation 1") && ended.stdout.contains("artifact"), "{}", ended.stdout);
    let replaced = format!("voided    {}, generation 0: ", old[0]["commit"]["attempt"].as_str().unwrap());
    assert!(ended.stdout.contains(&replaced) && !ended.stdout.contains("ended without a result"), "{}", ended.stdout);
    let ended = led.sandbox.limbic(&["show", "layer=77", "--store", "store"]);
    assert_eq!(ended.code, Some(2));
}

#[test]
fn halves_of_a_split_unit_are_found_by_their_keys() {
    let mut led = Led::new();
    let id = led.status()["sweep"].as_str().unwrap().to_owned();
    led.coordinator.take().unwrap().kill();
    // Split, as a coordinator does where attempts at a unit keep failing.
    let store = limbic_store::Store::open(&led.sandbox.path("store").to_string_lossy()).unwrap();
    let (whole, halves) = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let sweep = limbic::sweep::open(&store, &id).await.unwrap();
        let splits = |key: &&UnitKey| sweep.plan.units[key].split(&sweep.plan.versions).len() == 2;
        let whole = *sweep.plan.order.iter().find(splits).unwrap();
        let halves: Vec<UnitKey> = sweep.plan.units[&whole].split(&sweep.plan.versions).iter().map(|half| half.unit.spec.key()).collect();
        assert!(store.split(&whole, 0, &halves).await.unwrap());
        (whole, halves)
    });
    led.restart();
    for place in [["--store", "store"], ["--coordinator", &led.url]] {
        let show = |unit: &str| {
            let ended = led.sandbox.limbic(&[&["show", unit], &place[..]].concat());
            assert_eq!(ended.code, Some(0), "{unit} {place:?}: {}", ended.stderr);
            ended.stdout
        };
        let said = show(&whole.hex());
        for half in &halves {
            assert!(said.contains(&format!("half      {half}\n")), "{said}");
            assert!(show(&half.hex()[..12]).starts_with(&format!("unit      {half}\n")));
        }
    }
    // What a report says is missing is what the status says: a unit and its halves are three.
    let ended = led.sandbox.limbic(&["report", "small", "--store", "store", "--out", "between"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let report = std::fs::read_to_string(led.sandbox.path("between").join("report.md")).unwrap();
    let said = format!(" cells and {} of {} units are computed", led.units("committed"), led.units("total"));
    assert!(report.contains(&said), "{said}: {report}");
}

#[test]
fn a_led_sweep_is_extended_and_says_what_it_waits_for() {
    let led = Led::new();
    let worker = led.worker();
    led.sandbox.until("the sweep is complete", || led.status()["state"] == "complete");
    let (total, attempts) = (led.units("total"), led.status()["attempts"]["started"].as_u64().unwrap());
    worker.kill();
    led.sandbox.until("the worker is gone", || led.status()["workers"].as_array().unwrap().is_empty());

    led.sandbox.small(&[("{name: raw},", "{name: raw}, {name: asked, template: 'How does this feel? {text}'},")]);
    let (code, said) = led.limbic("submit", &["small.yaml", "--extend", "small"]);
    assert_eq!(code, Some(0), "{said}");
    let status = led.status();
    assert_eq!((&status["state"], led.units("committed")), (&"running".into(), total));
    let new = led.units("total") - total;
    assert!(new > 0);
    let (_, words) = led.limbic("status", &["small"]);
    assert!(words.contains("waiting ") && words.contains("worker"), "{words}");
    // The store alone doesn't know what runs, and says so; a coordinator that the environment names does.
    let stored = led.sandbox.limbic(&["status", "small", "--store", "store"]);
    assert_eq!(stored.code, Some(0), "{}", stored.stderr);
    assert!(stored.stdout.contains(&format!(" {new} open, ")) && stored.stdout.contains("read from the store"), "{}", stored.stdout);
    assert!(!stored.stdout.contains("waiting ") && !stored.stdout.contains("running, "), "{}", stored.stdout);
    let environment = [("LIMBIC_COORDINATOR", led.url.as_str()), ("LIMBIC_STORE", "store")];
    assert_eq!(led.sandbox.limbic_in(&environment, &["status", "small"]).stdout, words);
    assert_eq!(led.sandbox.limbic_in(&environment, &["status", "small", "--store", "store"]).stdout, stored.stdout);
    let both = led.sandbox.limbic(&["status", "small", "--store", "store", "--coordinator", &led.url]);
    assert!(both.code == Some(2) && both.stderr.contains("name one of them"), "{}", both.stderr);

    let _worker = led.worker();
    led.sandbox.until("the sweep is complete again", || led.status()["state"] == "complete");
    assert_eq!((led.units("committed"), led.status()["attempts"]["started"].as_u64().unwrap()), (total + new, attempts + new));
}

#[test]
fn what_failed_shows_its_error_and_its_log_with_and_without_a_coordinator() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"));
    // One text is longer than the model's context: no attempt at it can succeed.
    let text = |i: usize| "the river and the bridge ".repeat(if i == 7 { 400 } else { 1 + i % 3 });
    let label = |i: usize| ["anger", "joy", "neutral"][i % 3];
    let split = |i: usize| ["train", "train", "validation", "test"][i / 15];
    let row = |i: usize| format!("{}\n", serde_json::json!({"text": format!("{i} {}", text(i)), "label": label(i), "split": split(i)}));
    sandbox.write("rows.jsonl", &(0..60).map(row).collect::<String>());
    sandbox.small(&[
        ("{group: group, limit: 210, source: CORPUS}", "{source: rows.jsonl, near_duplicates: ignore}"),
        ("{name: raw}, {name: calm, chat: {system: You always remain calm and composed.}}", "{name: raw}"),
    ]);
    let mut led = Led::over(sandbox);
    let mut worker = led.worker();
    led.sandbox.until("everything is computed or given up", || led.status()["state"] == "incomplete");
    // A worker that leaves in good order has written every log.
    worker.signal(libc::SIGTERM);
    worker.wait();
    let failed = led.status()["quarantined"][0]["unit"].as_str().unwrap().to_owned();

    let shown = |args: &[&str]| {
        let (code, said) = led.limbic("show", args);
        assert_eq!(code, Some(0), "{said}");
        said
    };
    let words = shown(&[&failed]);
    let json: Value = serde_json::from_str(shown(&[&failed, "--json", "--logs"]).trim()).unwrap();
    let all = shown(&["kind=extract", "--json", "--logs"]);
    led.coordinator.take().unwrap().kill();
    let stored = |args: &[&str]| {
        let ended = led.sandbox.limbic(&[&["show", "--store", "store"], args].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    };
    assert_eq!(stored(&[&failed]), words, "the store alone tells the same");
    assert_eq!(stored(&["kind=extract", "--json", "--logs"]), all);

    let (attempts, logs) = (json["attempts"].as_array().unwrap(), json["logs"].as_array().unwrap());
    assert!(json["commit"].is_null() && attempts.len() == 1 && logs.len() == 1 && logs[0]["attempt"] == attempts[0]["attempt"], "{json}");
    let error = json["error"].as_str().unwrap();
    assert!(error.contains("don't fit") && error.contains("(id `8`)"), "{error}");
    let lines: Vec<&str> = logs[0]["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    for said in [
        " INFO begun title=extract tiny-0.3m raw rows 0..30",
        " INFO model loaded model=tiny-0.3m",
        &format!(" WARN the unit failed error={error}"),
    ] {
        assert!(lines.iter().any(|line| line.contains(said)), "{said} in {lines:#?}");
    }
    assert!(words.contains(&format!("error     {error}\n")), "{words}");
    assert!(lines.iter().all(|line| words.contains(&format!("log       {line}\n"))), "{words}");
    for unit in all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).filter(|unit| !unit["commit"].is_null()) {
        let said = unit["logs"][0]["lines"].as_array().unwrap().last().unwrap().as_str().unwrap();
        assert!(unit["logs"][0]["attempt"] == unit["commit"]["attempt"] && said.contains("outcome=\"committed\" mine=true"), "{unit}");
    }
}
