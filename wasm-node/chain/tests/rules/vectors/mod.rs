//! The vectors in `wasm-node/chain/vectors/`: each module here makes one file's content by the crate, and the tests
//! compare it with what is checked in. They never overwrite a file unless `CHAIN_VECTORS=write` asks for it.

mod blocks;
mod constants;
mod difficulty;
mod hostile;
mod merkle;
mod readings;
mod rooms;
mod work;
mod zip215;

use std::{env, fs, path::PathBuf};

use serde_json::Value;

/// Set to `write` after a deliberate change of the rules.
const SWITCH: &str = "CHAIN_VECTORS";
/// Longer lists and objects are broken into lines.
const LINE: usize = 110;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(name)
}

/// Compares, or writes if asked to.
fn check(name: &str, made: &Value) {
    let path = path(name);
    if env::var(SWITCH).is_ok_and(|value| value == "write") {
        fs::write(&path, lines(made, 0) + "\n").expect("the vectors' folder is writable");
    }
    let text = fs::read_to_string(&path).expect("the vectors are checked in");
    let kept: Value = serde_json::from_str(&text).expect("the vectors are JSON");
    assert!(
        kept == *made,
        "{name} is not what the rules make; see vectors/README.md\nmade: {made}\nkept: {kept}"
    );
}

/// JSON with short values on one line each.
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

/// An error's name: its variants from the outside in, as in `Reading/Signature`.
fn error_name(error: &impl core::fmt::Debug) -> String {
    let text = format!("{error:?}");
    let mut name: String = text.chars().take_while(|c| c.is_alphanumeric()).collect();
    let source = text.split_once("source: ").map(|(_, source)| source);
    let wrapped = text
        .strip_prefix(&name)
        .and_then(|rest| rest.strip_prefix('('));
    if let Some(inner) = source.or(wrapped) {
        let inner: String = inner
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '(')
            .collect();
        name = format!("{name}/{}", inner.replace('(', "/").trim_end_matches('/'));
    }
    name
}

#[test]
fn constants_are_what_the_vectors_say() {
    check("constants.json", &constants::vectors());
}

#[test]
fn rooms_are_what_the_vectors_say() {
    check("rooms.json", &rooms::vectors());
}

#[test]
fn readings_are_what_the_vectors_say() {
    check("readings.json", &readings::vectors());
}

#[test]
fn merkle_roots_are_what_the_vectors_say() {
    check("merkle.json", &merkle::vectors());
}

#[test]
fn work_is_what_the_vectors_say() {
    check("work.json", &work::vectors());
}

#[test]
fn difficulty_is_what_the_vectors_say() {
    check("difficulty.json", &difficulty::vectors());
}

#[test]
fn odd_signatures_are_judged_as_the_vectors_say() {
    check("zip215.json", &zip215::vectors());
}

#[test]
fn small_chain_is_what_the_vectors_say() {
    check("blocks.json", &blocks::vectors());
}

#[test]
fn hostile_blocks_are_refused_as_the_vectors_say() {
    check("hostile.json", &hostile::vectors());
}
