//! Every shipped config parses, and those that need nothing from outside plan.

use limbic_tests::Sandbox;

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"))
}

#[test]
fn every_shipped_config_is_a_spec() {
    let folder = Sandbox::repository().join("configs");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            limbic::sweep::read_spec(&path).unwrap_or_else(|e| panic!("{e}"));
            seen += 1;
        }
    }
    assert!(seen >= 2);
}

#[test]
fn the_quickstart_plans_what_the_readme_says() {
    let spec = Sandbox::repository().join("configs/quickstart.yaml");
    let plan = sandbox().json(&["plan", spec.to_str().unwrap(), "--json"]);
    assert_eq!(plan["models"].as_array().unwrap().len(), 3);
    assert!(plan["rows"].as_u64().unwrap() >= 1400);
    for key in ["tokens", "flops", "bytes", "seconds", "cells", "units"] {
        assert!(plan[key].as_f64().unwrap() > 0.0, "{key}");
    }
}

#[test]
fn the_schema_is_a_json_schema_of_the_spec() {
    let schema = sandbox().json(&["schema"]);
    assert_eq!(schema["required"], serde_json::json!(["dataset", "models"]));
    assert_eq!(schema["additionalProperties"], false);
}
