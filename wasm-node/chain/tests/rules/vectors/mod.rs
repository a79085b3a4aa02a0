//! The vectors in `wasm-node/chain/vectors/`. Each module generates the content of one file with the crate, and the
//! tests compare it with the file. They overwrite a file only if `CHAIN_VECTORS=write` is set.

mod blocks;
mod constants;
mod difficulty;
mod difficulty_limits;
mod errors;
mod hostile;
mod merkle;
mod readings;
mod rfc8452;
mod rooms;
mod sealed;
mod work;
mod zip215;

use std::{env, fs, path::PathBuf};

use serde_json::Value;

/// Environment variable to set to `write` after a deliberate change of the rules.
const SWITCH: &str = "CHAIN_VECTORS";
/// Lists and objects longer than this many characters are broken into lines.
const LINE: usize = 110;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(name)
}

/// Compares the generated content with the file, after writing it if [`SWITCH`] says so.
fn check(name: &str, made: &Value) {
    let path = path(name);
    if env::var(SWITCH).is_ok_and(|value| value == "write") {
        fs::write(&path, lines(made, 0) + "\n").expect("the folder of the vectors is writable");
    }
    let text = fs::read_to_string(&path).expect("the vectors are checked in");
    let kept: Value = serde_json::from_str(&text).expect("the vectors are JSON");
    assert!(
        kept == *made,
        "{name} differs from the generated vectors; see vectors/README.md\ngenerated: {made}\nfile: {kept}"
    );
}

/// Formats JSON with each short value on one line.
fn lines(value: &Value, depth: usize) -> String {
    let short = value.to_string();
    let inner = "  ".repeat(depth + 1);
    let parts: Vec<String> = match value {
        _ if short.len() <= LINE => return short,
        Value::Array(items) => items
            .iter()
            .map(|item| inner.clone() + &lines(item, depth + 1))
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, field)| {
                format!(
                    "{inner}{}: {}",
                    Value::from(key.as_str()),
                    lines(field, depth + 1)
                )
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return short,
    };
    let (open, close) = if value.is_array() {
        ('[', ']')
    } else {
        ('{', '}')
    };
    format!(
        "{open}\n{}\n{}{close}",
        parts.join(",\n"),
        "  ".repeat(depth)
    )
}

#[test]
fn constants_match_the_vectors() {
    check("constants.json", &constants::vectors());
}

#[test]
fn rooms_match_the_vectors() {
    check("rooms.json", &rooms::vectors());
}

#[test]
fn readings_match_the_vectors() {
    check("readings.json", &readings::vectors());
}

#[test]
fn merkle_roots_match_the_vectors() {
    check("merkle.json", &merkle::vectors());
}

#[test]
fn work_matches_the_vectors() {
    check("work.json", &work::vectors());
}

#[test]
fn difficulty_matches_the_vectors() {
    check("difficulty.json", &difficulty::vectors());
}

#[test]
fn difficulty_limits_match_the_vectors() {
    check("difficulty_limits.json", &difficulty_limits::vectors());
}

#[test]
fn odd_signatures_match_the_vectors() {
    check("zip215.json", &zip215::vectors());
}

#[test]
fn small_chain_matches_the_vectors() {
    check("blocks.json", &blocks::vectors());
}

#[test]
fn cipher_matches_rfc_8452() {
    let text = fs::read_to_string(path("rfc8452.json")).expect("the vectors are checked in");
    let vectors = serde_json::from_str(&text).expect("the vectors are JSON");
    assert_eq!(rfc8452::check(&vectors), 26);
}

#[test]
fn small_private_chain_matches_the_vectors() {
    check("private_blocks.json", &blocks::private_vectors());
}

#[test]
fn sealed_values_match_the_vectors() {
    check("sealed.json", &sealed::vectors());
}

#[test]
fn hostile_blocks_match_the_vectors() {
    check("hostile.json", &hostile::vectors());
}

#[test]
fn hostile_private_blocks_match_the_vectors() {
    check("private_hostile.json", &hostile::private_vectors());
}
