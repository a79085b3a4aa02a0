//! Reads single values that JavaScript passes.

use wasm_bindgen::JsValue;

/// A number without a fraction that JavaScript represents exactly.
pub(super) fn whole(value: &JsValue) -> Option<u64> {
    let number = value
        .as_f64()
        .filter(|_| js_sys::Number::is_safe_integer(value))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, not negative, below 2^53"
    )]
    (number >= 0.0).then_some(number as u64)
}

/// A field's value, unless it is missing, undefined or null.
pub(super) fn field(options: &JsValue, name: &str) -> Option<JsValue> {
    let value = js_sys::Reflect::get(options, &name.into()).ok()?;
    (!value.is_undefined() && !value.is_null()).then_some(value)
}
