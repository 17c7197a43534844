//! What the guide points at is there.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn book() -> PathBuf {
    repository().join("docs/src")
}

/// Files below a folder that end so.
fn below(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(below(&path, end));
        } else if path.to_string_lossy().ends_with(end) {
            files.push(path);
        }
    }
    files
}

fn pages() -> Vec<PathBuf> {
    let mut pages = below(&book(), ".md");
    pages.sort();
    pages
}

/// A page's lines that are no code.
fn prose(page: &Path) -> Vec<String> {
    let mut code = false;
    let text = fs::read_to_string(page).unwrap();
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    });
    lines.map(str::to_owned).collect()
}

/// What the links of a page lead to.
fn links(page: &Path) -> Vec<String> {
    let prose = prose(page).join("\n");
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// The names by which a page's headings are linked to.
fn anchors(page: &Path) -> HashSet<String> {
    let headings = prose(page).into_iter().filter(|line| line.starts_with('#'));
    let anchor = |heading: String| {
        let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        text.chars().filter(|it| it.is_alphanumeric() || matches!(it, '-' | '_')).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = [pages(), vec![repository().join("README.md")]].concat();
    let mut followed = 0;
    for page in pages {
        for link in links(&page).iter().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            assert!(target.exists(), "{}: {link}", page.display());
            assert!(
                anchor.is_empty() || anchors(&target).contains(anchor),
                "{}: {link}",
                page.display()
            );
            followed += 1;
        }
    }
    assert!(followed > 30, "{followed}");
}

#[test]
fn every_page_is_in_the_summary_and_its_examples_are_run() {
    let summary = links(&book().join("SUMMARY.md"));
    let run = fs::read_to_string(repository().join("docs/snippets/src/lib.rs")).unwrap();
    for page in pages() {
        let name = page.file_name().unwrap().to_str().unwrap();
        if name == "SUMMARY.md" {
            continue;
        }
        assert!(summary.iter().any(|link| link == name), "{name} is not in SUMMARY.md");
        let examples = fs::read_to_string(&page).unwrap().contains("```rust");
        assert!(!examples || run.contains(&format!("\"{name}\"")), "nobody runs {name}");
    }
}

/// Each paragraph on how sockets behave names the tests that show it.
#[test]
fn every_test_that_the_semantics_name_is_there() {
    let sources: String = ["crates", "tests", "unikernels"]
        .iter()
        .flat_map(|folder| below(&repository().join(folder), ".rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let page = prose(&book().join("semantics.md")).join("\n");
    let mut named = 0;
    for shown in page.split("Shown by").skip(1) {
        let until = shown.find("\n\n").unwrap_or(shown.len());
        for name in shown[..until].split('`').skip(1).step_by(2) {
            assert!(sources.contains(&format!("fn {name}(")), "{name}");
            named += 1;
        }
    }
    let sections = page.lines().filter(|line| line.starts_with("## ")).count();
    assert!(named >= sections && sections >= 10, "{named} in {sections}");
}
