//! The examples of the README: the build for wasm32 compiles them, and the native test compares them with the README.

#[cfg(target_arch = "wasm32")]
#[allow(dead_code, reason = "only compiled")]
#[path = "readme/direct.rs"]
mod direct;
#[cfg(target_arch = "wasm32")]
#[allow(dead_code, reason = "only compiled")]
#[path = "readme/peers.rs"]
mod peers;

#[cfg(not(target_arch = "wasm32"))]
#[test]
fn readme_has_the_examples_that_are_compiled() {
    let readme = include_str!("../README.md");
    let examples = readme.split("```rust,ignore\n").skip(1);
    let examples: Vec<_> = examples
        .filter_map(|rest| rest.split("```").next())
        .collect();
    let compiled = [
        include_str!("readme/direct.rs"),
        include_str!("readme/peers.rs"),
    ];
    assert_eq!(examples, compiled);
}
