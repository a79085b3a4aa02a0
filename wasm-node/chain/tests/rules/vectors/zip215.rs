//! The ZIP-215 edge cases with their verdicts.

use serde_json::{Value, json};

use crate::zip215::{Case, ROOM, Verdict, cases, verdict};

pub(super) fn vectors() -> Value {
    let cases: Vec<Value> = cases()
        .iter()
        .map(|Case { name, reading, verdict: expected }| {
            assert_eq!(verdict(reading.verify(ROOM)), *expected, "{name}");
            let verdict = match expected {
                Verdict::Valid => "valid".into(),
                Verdict::AuthorNotCanonical
                | Verdict::AuthorSmallOrder
                | Verdict::AuthorNotAPoint
                | Verdict::Signature => format!("{expected:?}"),
            };
            json!({ "name": name, "reading": hex::encode(reading.to_bytes()), "verdict": verdict })
        })
        .collect();
    json!({ "room": ROOM.to_string(), "cases": cases })
}
