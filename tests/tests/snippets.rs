//! What the documentation says one can run on a sweep's results runs, and prints what the documentation shows.

use std::collections::BTreeSet;

use limbic_tests::Sandbox;
use limbic_tests::snippets::{Fence, Python, fences};

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"))
}

/// The quickstart with fewer rows, one strength and a shorter MLP: what snippets name is all there.
fn quickstart() -> String {
    let folder = Sandbox::repository().join("configs");
    let mut text = std::fs::read_to_string(folder.join("quickstart.yaml")).unwrap();
    for (from, to) in [
        ("source: quickstart/", format!("source: {}/quickstart/", folder.display())),
        ("  group: group\n", "  group: group\n  limit: 420\n".to_owned()),
        ("c: [0.001, 0.01, 0.1]", "c: [0.01]".to_owned()),
        ("hidden: 64", "hidden: 8".to_owned()),
        ("epochs: 12", "epochs: 1".to_owned()),
        ("resamples: 500", "resamples: 100".to_owned()),
    ] {
        assert!(text.contains(from), "the quickstart has no `{from}`");
        text = text.replace(from, &to);
    }
    text
}

/// Runs a query, and prints what DuckDB's own shell prints.
const QUERY: &str = "import sys, duckdb; print(duckdb.sql(sys.argv[1]))";

/// What follows a snippet that only defines a function.
const OF_PROBE: &str = "\nprint(logistic(np.zeros((2, len(t['mean'])))).sum(1), card['classes'])\n";

/// The words with letters in the first lines: a table's head, the beginning of a sentence.
fn head(printed: &str) -> BTreeSet<&str> {
    printed.lines().take(3).flat_map(str::split_whitespace).filter(|word| word.chars().any(char::is_alphabetic)).collect()
}

#[test]
fn snippets_of_the_documentation_run() {
    let Some(python) = Python::find("the snippets of the documentation") else { return };
    let sandbox = sandbox();
    sandbox.write("quickstart.yaml", &quickstart());
    assert_eq!(sandbox.json(&["run", "quickstart.yaml", "--json"])["state"], "complete");
    let probe = "model=tiny-4m condition=raw layer=5";
    let kept = sandbox.limbic(&["apply", probe, "--sweep", "quickstart", "--text", "I miss her.", "--save", "probe.safetensors"]);
    assert_eq!(kept.code, Some(0), "{}", kept.stderr);
    let states = "model=tiny-4m condition=raw layer=5 offset=0";
    let exported = sandbox.limbic(&["export", "quickstart", "--states", states]);
    assert_eq!(exported.code, Some(0), "{}", exported.stderr);

    let (mut ran, mut wrong) = (0, Vec::new());
    for (page, probes) in [("README.md", false), ("docs/analysis.md", false), ("docs/apply.md", true)] {
        let text = std::fs::read_to_string(Sandbox::repository().join(page)).unwrap();
        let fences = fences(&text);
        for (at, fence) in fences.iter().enumerate() {
            let result = match fence.language.as_str() {
                "python" if probes => python.run(sandbox.path("").as_path(), &format!("{}{OF_PROBE}", fence.code), &[]),
                "python" => python.run(sandbox.path("").as_path(), &fence.code, &[]),
                "sql" => python.run(sandbox.path("").as_path(), QUERY, &[&fence.code]),
                _ => continue,
            };
            ran += 1;
            let place = format!("{page}, line {}", fence.line);
            match result {
                Err(complaint) => wrong.push(format!("{place}: {complaint}")),
                Ok(printed) if printed.trim().is_empty() => wrong.push(format!("{place}: printed nothing")),
                Ok(printed) => {
                    let shown = fences.get(at + 1).filter(|next| next.language == "text").map_or("", |Fence { code, .. }| code);
                    let words: BTreeSet<&str> = printed.split_whitespace().collect();
                    let missing: Vec<&str> = head(shown).into_iter().filter(|word| !words.contains(word)).collect();
                    if !missing.is_empty() {
                        wrong.push(format!("{place}: what is shown begins with {missing:?}, and these are not in\n{printed}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran >= 8, "only {ran} snippets were found");
}

#[test]
fn every_page_with_code_that_can_run_is_among_those_that_are_run() {
    let folder = Sandbox::repository().join("docs");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".md") || ["analysis.md", "apply.md"].contains(&name.as_str()) {
            continue;
        }
        let found = fences(&std::fs::read_to_string(&path).unwrap());
        let code: Vec<usize> = found.iter().filter(|f| ["python", "sql"].contains(&f.language.as_str())).map(|f| f.line).collect();
        assert!(code.is_empty(), "docs/{name}, lines {code:?}: add the page to the list above");
    }
}

#[test]
fn fences_are_found_with_their_lines() {
    let page = "text\n```sql\nSELECT 1;\nSELECT 2;\n```\nmore\n```\nplain\n```\n";
    let all = fences(page);
    let found: Vec<(&str, usize, &str)> = all.iter().map(|f| (f.language.as_str(), f.line, f.code.as_str())).collect();
    assert_eq!(found, [("sql", 3, "SELECT 1;\nSELECT 2;\n"), ("", 8, "plain\n")]);
}
