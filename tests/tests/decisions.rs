//! What users decide about sweeps that a coordinator leads: pause, resume, cancel.

use std::time::{Duration, Instant};

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
    assert!(said.contains("is complete: that can't be changed any more"), "{said}");
}

#[test]
fn a_cancelled_sweep_stops_within_a_heartbeat_and_stays_cancelled() {
    let mut led = Led::new();
    let _worker = led.worker();
    led.sandbox.until("some units are committed", || led.units("committed") >= 2);
    let (code, said) = led.limbic("cancel", &["small"]);
    assert_eq!(code, Some(0), "{said}");
    let asked = Instant::now();
    led.sandbox.until("the worker has stopped", || led.units("running") == 0);
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    let status = led.status();
    assert_eq!(status["state"], "cancelled");
    assert!(status["units"]["committed"].as_u64().unwrap() >= 2, "what was committed is kept");
    led.restart();
    assert_eq!(led.status()["state"], "cancelled");
    assert_eq!(led.limbic("resume", &["small"]).0, Some(2));
}
