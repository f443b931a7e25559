//! Stores and report folders.

use insta::assert_snapshot;

use crate::{LIMBIC, command, limbic, said, sandbox};

#[test]
fn a_store_that_is_no_store() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    sandbox.write("file", "not a folder");
    let with = |store: &str| limbic(&sandbox, &["run", "small.yaml", "--store", store, "--out", "out"]);
    assert_snapshot!(with("file/store"), @r#"
    exit 2
    error: store `file/store`: this folder can't be used: Not a directory (os error 20); choose a folder that you can write with --store
    "#);
    assert_snapshot!(with(""), @r#"
    exit 2
    error: store ``: is empty: write a folder or a URL such as s3://bucket/prefix
    "#);
    assert_snapshot!(with("ftp://host/store"), @r#"
    exit 2
    error: store `ftp://host/store`: Generic URL error: Unable to recognise URL "ftp://host/store": write a folder, s3://BUCKET/PREFIX, gs://… or az://…
    "#);
    assert_snapshot!(with("s3://"), @r#"
    exit 2
    error: store `s3://`: Generic URL error: Unable to recognise URL "s3://": write a folder, s3://BUCKET/PREFIX, gs://… or az://…
    "#);
    assert_snapshot!(limbic(&sandbox, &["status", "--store", "none"]), @r#"
    exit 2
    error: --store none: there is no such folder; name the store that the sweep was run with
    "#);
    assert_snapshot!(limbic(&sandbox, &["status"]), @r#"
    exit 2
    error: there is no folder limbic-store here: name the store with --store, or a running coordinator with --coordinator (one on this computer listens on http://127.0.0.1:[port], if nothing else was said)
    "#);
    assert_snapshot!(limbic(&sandbox, &["run", "small.yaml", "--store", "store", "--out", "file/out"]), @r#"
    exit 2
    error: --out file/out: can't be made (Not a directory (os error 20)): choose a writable folder
    "#);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn addresses_with_a_secret_are_refused_without_showing_it() {
    let sandbox = sandbox();
    let secret = |arguments: &[&str], replace: &[(&str, &str)]| {
        sandbox.small(replace);
        let ended = limbic(&sandbox, arguments);
        assert!(!ended.contains("SECRET"), "{ended}");
        ended
    };
    assert_snapshot!(secret(&["run", "small.yaml", "--store", "s3://KEY:SECRET@bucket/p"], &[]), @r#"
    exit 2
    error: store `s3://…`: has a password in it, and addresses are shown and handed to workers: leave it out; credentials come from environment variables such as AWS_ACCESS_KEY_ID
    "#);
    assert_snapshot!(secret(&["validate", "small.yaml"], &[("CORPUS", "'s3://bucket/rows.jsonl?X-Amz-Signature=SECRET'")]), @r#"
    exit 2
    error: small.yaml: dataset.source: has a query, in which a signature or token may stand, and the spec is stored and shown in reports: leave it out; credentials come from environment variables such as AWS_ACCESS_KEY_ID
    "#);
    assert_snapshot!(secret(&["validate", "small.yaml"], &[("name: small", "name: small\nstore: 's3://KEY:SECRET@bucket'")]), @r#"
    exit 2
    error: small.yaml: store: has a password in it, and the spec is stored and shown in reports: leave it out; credentials come from environment variables such as AWS_ACCESS_KEY_ID
    "#);
    assert_snapshot!(secret(&["list", "--coordinator", "http://me:SECRET@localhost:1"], &[]), @r#"
    exit 2
    error: --coordinator has a password in it, and nothing is authenticated: write http://HOST:PORT
    "#);
}

#[test]
fn a_folder_that_may_not_be_written() {
    // Not even root may make folders there.
    let sandbox = sandbox();
    sandbox.small(&[]);
    let ended = sandbox.limbic(&["run", "small.yaml", "--store", "/sys/limbic-store", "--out", "out"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("choose a folder that you can write with --store"), "{}", ended.stderr);
    let ended = sandbox.limbic(&["run", "small.yaml", "--store", "store", "--out", "/sys/limbic-out"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("choose a writable folder"), "{}", ended.stderr);
}

#[test]
fn a_store_that_does_not_answer() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let mut run = command(&sandbox, LIMBIC, &["run", "small.yaml", "--store", "s3://bucket/limbic", "--out", "out"]);
    run.env("AWS_ENDPOINT", "http://127.0.0.1:1")
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_ACCESS_KEY_ID", "id")
        .env("AWS_SECRET_ACCESS_KEY", "secret");
    run.env_remove("http_proxy").env_remove("HTTP_PROXY");
    assert_snapshot!(said(&sandbox, run), @r#"
    exit 75
    error: store `s3://bucket/limbic`: can't be reached (Connection refused (os error 111)): check the address, the network, the credentials and the endpoint (AWS_ENDPOINT_URL and the like), and try again
    "#);
}

#[test]
fn a_sweep_that_is_not_there() {
    let sandbox = sandbox();
    std::fs::create_dir(sandbox.path("store")).unwrap();
    assert_snapshot!(limbic(&sandbox, &["status", "--store", "store"]), @r#"
    exit 2
    error: there are no sweeps yet: `limbic run SPEC` or `limbic submit SPEC` makes one
    "#);
    sandbox.small(&[]);
    sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    assert_snapshot!(limbic(&sandbox, &["report", "large", "--store", "store"]), @r#"
    exit 2
    error: sweep `large`: there is none of that id or name; there are [id] (small)
    "#);
}

#[test]
fn an_object_that_was_damaged() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    let (rows, bytes) = sandbox.objects("").into_iter().find(|(name, _)| name.contains("rows")).unwrap();
    let path = sandbox.path("store").join(rows);
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let ended = sandbox.limbic(&["report", "--store", "store", "--out", "out"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("are damaged: `limbic run SPEC`"), "{}", ended.stderr);
    // Whoever has the dataset has the rows.
    let again = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    assert_eq!((again["granted_attempts"].as_u64(), std::fs::read(&path).unwrap() == bytes), (Some(0), true));
}
