//! Which crates of the workspace may depend on which.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::DependencyKind;

use crate::{
    graph::{Graph, Mention},
    page_modules,
    workspace::{files, metadata},
};

/// Every crate of the workspace, and the crates of the workspace that it depends on: exactly these. docs/architecture.md
/// draws the arrows; a new crate belongs into both.
const ARROWS: &[(&str, &[&str])] = &[
    ("heartchain-chain", &[]),
    ("heartchain-sync", &["heartchain-chain"]),
    ("rendezvous-messages", &[]),
    ("disk-limit", &[]),
    (
        "heartchain-peer",
        &["heartchain-chain", "heartchain-sync", "rendezvous-messages"],
    ),
    ("libp2p-webrtc-streams", &[]),
    ("libp2p-webrtc-browser", &["libp2p-webrtc-streams"]),
    (
        "wasm-node",
        &[
            "heartchain-chain",
            "heartchain-peer",
            "heartchain-sync",
            "libp2p-webrtc-browser",
        ],
    ),
    ("libp2p-webrtc-direct", &["libp2p-webrtc-streams"]),
    (
        "relay",
        &["disk-limit", "libp2p-webrtc-direct", "rendezvous-messages"],
    ),
    (
        "keeper",
        &[
            "disk-limit",
            "heartchain-chain",
            "heartchain-peer",
            "heartchain-sync",
            "libp2p-webrtc-direct",
        ],
    ),
    // Tests.
    (
        "heartchain-test-support",
        &["heartchain-chain", "heartchain-sync"],
    ),
    (
        "fuzz",
        &[
            "heartchain-chain",
            "heartchain-sync",
            "heartchain-test-support",
            "libp2p-webrtc-direct",
            "libp2p-webrtc-streams",
            "rendezvous-messages",
        ],
    ),
    ("interop-peer", &["libp2p-webrtc-browser"]),
    (
        "load",
        &[
            "heartchain-chain",
            "heartchain-sync",
            "heartchain-test-support",
            "keeper",
            "libp2p-webrtc-direct",
        ],
    ),
    ("heartchain", &[]),
];

/// Crates that only tests use. The tests of a crate may depend on them, on the crate's own dependencies, and on nothing
/// else of the workspace.
const FOR_TESTS: &[&str] = &["heartchain-test-support"];

/// Crates whose tests may depend on every other crate.
const ALL_TESTS: &[&str] = &["heartchain"];

/// The page's modules that may import the wasm package: one on the main thread, one in each worker.
const WASM_IMPORTERS: [&str; 3] = ["www/miner.js", "www/node.js", "www/verifier.js"];

/// The dependencies of a crate on other crates of the workspace.
#[derive(Clone, Debug, Default)]
struct Dependencies {
    /// Of the crate and of its build script.
    linked: BTreeSet<String>,
    /// Of its tests, benchmarks and examples.
    development: BTreeSet<String>,
}

#[test]
fn crates_depend_on_each_other_as_drawn() {
    let faults = faults(&workspace(), ARROWS, FOR_TESTS);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn crates_of_the_table_form_no_circle() {
    let mut graph = Graph::default();
    for (name, targets) in ARROWS {
        for target in *targets {
            let mention = Mention {
                line: 0,
                text: String::new(),
            };
            graph.add(name, target, mention);
        }
    }
    assert_eq!(graph.circles(), BTreeSet::new());
}

#[test]
fn three_modules_import_the_wasm_package() {
    let importers: Vec<_> = page_modules::graph_of(&page())
        .arrows()
        .filter(|(_, to)| to.starts_with("www/pkg/"))
        .map(|(from, _)| from.to_owned())
        .collect();
    assert_eq!(importers, WASM_IMPORTERS);
}

#[test]
fn wrong_arrow_is_reported() {
    let crates = |linked: &[(&str, &[&str])]| -> BTreeMap<_, _> {
        linked
            .iter()
            .map(|(name, targets)| {
                let dependencies = Dependencies {
                    linked: targets.iter().map(|&target| target.to_owned()).collect(),
                    ..Dependencies::default()
                };
                ((*name).to_owned(), dependencies)
            })
            .collect()
    };
    let table: &[(&str, &[&str])] = &[("low", &[]), ("high", &["low"])];
    let found = |linked: &[(&str, &[&str])]| faults(&crates(linked), table, &["kit"]);
    assert!(found(table).is_empty());
    assert_eq!(
        found(&[("low", &["high"]), ("high", &["low"])]),
        ["low depends on [\"high\"], but the table ARROWS says []"]
    );
    assert_eq!(
        found(&[("low", &[]), ("high", &[])]),
        ["high depends on [], but the table ARROWS says [\"low\"]"]
    );
    assert_eq!(
        found(&[("low", &[]), ("high", &["low"]), ("new", &[])]),
        [
            "the crate new is not in the table ARROWS of tests/walls/arrows.rs: add it there and to \
             docs/architecture.md"
        ]
    );
    assert_eq!(
        found(&[("low", &[])]),
        ["the table ARROWS has a crate high, which does not exist"]
    );

    let mut tests = crates(table);
    let low = tests.entry("low".to_owned()).or_default();
    low.development = BTreeSet::from(["low".to_owned(), "kit".to_owned(), "high".to_owned()]);
    assert_eq!(
        faults(&tests, table, &["kit"]),
        ["the tests of low depend on high, which low itself does not reach"]
    );
}

/// Compares the dependencies with a table of arrows.
fn faults(
    crates: &BTreeMap<String, Dependencies>,
    table: &[(&str, &[&str])],
    for_tests: &[&str],
) -> Vec<String> {
    let mut faults = Vec::new();
    let allowed: BTreeMap<_, BTreeSet<_>> = table
        .iter()
        .map(|(name, targets)| (*name, targets.iter().copied().collect()))
        .collect();
    for (name, dependencies) in crates {
        let Some(expected) = allowed.get(name.as_str()) else {
            faults.push(format!(
                "the crate {name} is not in the table ARROWS of tests/walls/arrows.rs: add it there and to \
                 docs/architecture.md"
            ));
            continue;
        };
        let linked: BTreeSet<_> = dependencies.linked.iter().map(String::as_str).collect();
        if linked != *expected {
            faults.push(format!(
                "{name} depends on {:?}, but the table ARROWS says {:?}",
                linked.iter().collect::<Vec<_>>(),
                expected.iter().collect::<Vec<_>>()
            ));
        }
        if ALL_TESTS.contains(&name.as_str()) {
            continue;
        }
        let reached = reached(&allowed, name);
        for target in &dependencies.development {
            if !reached.contains(target.as_str()) && !for_tests.contains(&target.as_str()) {
                faults.push(format!(
                    "the tests of {name} depend on {target}, which {name} itself does not reach"
                ));
            }
        }
    }
    for name in allowed.keys() {
        if !crates.contains_key(*name) {
            faults.push(format!(
                "the table ARROWS has a crate {name}, which does not exist"
            ));
        }
    }
    faults
}

/// A crate and all crates that it depends on, directly or through others.
fn reached<'a>(allowed: &BTreeMap<&'a str, BTreeSet<&'a str>>, name: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::from([name]);
    let mut open = vec![name];
    while let Some(name) = open.pop() {
        for &target in allowed.get(name).into_iter().flatten() {
            if reached.insert(target) {
                open.push(target);
            }
        }
    }
    reached
}

/// All crates of the workspace with their dependencies, for every target platform.
fn workspace() -> BTreeMap<String, Dependencies> {
    let metadata = metadata();
    let packages = metadata.workspace_packages();
    let ours: BTreeSet<_> = packages.iter().map(|p| p.name.to_string()).collect();
    packages
        .iter()
        .map(|package| {
            let mut dependencies = Dependencies::default();
            for dependency in &package.dependencies {
                let set = if dependency.kind == DependencyKind::Development {
                    &mut dependencies.development
                } else {
                    &mut dependencies.linked
                };
                if ours.contains(&dependency.name) {
                    set.insert(dependency.name.clone());
                }
            }
            (package.name.to_string(), dependencies)
        })
        .collect()
}

/// The page's modules, keyed by their path.
fn page() -> BTreeMap<String, String> {
    files("www", "js")
        .into_iter()
        .map(|(file, text)| (format!("www/{file}"), text))
        .collect()
}
