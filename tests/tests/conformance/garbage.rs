//! `limbic gc`: a sweep's results are the same after it, and only planted garbage is gone.

use std::time::{Duration, SystemTime};

use limbic_tests::Sandbox;
use serde_json::json;

use crate::sandbox;

/// Makes everything in the store look as if it had been written that long ago.
fn age(sandbox: &Sandbox, prefix: &str, days: u64) {
    for (name, _) in sandbox.objects(prefix) {
        let file = std::fs::File::open(sandbox.path("store").join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(days * 24 * 3600)).unwrap();
    }
}

#[test]
fn only_attempts_that_nobody_names_are_removed() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    let results = std::fs::read(sandbox.path("out/results.parquet")).unwrap();
    let data = sandbox.objects("data");
    let unit = data[0].0.rsplitn(3, '/').last().unwrap().to_owned();
    age(&sandbox, "data", 30);
    let whole = sandbox.objects("");

    sandbox.write(&format!("store/{unit}/lost-1/states.safetensors"), "0123456789");
    sandbox.write(&format!("store/{unit}/lost-2/states.safetensors"), "01234");
    age(&sandbox, &format!("{unit}/lost-1"), 8);
    age(&sandbox, &format!("{unit}/lost-2"), 6);

    let expected = json!({"attempts": 1, "objects": 1, "bytes": 10});
    let seen = |said: &serde_json::Value| json!({"attempts": said["attempts"], "objects": said["objects"], "bytes": said["bytes"]});
    let dry = sandbox.json(&["gc", "--store", "store", "--dry-run", "--json"]);
    assert_eq!(seen(&dry), expected);
    assert_eq!(dry["kept"]["young"], 1);
    assert_eq!(sandbox.objects("").len(), whole.len() + 2, "a dry run removes nothing");
    let words = sandbox.limbic(&["gc", "--store", "store"]);
    assert!(words.stdout.contains(&format!("{unit}/lost-1  10 B\nremoved 1 objects (10 B) of 1 attempts")), "{}", words.stdout);
    let later = sandbox.json(&["gc", "--store", "store", "--older-than", "5d", "--json"]);
    assert_eq!(seen(&later), json!({"attempts": 1, "objects": 1, "bytes": 5}));
    assert_eq!(sandbox.objects(""), whole, "everything else is as it was");

    let again = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "again", "--json"]);
    assert_eq!(again["computed_units"], 0);
    assert!(std::fs::read(sandbox.path("again/results.parquet")).unwrap() == results);
    let young = sandbox.limbic(&["gc", "--store", "store", "--older-than", "5m"]);
    assert_eq!(young.code, Some(2));
    assert!(young.stderr.contains("at least 1h"), "{}", young.stderr);
}
