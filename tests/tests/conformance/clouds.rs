//! Google Cloud Storage and Azure by URL: the same results as in a folder, from a server that speaks as they do.

use limbic_tests::Sandbox;

use crate::imitation::{Conditional, serve};
use crate::sandbox;

/// The variables by which a sandbox's programs find the server where they look for Google's.
fn google(endpoint: &str) -> Vec<(String, String)> {
    let account = serde_json::json!({
        "private_key": "", "private_key_id": "", "client_email": "", "gcs_base_url": endpoint, "disable_oauth": true,
    });
    vec![("GOOGLE_SERVICE_ACCOUNT_KEY".to_owned(), account.to_string())]
}

/// And where they look for Azure's emulator.
fn azure(endpoint: &str) -> Vec<(String, String)> {
    let pairs = [("AZURE_STORAGE_USE_EMULATOR", "true"), ("AZURITE_BLOB_STORAGE_URL", endpoint)];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn a_sweep_gives_the_results_of_one_in_a_folder(sandbox: &Sandbox, url: &str) {
    sandbox.small(&[("rows_per_unit: 30", "rows_per_unit: 30, activations: release")]);
    let doctor = sandbox.limbic(&["doctor", "--store", url, "--json"]);
    assert_eq!(doctor.code, Some(0), "{}{}", doctor.stdout, doctor.stderr);
    let here = sandbox.json(&["run", "small.yaml", "--store", "store", "--out", "here", "--json"]);
    let there = sandbox.json(&["run", "small.yaml", "--store", url, "--out", "there", "--json"]);
    assert_eq!((&there["sweep"], &there["units"]["committed"]), (&here["sweep"], &here["units"]["total"]));
    let results = |out: &str| std::fs::read(sandbox.path(out).join("results.parquet")).unwrap();
    assert!(results("here") == results("there"), "results.parquet is the same byte for byte");
    let again = sandbox.json(&["run", "small.yaml", "--store", url, "--out", "there", "--json"]);
    assert_eq!(again["computed_units"], 0);
    // What was released was deleted: what isn't, although a marker says so, would be garbage.
    let gc = sandbox.json(&["gc", "--store", url, "--json"]);
    assert_eq!((&gc["attempts"], &gc["released"]["objects"]), (&0.into(), &0.into()), "{gc}");
}

#[test]
fn on_google_cloud_storage() {
    let sandbox = sandbox().with_env(google(&serve(Conditional::Honoured)));
    a_sweep_gives_the_results_of_one_in_a_folder(&sandbox, "gs://bucket/a/prefix");
}

#[test]
fn on_azure() {
    let sandbox = sandbox().with_env(azure(&serve(Conditional::Honoured)));
    a_sweep_gives_the_results_of_one_in_a_folder(&sandbox, "az://container/a/prefix");
}

#[test]
fn neither_is_trusted_without_a_look() {
    for (env, url) in [
        (google(&serve(Conditional::Ignored)), "gs://bucket/prefix"),
        (azure(&serve(Conditional::LooksThenWrites)), "az://container/prefix"),
    ] {
        let said = sandbox().with_env(env).limbic(&["doctor", "--store", url]);
        assert!(said.code == Some(2) && said.stdout.contains("conditional create is not honoured"), "{url}: {}", said.stdout);
    }
}
