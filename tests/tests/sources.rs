//! Datasets that lie elsewhere than in a folder: in an object store, on the hub. They are ingested into the sweep's store, so
//! that workers need only that.

#[path = "../../proto/store/tests/model/hub.rs"]
mod hub;
#[path = "conformance/imitation.rs"]
#[allow(dead_code, reason = "an object store of the conformance tests, of which this needs the plainest")]
mod imitation;

use std::io::{Read, Write};
use std::net::TcpStream;

use limbic_tests::Sandbox;
use serde_json::Value;

use hub::Hub;
use imitation::{Conditional, serve};

const LIMBIC: &str = env!("CARGO_BIN_EXE_limbic-under-test");
const WORKER: &str = env!("CARGO_BIN_EXE_limbic-worker-under-test");

fn corpus() -> Vec<u8> {
    std::fs::read(Sandbox::repository().join("configs/quickstart/corpus.jsonl")).unwrap()
}

/// The corpus in two files.
fn halves() -> (Vec<u8>, Vec<u8>) {
    let mut first = corpus();
    let cut = first[..first.len() / 2].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let second = first.split_off(cut);
    (first, second)
}

/// Puts an object into the store, which asks for no signature.
fn put(endpoint: &str, path: &str, body: &[u8]) {
    let mut stream = TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).unwrap();
    let head = format!("PUT {path} HTTP/1.1\r\nHost: store\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

/// The small sweep with its rows from elsewhere; what `validate` says of it.
fn from(sandbox: &Sandbox, source: &str) -> Value {
    sandbox.small(&[("source: CORPUS", &format!("source: \"{source}\""))]);
    sandbox.json(&["validate", "small.yaml", "--json"])
}

/// What the same sweep is over a local file.
fn local() -> Value {
    let sandbox = Sandbox::new(LIMBIC, WORKER);
    sandbox.small(&[]);
    sandbox.json(&["validate", "small.yaml", "--json"])
}

#[test]
fn rows_may_lie_in_an_object_store() {
    let endpoint = serve(Conditional::Honoured);
    let env = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let sandbox = Sandbox::new(LIMBIC, WORKER).with_env(env.to_vec());
    put(&endpoint, "/bucket/data/corpus.jsonl", &corpus());
    assert_eq!(from(&sandbox, "s3://bucket/data/corpus.jsonl")["sweep"], local()["sweep"], "the same rows make the same sweep");
    let done = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "out", "--json"]);
    assert_eq!(done["state"], "complete");

    let (first, second) = halves();
    put(&endpoint, "/bucket/parts/rows-0.jsonl", &first);
    put(&endpoint, "/bucket/parts/rows-1.jsonl", &second);
    put(&endpoint, "/bucket/parts/others.jsonl", b"{}");
    assert_eq!(from(&sandbox, "s3://bucket/parts/rows-*.jsonl")["sweep"], local()["sweep"], "however rows are spread over files");

    let absent = sandbox.small(&[("source: CORPUS", "source: s3://bucket/data/nothing.jsonl")]);
    let said = sandbox.limbic(&["validate", &absent.to_string_lossy()]);
    assert!(said.code == Some(2) && said.stderr.contains("dataset.source: source `s3://bucket/data/nothing.jsonl`"), "{}", said.stderr);
}

#[test]
fn rows_of_a_dataset_on_the_hub_are_fetched_into_its_cache() {
    let rows = corpus();
    let (first, second) = halves();
    let hub = Hub::serve(&[
        ("datasets/a/feelings/data/corpus.jsonl", &rows),
        ("datasets/a/feelings/data/train-0.jsonl", &first),
        ("datasets/a/feelings/data/train-1.jsonl", &second),
        ("datasets/a/feelings/data/more/train-2.jsonl", b"{}"),
    ]);
    let sandbox = Sandbox::new(LIMBIC, WORKER);
    let home = sandbox.path("hub").to_string_lossy().into_owned();
    let env = [("HF_ENDPOINT", hub.endpoint.as_str()), ("HF_HOME", &home), ("NO_PROXY", "127.0.0.1")];
    let sandbox = sandbox.with_env(env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
    let source = "hf://datasets/a/feelings/data/corpus.jsonl";
    assert_eq!(from(&sandbox, source)["sweep"], local()["sweep"]);
    let fetched = hub.fetched().len();
    assert!(fetched > 0 && from(&sandbox, source)["rows"] == 210);
    assert_eq!(hub.fetched().len(), fetched, "what is in the cache is not fetched again");
    assert_eq!(from(&sandbox, "hf://datasets/a/feelings/data/train-*.jsonl")["sweep"], local()["sweep"]);

    sandbox.small(&[("source: CORPUS", "source: hf://datasets/a/feelings/nothing.jsonl")]);
    let said = sandbox.limbic(&["validate", "small.yaml"]);
    assert!(said.code == Some(2) && said.stderr.contains("hf://datasets/a/feelings@main/nothing.jsonl"), "{}", said.stderr);
}

#[test]
fn a_file_url_is_a_file() {
    let sandbox = Sandbox::new(LIMBIC, WORKER);
    let file = url::Url::from_file_path(Sandbox::repository().join("configs/quickstart/corpus.jsonl")).unwrap();
    assert_eq!(from(&sandbox, file.as_str())["sweep"], local()["sweep"]);
}

#[test]
fn a_model_in_an_object_store_is_refused_with_what_to_do() {
    let sandbox = Sandbox::new(LIMBIC, WORKER);
    sandbox.small(&[("source: MODEL", "source: s3://bucket/model")]);
    let said = sandbox.limbic(&["validate", "small.yaml"]);
    assert!(said.code == Some(2) && said.stderr.contains("s3://bucket/model") && said.stderr.contains("copy it"), "{}", said.stderr);
}
