//! Ed25519 keys and signatures of the authors of readings. [`crate::reading`] signs and verifies with them.

use core::fmt;

use ed25519_zebra::{SigningKey, VerificationKey, VerificationKeyBytes};

use crate::hash::bytes_newtype;

bytes_newtype! {
    /// An author's Ed25519 public key as received: any 32 bytes. The checks of a reading check them, see
    /// [`check_fields`](crate::reading::Reading::check_fields) and [`verify`](crate::reading::Reading::verify).
    #[derive(Hash)]
    Author, 32
}
bytes_newtype! {
    /// An Ed25519 signature as received: any 64 bytes. [`Reading::verify`](crate::reading::Reading::verify)
    /// checks them.
    #[derive(Hash)]
    Signature, 64
}

impl Author {
    /// Whether these bytes have the form of the canonical encoding of a point: the y coordinate is reduced, and an x
    /// coordinate of zero does not have the sign bit.
    ///
    /// Whether the curve has such a point costs a square root and is left to the signature check.
    pub(crate) fn is_canonical(&self) -> bool {
        let (y, x_is_negative) = self.y_and_sign();
        let [first, middle @ .., last] = &y;
        let reduced = *first < 0xed || *last < 0x7f || middle.iter().any(|byte| *byte < 0xff);
        let x_is_zero = y == Y_ONE || y == Y_MINUS_ONE;
        reduced && !(x_is_zero && x_is_negative)
    }

    /// Whether eight times this canonically encoded point is the identity. Such a key has no secret half, and one
    /// signature can be valid for every message.
    pub(crate) fn is_small_order(&self) -> bool {
        SMALL_ORDER_Y.contains(&self.y_and_sign().0)
    }

    /// Whether this is a valid key and `signature` is its signature over `message`, by the rules for readings.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_zebra::Signature::from_bytes(signature.as_bytes());
        self.is_canonical()
            && !self.is_small_order()
            && VerificationKey::try_from(self.0)
                .is_ok_and(|key| key.verify(&signature, message).is_ok())
    }

    /// Splits the encoding into the y coordinate and the sign bit of the x coordinate.
    fn y_and_sign(&self) -> ([u8; 32], bool) {
        let mut y = self.0;
        let [.., last] = &mut y;
        let x_is_negative = *last & 0x80 != 0;
        *last &= 0x7f;
        (y, x_is_negative)
    }
}

/// The identity: y = 1.
const Y_ONE: [u8; 32] = filled_bytes(0x01, 0x00, 0x00);
/// The point of order two: y = -1, which is 2^255 - 20.
const Y_MINUS_ONE: [u8; 32] = filled_bytes(0xec, 0xff, 0x7f);

/// The y coordinates of the eight points whose order divides eight, in little-endian bytes.
const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    Y_ONE,
    Y_MINUS_ONE,
    // y = 0: the two points of order four.
    filled_bytes(0x00, 0x00, 0x00),
    // The four points of order eight.
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

/// 32 bytes: the first, 30 times the middle one, the last.
const fn filled_bytes(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// The secret half of an author's key. `Debug` does not print it.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Derives the key from a 32-byte seed, which is the private key of RFC 8032.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from(seed))
    }

    /// The seed, which is all that must be stored, and must be kept secret.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.0.into()
    }

    /// The public half, which identifies the author.
    #[must_use]
    pub fn author(&self) -> Author {
        Author(VerificationKeyBytes::from(&self.0).into())
    }

    /// Signs any bytes. The caller ensures that a signature over them cannot be taken for one of another purpose.
    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> Signature {
        Signature(self.0.sign(bytes).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey")
            .field("author", &self.author())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use curve25519_dalek::{constants::EIGHT_TORSION, edwards::CompressedEdwardsY};

    use super::*;

    #[test]
    fn torsion_points_are_of_small_order() {
        for point in EIGHT_TORSION {
            let author = Author(point.compress().to_bytes());
            assert!(author.is_canonical() && author.is_small_order(), "{author}");
        }
        assert!(!SecretKey::from_seed([1; 32]).author().is_small_order());
    }

    #[test]
    fn canonical_keys_survive_a_round_trip() {
        let mut points = 0;
        let edges = (0..=255).flat_map(|first| {
            [(0x00, 0x00), (0x00, 0x80), (0xff, 0x7f), (0xff, 0xff)]
                .map(|(middle, last)| filled_bytes(first, middle, last))
        });
        for bytes in edges {
            if let Some(point) = CompressedEdwardsY(bytes).decompress() {
                points += 1;
                let author = Author(bytes);
                assert_eq!(
                    author.is_canonical(),
                    point.compress().to_bytes() == bytes,
                    "{author}"
                );
                assert!(
                    !author.is_canonical() || author.is_small_order() == point.is_small_order()
                );
            }
        }
        assert!(points > 400, "only {points} of the edge cases are points");
    }

    #[test]
    fn secret_never_shows_in_text() {
        let key = SecretKey::from_seed([0x5a; 32]);
        let text = format!("{key:?}");
        assert!(!text.contains("5a5a") && !text.contains("90, 90"), "{text}");
        assert!(text.contains(&format!("{}", key.author())), "{text}");
        assert_eq!(key.seed(), [0x5a; 32]);
    }
}
