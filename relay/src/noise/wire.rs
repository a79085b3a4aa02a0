//! What the handshake and the encrypted stream share: the algorithms of Noise, and the length before each message.

use std::io;

use snow::{
    Builder,
    params::{CipherChoice, DHChoice, HashChoice, NoiseParams},
    resolvers::{CryptoResolver, RingResolver},
    types::{Cipher, Dh, Hash, Random},
};

use super::key_exchange::X25519;

/// The handshake and its algorithms.
const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_SHA256";
/// Bytes of the length before each message.
pub(super) const LENGTH_BYTES: usize = 2;
/// Bytes by which a message grows when it is encrypted.
pub(super) const TAG_BYTES: usize = 16;

pub(super) fn builder() -> Result<Builder<'static>, snow::Error> {
    let params: NoiseParams = PATTERN.parse()?;
    Ok(Builder::with_resolver(params, Box::new(Resolver)))
}

/// ring's algorithms. It has all but the key exchange.
struct Resolver;

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        RingResolver.resolve_rng()
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::<X25519>::default()),
            DHChoice::Curve448 => None,
        }
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        RingResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        RingResolver.resolve_cipher(choice)
    }
}

/// Writes the length of a message before it.
pub(super) fn set_length(message: &mut [u8]) -> io::Result<()> {
    let length = message.len().saturating_sub(LENGTH_BYTES);
    let length = u16::try_from(length).map_err(io::Error::other)?;
    if let Some(start) = message.first_chunk_mut() {
        *start = length.to_be_bytes();
    }
    Ok(())
}
