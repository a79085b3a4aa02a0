//! Proof-of-work arithmetic: targets, their compact form (nBits), and the work that meeting a target proves.
//!
//! The search for a nonce is in [`crate::mining`], the choice of the target in [`crate::difficulty`].

use core::fmt;

use borsh::{
    BorshDeserialize, BorshSerialize,
    io::{Read, Result as IoResult, Write},
};
use ruint::aliases::U256;
use thiserror::Error;

use crate::hash::{BlockHash, write_hex};

/// The greatest number that a block hash, read as a big-endian number, may be. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(U256);

/// A target in the compact form of a header, like Bitcoin's nBits: the highest byte is the size of the number in bytes,
/// the lower three are its leading bytes, and bit 23 is a sign that must not be set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct CompactTarget(u32);

/// Why compact bits do not represent a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the field names say it")]
pub enum CompactTargetError {
    /// The sign bit is set.
    #[error("compact target {bits:#010x} is negative")]
    Negative { bits: u32 },
    /// The number is zero, which no hash can meet.
    #[error("compact target {bits:#010x} is zero")]
    Zero { bits: u32 },
    /// The number takes more than 256 bits.
    #[error("compact target {bits:#010x} exceeds 256 bits")]
    Overflow { bits: u32 },
}

/// Expected number of hashes needed to meet a target, or the sum of these over blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work(U256);

/// Length in bytes of the mantissa in compact bits.
const MANTISSA_BYTES: u32 = 3;
/// Bit 23, the sign bit of the mantissa.
const SIGN: u32 = 0x0080_0000;
/// Bits 0 to 22, the magnitude of the mantissa.
const MANTISSA: u32 = 0x007f_ffff;

impl Target {
    /// The target 2^(256 - `floor_bits`), which one in 2^`floor_bits` hashes meets. `floor_bits` must be 1 to 255.
    pub(crate) fn from_floor_bits(floor_bits: u8) -> Self {
        debug_assert_ne!(floor_bits, 0, "2^256 does not fit into 256 bits");
        Self(U256::ONE << (256 - usize::from(floor_bits)))
    }

    /// The target nearest to `value`: 1 replaces 0, which no hash can meet.
    pub(crate) fn from_uint(value: U256) -> Self {
        Self(value.max(U256::ONE))
    }

    pub(crate) const fn to_uint(self) -> U256 {
        self.0
    }

    /// The target as big-endian bytes, in the order in which hashes are compared with it.
    #[must_use]
    pub fn to_be_bytes(&self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// Whether `hash`, read as a big-endian number, is at most this target.
    #[must_use]
    pub fn is_met_by(&self, hash: &BlockHash) -> bool {
        *hash.as_bytes() <= self.to_be_bytes()
    }

    /// The greatest target not above this one that compact bits can express.
    #[must_use]
    pub fn to_compact(&self) -> CompactTarget {
        let size = self.0.byte_len();
        let shift = 8 * size.saturating_sub(MANTISSA_BYTES as usize);
        let mantissa = low_u32(self.0 >> shift) << (8 * 3_usize.saturating_sub(size));
        compact(mantissa, size)
    }

    /// Expected number of hashes needed to meet this target: 2^256 / (target + 1), rounded down.
    #[must_use]
    pub fn work(&self) -> Work {
        // 2^256 does not fit into 256 bits, but 2^256 - (target + 1) does, and its quotient is less by exactly one.
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
    /// Wraps the bits of a header without any check.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits as encoded in a header.
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// The target that these bits represent: mantissa * 256^(size - 3), rounded down.
    ///
    /// Several compact forms can represent one target. The difficulty rule uses only the one that
    /// [`Target::to_compact`] returns.
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
    /// [`Target::work`] of the target that these bits represent, by one 64-bit division. `None` if 64 bits are too
    /// narrow, which is the case for targets that take more than about 2^40 tries, or if the bits are not a target.
    ///
    /// The target is m * 2^s. Let q and r be the quotient and remainder of 2^(256 - s) by m. Then q * (target + 1) is
    /// 2^256 - r * 2^s + q, which is at most 2^256 exactly if r * 2^s >= q. As q is below 2^64, it is below 2^s, so the
    /// quotient is one too large only if r is 0.
    pub(crate) fn fast_work(self) -> Option<Work> {
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

    /// Returns `true` only if this target is certainly between a quarter of `other` and four times it, whatever digits
    /// the compact form dropped. Returns `false` for two numbers of different sizes.
    pub(crate) const fn is_within_step_clamp(self, other: Self) -> bool {
        let (mantissa, others) = (self.0 & MANTISSA, other.0 & MANTISSA);
        self.0 >> 24 == other.0 >> 24 && 4 * mantissa >= others && mantissa < 4 * others
    }

    /// The lesser of two targets that [`Target::to_compact`] returned: such bits are in the same order as their
    /// targets.
    pub(crate) fn min_canonical(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
}

/// The result of [`Target::to_compact`] for every number from `leading` * 2^`exponent` to just below (`leading` + 1) *
/// 2^`exponent`. `None` if `leading` has too few digits to decide it.
pub(crate) fn compact_from_leading_bits(leading: u64, exponent: usize) -> Option<CompactTarget> {
    let length = exponent + (64 - leading.leading_zeros() as usize);
    let size = length.div_ceil(8);
    let shift = (8 * size.checked_sub(MANTISSA_BYTES as usize)?).checked_sub(exponent)?;
    Some(compact(u32::try_from(leading >> shift).ok()?, size))
}

/// The compact form of a number of `size` bytes whose three leading bytes are `mantissa`.
fn compact(mut mantissa: u32, mut size: usize) -> CompactTarget {
    if mantissa & SIGN != 0 {
        mantissa >>= 8;
        size += 1;
    }
    // A 256-bit number has at most 32 bytes, or 33 with the byte added for the sign bit.
    let size = u32::try_from(size).unwrap_or(u32::MAX) & 0xff;
    CompactTarget(size << 24 | mantissa)
}

/// `mantissa` * 2^`shift`, if it fits into 256 bits.
fn shifted(mantissa: u32, shift: u32) -> Option<U256> {
    if mantissa == 0 {
        return Some(U256::ZERO);
    }
    let (limb, shift) = ((shift / 64) as usize, shift % 64);
    let shifted = u128::from(mantissa) << shift;
    let mut limbs = [0; 4];
    *limbs.get_mut(limb)? = low_u64(shifted);
    let high = low_u64(shifted >> 64);
    if high != 0 {
        *limbs.get_mut(limb + 1)? = high;
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
    /// No work, which is what genesis has.
    pub const ZERO: Self = Self(U256::ZERO);

    /// The sum, or the greatest value on overflow.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or zero on underflow.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    pub(crate) fn to_be_bytes(self) -> [u8; Self::LEN] {
        self.0.to_be_bytes()
    }

    pub(crate) fn from_be_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(U256::from_be_bytes(bytes))
    }

    /// The encoding: 32 bytes, little-endian.
    #[must_use]
    pub fn to_le_bytes(&self) -> [u8; Self::LEN] {
        self.0.to_le_bytes()
    }

    /// Decodes 32 bytes, little-endian.
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
#[expect(clippy::cast_possible_truncation, reason = "truncation is the purpose")]
const fn low_u64(value: u128) -> u64 {
    value as u64
}

/// The lowest 32 bits.
fn low_u32(value: U256) -> u32 {
    value.wrapping_to()
}

#[cfg(test)]
mod tests;
