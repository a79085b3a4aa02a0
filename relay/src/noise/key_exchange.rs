//! The key exchange of Noise. Private keys are overwritten when they are dropped, as those of libp2p-noise are. snow's own key
//! exchange leaves them in freed memory.

use snow::types::{Dh, Random};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

/// Bytes of a private key, of a public key, and of what is agreed.
const KEY_BYTES: usize = 32;

/// A private key, which is overwritten when it is dropped.
pub(super) type PrivateKey = Zeroizing<[u8; KEY_BYTES]>;

/// The keys of one side ([RFC 7748](https://www.rfc-editor.org/rfc/rfc7748#section-6.1)).
#[derive(Default)]
pub(super) struct X25519 {
    private: PrivateKey,
    public: [u8; KEY_BYTES],
}

impl X25519 {
    /// Creates a private key from random bytes, and its public key.
    pub(super) fn random() -> Self {
        let mut private = PrivateKey::default();
        rand::fill(&mut *private);
        Self::new(private)
    }

    fn new(private: PrivateKey) -> Self {
        let public = x25519(*private, X25519_BASEPOINT_BYTES);
        Self { private, public }
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        KEY_BYTES
    }

    fn priv_len(&self) -> usize {
        KEY_BYTES
    }

    fn set(&mut self, private: &[u8]) {
        let mut copy = PrivateKey::default();
        for (to, from) in copy.iter_mut().zip(private) {
            *to = *from;
        }
        *self = Self::new(copy);
    }

    fn generate(&mut self, random: &mut dyn Random) -> Result<(), snow::Error> {
        let mut private = PrivateKey::default();
        random.try_fill_bytes(&mut *private)?;
        *self = Self::new(private);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        self.private.as_slice()
    }

    fn dh(&self, public: &[u8], agreed: &mut [u8]) -> Result<(), snow::Error> {
        let public = public.first_chunk().ok_or(snow::Error::Dh)?;
        let agreed = agreed.first_chunk_mut().ok_or(snow::Error::Dh)?;
        *agreed = x25519(*self.private, *public);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use zeroize::ZeroizeOnDrop;

    use super::*;

    /// A number of 32 bytes in hexadecimal digits.
    fn key(digits: &str) -> [u8; KEY_BYTES] {
        let byte = |at: usize| digits.get(2 * at..2 * at + 2);
        std::array::from_fn(|at| {
            u8::from_str_radix(byte(at).expect("two digits"), 16).expect("hex")
        })
    }

    #[test]
    fn example_of_the_standard_is_agreed() {
        let (mut one, mut other) = (X25519::default(), X25519::default());
        one.set(&key(
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        ));
        other.set(&key(
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        ));
        let public = key("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        assert_eq!(one.pubkey(), public);
        let expected = key("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        for (from, to) in [(&one, &other), (&other, &one)] {
            let mut agreed = [0; KEY_BYTES];
            from.dh(to.pubkey(), &mut agreed).expect("both have keys");
            assert_eq!(agreed, expected);
        }
    }

    #[test]
    fn short_buffers_are_refused() {
        let keys = X25519::random();
        let short = &mut [0; KEY_BYTES - 1];
        assert!(keys.dh(&[9; KEY_BYTES], short).is_err());
        assert!(keys.dh(short, &mut [0; KEY_BYTES]).is_err());
    }

    #[test]
    fn dropped_private_keys_are_overwritten() {
        fn check<K: ZeroizeOnDrop>(_: &K) {}
        let keys = X25519::random();
        assert_ne!(*keys.private, [0; KEY_BYTES]);
        assert_ne!(*keys.private, *X25519::random().private);
        check(&keys.private);
    }
}
