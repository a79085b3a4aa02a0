//! The errors that JavaScript gets: an `Error` with a `code` that programs can compare, and a message for people.

use wasm_bindgen::JsValue;

/// The `name` of all errors.
pub(crate) const NAME: &str = "HeartchainError";

/// An error on its way to JavaScript, where it becomes a `HeartchainError`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    code: &'static str,
    message: String,
}

/// Gives an error its code, one of `HeartchainErrorCode` in `types.d.ts`.
pub(crate) trait ErrorCode {
    /// The code, which stays the same when the message changes.
    fn code(&self) -> &'static str;
}

impl ApiError {
    /// An argument is wrong.
    pub(crate) fn invalid(error: &impl std::fmt::Display) -> Self {
        Self {
            code: INVALID,
            message: error.to_string(),
        }
    }

    /// An error of the browser or of this code itself.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self {
            code: "internal",
            message: message.into(),
        }
    }
}

impl<E: ErrorCode + std::fmt::Display> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self {
            code: error.code(),
            message: error.to_string(),
        }
    }
}

impl From<ApiError> for JsValue {
    fn from(ApiError { code, message }: ApiError) -> Self {
        let error = js_sys::Error::new(&message);
        error.set_name(NAME);
        // An error accepts any field.
        let _ = js_sys::Reflect::set(&error, &"code".into(), &code.into());
        error.into()
    }
}

/// A value or an option is wrong; calling again with the same one fails again.
pub(crate) const INVALID: &str = "invalid-argument";
