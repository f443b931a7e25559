//! Sweeps on S3 over HTTP: the same results as in a folder; what a server refuses or can't give is told apart.

use std::time::{Duration, Instant};

use limbic_tests::chaos::Forward;
use limbic_tests::{Moto, s3_env};

use crate::imitation::{Conditional, serve};
use crate::sandbox;

#[test]
fn a_sweep_on_s3_gives_the_results_of_one_in_a_folder() {
    let Some(moto) = Moto::start("a sweep on S3") else { return };
    let sandbox = sandbox().with_env(moto.env());
    sandbox.small(&[]);
    let began = Instant::now();
    let here = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "here", "--json"]);
    let folder = began.elapsed();
    let url = moto.store("a/prefix");
    let began = Instant::now();
    let there = sandbox.json(&["run", "small.yaml", "--store", &url, "--out", "there", "--json"]);
    println!("{} units: {folder:.1?} in a folder, {:.1?} on S3", here["units"]["total"], began.elapsed());
    assert_eq!(there["sweep"], here["sweep"]);
    assert_eq!(there["units"]["committed"], here["units"]["total"]);
    let results = |out: &str| std::fs::read(sandbox.path(out).join("results.parquet")).unwrap();
    assert!(results("here") == results("there"), "results.parquet is the same byte for byte");
    // Everything is there for whoever comes next, from the address alone.
    let again = sandbox.json(&["run", "small.yaml", "--store", &url, "--out", "there", "--json"]);
    assert_eq!(again["computed_units"], 0);
    let gc = sandbox.json(&["gc", "--store", &url, "--json"]);
    assert_eq!((&gc["attempts"], &gc["kept"]["unclear_objects"]), (&0.into(), &0.into()));
    let doctor = sandbox.json(&["doctor", "--store", &url, "--json"]);
    assert_eq!(doctor["ok"], true, "{doctor}");
    // What is released is deleted: what isn't, although a marker says so, would be garbage.
    sandbox.small(&[("rows_per_unit: 30", "rows_per_unit: 30, activations: release")]);
    let released = sandbox.json(&["run", "small.yaml", "--store", &url, "--out", "there", "--json"]);
    let shown = sandbox.limbic(&["show", "kind=extract", "--store", &url]);
    assert_eq!((&released["granted_attempts"], shown.stdout.matches("; released").count()), (&0.into(), 14), "{}", shown.stdout);
    assert_eq!(sandbox.json(&["gc", "--store", &url, "--json"])["released"]["objects"], 0);
    assert!(results("here") == results("there"));
}

#[test]
fn a_coordinator_waits_for_a_store_that_is_away_at_the_start() {
    let (forward, server) = (Forward::start().unwrap(), serve(Conditional::Honoured));
    let sandbox = sandbox().with_env(s3_env(&forward.url()));
    let start = ["coordinator", "--store", "s3://limbic/prefix", "--listen", "127.0.0.1:0"];
    forward.cut(true);
    let mut coordinator = sandbox.spawn(&start);
    let said = coordinator.complains("trying again");
    assert!(said.contains("s3://limbic/prefix"), "{said}");
    assert_eq!(sandbox.limbic(&[&start[..], &["--patience", "0"]].concat()).code, Some(75));
    forward.point(server.rsplit(':').next().unwrap().parse().unwrap());
    forward.cut(false);
    coordinator.complains("limbic coordinator on http://");
    // Who is told to leave while it waits leaves.
    forward.cut(true);
    let mut waiting = sandbox.spawn(&start);
    waiting.complains("trying again");
    waiting.signal(libc::SIGTERM);
    assert_eq!(waiting.wait(), Some(0));
}

#[test]
fn a_store_that_ignores_conditions_or_honours_them_too_late_is_refused() {
    let store = ["--store", "s3://limbic/prefix"];
    for (conditional, code) in [(Conditional::Honoured, 0), (Conditional::Ignored, 2), (Conditional::LooksThenWrites, 2)] {
        // Variables of other programs that only look like settings change nothing.
        let strangers = [("TIMEOUT", "soon"), ("ENDPOINT", "http://127.0.0.1:1"), ("TOKEN", "a secret"), ("REGION", "mars")];
        let strangers = strangers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let sandbox = sandbox().with_env(s3_env(&serve(conditional))).with_env(strangers);
        sandbox.small(&[]);
        let doctor = sandbox.limbic(&["doctor", store[0], store[1], "--json"]);
        assert_eq!(doctor.code, Some(code), "{conditional:?}: {}{}", doctor.stdout, doctor.stderr);
        if code == 2 {
            assert!(doctor.stdout.contains("conditional create is not honoured"), "{}", doctor.stdout);
            let run = sandbox.limbic(&["run", "small.yaml", store[0], store[1], "--out", "out"]);
            assert_eq!(run.code, Some(2), "{}", run.stderr);
            assert!(run.stderr.contains("two workers could both commit a unit"), "{}", run.stderr);
            let lead = sandbox.limbic(&["coordinator", store[0], store[1], "--listen", "127.0.0.1:0"]);
            assert_eq!(lead.code, Some(2), "{}", lead.stderr);
        }
    }
}

#[test]
fn what_a_server_refuses_is_the_users_and_what_it_cannot_give_is_tried_again() {
    for (status, code, words) in [
        (403, 2, "refuses (status code: 403 Told: said by the imitation)"),
        (404, 2, "refuses (status code: 404 Told"),
        (400, 2, "refuses (status code: 400 Told"),
        (503, 75, "can't be reached (status code: 503 Told"),
    ] {
        let sandbox = sandbox().with_env(s3_env(&serve(Conditional::Answers(status))));
        sandbox.small(&[]);
        let began = Instant::now();
        let run = sandbox.limbic(&["run", "small.yaml", "--store", "s3://limbic/prefix", "--out", "out"]);
        assert_eq!(run.code, Some(code), "{status}: {}", run.stderr);
        assert!(run.stderr.contains(words), "{status}: {}", run.stderr);
        assert!(began.elapsed() < Duration::from_secs(30), "{status} shows within seconds: {:?}", began.elapsed());
    }
    let plain = s3_env("http://127.0.0.1:1").into_iter().filter(|(name, _)| name != "AWS_ALLOW_HTTP").collect();
    let said = sandbox().with_env(plain).limbic(&["doctor", "--store", "s3://limbic/prefix"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stdout.contains("set AWS_ALLOW_HTTP=true"), "{}", said.stdout);
}
