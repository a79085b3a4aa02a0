//! Writes values as JSON, for files and for JavaScript. Reads nothing: the browser's own parser does.

use std::io;

use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};
use wasm_bindgen::JsValue;

/// The JSON of a value. Numbers with a fraction are rounded to one decimal.
///
/// # Errors
/// If the value has a map whose keys are not strings. None of ours has one.
pub(crate) fn to_text(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, OneDecimal))?;
    String::from_utf8(bytes).map_err(|_| serde::ser::Error::custom("not UTF-8"))
}

/// The value as JavaScript's `JSON.parse` makes it from its JSON. This is several times as fast as a call for each field.
///
/// # Errors
/// If [`to_text`] fails, or the browser does not parse its result.
pub(crate) fn to_js(value: &impl Serialize) -> Result<JsValue, JsonError> {
    let text = to_text(value)?;
    js_sys::JSON::parse(&text).map_err(|_| JsonError::NotParsed)
}

/// Why a value did not become JavaScript's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsonError {
    /// The value has no JSON.
    #[error(transparent)]
    NotWritten(#[from] serde_json::Error),
    /// The browser's parser failed.
    #[error("this browser does not parse the value")]
    NotParsed,
}

/// Writes JSON without spaces. The shortest digits of any number would take tables of 10 kB.
struct OneDecimal;

impl Formatter for OneDecimal {
    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        let (whole, tenths) = (value as i64, (value * 10.0).round() as i64);
        if value.trunc() == value {
            return write!(writer, "{whole}");
        }
        let sign = if tenths < 0 { "-" } else { "" };
        let tenths = tenths.unsigned_abs();
        write!(writer, "{sign}{}", tenths / 10)?;
        match tenths % 10 {
            0 => Ok(()),
            digit => write!(writer, ".{digit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[derive(Serialize)]
    struct Sample<'a> {
        text: &'a str,
        none: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        left_out: Option<u64>,
        whole: u64,
        list: [Option<f64>; 2],
    }

    #[test]
    fn values_are_those_of_their_json() {
        let sample = Sample {
            text: "\"\\\n한",
            none: None,
            left_out: None,
            whole: (1 << 53) - 1,
            list: [Some(1.25), None],
        };
        let value = to_js(&sample).expect("a value");
        let text = js_sys::JSON::stringify(&value).expect("JSON");
        let expected =
            r#"{"text":"\"\\\n한","none":null,"whole":9007199254740991,"list":[1.3,null]}"#;
        assert_eq!(String::from(text), expected);
        assert_eq!(to_text(&sample).expect("JSON"), expected);
    }

    #[test]
    fn numbers_have_at_most_one_decimal() {
        for (number, text) in [
            (0.0, "0"),
            (-0.04, "0"),
            (0.05, "0.1"),
            (-1.26, "-1.3"),
            (2.96, "3"),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
        ] {
            assert_eq!(to_text(&number).expect("JSON"), text, "{number}");
        }
    }
}
