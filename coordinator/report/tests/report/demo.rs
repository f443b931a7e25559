//! Pages for people to look at, and how long they take; run on request.

use limbic_proto::rows::Scheme;
use limbic_report::{File, Study, compare, evaluate, files};

use super::synthetic::{DEMO, Size, study, valued};

fn write(study: &Study, folder: &std::path::Path) {
    let start = std::time::Instant::now();
    let results = evaluate(study).expect("the study is sound");
    let evaluated = start.elapsed();
    let files = files(study, &results).expect("the report is made");
    println!("{} predictions: evaluated in {evaluated:?}, files after {:?}", study.predictions.len(), start.elapsed());
    put(files, folder);
}

fn put(files: Vec<File>, folder: &std::path::Path) {
    for file in files {
        let path = folder.join(&file.path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
        println!("{} {}", file.path, file.bytes.len());
        std::fs::write(path, file.bytes).expect("the file is written");
    }
}

/// Writes the demo pages: `LIMBIC_REPORT_DEMO=folder cargo test --release -p limbic-report -- --ignored demo`.
#[test]
#[ignore = "writes files for people to look at"]
fn demo() {
    let folder = std::env::var("LIMBIC_REPORT_DEMO").map_or_else(|_| std::env::temp_dir().join("limbic-report-demo"), Into::into);
    let (demo, smaller) = (study(DEMO), study(Size { conditions: 3, ..DEMO }));
    write(&demo, &folder.join("single"));
    put(compare(&demo, &smaller).expect("both are sound"), &folder.join("compared"));
    for scheme in [Scheme::Multi, Scheme::Intensity, Scheme::Continuous] {
        write(&valued(scheme, 300), &folder.join(scheme.as_str()));
    }
}

/// Thousands of predictions, 1000 resamples, 200 groups: prints how long evaluation takes.
#[test]
#[ignore = "takes some seconds"]
fn thousands_of_predictions() {
    let study = study(Size { models: 5, layers: 30, conditions: 4, offsets: 5, rows: 400, masked: false, mlp: false, whole: false });
    let start = std::time::Instant::now();
    let results = evaluate(&study).expect("the study is sound");
    println!("{} predictions, {} groups: evaluated in {:?}", study.predictions.len(), results.groups, start.elapsed());
}
