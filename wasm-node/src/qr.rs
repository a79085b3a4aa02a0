//! QR codes for the page, which loads no third-party script. Computes the modules; the page draws them.

use qrcodegen::{QrCode, QrCodeEcc};

/// The modules of a text's QR code (ISO/IEC 18004), row by row, 1 for dark. `None` if the text is too long.
pub(crate) fn modules(text: &str) -> Option<Vec<u8>> {
    // A screen is neither torn nor dirty, so larger modules help more than error correction. The library raises the
    // level if the code's size allows it.
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let side = 0..code.size();
    let rows = side.clone().flat_map(|y| side.clone().map(move |x| (x, y)));
    Some(rows.map(|(x, y)| u8::from(code.get_module(x, y))).collect())
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// The finder pattern, by which scanners locate a code: three of the four corners have one.
    const FINDER: [&str; 7] = [
        "1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111",
    ];

    fn side_of(modules: &[u8]) -> usize {
        let side = (0..=177).find(|side| side * side == modules.len());
        side.expect("a square of a code's size")
    }

    #[test]
    fn link_becomes_square_with_three_finders() {
        let modules = modules("http://127.0.0.1:8080/#room=lobby").expect("short enough");
        let side = side_of(&modules);
        assert_eq!(side % 4, 1, "a code has 4 * version + 17 modules a side");
        for (left, top) in [(0, 0), (side - 7, 0), (0, side - 7)] {
            for (row, expected) in FINDER.iter().enumerate() {
                let start = (top + row) * side + left;
                let found: String = modules[start..start + 7]
                    .iter()
                    .map(u8::to_string)
                    .collect();
                assert_eq!(found, *expected, "row {row} at {left}, {top}");
            }
        }
    }

    #[test]
    fn longest_text_fits_and_one_byte_more_does_not() {
        // Version 40 with the lowest error correction, in byte mode.
        assert_eq!(
            modules(&"x".repeat(2_953)).map(|code| side_of(&code)),
            Some(177)
        );
        assert_eq!(modules(&"x".repeat(2_954)), None);
    }

    #[test]
    fn any_text_is_accepted() {
        for text in ["", "심박수", "\u{1f493}\0"] {
            assert!(modules(text).is_some(), "{text:?}");
        }
    }
}
