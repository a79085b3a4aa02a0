//! Builds files in the browser's memory or on its disk. Never saves one: the page does.

use wasm_bindgen::JsValue;

/// Bytes of an export that are buffered before they are handed to the browser. The browser may put them on disk, so
/// wasm memory stays small.
const EXPORT_CHUNK_LEN: usize = 256 * 1024;

/// A file of bytes; `None` if the browser cannot create it.
pub(crate) fn blob_of(bytes: &[u8], media_type: &str) -> Option<JsValue> {
    let parts = js_sys::Array::of1(&js_sys::Uint8Array::from(bytes));
    let options = web_sys::BlobPropertyBag::new();
    options.set_type(media_type);
    let blob = web_sys::Blob::new_with_u8_array_sequence_and_options(&parts, &options);
    blob.ok().map(JsValue::from)
}

/// Builds a blob from text. The text is handed to the browser chunk by chunk; the browser may keep it on disk.
#[derive(Debug)]
pub(crate) struct BlobWriter {
    parts: js_sys::Array,
    text: String,
}

impl BlobWriter {
    /// Starts with an empty blob.
    pub(crate) fn new() -> Self {
        Self {
            parts: js_sys::Array::new(),
            text: String::new(),
        }
    }

    /// Appends text to the blob.
    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        if self.text.len() >= EXPORT_CHUNK_LEN {
            self.flush();
        }
    }

    /// The finished blob; `None` if the browser cannot create it.
    pub(crate) fn finish(mut self, media_type: &str) -> Option<web_sys::Blob> {
        self.flush();
        let options = web_sys::BlobPropertyBag::new();
        options.set_type(media_type);
        web_sys::Blob::new_with_blob_sequence_and_options(&self.parts, &options).ok()
    }

    fn flush(&mut self) {
        // Bytes, because the browser would take several times as long to make a text and encode it again.
        let bytes = js_sys::Uint8Array::from(self.text.as_bytes());
        self.text.clear();
        let chunk = js_sys::Array::of1(&bytes);
        // If the browser cannot create a blob, the bytes themselves can be a part, too.
        let part = web_sys::Blob::new_with_u8_array_sequence(&chunk);
        self.parts.push(&part.map_or(bytes.into(), JsValue::from));
    }
}
