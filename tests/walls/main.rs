//! Checks the architecture that docs/architecture.md describes: which crates may depend on which, that no files import
//! each other in a circle, and which files of the browser peer may use libp2p or browser APIs. Also checks that citations
//! of documents lead somewhere. Reads manifests and sources only; runs nothing.

#![cfg(not(target_arch = "wasm32"))]

mod arrows;
mod circles;
mod citations;
mod graph;
mod libraries;
mod page_modules;
mod rust_files;
mod workspace;

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, PackageId, TargetKind};

use self::workspace::{files, metadata};

/// Crates without access to clocks, randomness, concurrency, network, logs or JavaScript.
const PURE: [&str; 2] = ["heartchain-chain", "heartchain-sync"];

/// Crates, or families of crates, that would bring in one of these, or a second serialization format.
const IMPURE: [&str; 19] = [
    "async-*",
    "futures*",
    "getrandom",
    "gloo*",
    "instant",
    "js-sys",
    "libp2p*",
    "log",
    "mio",
    "rand",
    "serde*",
    "socket2",
    "time",
    "tokio*",
    "tracing*",
    "wasm-bindgen*",
    "wasm-node",
    "web-sys",
    "web-time",
];

/// libp2p is confined to these files: the rest of a peer does not depend on how messages travel. `net/` is in the crate
/// `heartchain-peer`, the others are the browser's.
const LIBP2P: Boundary = Boundary {
    names: &["libp2p"],
    allowed_in: &["net/", "transport.rs", "workarounds/"],
};

/// What belongs to one platform, and not into `heartchain-peer`.
const PLATFORM: Boundary = Boundary {
    names: &["js_sys", "tokio", "wasm_bindgen", "web_sys"],
    allowed_in: &[],
};

/// The files that may call browser APIs. `arguments` reads what a page passes in, and `failure.rs` reports panics to the
/// page; each of the others wraps one part of the browser.
const BROWSER: Boundary = Boundary {
    names: &["web_sys", "js_sys"],
    allowed_in: &[
        "api.rs",
        "api_error.rs",
        "arguments.rs",
        "arguments/",
        "blob_writer.rs",
        "clock.rs",
        "document_reader.rs",
        "error_codes.rs",
        "failure.rs",
        "import_reader.rs",
        "json.rs",
        "leaving.rs",
        "listeners.rs",
        "miner.rs",
        "next_task.rs",
        "response_body.rs",
        "resume_listener.rs",
        "storage/",
        "verifier.rs",
        "worker.rs",
    ],
};

/// Only what a worker of this tab sent may become a proof that signatures are valid: `verifier.rs` has the one that verifies what
/// peers send, `import_reader.rs` the one that reads files.
const PROOF: Boundary = Boundary {
    names: &["from_own_thread"],
    allowed_in: &["import_reader.rs", "verifier.rs"],
};

/// Identifiers that may appear in some files only.
#[derive(Debug)]
struct Boundary {
    /// Prefixes of the identifiers.
    names: &'static [&'static str],
    /// Files and folders that may use them, relative to the source folder.
    allowed_in: &'static [&'static str],
}

/// An identifier in a file that must not use it.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    file: String,
    line: usize,
    name: &'static str,
}

#[test]
fn pure_crates_depend_on_nothing_impure() {
    for pure in PURE {
        let bad: Vec<_> = closure_alone(pure)
            .into_iter()
            .filter(|name| is_any_of(name, &IMPURE))
            .collect();
        assert!(bad.is_empty(), "{pure} depends on {bad:?}");
    }
}

#[test]
fn relay_cannot_decode_readings() {
    let closure = closure(metadata(), "relay");
    assert!(
        closure.contains("libp2p"),
        "the relay's dependencies are listed"
    );
    for ours in [
        "heartchain-chain",
        "heartchain-peer",
        "heartchain-sync",
        "libp2p-webrtc-browser",
        "wasm-node",
    ] {
        assert!(!closure.contains(ours), "the relay depends on {ours}");
    }
}

#[test]
fn chain_depends_on_no_other_crate_of_ours() {
    let metadata = metadata();
    assert!(!closure(metadata, "heartchain-chain").contains("heartchain-sync"));
    assert!(
        closure(metadata, "heartchain-sync").contains("heartchain-chain"),
        "dependencies are listed"
    );
    let webrtc = closure(metadata, "libp2p-webrtc-browser");
    assert!(!webrtc.contains("heartchain-chain") && !webrtc.contains("heartchain-sync"));
}

#[test]
fn libp2p_is_confined_to_net() {
    assert_eq!(LIBP2P.violations(&sources()), []);
    let sources = files("wasm-node/peer/src", "rs");
    assert_eq!(LIBP2P.violations(&sources), []);
    let inside = sources.iter().filter(|(file, _)| file.starts_with("net/"));
    let anywhere = Boundary {
        allowed_in: &[],
        ..LIBP2P
    };
    assert_ne!(
        anywhere.violations(inside),
        [],
        "net/ is scanned and uses libp2p"
    );
}

#[test]
fn shared_peer_knows_no_platform() {
    let sources = files("wasm-node/peer/src", "rs");
    assert!(sources.contains_key("lib.rs"), "it is scanned");
    assert_eq!(PLATFORM.violations(&sources), []);
}

#[test]
fn browser_apis_are_confined_to_listed_files() {
    assert_eq!(BROWSER.violations(&sources()), []);
}

#[test]
fn proofs_of_signatures_come_from_workers_only() {
    let sources = sources();
    assert_eq!(PROOF.violations(&sources), []);
    let anywhere = Boundary {
        allowed_in: &[],
        ..PROOF
    };
    assert_eq!(anywhere.violations(&sources).len(), 2);
}

#[test]
fn violation_is_found() {
    let bad = "//! libp2p is a word here.\n/// So it is here.\nuse libp2p_swarm::Swarm; // and libp2p\n\
               fn f(x: &::libp2p::PeerId) -> not_libp2p {}\n";
    let sources = BTreeMap::from([
        ("driver.rs".to_owned(), bad.to_owned()),
        ("net/swarm.rs".to_owned(), bad.to_owned()),
        ("net.rs".to_owned(), "use web_sys::Window;".to_owned()),
    ]);
    let violation = |line| Violation {
        file: "driver.rs".to_owned(),
        line,
        name: "libp2p",
    };
    assert_eq!(LIBP2P.violations(&sources), [violation(3), violation(4)]);
    assert_eq!(BROWSER.violations(&sources).len(), 1);
}

#[test]
fn crate_families_are_recognised() {
    for bad in [
        "libp2p",
        "libp2p-core",
        "tokio",
        "serde_json",
        "js-sys",
        "rand",
    ] {
        assert!(is_any_of(bad, &IMPURE), "{bad}");
    }
    for good in [
        "rand_core",
        "rand_chacha",
        "borsh",
        "sha2",
        "timeout",
        "jsonnet",
    ] {
        assert!(!is_any_of(good, &IMPURE), "{good}");
    }
}

#[test]
fn closure_includes_indirect_dependencies() {
    let closure = closure(metadata(), "heartchain-chain");
    assert!(closure.contains("ed25519-zebra"), "a dependency");
    assert!(
        closure.contains("curve25519-dalek"),
        "a dependency's dependency"
    );
    assert!(
        !closure.contains("proptest"),
        "development dependencies are left out"
    );
    assert!(
        !closure.contains("syn"),
        "macros and their dependencies are left out"
    );
}

impl Boundary {
    /// Returns every line of code that uses an identifier where it is not allowed. Comments are ignored.
    fn violations<'a>(
        &self,
        sources: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Vec<Violation> {
        let mut violations = Vec::new();
        for (file, text) in sources {
            if self
                .allowed_in
                .iter()
                .any(|allowed| file.starts_with(allowed))
            {
                continue;
            }
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let found = self
                    .names
                    .iter()
                    .copied()
                    .filter(|name| has_identifier(code, name));
                violations.extend(found.map(|name| Violation {
                    file: file.clone(),
                    line: number + 1,
                    name,
                }));
            }
        }
        violations
    }
}

/// Whether an identifier in `code` begins with `name`.
fn has_identifier(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|before| before.is_alphanumeric() || before == '_')
    })
}

/// Whether `name` matches one of `patterns`: each is a name, or a prefix followed by a star.
fn is_any_of(name: &str, patterns: &[&str]) -> bool {
    patterns
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *pattern,
        })
}

/// The browser peer's sources, keyed by their path relative to its `src` folder.
fn sources() -> BTreeMap<String, String> {
    let sources = files("wasm-node/src", "rs");
    assert!(
        sources.contains_key("lib.rs"),
        "lib.rs is among the sources"
    );
    sources
}

/// The names of all packages that are linked into `name` when it is built alone. Crates of the workspace that are built
/// with it may turn on features of what they share, which [`closure`] cannot tell apart.
fn closure_alone(name: &str) -> BTreeSet<String> {
    let mut command = std::process::Command::new(env!("CARGO"));
    command
        .args(["tree", "--offline", "--package", name])
        .args(["--edges", "normal,no-proc-macro", "--target", "all"])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{output:?}");
    let tree = String::from_utf8(output.stdout).expect("names are UTF-8");
    let names: BTreeSet<String> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    assert!(names.contains(name), "{tree}");
    names.into_iter().filter(|other| other != name).collect()
}

/// The names of all packages that are linked into `name`: without development and build dependencies and macros, for
/// every target platform.
fn closure(metadata: &Metadata, name: &str) -> BTreeSet<String> {
    let resolve = metadata
        .resolve
        .as_ref()
        .expect("cargo metadata resolves dependencies");
    let package_of: BTreeMap<&PackageId, _> =
        metadata.packages.iter().map(|p| (&p.id, p)).collect();
    let nodes: BTreeMap<&PackageId, _> =
        resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let start = metadata
        .workspace_packages()
        .into_iter()
        .find(|p| p.name == name)
        .expect("a package of this workspace");

    let mut found = BTreeSet::new();
    let mut open = vec![&start.id];
    while let Some(id) = open.pop() {
        for dependency in &nodes[id].deps {
            let package = package_of[&dependency.pkg];
            let linked = dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind == DependencyKind::Normal);
            let is_macro = package
                .targets
                .iter()
                .any(|t| t.kind.contains(&TargetKind::ProcMacro));
            if linked && !is_macro && found.insert(package.name.to_string()) {
                open.push(&dependency.pkg);
            }
        }
    }
    found
}
