//! Proof of work as numbers: targets, their compact form, and the work that meeting them proves. Nothing here ever
//! searches for a nonce or chooses a target.

use core::fmt;

use borsh::{
    BorshDeserialize, BorshSerialize,
    io::{Read, Result as IoResult, Write},
};
use ruint::aliases::U256;
use thiserror::Error;

use crate::hash::{BlockHash, write_hex};

/// The number that a block's hash, read as a big-endian number, may not exceed. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(U256);

/// A target as a header carries it, in the manner of Bitcoin's nBits: the highest byte counts bytes, the lower three
/// are the number's leading ones, and bit 23 is a sign that must not be set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct CompactTarget(u32);

/// Why compact bits stand for no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CompactTargetError {
    /// The sign bit is set.
    #[error("compact target {bits:#010x} is negative")]
    Negative {
        /// The bits found.
        bits: u32,
    },
    /// No hash could meet it.
    #[error("compact target {bits:#010x} is zero")]
    Zero {
        /// The bits found.
        bits: u32,
    },
    /// It takes more than 256 bits.
    #[error("compact target {bits:#010x} exceeds 256 bits")]
    Overflow {
        /// The bits found.
        bits: u32,
    },
}

/// Tries that meeting targets is expected to take, added up over blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work(U256);

/// Digits of the number that compact bits hold, in bytes.
const MANTISSA_BYTES: u32 = 3;
/// Bit 23: the sign.
const SIGN: u32 = 0x0080_0000;
/// Bits 0 to 22: the number's leading digits.
const MANTISSA: u32 = 0x007f_ffff;

impl Target {
    /// The target 2^(256 - `floor_bits`), which one in 2^`floor_bits` hashes meets. `floor_bits` is 1 to 255.
    pub(crate) fn one_in_two_to_the(floor_bits: u8) -> Self {
        debug_assert_ne!(floor_bits, 0, "2^256 is no 256-bit number");
        Self(U256::ONE << (256 - usize::from(floor_bits)))
    }

    /// The target nearest to `value`: 1 stands in for 0, which no hash could meet.
    pub(crate) fn from_uint(value: U256) -> Self {
        Self(value.max(U256::ONE))
    }

    pub(crate) const fn to_uint(self) -> U256 {
        self.0
    }

    /// The number, big-endian, as hashes are compared with it.
    #[must_use]
    pub fn to_be_bytes(&self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// Whether `hash`, read as a big-endian number, is at most this target.
    #[must_use]
    pub fn is_met_by(&self, hash: &BlockHash) -> bool {
        *hash.as_bytes() <= self.to_be_bytes()
    }

    /// The greatest target that compact bits can express and that is not above this one.
    #[must_use]
    pub fn to_compact(&self) -> CompactTarget {
        let size = self.0.byte_len();
        let shift = 8 * size.saturating_sub(MANTISSA_BYTES as usize);
        let mantissa = low_u32(self.0 >> shift) << (8 * 3_usize.saturating_sub(size));
        compact(mantissa, size)
    }

    /// Tries that meeting this target is expected to take: 2^256 / (target + 1), rounded down.
    #[must_use]
    pub fn work(&self) -> Work {
        // 2^256 itself has no place in 256 bits, but 2^256 - (target + 1) has; that is one share of target + 1 less.
        match self.0.checked_add(U256::ONE) {
            Some(divisor) => Work((!self.0 / divisor).saturating_add(U256::ONE)),
            None => Work(U256::ONE),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.to_be_bytes(), f)
    }
}

impl CompactTarget {
    /// Takes the bits as they stand in a header.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits as they stand in a header.
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// The target that these bits stand for: mantissa * 256^(size - 3), digits after the point dropped.
    ///
    /// Several bits can stand for one target; the difficulty rule writes only what [`Target::to_compact`] does.
    ///
    /// # Errors
    /// If the sign bit is set, or if the number is zero or takes more than 256 bits.
    pub fn target(self) -> Result<Target, CompactTargetError> {
        let bits = self.0;
        if bits & SIGN != 0 {
            return Err(CompactTargetError::Negative { bits });
        }
        let size = bits >> 24;
        let mantissa = bits & MANTISSA;
        let value = match size.checked_sub(MANTISSA_BYTES) {
            Some(bytes) => {
                shifted(mantissa, 8 * bytes).ok_or(CompactTargetError::Overflow { bits })?
            }
            None => U256::from(mantissa >> (8 * (MANTISSA_BYTES - size))),
        };
        if value.is_zero() {
            Err(CompactTargetError::Zero { bits })
        } else {
            Ok(Target(value))
        }
    }
}

impl CompactTarget {
    /// [`Target::work`] of the target that these bits stand for, by one division of 64 bits. `None` where that is too
    /// narrow: of targets that take more than some 2^40 tries, and of bits that are no target.
    ///
    /// The target is m * 2^s. With q and r, quotient and remainder of 2^(256 - s) by m, q * (target + 1) is
    /// 2^256 - r * 2^s + q, no more than 2^256 exactly if r * 2^s >= q; and q, below 2^64, is below 2^s.
    pub(crate) fn quick_work(self) -> Option<Work> {
        let bytes = (self.0 >> 24).checked_sub(MANTISSA_BYTES)?;
        let dividend = 1_u64.checked_shl(256_u32.checked_sub(8 * bytes)?)?;
        let divisor = u64::from(self.0 & MANTISSA);
        if self.0 & SIGN != 0 || divisor >= dividend {
            return None;
        }
        let whole = dividend.checked_rem(divisor)? == 0;
        let work = (dividend / divisor).checked_sub(u64::from(whole))?;
        Some(Work(U256::from(work)))
    }

    /// Whether this is certainly neither below a quarter of `other` nor above four times it, whatever digits compact
    /// bits have dropped from this one. Knows it only of two numbers of one size.
    pub(crate) const fn is_within_a_quarter_and_four_times(self, other: Self) -> bool {
        let (mantissa, others) = (self.0 & MANTISSA, other.0 & MANTISSA);
        self.0 >> 24 == other.0 >> 24 && 4 * mantissa >= others && mantissa < 4 * others
    }

    /// The lesser target, of two that were written by [`Target::to_compact`]: then the bits' order is the targets'.
    pub(crate) fn min_canonical(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
}

/// What [`Target::to_compact`] makes of a number that is at least `leading` * 2^`exponent`, and less than one more of
/// these. `None` if `leading` is too short to tell.
pub(crate) fn compact_of_leading_bits(leading: u64, exponent: usize) -> Option<CompactTarget> {
    let length = exponent + (64 - leading.leading_zeros() as usize);
    let size = length.div_ceil(8);
    let shift = (8 * size.checked_sub(MANTISSA_BYTES as usize)?).checked_sub(exponent)?;
    Some(compact(u32::try_from(leading >> shift).ok()?, size))
}

/// The bits of a number of `size` bytes that begins with these three.
fn compact(mut mantissa: u32, mut size: usize) -> CompactTarget {
    if mantissa & SIGN != 0 {
        mantissa >>= 8;
        size += 1;
    }
    // A 256-bit number has at most 32 bytes, 33 with the room made for the sign.
    let size = u32::try_from(size).unwrap_or(u32::MAX) & 0xff;
    CompactTarget(size << 24 | mantissa)
}

/// `mantissa` * 2^`shift`, if that has 256 bits at the most.
fn shifted(mantissa: u32, shift: u32) -> Option<U256> {
    if mantissa == 0 {
        return Some(U256::ZERO);
    }
    let (place, shift) = ((shift / 64) as usize, shift % 64);
    let both = u128::from(mantissa) << shift;
    let mut limbs = [0; 4];
    *limbs.get_mut(place)? = low_u64(both);
    let high = low_u64(both >> 64);
    if high != 0 {
        *limbs.get_mut(place + 1)? = high;
    }
    Some(U256::from_limbs(limbs))
}

impl fmt::Debug for CompactTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CompactTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl Work {
    /// Length of the encoding in bytes.
    pub const LEN: usize = 32;
    /// No work at all: genesis has none.
    pub const ZERO: Self = Self(U256::ZERO);

    /// The sum, or the greatest amount there is.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or none.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// As 32 bytes, little-endian: how it travels.
    #[must_use]
    pub fn to_le_bytes(&self) -> [u8; Self::LEN] {
        self.0.to_le_bytes()
    }

    /// From 32 bytes, little-endian.
    #[must_use]
    pub fn from_le_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(U256::from_le_bytes(bytes))
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl BorshSerialize for Work {
    fn serialize<W: Write>(&self, writer: &mut W) -> IoResult<()> {
        self.to_le_bytes().serialize(writer)
    }
}

impl BorshDeserialize for Work {
    fn deserialize_reader<R: Read>(reader: &mut R) -> IoResult<Self> {
        BorshDeserialize::deserialize_reader(reader).map(Self::from_le_bytes)
    }
}

/// The lowest 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "that is what is asked for")]
const fn low_u64(value: u128) -> u64 {
    value as u64
}

/// The lowest 32 bits.
fn low_u32(value: U256) -> u32 {
    value.wrapping_to()
}

#[cfg(test)]
mod tests;
