//! What the handshake and the encrypted stream share: the algorithms of Noise, and the length before each message.

use std::io;

use snow::{
    Builder,
    params::NoiseParams,
    resolvers::{DefaultResolver, FallbackResolver, RingResolver},
};

/// The handshake and its algorithms.
const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_SHA256";
/// Bytes of the length before each message.
pub(super) const LENGTH_BYTES: usize = 2;
/// Bytes by which a message grows when it is encrypted.
pub(super) const TAG_BYTES: usize = 16;

/// ring has all algorithms but the key exchange.
pub(super) fn builder() -> Result<Builder<'static>, snow::Error> {
    let params: NoiseParams = PATTERN.parse()?;
    let resolver = FallbackResolver::new(Box::new(RingResolver), Box::new(DefaultResolver));
    Ok(Builder::with_resolver(params, Box::new(resolver)))
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
