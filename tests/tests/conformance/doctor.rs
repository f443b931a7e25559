//! `limbic doctor`: every line says how it is, and what to do where something is wrong.

use crate::sandbox;

#[test]
fn a_folder_is_found_well_and_nothing_is_left_in_it() {
    let sandbox = sandbox();
    let said = sandbox.json(&["doctor", "--store", "store", "--json"]);
    assert_eq!(said["ok"], true, "{said}");
    let checks: Vec<&str> = said["checks"].as_array().unwrap().iter().map(|c| c["check"].as_str().unwrap()).collect();
    for check in ["store", "store answers", "conditional create", "multipart upload", "free space", "this computer", "coordinator"] {
        assert!(checks.contains(&check), "{check} in {said}");
    }
    assert!(!sandbox.path("store").exists(), "a store that was only looked at is not made");
    let words = sandbox.limbic(&["doctor", "--store", "store"]);
    assert_eq!((words.code, words.stderr.as_str()), (Some(0), ""));
    assert_eq!(words.stdout.lines().filter(|l| l.starts_with("ok ")).count(), checks.len(), "{}", words.stdout);
}

#[test]
fn what_is_wrong_decides_the_exit_code() {
    let sandbox = sandbox();
    sandbox.write("file", "not a folder");
    let bad = sandbox.limbic(&["doctor", "--store", "file/store"]);
    assert_eq!(bad.code, Some(2));
    assert!(bad.stdout.contains("FAILED  store ") && bad.stdout.contains("choose a folder that you can write"), "{}", bad.stdout);
    let nobody = sandbox.limbic(&["doctor", "--store", "store", "--coordinator", "http://127.0.0.1:1"]);
    assert_eq!(nobody.code, Some(75), "{}", nobody.stdout);
    assert!(
        nobody.stdout.contains("FAILED  coordinator") && nobody.stdout.contains("is `limbic coordinator` running?"),
        "{}",
        nobody.stdout
    );
}
