//! Changing readings without signing them again, as an attacker or a faulty disk does.

use heartchain_chain::{
    content::{Content, SealedContent},
    reading::Reading,
};

/// Readings that tests look into and change.
pub trait Tampering: Sized {
    /// The heart rate of a reading in an open room.
    fn bpm(&self) -> u16;

    /// The reading with another heart rate and the old signature. It becomes one of an open room.
    #[must_use]
    fn with_bpm(self, bpm: u16) -> Self;

    /// Changes the heart rate, or a bit of the seal. The signature is no longer valid.
    fn tamper(&mut self);
}

impl Tampering for Reading {
    fn bpm(&self) -> u16 {
        match self.content {
            Content::Open { bpm, .. } => bpm,
            Content::Sealed(_) => panic!("the heart rate of {self:?} is sealed"),
        }
    }

    fn with_bpm(mut self, bpm: u16) -> Self {
        let time = match self.content {
            Content::Open { time, .. } => time,
            Content::Sealed(_) => heartchain_chain::time::UnixMillis::new(0),
        };
        self.content = Content::Open { time, bpm };
        self
    }

    fn tamper(&mut self) {
        self.content = match self.content {
            Content::Open { time, bpm } => Content::Open { time, bpm: bpm ^ 1 },
            Content::Sealed(sealed) => {
                let mut bytes = *sealed.as_bytes();
                bytes[0] ^= 1;
                Content::Sealed(SealedContent::new(bytes))
            }
        };
    }
}
