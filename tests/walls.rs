//! The walls of the house, as the README's Architecture section draws them: what may depend on what, and which
//! names may stand where. It reads manifests and sources, and runs nothing.

#![cfg(not(target_arch = "wasm32"))]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId, TargetKind};

/// Crates that know no clock, chance, concurrency, network, log or JavaScript.
const PURE: [&str; 2] = ["chain", "sync"];

/// Crates, or families of them, that would bring any of that, or another form of the bytes.
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

/// Where libp2p ends: elsewhere in the browser peer nobody knows what carries the messages.
const LIBP2P: Wall = Wall {
    names: &["libp2p"],
    doors: &["net/"],
};

/// Who touches the browser. `page.rs` is what a page has besides a node (its address, events, the relay's
/// document), `arguments` reads what a page passed, `failure.rs` turns errors into JavaScript's.
const BROWSER: Wall = Wall {
    names: &["web_sys", "js_sys"],
    doors: &[
        "api.rs",
        "arguments.rs",
        "arguments/",
        "clock.rs",
        "failure.rs",
        "miner.rs",
        "page.rs",
        "storage/",
    ],
};

/// Names that may stand in some files only.
#[derive(Debug)]
struct Wall {
    /// Beginnings of identifiers.
    names: &'static [&'static str],
    /// Files and folders, from the source folder on.
    doors: &'static [&'static str],
}

/// A name beyond its wall.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    file: String,
    line: usize,
    name: &'static str,
}

#[test]
fn pure_crates_depend_on_nothing_impure() {
    let metadata = metadata();
    for pure in PURE {
        let bad: Vec<_> = closure(&metadata, pure)
            .into_iter()
            .filter(|name| is_any_of(name, &IMPURE))
            .collect();
        assert!(bad.is_empty(), "{pure} depends on {bad:?}");
    }
}

#[test]
fn the_relay_cannot_read_a_reading() {
    let closure = closure(&metadata(), "relay");
    assert!(
        closure.contains("libp2p"),
        "the relay's own crates are seen"
    );
    for ours in ["chain", "sync", "wasm-node"] {
        assert!(!closure.contains(ours), "the relay depends on {ours}");
    }
}

#[test]
fn the_chain_depends_on_none_of_our_crates() {
    let metadata = metadata();
    assert!(!closure(&metadata, "chain").contains("sync"));
    assert!(
        closure(&metadata, "sync").contains("chain"),
        "arrows are seen"
    );
    let webrtc = closure(&metadata, "libp2p-webrtc-browser");
    assert!(!webrtc.contains("chain") && !webrtc.contains("sync"));
}

#[test]
fn libp2p_stops_in_net() {
    let sources = sources();
    assert_eq!(LIBP2P.breaches(&sources), []);
    let inside = sources.iter().filter(|(file, _)| file.starts_with("net/"));
    let anywhere = Wall {
        doors: &[],
        ..LIBP2P
    };
    assert_ne!(
        anywhere.breaches(inside),
        [],
        "net/ is seen, and speaks libp2p"
    );
}

#[test]
fn few_files_touch_the_browser() {
    assert_eq!(BROWSER.breaches(&sources()), []);
}

#[test]
fn a_breach_is_found() {
    let bad = "//! libp2p is a word here.\n/// So it is here.\nuse libp2p_swarm::Swarm; // and libp2p\n\
               fn f(x: &::libp2p::PeerId) -> not_libp2p {}\n";
    let sources = BTreeMap::from([
        ("driver.rs".to_owned(), bad.to_owned()),
        ("net/swarm.rs".to_owned(), bad.to_owned()),
        ("net.rs".to_owned(), "use web_sys::Window;".to_owned()),
    ]);
    let breach = |line| Breach {
        file: "driver.rs".to_owned(),
        line,
        name: "libp2p",
    };
    assert_eq!(LIBP2P.breaches(&sources), [breach(3), breach(4)]);
    assert_eq!(BROWSER.breaches(&sources).len(), 1);
}

#[test]
fn families_of_crates_are_recognised() {
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
fn closures_follow_indirect_dependencies() {
    let closure = closure(&metadata(), "chain");
    assert!(closure.contains("ed25519-zebra"), "a dependency");
    assert!(
        closure.contains("curve25519-dalek"),
        "a dependency's dependency"
    );
    assert!(!closure.contains("proptest"), "tests do not count");
    assert!(
        !closure.contains("syn"),
        "what runs in the compiler does not count"
    );
}

impl Wall {
    /// Every line of code with a name where it must not be. Comments may say what they like.
    fn breaches<'a>(
        &self,
        sources: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Vec<Breach> {
        let mut breaches = Vec::new();
        for (file, text) in sources {
            if self.doors.iter().any(|door| file.starts_with(door)) {
                continue;
            }
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let found = self
                    .names
                    .iter()
                    .copied()
                    .filter(|name| has_identifier(code, name));
                breaches.extend(found.map(|name| Breach {
                    file: file.clone(),
                    line: number + 1,
                    name,
                }));
            }
        }
        breaches
    }
}

/// Whether an identifier in `code` begins with `name`.
fn has_identifier(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|before| before.is_alphanumeric() || before == '_')
    })
}

/// Whether `name` is one of `patterns`, each a name or the beginning of one and a star.
fn is_any_of(name: &str, patterns: &[&str]) -> bool {
    patterns
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *pattern,
        })
}

/// The browser peer's sources by their path from its `src` on.
fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("wasm-node/src");
    let mut sources = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder).expect("a folder of sources can be read") {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = path.strip_prefix(&root).expect("it is in there");
                let text = fs::read_to_string(&path).expect("sources are text");
                sources.insert(file.to_string_lossy().replace('\\', "/"), text);
            }
        }
    }
    assert!(
        sources.contains_key("lib.rs"),
        "the sources are where they are looked for"
    );
    sources
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .exec()
        .expect("cargo metadata")
}

/// The names of all packages that end up in `name`'s code: no tests, build scripts or macros, but every target.
fn closure(metadata: &Metadata, name: &str) -> BTreeSet<String> {
    let resolve = metadata.resolve.as_ref().expect("with dependencies");
    let package_of: BTreeMap<&PackageId, _> =
        metadata.packages.iter().map(|p| (&p.id, p)).collect();
    let nodes: BTreeMap<&PackageId, _> =
        resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let start = metadata
        .workspace_packages()
        .into_iter()
        .find(|p| p.name == name)
        .expect("a package of ours");

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
