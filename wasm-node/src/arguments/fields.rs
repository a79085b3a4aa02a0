//! Reads single values that JavaScript passes.

use std::cell::RefCell;

use wasm_bindgen::JsValue;

thread_local! {
    /// The names of fields as JavaScript's strings, sorted. Making one takes longer than reading a field, and a long file has
    /// a million fields. No more names than this code has.
    static NAMES: RefCell<Vec<(&'static str, JsValue)>> = const { RefCell::new(Vec::new()) };
}

/// A number without a fraction that JavaScript represents exactly.
pub(super) fn whole(value: &JsValue) -> Option<u64> {
    let is_safe = |number: &f64| {
        number.abs() <= js_sys::Number::MAX_SAFE_INTEGER && number.trunc() == *number
    };
    let number = value.as_f64().filter(is_safe)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, not negative, below 2^53"
    )]
    (number >= 0.0).then_some(number as u64)
}

/// A field's value, unless it is missing, undefined or null.
pub(super) fn field(options: &JsValue, name: &'static str) -> Option<JsValue> {
    let name = NAMES.with_borrow_mut(|names| {
        match names.binary_search_by_key(&name, |(known, _)| known) {
            Ok(at) => names.get(at).map(|(_, name)| name.clone()),
            Err(at) => {
                names.insert(at, (name, name.into()));
                Some(name.into())
            }
        }
    })?;
    // The field may be a getter, which may call this function.
    let value = js_sys::Reflect::get(options, &name).ok()?;
    (!value.is_undefined() && !value.is_null()).then_some(value)
}
