//! The crates that know nothing of Heartchain carry what a registry shows of a package.

use std::fs;

use crate::workspace::metadata;

/// Crates that others can use.
const LIBRARIES: [&str; 3] = [
    "libp2p-webrtc-browser",
    "libp2p-webrtc-direct",
    "libp2p-webrtc-streams",
];

#[test]
fn libraries_carry_licence_and_description() {
    let licence = fs::read_to_string(crate::workspace::root().join("LICENSE"));
    let licence = licence.expect("the workspace has a licence");
    for name in LIBRARIES {
        let package = metadata().packages.iter().find(|one| one.name == name);
        let package = package.expect("the library is in the workspace");
        assert!(package.license.is_some(), "{name} names no licence");
        assert!(package.description.is_some(), "{name} has no description");
        assert!(!package.keywords.is_empty(), "{name} has no keywords");
        assert!(!package.categories.is_empty(), "{name} has no categories");
        let folder = package.manifest_path.parent().expect("a folder");
        let readme = package.readme.as_ref().expect("a README");
        assert!(folder.join(readme).exists(), "{name} has no README");
        let copy = fs::read_to_string(folder.join("LICENSE"));
        assert_eq!(copy.ok().as_ref(), Some(&licence), "the licence of {name}");
    }
}

/// docs.rs would build the documentation for another target, on which most of this crate does not exist.
#[test]
fn browser_crate_is_documented_for_browsers() {
    let packages = &metadata().packages;
    let found = packages.iter().find(|one| one.name == LIBRARIES[0]);
    let settings = &found.expect("in the workspace").metadata["docs"]["rs"];
    assert_eq!(settings["default-target"], "wasm32-unknown-unknown");
}
