//! Hexadecimal digits of long chains, which have millions of them: `Display` takes several times as long.

/// Lower-case hexadecimal digits, as `Display` of hashes, keys and signatures writes them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut digits = vec![0; 2 * bytes.len()];
    match hex::encode_to_slice(bytes, &mut digits) {
        Ok(()) => String::from_utf8(digits).unwrap_or_default(),
        // The length is right, so this does not happen.
        Err(_) => String::new(),
    }
}
