//! Who may import what (ARCHITECTURE.md), kept: the direct dependencies of each library are a checked-in list, and
//! nothing that a package must not know comes in by a detour either.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the workspace").to_owned()
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).args(["--locked", "--offline"]).current_dir(root());
    let output = command.output().expect("cargo");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {}: {complaint}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The packages of the workspace as their manifests have them.
fn packages() -> Vec<Value> {
    let metadata = cargo(&["metadata", "--format-version=1", "--no-deps"]);
    let mut metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    match metadata["packages"].take() {
        Value::Array(packages) => packages,
        other => panic!("no packages: {other}"),
    }
}

/// What a package depends on when it is built (not when it is tested), with the condition if there is one.
fn direct_dependencies(package: &Value) -> BTreeSet<String> {
    let all = package["dependencies"].as_array().expect("dependencies");
    let normal = all.iter().filter(|dependency| dependency["kind"].is_null());
    normal.map(|dependency| described(package, dependency)).collect()
}

/// Such as `gpio-cdev (feature linux)`.
fn described(package: &Value, dependency: &Value) -> String {
    let name = dependency["name"].as_str().expect("a name");
    let mut conditions = Vec::new();
    if dependency["optional"] == true {
        let known_as = dependency["rename"].as_str().unwrap_or(name);
        let enables = [format!("dep:{known_as}"), known_as.to_owned()];
        let features = package["features"].as_object().expect("features");
        for (feature, enabled) in features {
            let enabled = enabled.as_array().expect("a list");
            if enabled.iter().any(|one| enables.iter().any(|name| one == name)) {
                conditions.push(format!("feature {feature}"));
            }
        }
    }
    if let Some(target) = dependency["target"].as_str() {
        conditions.push(format!("target {target}"));
    }
    if conditions.is_empty() { name.to_owned() } else { format!("{name} ({})", conditions.join(", ")) }
}

/// How `actual` differs from `list`, as a diff; empty if it does not.
fn difference(list: &BTreeSet<String>, actual: &BTreeSet<String>) -> String {
    let gone = list.difference(actual).map(|line| format!("- {line}\n"));
    let new = actual.difference(list).map(|line| format!("+ {line}\n"));
    gone.chain(new).collect()
}

#[test]
fn the_libraries_depend_on_what_their_lists_say() {
    let packages = packages();
    for library in ["hal-core", "agent-lib", "control-lib", "sim"] {
        let file = format!("tests/dependencies/{library}.txt");
        let list = std::fs::read_to_string(root().join(&file)).expect(&file);
        let list: BTreeSet<String> = list.lines().map(str::to_owned).collect();
        let package = packages.iter().find(|package| package["name"] == library);
        let difference = difference(&list, &direct_dependencies(package.expect(library)));
        assert!(
            difference.is_empty(),
            "{library} does not depend on what {file} says:\n{difference}\
             A library gets a new dependency by decision, not in passing: if it is decided, change the file as well.",
        );
    }
}

/// Control: a dependency too many and one too few are both seen.
#[test]
fn a_change_of_the_dependencies_is_seen() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(difference(&set(&["a", "b"]), &set(&["a", "c"])), "- b\n+ c\n");
    let package = serde_json::json!({
        "features": { "linux": ["dep:nix"] },
        "dependencies": [
            { "name": "nix", "kind": null, "optional": true, "rename": null, "target": "cfg(unix)" },
            { "name": "tokio", "kind": null, "optional": false, "rename": null, "target": null },
            { "name": "proptest", "kind": "dev", "optional": false, "rename": null, "target": null },
        ],
    });
    let expected = set(&["nix (feature linux, target cfg(unix))", "tokio"]);
    assert_eq!(direct_dependencies(&package), expected);
}

/// What one package may know: of ours nothing but `ours`, of others anything but `not`.
struct Rule {
    package: &'static str,
    ours: &'static [&'static str],
    not: &'static [&'static str],
}

const fn rule(package: &'static str, ours: &'static [&'static str], not: &'static [&'static str]) -> Rule {
    Rule { package, ours, not }
}

/// For code that does no I/O.
const IO: &[&str] = &["hyper", "prost", "rustls", "serde", "tokio", "tonic"];

/// One for each package but `tests`, which may know everything.
const RULES: [Rule; 12] = [
    rule("proto", &[], &["rustls"]),
    rule("hal-core", &[], IO),
    rule("agent-lib", &["hal-core"], IO),
    rule("control-lib", &["hal-core"], IO),
    rule("sim", &["hal-core"], IO),
    rule("audit", &[], &["rustls", "tokio", "tonic"]),
    rule("mtls", &[], &["prost"]),
    rule("startup", &[], &["prost", "rustls", "tonic"]),
    rule("pi-agent", &["agent-lib", "audit", "hal-core", "mtls", "proto", "startup"], &["rusqlite"]),
    rule("pi-sim", &["agent-lib", "audit", "hal-core", "mtls", "pi-agent", "proto", "sim", "startup"], &["rusqlite"]),
    rule(
        "pi-controller",
        &["audit", "control-lib", "hal-core", "mtls", "proto", "startup"],
        &["embedded-hal", "gpio-cdev"],
    ),
    rule("pictl", &["audit", "mtls", "proto", "startup"], &["embedded-hal", "gpio-cdev", "rusqlite"]),
];

/// The names of everything that is built into a package with all its features, by whatever detour.
fn reached(package: &str) -> BTreeSet<String> {
    let edges = ["tree", "--edges=normal", "--prefix=none", "--all-features", "--package"];
    let tree = cargo(&[&edges[..], &[package]].concat());
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    names.filter(|name| *name != package).map(str::to_owned).collect()
}

impl Rule {
    /// What of `reached` this package must not know; `members` are the packages of the workspace.
    fn broken_by(&self, reached: &BTreeSet<String>, members: &BTreeSet<String>) -> Vec<String> {
        let forbidden = |name: &&String| {
            let name = name.as_str();
            self.not.contains(&name) || members.contains(name) && !self.ours.contains(&name)
        };
        reached.iter().filter(forbidden).cloned().collect()
    }
}

fn members() -> BTreeSet<String> {
    let names = packages();
    let names = names.iter().map(|package| package["name"].as_str().expect("a name"));
    names.map(str::to_owned).collect()
}

#[test]
fn no_package_reaches_what_it_must_not_know() {
    let members = members();
    let mut ruled: BTreeSet<String> = RULES.iter().map(|rule| rule.package.to_owned()).collect();
    ruled.insert("tests".to_owned());
    assert_eq!(members, ruled, "left: the workspace; right: the packages with a rule");
    for rule in &RULES {
        let broken = rule.broken_by(&reached(rule.package), &members);
        assert!(
            broken.is_empty(),
            "{} must not know {broken:?}; `cargo tree -p {0} -i NAME` shows the way in",
            rule.package,
        );
    }
}

/// Control: the rule of agent-lib, held against what the agent is really built of.
#[test]
fn a_forbidden_edge_is_found() {
    let rule = RULES.iter().find(|rule| rule.package == "agent-lib").expect("a rule");
    let broken = rule.broken_by(&reached("pi-agent"), &members());
    for name in ["mtls", "proto", "prost", "serde", "startup", "tokio", "tonic"] {
        assert!(broken.iter().any(|broken| broken == name), "{name} is not in {broken:?}");
    }
    assert!(!broken.iter().any(|name| name == "hal-core" || name == "thiserror"), "{broken:?}");
}
