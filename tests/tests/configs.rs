//! Every shipped config parses, and those that need nothing from outside plan.

use std::collections::{BTreeMap, BTreeSet};

use limbic_proto::spec::{CorpusSpec, Duplicates, Facts, How, Spec};
use limbic_tests::Sandbox;
use limbic_tests::snippets::fences;
use serde_json::Value;

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"))
}

#[test]
fn every_shipped_config_is_a_spec() {
    let folder = Sandbox::repository().join("configs");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with("corpus.yaml") {
            CorpusSpec::from_yaml(&std::fs::read_to_string(&path).unwrap(), &path).unwrap_or_else(|e| panic!("{e}"));
        } else if name.ends_with(".facts.yaml") {
            Facts::from_yaml(&std::fs::read_to_string(&path).unwrap(), &path).unwrap_or_else(|e| panic!("{e}"));
        } else if name.ends_with(".yaml") {
            limbic::sweep::read_spec(&path).unwrap_or_else(|e| panic!("{e}"));
            seen += 1;
        }
    }
    assert!(seen >= 7, "{seen}");
}

/// The YAML blocks of a page of the repository.
fn yaml(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Sandbox::repository().join(page)).unwrap();
    fences(&text).into_iter().filter(|fence| fence.language == "yaml").map(|fence| fence.code).collect()
}

#[test]
fn every_block_of_yaml_in_the_documentation_is_a_spec_or_a_part_of_one() {
    let docs = std::fs::read_dir(Sandbox::repository().join("docs")).unwrap();
    let mut pages: Vec<String> = docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_string_lossy())).collect();
    pages.retain(|page| page.ends_with(".md"));
    pages.extend(["README.md".to_owned(), "configs/stimuli/README.md".to_owned()]);
    let mut seen = 0;
    for page in &pages {
        for block in yaml(page) {
            seen += 1;
            let whole = block.lines().any(|line| line.starts_with("dataset:"));
            let text = if whole { block } else { format!("dataset: {{source: rows.jsonl}}\nmodels: [{{source: m}}]\n{block}") };
            let found = match page.as_str() {
                "docs/corpus.md" => CorpusSpec::from_yaml(&text, page.as_ref()).map(drop),
                _ => Spec::from_yaml(&text, page.as_ref()).map(drop),
            };
            found.unwrap_or_else(|e| panic!("a block of {page}: {e}\n{text}"));
        }
    }
    assert!(seen >= 4, "{seen}");
}

#[test]
fn the_conditions_that_the_documentation_shows_can_be_planned() {
    let sandbox = sandbox();
    let [conditions] = &yaml("docs/spec.md").into_iter().filter(|block| block.starts_with("conditions:")).collect::<Vec<_>>()[..] else {
        panic!("one block shows conditions")
    };
    let stimuli = std::fs::read_to_string(config("stimuli/positive.jsonl")).unwrap();
    sandbox.write("stimuli/positive.jsonl", &stimuli);
    let (corpus, model) = (config("quickstart/corpus.jsonl"), config("quickstart/models/tiny-0.3m"));
    sandbox.write("shown.yaml", &format!("dataset: {{source: {corpus}, group: group}}\nmodels: [{{source: {model}}}]\n{conditions}"));
    let plan = sandbox.json(&["plan", "shown.yaml", "--json"]);
    let names = strings(&plan["conditions"], "name");
    assert_eq!(names.len(), 11 + stimuli.lines().count(), "{names:?}");
    for name in ["raw", "said", "few-shot", "shown", "chat", "empty", "emotional", "calm", "nurse", "task", "cheered.P04", "silent"] {
        assert!(names.contains(&name), "{name}");
    }
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

fn config(name: &str) -> String {
    Sandbox::repository().join("configs").join(name).to_string_lossy().into_owned()
}

fn strings<'a>(of: &'a Value, field: &str) -> Vec<&'a str> {
    of.as_array().unwrap().iter().map(|value| value[field].as_str().unwrap()).collect()
}

/// Parameters as their authors count them.
const PARAMETERS: [(&str, u64); 7] = [
    ("Qwen3-0.6B", 596_049_920),
    ("Qwen3-1.7B", 1_720_574_976),
    ("Qwen3-4B", 4_022_468_096),
    ("Qwen3-8B", 8_190_735_360),
    ("Llama-3.2-1B-Instruct", 1_235_814_400),
    ("Llama-3.2-3B-Instruct", 3_212_749_824),
    ("Llama-3.1-8B-Instruct", 8_030_261_248),
];

#[test]
fn the_paper_is_planned_without_its_corpus_and_models() {
    let (spec, facts) = (config("paper.yaml"), config("paper.facts.yaml"));
    let plan = sandbox().json(&["plan", &spec, "--assume", &facts, "--json"]);
    let models = plan["models"].as_array().unwrap();
    let parameters: BTreeMap<&str, u64> = models.iter().map(|m| (m["name"].as_str().unwrap(), m["parameters"].as_u64().unwrap())).collect();
    for (name, count) in PARAMETERS {
        assert_eq!((parameters[name], parameters[format!("{name}-random").as_str()]), (count, count), "{name}");
    }
    assert_eq!(models.len(), 14);
    assert_eq!(strings(&plan["conditions"], "name"), ["raw", "few-shot", "chat", "empty", "emotional", "calm"]);
    let systems: Vec<&Value> = plan["conditions"].as_array().unwrap()[3..].iter().map(|c| &c["chat"]["system"]).collect();
    assert_eq!(systems, ["", "You are very emotional.", "You always remain calm and composed."]);
    let judged = serde_json::to_value(limbic::sweep::read_spec(spec.as_ref()).unwrap().judge).unwrap();
    assert_eq!(judged["conditions"], serde_json::json!(["empty", "emotional", "calm"]), "malleability is about the system prompts");
    assert_eq!(plan["conditions"][1]["examples"].as_array().unwrap().len(), 14);
    // 14 models x 6 conditions x 6 layers x 12 offsets; Llama-3.2-1B's 16 blocks and the others give six layers each.
    assert_eq!(plan["cells"], 14 * 6 * 6 * 12);
    // Test is cut to a tenth of the smallest class, 29,990; train repeats to the largest emotion's 85 %.
    assert!(
        plan["notes"].as_array().unwrap().iter().any(|note| note == "balance: every class counts 2999 times in test"),
        "{}",
        plan["notes"]
    );
    for key in ["flops", "bytes", "state_bytes", "gpu_seconds", "processor_seconds"] {
        assert!(plan[key].as_f64().unwrap() > 0.0, "{key}");
    }
    assert_eq!((&plan["sweep"], &plan["gpu_tflops_assumed"]), (&Value::Null, &396.0.into()));
    for kind in ["extract", "fit", "transfer", "prompt", "judge"] {
        assert!(plan["kinds"][kind]["units"].as_u64().unwrap() > 0, "{kind}");
    }
}

#[test]
fn what_is_assumed_can_only_be_planned() {
    let sandbox = sandbox();
    let run = sandbox.limbic(&["run", &config("paper.yaml"), "--store", "store"]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    let refused = sandbox.limbic(&["run", &config("paper.yaml"), "--store", "store", "--assume", &config("paper.facts.yaml")]);
    assert!(refused.code == Some(2) && refused.stderr.contains("unexpected argument '--assume'"), "{}", refused.stderr);
    assert!(sandbox.objects("sweeps").is_empty());
}

#[test]
fn a_plan_without_rows_says_how_to_plan_and_how_to_make_some() {
    let (sandbox, paper) = (sandbox(), std::fs::read_to_string(config("paper.yaml")).unwrap());
    sandbox.write("paper.yaml", &paper);
    let ended = sandbox.limbic(&["plan", "paper.yaml"]);
    assert_eq!(ended.code, Some(2));
    for words in ["dataset.source: `corpus.jsonl` can't be read", "`--assume FILE` plans", "`limbic corpus build` makes"] {
        assert!(ended.stderr.contains(words), "`{words}` in {}", ended.stderr);
    }
}

#[test]
fn the_papers_corpus_is_built_as_the_paper_says() {
    let path = config("paper-corpus.yaml");
    let spec = CorpusSpec::from_yaml(&std::fs::read_to_string(&path).unwrap(), path.as_ref()).unwrap();
    let paper = limbic::sweep::read_spec(config("paper.yaml").as_ref()).unwrap();
    assert_eq!(spec.classes, paper.dataset.labels, "of the same names, in the same order");
    assert_eq!(spec.model.source, "hf://Qwen/Qwen3-32B");
    assert_eq!((spec.classify.how, spec.filters.words.min, spec.filters.duplicates), (How::Json, 3, Duplicates::Near));
    assert_eq!(spec.filters.languages, ["eng"]);
    let (rewrite, synthesize) = (spec.rewrite.expect("rewrites"), spec.synthesize.expect("synthetic texts"));
    assert!(rewrite.from == "neutral" && synthesize.examples > 1);
    assert_eq!(spec.classify.answers, paper.zero_shot.answers, "the same word for joy");
}

/// Controls stand beside the probes of what is shipped, but for the quickstart, which shows the shape of a sweep, and the sweep
/// about draws.
#[test]
fn shipped_sweeps_have_controls() {
    let of = |name: &str| serde_json::to_value(limbic::sweep::read_spec(config(name).as_ref()).unwrap()).unwrap();
    for name in
        ["paper.yaml", "study-small.yaml", "study-smollm2.yaml", "goemotions-multi.yaml", "brighter-intensity.yaml", "emobank-vad.yaml"]
    {
        assert_eq!(of(name)["controls"], serde_json::json!(["shuffled-labels", "random-direction", "random-weights"]), "{name}");
    }
    assert_eq!(of("smollm2.yaml")["controls"], serde_json::json!(["shuffled-labels", "random-direction"]));
    let levels = of("goemotions-multi.yaml")["report"]["levels"].clone();
    let classes = |level: usize| -> BTreeMap<String, usize> {
        let map = levels[level]["map"].as_object().unwrap();
        assert_eq!(map.len(), 28);
        map.values().fold(BTreeMap::new(), |mut found, to| {
            *found.entry(to.as_str().unwrap().to_owned()).or_default() += 1;
            found
        })
    };
    let counted = |of: &[(&str, usize)]| of.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<BTreeMap<_, _>>();
    let ekman = [("anger", 3), ("disgust", 1), ("fear", 2), ("joy", 12), ("neutral", 1), ("sadness", 5), ("surprise", 4)];
    assert_eq!(classes(0), counted(&ekman));
    assert_eq!(classes(1), counted(&[("ambiguous", 4), ("negative", 11), ("neutral", 1), ("positive", 12)]));
}

#[test]
fn the_study_of_one_real_model_covers_depths_conditions_and_probes() {
    let spec = serde_json::to_value(limbic::sweep::read_spec(config("study-smollm2.yaml").as_ref()).unwrap()).unwrap();
    assert_eq!((&spec["layers"], spec["offsets"].as_array().unwrap().last()), (&"all".into(), Some(&16.into())));
    assert_eq!(strings(&spec["conditions"], "name"), ["raw", "few-shot", "chat", "empty", "emotional", "calm"]);
    assert_eq!(strings(&spec["probes"], "kind"), ["logistic", "mlp", "ridge"]);
}

#[test]
fn facts_that_leave_something_out_are_refused_by_name() {
    let sandbox = sandbox();
    let says = |facts: &str, words: &str| {
        sandbox.write("facts.yaml", facts);
        let ended = sandbox.limbic(&["plan", &config("paper.yaml"), "--assume", "facts.yaml"]);
        assert!(ended.code == Some(2) && ended.stderr.contains(words), "{}", ended.stderr);
    };
    says("", "facts.yaml, line 1, column 1: the file ends here; it needs at least `dataset`");
    says("dataset: {classes: {joy: 9}, characters: 9}", "--assume: `dataset.classes` doesn't say how many rows the class `anger` has");
    let classes = "anger: 90, disgust: 90, fear: 90, joy: 90, sadness: 90, surprise: 90, neutral: 90";
    says(&format!("dataset: {{classes: {{{classes}}}, characters: 9}}"), "--assume: says nothing of the model `hf://Qwen/Qwen3-0.6B`");
    says(&format!("dataset: {{classes: {{{classes}}}, characters: 9, words: 1}}"), "unknown field `words`");
    let model = "models: [{source: hf://Qwen/Qwen3-0.6B, config: {model_type: gpt2}}]";
    says(
        &format!("dataset: {{classes: {{{classes}}}, characters: 9}}\n{model}"),
        "the config of model `hf://Qwen/Qwen3-0.6B`: architecture `gpt2` is not supported",
    );
    let ended = sandbox.limbic(&["plan", &config("paper.yaml"), "--assume", "nothing.yaml"]);
    assert!(ended.stderr.contains("--assume nothing.yaml: can't be read"), "{}", ended.stderr);
}

#[test]
fn the_small_study_has_everything_that_the_large_one_has() {
    let plan = sandbox().json(&["plan", &config("study-small.yaml"), "--json"]);
    for kind in ["extract", "fit", "transfer", "prompt", "judge"] {
        assert!(plan["kinds"][kind]["units"].as_u64().unwrap() > 0, "{kind}");
    }
    let read = |name: &str| serde_json::to_value(limbic::sweep::read_spec(config(name).as_ref()).unwrap()).unwrap();
    let (small, large) = (read("study-small.yaml"), read("paper.yaml"));
    for (list, field) in [("probes", "kind"), ("controls", ""), ("baselines", ""), ("transfer", "")] {
        let of = |spec: &Value| -> BTreeSet<String> {
            spec[list].as_array().unwrap().iter().map(|v| if field.is_empty() { v } else { &v[field] }.to_string()).collect()
        };
        assert_eq!(of(&small), of(&large), "{list}");
    }
    assert_eq!(small["continuation"]["controls"], large["continuation"]["controls"]);
    assert!(small["judge"].is_object() && small["geometry"] == true && large["geometry"] == true);
    let names = strings(&small["conditions"], "name");
    assert!(strings(&large["conditions"], "name").iter().all(|name| names.contains(name)), "{names:?}");
    let names = strings(&plan["conditions"], "name");
    for name in ["nurse", "task", "cheered.P04"] {
        assert!(names.contains(&name), "a persona, a task and a condition for each stimulus: {names:?}");
    }
}

#[test]
fn the_libraries_of_stimuli_are_large_and_name_no_label() {
    let labels = ["anger", "disgust", "fear", "happiness", "joy", "neutral", "sadness", "surprise"];
    for (name, letter) in [("positive", "P"), ("negative", "N")] {
        let text = std::fs::read_to_string(config(&format!("stimuli/{name}.jsonl"))).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (ids, texts): (BTreeSet<&str>, BTreeSet<&str>) =
            lines.iter().map(|l| (l["id"].as_str().unwrap(), l["text"].as_str().unwrap())).unzip();
        assert!(lines.len() >= 12 && ids.len() == lines.len() && texts.len() == lines.len(), "{name}");
        assert!(ids.iter().all(|id| id.starts_with(letter)));
        for text in texts {
            let words: Vec<String> = text.split(|c: char| !c.is_alphabetic()).map(str::to_lowercase).collect();
            assert!(!labels.iter().any(|label| words.iter().any(|word| word == label)), "{text}");
        }
    }
}

#[test]
fn the_schema_is_a_json_schema_of_the_spec() {
    let of = |args: &[&str], required: Value| {
        let schema = sandbox().json(args);
        assert_eq!((&schema["required"], &schema["additionalProperties"]), (&required, &false.into()));
    };
    of(&["schema"], serde_json::json!(["dataset", "models"]));
    of(&["schema", "--corpus"], serde_json::json!(["dataset", "model", "classes"]));
}

/// The fields that a schema knows, and the words that a field may have.
fn words(schema: &Value, into: &mut BTreeSet<String>) {
    let word = |value: &Value| value.as_str().map(str::to_owned);
    match schema {
        Value::Object(fields) => {
            into.extend(fields.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.clone()));
            into.extend(fields.get("const").and_then(word));
            into.extend(fields.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(word));
            fields.values().for_each(|value| words(value, into));
        }
        Value::Array(values) => values.iter().for_each(|value| words(value, into)),
        _ => {}
    }
}

#[test]
fn every_field_of_a_spec_is_in_the_documentation() {
    for (args, pages) in [(&["schema"][..], &["docs/spec.md"][..]), (&["schema", "--corpus"], &["docs/corpus.md", "docs/spec.md"])] {
        let mut wanted = BTreeSet::new();
        words(&sandbox().json(args), &mut wanted);
        let text: String = pages.iter().map(|page| std::fs::read_to_string(Sandbox::repository().join(page)).unwrap()).collect();
        let found: BTreeSet<&str> = text.split(|c: char| !(c.is_alphanumeric() || "-_".contains(c))).collect();
        let missing: Vec<_> = wanted.iter().filter(|word| !found.contains(word.as_str())).collect();
        assert!(wanted.len() > 40 && missing.is_empty(), "{pages:?} say nothing of {missing:?}");
    }
}
