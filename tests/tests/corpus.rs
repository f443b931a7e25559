//! Corpora are built by units: found done the second time, gone on with after a kill, and sound.

use std::collections::{BTreeMap, BTreeSet};

use limbic_tests::Sandbox;
use serde_json::Value;

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"))
}

/// A corpus of the smallest shipped model, which calls most comments neutral where it isn't calibrated. Everything it writes is
/// kept, or little would be.
const SMALL: &str = "\
name: small
dataset: {source: CORPUS, group: group, label: label, limit: 60}
model: {source: MODELS/tiny-0.3m}
classes: [anger, disgust, fear, happiness, neutral, sadness, surprise]
classify: {content_free: []}
filters: {words: {min: 1, max: 40}, languages: [eng], duplicates: exact}
rewrite: {per_class: 4, tokens: 16}
synthesize: {per_class: 3, examples: 2, tokens: 16}
keep: labelled
execution: {rows_per_unit: 10}
";

fn small(sandbox: &Sandbox, replace: &[(&str, &str)]) {
    let mut text = SMALL.to_owned();
    for (from, to) in replace {
        assert!(text.contains(from), "the small spec has no `{from}`");
        text = text.replace(from, to);
    }
    let shipped = Sandbox::repository().join("configs/quickstart");
    text = text.replace("CORPUS", &shipped.join("corpus.jsonl").to_string_lossy());
    sandbox.write("corpus.yaml", &text.replace("MODELS", &shipped.join("models").to_string_lossy()));
}

const BUILD: [&str; 7] = ["corpus", "build", "corpus.yaml", "--store", "store", "--out", "out"];

fn build(sandbox: &Sandbox) -> Value {
    sandbox.json(&[BUILD.as_slice(), &["--json"]].concat())
}

fn read(sandbox: &Sandbox, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(sandbox.path("out").join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The files of a build.
fn files(sandbox: &Sandbox) -> [Vec<u8>; 3] {
    ["corpus.jsonl", "left-out.jsonl", "card.md"].map(|name| std::fs::read(sandbox.path("out").join(name)).unwrap())
}

#[test]
fn a_corpus_is_built_once_and_keeps_rewrites_with_their_originals() {
    let sandbox = sandbox();
    small(&sandbox, &[]);
    let first = build(&sandbox);
    assert_eq!((&first["computed_units"], &first["granted_attempts"]), (&first["units"], &first["units"]));
    assert_eq!(first["sweeps"].as_array().unwrap().len(), 4, "{first}");

    let all: Vec<Value> = read(&sandbox, "corpus.jsonl").into_iter().chain(read(&sandbox, "left-out.jsonl")).collect();
    let kept = read(&sandbox, "corpus.jsonl");
    assert_eq!(
        (kept.len(), all.len() - kept.len()),
        (first["rows"].as_u64().unwrap() as usize, first["left_out"].as_u64().unwrap() as usize)
    );
    let by_id: BTreeMap<&str, &Value> = all.iter().map(|row| (row["id"].as_str().unwrap(), row)).collect();
    assert_eq!(by_id.len(), all.len(), "ids are unique");
    let of = |rows: &[Value], provenance: &str| rows.iter().filter(|row| row["provenance"] == provenance).cloned().collect::<Vec<_>>();
    assert_eq!(of(&kept, "natural").len(), 60);
    let rewritten = of(&kept, "rewritten");
    assert!(!rewritten.is_empty() && !of(&kept, "synthetic").is_empty(), "{first}");
    assert!(of(&all, "rewritten").len() == 24 && of(&all, "synthetic").len() <= 21);
    for row in &rewritten {
        let original = by_id[row["made_of"][0].as_str().unwrap()];
        assert_eq!((&row["group"], &original["label"]), (&original["group"], &"neutral".into()), "{row}");
        assert!(original.get("left_out").is_none() && row["target"] != "neutral" && row["label"].is_string(), "{row}");
    }
    for row in of(&kept, "synthetic") {
        let of_target = |id: &Value| by_id[id.as_str().unwrap()]["label"] == row["target"];
        assert!(row["made_of"].as_array().unwrap().iter().all(of_target), "examples are of the class that is asked for: {row}");
    }
    let texts: BTreeSet<&str> = kept.iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), kept.len(), "copies are left out");
    assert!(kept.iter().all(|row| row["scores"].as_object().unwrap().len() == 7 && row["confidence"].as_f64().unwrap() > 0.0));

    let (before, made) = (files(&sandbox), sandbox.attempts());
    let second = build(&sandbox);
    assert_eq!((&second["computed_units"], &second["granted_attempts"]), (&0.into(), &0.into()));
    assert!(files(&sandbox) == before && sandbox.attempts() == made, "nothing is computed twice, and the files are the same");

    // Its sweeps are sweeps, and the corpus is a dataset that keeps groups whole.
    let sweeps = sandbox.json(&["list", "--store", "store", "--json"]);
    let names: BTreeSet<&str> = sweeps.as_array().unwrap().iter().map(|sweep| sweep["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["small.label", "small.label-written", "small.rewrite", "small.synthesize"].into());
    for name in ["small.label", "small.rewrite"] {
        assert_eq!(sandbox.limbic(&["report", name, "--store", "store", "--out", "report"]).code, Some(0), "{name}");
    }
    let emotional = ["anger", "disgust", "fear", "happiness", "sadness", "surprise"].map(|class| format!("{class}: emotional")).join(", ");
    let model = Sandbox::repository().join("configs/quickstart/models/tiny-0.3m");
    let text = format!(
        "dataset: {{source: out/corpus.jsonl, group: group, label_map: {{{emotional}, neutral: neutral}}}}\nmodels: [{{source: {}}}]\n",
        model.display()
    );
    let spec = limbic::sweep::read_spec(&sandbox.write("sweep.yaml", &text)).unwrap();
    let rows = tokio::runtime::Runtime::new().unwrap().block_on(limbic::sweep::prepare(spec)).unwrap().rows.rows;
    assert_eq!(rows.len(), kept.len());
    let splits: BTreeMap<&str, _> = rows.iter().map(|row| (row.id.as_str(), row.split)).collect();
    let torn = |row: &&Value| splits[row["id"].as_str().unwrap()] != splits[row["made_of"][0].as_str().unwrap()];
    assert_eq!(rewritten.iter().filter(torn).count(), 0, "no rewrite is in another split than its original");
}

#[test]
fn a_plan_says_beforehand_what_a_build_asks_at_most() {
    let sandbox = sandbox();
    small(&sandbox, &[]);
    let planned = sandbox.json(&["corpus", "plan", "corpus.yaml", "--json"]);
    assert!(!sandbox.path("store").exists(), "a plan writes nothing");
    let texts = |stage: usize| planned["stages"][stage]["texts"].as_u64().unwrap();
    let names: Vec<&str> = planned["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(names, ["label the comments", "rewrite", "write after examples", "label what was written"]);
    // 60 comments; 4 rewrites toward each of 6 classes; 3 texts of each of 7; and all of those.
    assert_eq!([0, 1, 2, 3].map(texts), [60, 24, 21, 45]);
    assert!(planned["stages"].as_array().unwrap().iter().all(|stage| stage["seconds"].as_f64().unwrap() > 0.0));
    build(&sandbox);
    let sweeps = sandbox.json(&["list", "--store", "store", "--json"]);
    for (stage, name) in ["small.label", "small.rewrite", "small.synthesize", "small.label-written"].iter().enumerate() {
        let built = sweeps.as_array().unwrap().iter().find(|sweep| sweep["name"] == *name).unwrap();
        let (units, most) = (built["units"]["total"].as_u64().unwrap(), planned["stages"][stage]["units"].as_u64().unwrap());
        assert!(units <= most && (stage > 1 || units == most), "{name}: {units} of {most}");
    }
    let words = sandbox.limbic(&["corpus", "plan", "corpus.yaml"]).stdout;
    assert!(words.contains("60 of 1512 comments pass the filters") || words.contains("60 of 1.5k comments"), "{words}");
}

#[test]
fn killed_at_any_stage_it_goes_on_and_the_corpus_is_the_same() {
    let undisturbed = sandbox();
    small(&undisturbed, &[]);
    let whole = build(&undisturbed)["units"].as_u64().unwrap() as usize;

    let sandbox = sandbox();
    small(&sandbox, &[]);
    let mut had: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for moment in 0..5 {
        // The last time when all but a few units are committed, which is in the last stage.
        let wanted = whole * moment / 5;
        let running = sandbox.spawn(&BUILD);
        sandbox.until("enough is committed", || sandbox.objects("sweeps").len() > 1 && sandbox.objects("commit").len() >= wanted);
        running.kill();
        let (attempts, committed) = (sandbox.attempts(), sandbox.committed());
        assert!(had.iter().all(|(unit, before)| attempts.get(unit) == Some(before)), "a committed unit was attempted again");
        had = attempts.into_iter().filter(|(unit, _)| committed.contains(unit)).collect();
    }
    let last = build(&sandbox);
    let attempts = sandbox.attempts();
    assert!(had.iter().all(|(unit, before)| attempts.get(unit) == Some(before)), "a committed unit was attempted again");
    assert_eq!((&last["units"], last["computed_units"].as_u64().unwrap() as usize + had.len()), (&whole.into(), whole));
    let [corpus, left_out, card] = files(&sandbox);
    let [corpus_too, left_out_too, card_too] = files(&undisturbed);
    assert!(corpus == corpus_too && left_out == left_out_too && card == card_too);
}

#[test]
fn labels_can_be_written_and_by_another_model() {
    let sandbox = sandbox();
    small(
        &sandbox,
        &[
            ("classify: {content_free: []}", "classify: {how: json, tokens: 12, model: {source: MODELS/tiny-1m}}"),
            ("limit: 60", "limit: 20"),
        ],
    );
    let built = build(&sandbox);
    let card = std::fs::read_to_string(sandbox.path("out/card.md")).unwrap();
    // Models that small write no JSON: what matters is that this is told.
    let share = |rows: usize| format!("gave no label to {rows} of 20");
    let unlabelled = read(&sandbox, "left-out.jsonl").iter().filter(|row| row["left_out"] == "no label").count();
    assert!(unlabelled == 0 || card.contains(&share(unlabelled)), "{built}\n{card}");
    assert!(card.contains("All labels are tiny-1m's.") && !card.contains("judged what it wrote itself"), "{card}");
    assert!(read(&sandbox, "corpus.jsonl").iter().all(|row| row["confidence"].is_null()));
}

#[test]
fn a_corrupt_result_is_computed_again() {
    let sandbox = sandbox();
    small(&sandbox, &[("limit: 60", "limit: 20")]);
    build(&sandbox);
    let before = files(&sandbox);
    let answers = sandbox.objects("data").into_iter().find(|(name, _)| name.ends_with("answers.json")).unwrap();
    let mut bytes = answers.1;
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    std::fs::write(sandbox.path("store").join(&answers.0), bytes).unwrap();
    let again = build(&sandbox);
    assert_eq!(again["computed_units"], 1);
    assert!(files(&sandbox) == before);
}

#[test]
fn a_coordinator_elsewhere_builds_the_same_corpus_through_its_own_end() {
    let here = sandbox();
    small(&here, &[]);
    let whole = build(&here)["units"].clone();

    let sandbox = sandbox();
    small(&sandbox, &[]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    let asked = [BUILD.as_slice(), &["--coordinator", &url]].concat();
    let nobody = sandbox.limbic(&asked);
    assert!(nobody.code == Some(75) && nobody.stderr.contains("nothing answers there"), "{nobody:?}");

    let coordinator = sandbox.spawn(&["coordinator", "--store", "store", "--listen", &listen]);
    let worker = sandbox.spawn_worker(&["--coordinator", &url, "--threads", "1"]);
    let mut building = sandbox.spawn(&asked);
    sandbox.until("some of it is computed", || sandbox.committed().len() > 4);
    coordinator.kill();
    let ended = building.wait();
    assert!(ended == Some(75) || ended == Some(0), "what it waited for went away: {ended:?}");

    let coordinator = sandbox.spawn(&["coordinator", "--store", "store", "--listen", &listen]);
    let json = [asked.as_slice(), &["--json"]].concat();
    let mut built = Value::Null;
    sandbox.until("the rest is computed", || {
        let ended = sandbox.limbic(&json);
        // The coordinator has only just started.
        assert!(matches!(ended.code, Some(0 | 75)), "{ended:?}");
        built = serde_json::from_str(&ended.stdout).unwrap_or_default();
        ended.code == Some(0)
    });
    assert_eq!(built["units"], whole);
    assert!(files(&sandbox) == files(&here), "who computes is not told from the files");
    assert_eq!(sandbox.committed().len() as u64, whole.as_u64().unwrap());

    // A result that has rotted is computed again by its workers. An attempt that was lost may have left the same unit's.
    let answers: Vec<_> = sandbox.objects("data").into_iter().filter(|(name, _)| name.ends_with("answers.json")).collect();
    let unit = |name: &str| name.split('/').nth(2).unwrap().to_owned();
    for (name, bytes) in answers.iter().filter(|(name, _)| unit(name) == unit(&answers[0].0)) {
        let mut bytes = bytes.clone();
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        std::fs::write(sandbox.path("store").join(name), bytes).unwrap();
    }
    let again = sandbox.json(&json);
    assert_eq!(again["computed_units"], 1);
    assert!(files(&sandbox) == files(&here));

    // Another store than the coordinator's has nothing of what that computed.
    let astray = ["corpus", "build", "corpus.yaml", "--store", "elsewhere", "--out", "out", "--coordinator", &url];
    let refused = sandbox.limbic(&astray);
    assert!(refused.code == Some(2) && refused.stderr.contains("its store is another one"), "{refused:?}");
    // Nor has the coordinator's store a sweep that was written there.
    small(&sandbox, &[("limit: 60", "limit: 59")]);
    let refused = sandbox.limbic(&astray);
    assert!(refused.code == Some(2) && refused.stderr.contains("is it the one of --store?"), "{refused:?}");
    drop((worker, coordinator));
}
