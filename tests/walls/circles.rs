//! No circles between the files of a crate, nor between the modules of the page, and no arrows between the parts of the
//! machine. Files in a circle can only be understood, tested and moved together.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::OnceLock,
};

use crate::{
    graph::{Graph, Mention},
    page_modules, rust_files,
    workspace::{files, metadata, root},
};

/// The parts of the machine know nothing of each other: what one wants of another goes through the router.
const PARTS: &[Parts] = &[Parts {
    folder: "wasm-node/sync/src/machine",
    low: &[
        "bans",
        "clock",
        "context",
        "follow_up",
        "identity",
        "lost_bodies",
        "peers",
        "requests",
        "token_bucket",
        "writes",
    ],
    arrows: &[
        ("answers", &["profile_table"]),
        ("bodies", &["download", "suppliers"]),
        (
            "gossip",
            &["equivocations", "forward_limiter", "orphan_pool"],
        ),
        ("header_sync", &["header_presync"]),
        ("headers", &["header_presync", "header_sync"]),
        ("journal", &["journal_entry", "own_heights"]),
        ("key_conflict", &["journal", "journal_entry"]),
        ("mempool_sync", &["equivocations"]),
        ("missing_bodies", &["last_round", "suppliers", "sweep"]),
        // The router of follow-ups knows all parts.
        (
            "parts",
            &[
                "adopted_readings",
                "answers",
                "bodies",
                "clock_jumps",
                "confirmation",
                "gossip",
                "headers",
                "importing",
                "mempool_sync",
                "mining",
                "missing_bodies",
                "orphan_pool",
                "profiles",
                "recorder",
                "reorg_recovery",
                "status",
            ],
        ),
        ("own_name", &["journal", "profile_table"]),
        (
            "profiles",
            &["journal", "own_name", "profile_ranks", "profile_table"],
        ),
        ("recorder", &["journal", "journal_entry", "key_conflict"]),
        ("store_reset", &["adopted_readings", "journal"]),
        ("write_retry", &["adopted_readings", "reorg_recovery"]),
    ],
}];

/// A folder whose files do not import each other, except as listed. Files are named without `.rs`, and stand for the
/// files in the folder with their name as well.
#[derive(Debug)]
struct Parts {
    folder: &'static str,
    /// Files that all others may import from.
    low: &'static [&'static str],
    /// What else a file may import from: exactly these.
    arrows: &'static [(&'static str, &'static [&'static str])],
}

#[test]
fn files_of_a_crate_form_no_circle() {
    let mut text = String::new();
    for (name, graphs) in crates() {
        // Several targets may contain the same files.
        let circles: BTreeSet<_> = graphs
            .iter()
            .flat_map(|graph| graph.circles().into_iter().map(|it| graph.describe(&it)))
            .collect();
        for circle in circles {
            text.push_str("\n\n");
            text.push_str(name);
            text.push_str(": ");
            text.push_str(&circle);
        }
    }
    assert!(
        text.is_empty(),
        "move what both need into a file below both:{text}"
    );
}

#[test]
fn modules_of_the_page_form_no_circle() {
    let modules = files("www", "js")
        .into_iter()
        .map(|(file, text)| (format!("www/{file}"), text))
        .collect();
    let graph = page_modules::graph_of(&modules);
    assert!(
        graph
            .arrows()
            .any(|arrow| arrow == ("www/page.js", "www/node.js")),
        "imports are found"
    );
    let circles: Vec<_> = graph
        .circles()
        .iter()
        .map(|it| graph.describe(it))
        .collect();
    assert!(circles.is_empty(), "{}", circles.join("\n\n"));
}

#[test]
fn parts_do_not_import_each_other() {
    let crates = crates();
    for parts in PARTS {
        let graphs: Vec<_> = crates.values().flatten().collect();
        let faults = parts.faults(&graphs);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

#[test]
fn sources_of_all_crates_are_scanned() {
    let crates = crates();
    let arrows = |name: &str| -> BTreeSet<_> {
        crates[name]
            .iter()
            .flat_map(Graph::arrows)
            .map(|(from, to)| (from.to_owned(), to.to_owned()))
            .collect()
    };
    for (name, from, to) in [
        (
            "heartchain-chain",
            "wasm-node/chain/src/lib.rs",
            "wasm-node/chain/src/tree.rs",
        ),
        (
            "heartchain-chain",
            "wasm-node/chain/src/block.rs",
            "wasm-node/chain/src/header.rs",
        ),
        ("relay", "relay/build.rs", "relay/build/assets.rs"),
        (
            "heartchain",
            "tests/walls/circles.rs",
            "tests/walls/graph.rs",
        ),
    ] {
        let arrow = (from.to_owned(), to.to_owned());
        assert!(arrows(name).contains(&arrow), "{arrow:?} in {name}");
    }
}

#[test]
fn arrow_between_parts_is_a_fault() {
    let parts = Parts {
        folder: "src/machine",
        low: &["peers", "context"],
        arrows: &[("bodies", &["download"])],
    };
    let faults = |arrows: &[(&str, &str)]| {
        let mut graph = Graph::default();
        for (from, to) in arrows {
            let text = "super::X".to_owned();
            graph.add(from, to, Mention { line: 7, text });
        }
        parts.faults(&[&graph])
    };
    let allowed = [
        ("src/machine.rs", "src/machine/bodies.rs"),
        ("src/machine/bodies.rs", "src/message.rs"),
        ("src/machine/bodies.rs", "src/machine/peers.rs"),
        ("src/machine/bodies.rs", "src/machine/download.rs"),
        ("src/machine/bodies/turns.rs", "src/machine/context.rs"),
        ("src/machine/bodies.rs", "src/machine/bodies/turns.rs"),
        ("src/machine/peers.rs", "src/machine/context/ids.rs"),
    ];
    assert_eq!(faults(&allowed), Vec::<String>::new());
    for (from, to) in [
        ("src/machine/bodies.rs", "src/machine/headers.rs"),
        ("src/machine/download.rs", "src/machine/bodies.rs"),
        ("src/machine/bodies/turns.rs", "src/machine/headers.rs"),
        ("src/machine/bodies.rs", "src/machine/headers/presync.rs"),
        ("src/machine/peers.rs", "src/machine/headers.rs"),
    ] {
        let expected = format!("{from} names {to} (line 7: super::X)");
        assert_eq!(faults(&[&allowed[..], &[(from, to)]].concat()), [expected]);
    }
    assert_eq!(
        faults(&[]),
        [
            "src/machine/bodies.rs may import from download, but does not: drop it from the table PARTS"
        ]
    );
}

impl Parts {
    /// Describes each arrow from one file to another that is not in the lists, and each in the lists that is not there.
    fn faults(&self, graphs: &[&Graph]) -> Vec<String> {
        let mut used = BTreeSet::new();
        let mut faults = BTreeSet::new();
        for graph in graphs {
            for (from, to) in graph.arrows() {
                let (Some(part), Some(other)) = (self.part_of(from), self.part_of(to)) else {
                    continue;
                };
                if part != other && !self.low.contains(&other) {
                    used.insert((part, other));
                    if !self.allowed().any(|arrow| arrow == (part, other)) {
                        faults.insert(graph.describe_arrow(from, to));
                    }
                }
            }
        }
        let unused = self.allowed().filter(|arrow| !used.contains(arrow));
        faults.extend(unused.map(|(part, other)| {
            let folder = self.folder;
            format!(
                "{folder}/{part}.rs may import from {other}, but does not: drop it from the table PARTS"
            )
        }));
        faults.into_iter().collect()
    }

    fn allowed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.arrows
            .iter()
            .flat_map(|(part, others)| others.iter().map(|other| (*part, *other)))
    }

    /// The first name of a path in this folder: `bodies` for `bodies.rs` and for `bodies/turns.rs`.
    fn part_of<'a>(&self, file: &'a str) -> Option<&'a str> {
        let inside = file.strip_prefix(self.folder)?.strip_prefix('/')?;
        inside.split(['/', '.']).next()
    }
}

/// The graphs of all targets of each crate: its library, programs, tests, examples, benchmarks and build script.
fn crates() -> &'static BTreeMap<String, Vec<Graph>> {
    static CRATES: OnceLock<BTreeMap<String, Vec<Graph>>> = OnceLock::new();
    CRATES.get_or_init(read_crates)
}

fn read_crates() -> BTreeMap<String, Vec<Graph>> {
    let metadata = metadata();
    let read = |file: &Path| fs::read_to_string(root().join(file)).ok();
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let graphs = package.targets.iter().map(|target| {
                let file = target
                    .src_path
                    .strip_prefix(&metadata.workspace_root)
                    .expect("a crate of the workspace is inside it");
                rust_files::graph_of(file.as_std_path(), &read).expect("a target that compiles")
            });
            (package.name.to_string(), graphs.collect())
        })
        .collect()
}
