//! Pages in a browser: nothing is fetched, nothing fails, and what can be clicked, pointed at, sorted and saved can be. Needs
//! Chromium: `LIMBIC_CHROMIUM=PATH`.

use std::io::Write;
use std::process::Command;

use limbic_proto::rows::Scheme;
use limbic_report::compare;
use serde::Deserialize;

use super::draws::{HALF_LIVES, drawn};
use super::synthetic::{Size, study, valued};
use super::{SMALL, evaluated, made, text, whole};

/// What a page said of itself.
#[derive(Debug, Deserialize)]
struct Found {
    errors: Vec<String>,
    wrong: Vec<String>,
    fetched: Vec<String>,
    faint: Vec<String>,
    /// Pixels that it is wider than the window.
    wide: i64,
    width: u32,
    dark: bool,
    figures: usize,
    tables: usize,
    toggled: usize,
    told: usize,
    sorted: usize,
    saved: usize,
    /// Keys of bars from the lowest to the highest sampling seed.
    bars: usize,
    contrasts: usize,
}

/// Opens a page in a frame of that width (a window has a least width, a frame has none) and does there what readers do.
fn visit(chromium: &str, html: &str, width: u32, dark: bool) -> Found {
    let folder = tempfile::tempdir().expect("a folder");
    let script = |words: &str| format!("<script>{words}</script>");
    let (before, after) = (script(include_str!("browser/before.js")), script(include_str!("browser/after.js")));
    let page = html.replacen("<head>", &format!("<head>{before}"), 1).replace("</body>", &format!("{after}</body>"));
    assert_eq!(page.matches(&after).count(), 1, "the page has one body");
    let around = format!(
        "<!doctype html><meta charset=utf-8><meta name=color-scheme content='light dark'><pre id=found></pre>
        <script>addEventListener('message', (e) => document.querySelector('#found').textContent = 'FOUND' + e.data + 'END');</script>
        <iframe src=page.html width={width} height=844 style='border:0'></iframe>"
    );
    for (name, content) in [("page.html", page), ("around.html", around)] {
        std::fs::write(folder.path().join(name), content).expect("a file");
    }
    let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
    let scheme = format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 });
    let ended = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1500,1000"])
        .args(["--virtual-time-budget=20000", "--dump-dom", &profile, &scheme])
        .arg(format!("file://{}", folder.path().join("around.html").display()))
        .output()
        .unwrap_or_else(|e| panic!("LIMBIC_CHROMIUM={chromium}: {e}"));
    let dom = String::from_utf8_lossy(&ended.stdout);
    let found = dom.split_once("FOUND").and_then(|(_, rest)| rest.split_once("END"));
    let (json, _) = found.unwrap_or_else(|| panic!("the page told nothing: {dom}{}", String::from_utf8_lossy(&ended.stderr)));
    let json = json.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}: {json}"))
}

fn check(chromium: &str, name: &str, html: &str) -> usize {
    let mut bars = 0;
    for (width, dark) in [(1440, false), (1440, true), (390, false), (390, true)] {
        let found = visit(chromium, html, width, dark);
        let at = format!("{name} at {width} px, {}", if dark { "dark" } else { "light" });
        println!("{at}: {found:?}");
        assert_eq!((found.width, found.dark), (width, dark), "{at}: the browser shows it otherwise");
        for (what, complaints) in [
            ("fails", &found.errors),
            ("doesn't do what it should", &found.wrong),
            ("fetches", &found.fetched),
            ("has words that are hard to read", &found.faint),
        ] {
            assert!(complaints.is_empty(), "{at}: the page {what}: {complaints:#?}");
        }
        assert!(found.wide <= 0, "{at}: the page scrolls sideways by {} px", found.wide);
        assert!(found.figures > 0 && found.tables > 0, "{at}: an empty page");
        assert!(found.told >= found.figures && found.saved == 2 * found.figures, "{at}: figures were passed over");
        assert!(found.sorted > 0 && found.toggled > 0 && found.contrasts > 100, "{at}: little was done");
        bars += found.bars;
    }
    bars
}

/// Checks every page; how many keys of bars they have, or none where there is no browser.
fn pages(named: Vec<(&str, String)>) -> Option<usize> {
    let Ok(chromium) = std::env::var("LIMBIC_CHROMIUM") else {
        // `println!` of a test that passes is never seen.
        writeln!(std::io::stderr(), "SKIPPED pages in a browser: set LIMBIC_CHROMIUM to Chromium's path").expect("standard error is open");
        return None;
    };
    Some(named.iter().map(|(name, html)| check(&chromium, name, html)).sum())
}

#[test]
fn a_report_works_in_a_browser() {
    let (mut study, results) = whole();
    // Paths are the longest words that a page has.
    study.notes.push(format!("/{}.jsonl was read", ["folder"; 30].join("/")));
    pages(vec![("report", text(&made(&study, &results), "report.html"))]);
}

#[test]
fn reports_on_other_labels_work_in_a_browser() {
    let page = |scheme| {
        let study = valued(scheme, 120);
        text(&made(&study, &evaluated(&study)), "report.html")
    };
    pages(vec![("multi", page(Scheme::Multi)), ("continuous", page(Scheme::Continuous))]);
}

#[test]
fn a_comparison_works_in_a_browser() {
    let (mut a, mut b) = (study(Size { rows: 140, ..SMALL }), study(Size { rows: 140, conditions: 3, ..SMALL }));
    (a.options.resamples, b.options.resamples) = (100, 100);
    let files = compare(&a, &b).expect("both are sound");
    let page = files.iter().find(|f| f.path == "compare.html").expect("a page");
    pages(vec![("comparison", String::from_utf8(page.bytes.to_vec()).expect("UTF-8"))]);
}

#[test]
fn a_report_on_sampled_replies_works_in_a_browser() {
    let study = drawn(&HALF_LIVES);
    let bars = pages(vec![("sampled", text(&made(&study, &evaluated(&study)), "report.html"))]);
    assert!(bars.is_none_or(|bars| bars >= 4), "one at least at every width and in both themes: {bars:?}");
}
