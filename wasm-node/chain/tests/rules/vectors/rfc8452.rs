//! The published vectors of AES-256-GCM-SIV: those in appendices C.2 and C.3 of
//! [RFC 8452](https://www.rfc-editor.org/rfc/rfc8452).

use aes_gcm_siv::{AeadInPlace as _, Aes256GcmSiv, KeyInit as _};
use serde_json::Value;

fn bytes(vector: &Value, field: &str) -> Vec<u8> {
    let text = vector[field].as_str().expect("a string");
    hex::decode(text).expect("hexadecimal digits")
}

/// Seals and opens each vector.
pub(super) fn check(vectors: &Value) -> usize {
    let vectors = vectors.as_array().expect("a list");
    for vector in vectors {
        let key: [u8; 32] = bytes(vector, "key").try_into().expect("32 bytes");
        let nonce: [u8; 12] = bytes(vector, "nonce").try_into().expect("12 bytes");
        let (plain, additional) = (bytes(vector, "plain"), bytes(vector, "additional"));
        let cipher = Aes256GcmSiv::new(&key.into());
        let mut body = plain.clone();
        let tag = cipher
            .encrypt_in_place_detached(&nonce.into(), &additional, &mut body)
            .expect("a short plaintext");
        let sealed = [&body[..], &tag].concat();
        assert_eq!(hex::encode(&sealed), vector["sealed"], "{vector}");
        cipher
            .decrypt_in_place_detached(&nonce.into(), &additional, &mut body, &tag)
            .expect("what was sealed");
        assert_eq!(body, plain);
    }
    vectors.len()
}
