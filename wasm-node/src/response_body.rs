//! Reads the body of an HTTP response up to a limit. `Response.text()` would read a body of any length, which a server
//! that never stops sending could use to fill the tab's memory.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStreamDefaultReader, Response};

/// Why a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body is longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error("the body could not be received")]
    Interrupted,
    #[error("the body is not UTF-8")]
    NotText,
}

/// Reads the whole body as text. As soon as it is longer than `limit` bytes, cancels it, and the browser receives no
/// more of it.
///
/// # Errors
/// If the body is too long, ends early or is not UTF-8.
pub(crate) async fn read_text(response: &Response, limit: usize) -> Result<String, BodyError> {
    let Some(body) = response.body() else {
        return Ok(String::new());
    };
    let reader = ReadableStreamDefaultReader::new(&body).map_err(|_| BodyError::Interrupted)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = next_chunk(&reader).await.ok_or(BodyError::Interrupted)? {
        if bytes.len().saturating_add(chunk.byte_length() as usize) > limit {
            // Fails only if the body has failed already.
            let _ = JsFuture::from(reader.cancel()).await;
            return Err(BodyError::TooLong { limit });
        }
        bytes.extend(chunk.to_vec());
    }
    String::from_utf8(bytes).map_err(|_| BodyError::NotText)
}

/// The next part of the body, or `Some(None)` at its end; `None` if the body failed.
async fn next_chunk(reader: &ReadableStreamDefaultReader) -> Option<Option<Uint8Array>> {
    let next = JsFuture::from(reader.read()).await.ok()?;
    let field = |name: &str| Reflect::get(&next, &JsValue::from_str(name)).ok();
    if field("done")?.is_truthy() {
        return Some(None);
    }
    field("value")?.dyn_into().ok().map(Some)
}

#[cfg(test)]
mod tests {
    use futures::future::{Either, select};
    use js_sys::Function;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::clock;

    const LIMIT: usize = 1_024;

    /// A response with the body that this JavaScript expression creates.
    fn response(body: &str) -> Response {
        let create = Function::new_no_args(&format!("return new Response({body});"));
        let response = create.call0(&JsValue::NULL).expect("a response");
        response.dyn_into().expect("a response")
    }

    #[test]
    async fn body_may_have_the_maximum_length() {
        let text = read_text(&response("'x'.repeat(1024)"), LIMIT).await;
        assert_eq!(text, Ok("x".repeat(LIMIT)));
        assert_eq!(read_text(&response("''"), LIMIT).await, Ok(String::new()));
        assert_eq!(read_text(&response("null"), LIMIT).await, Ok(String::new()));
        let too_long = BodyError::TooLong { limit: LIMIT };
        for body in ["'x'.repeat(1025)", "'\\u00e9'.repeat(513)"] {
            let text = read_text(&response(body), LIMIT).await;
            assert_eq!(text, Err(too_long.clone()), "{body}");
        }
    }

    #[test]
    async fn endless_body_is_cancelled_at_the_limit() {
        let endless = response(
            "new ReadableStream({
                pull(body) { body.enqueue(new Uint8Array(100).fill(65)); globalThis.pulled = (globalThis.pulled ?? 0) + 1; },
                cancel() { globalThis.cancelled = true; },
            })",
        );
        let reading = std::pin::pin!(read_text(&endless, LIMIT));
        let limit = clock::sleep(std::time::Duration::from_secs(5));
        let Either::Left((text, _)) = select(reading, limit).await else {
            panic!("still reading");
        };
        assert_eq!(text, Err(BodyError::TooLong { limit: LIMIT }));
        let global = |name: &str| Reflect::get(&js_sys::global(), &name.into()).expect("a page");
        assert!(global("cancelled").is_truthy());
        let pulled = global("pulled").as_f64().expect("a number");
        assert!(pulled < 20.0, "{pulled} chunks of 100 bytes");
    }

    #[test]
    async fn failed_body_is_an_error() {
        let failing = "new ReadableStream({ pull(body) { body.error('gone'); } })";
        let text = read_text(&response(failing), LIMIT).await;
        assert_eq!(text, Err(BodyError::Interrupted));
        let binary = read_text(&response("new Uint8Array([255])"), LIMIT).await;
        assert_eq!(binary, Err(BodyError::NotText));
    }
}
