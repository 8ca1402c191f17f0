//! S29: `unsafe` is forbidden in every package, and in none of our files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file below `folder` whose name ends so; what was built is not ours.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && !name.starts_with('.') {
                found.extend(files(&path, end));
            }
        } else if name.ends_with(end) {
            found.push(path);
        }
    }
    found
}

/// The manifest's section of this name, without its heading.
fn section<'a>(manifest: &'a str, name: &str) -> Vec<&'a str> {
    let lines = manifest.lines().skip_while(|line| *line != format!("[{name}]")).skip(1);
    lines.take_while(|line| !line.starts_with('[')).map(str::trim).collect()
}

fn forbids(manifest: &str) -> bool {
    section(manifest, "lints").contains(&"workspace = true")
}

/// What a line of code does with the word, if it is more than mentioned in a comment.
fn uses_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let word = concat!("un", "safe");
    let marks = [" {", " fn", " impl", " extern", " trait", "{", "_code"].map(|after| format!("{word}{after}"));
    marks.iter().any(|mark| code.contains(mark)) || code.contains(&format!("[{word}("))
}

#[test]
fn every_package_forbids_it() {
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(section(&workspace, "workspace.lints.rust").contains(&concat!("un", "safe_code = \"forbid\"")));
    let manifests = files(&root(), "Cargo.toml");
    let packages = manifests.iter().filter(|path| **path != root().join("Cargo.toml"));
    let packages: Vec<_> = packages.collect();
    assert!(packages.len() >= 12, "{packages:?}");
    for path in packages {
        assert!(forbids(&std::fs::read_to_string(path).unwrap()), "{} does not take on the lints", path.display());
    }
}

#[test]
fn no_file_of_ours_has_it() {
    let files = files(&root(), ".rs");
    assert!(files.len() > 200, "{}", files.len());
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            assert!(!uses_unsafe(line), "{}:{}: {line}", path.display(), number + 1);
        }
    }
}

/// Control.
#[test]
fn it_would_be_found() {
    let word = concat!("un", "safe");
    let found = ["let x = W { y() };", "W fn f() {}", "#[W(no_mangle)]", "#![allow(W_code)]"];
    assert!(found.iter().all(|line| uses_unsafe(&line.replace('W', word))));
    assert!(!uses_unsafe(&format!("// {word} {{}} is not used")) && !uses_unsafe("an unsafe way"));
    assert!(!forbids("[lints]\n\n[dependencies]\nworkspace = true\n"));
}
