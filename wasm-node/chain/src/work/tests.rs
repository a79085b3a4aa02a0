//! Compact targets are decoded and encoded as in Bitcoin, and work is their exact reciprocal.

use alloc::string::ToString;

use proptest::prelude::*;

use super::*;

fn target(value: u64) -> Target {
    Target(U256::from(value))
}

#[test]
fn compact_bits_match_bitcoin() {
    let cases: [(u32, u64); 8] = [
        (0x0101_0000, 0x01),
        (0x017f_ffff, 0x7f),
        (0x0201_2345, 0x0123),
        (0x0300_0001, 0x01),
        (0x0312_3456, 0x12_3456),
        (0x0412_3456, 0x1234_5600),
        (0x0500_9234, 0x9234_0000),
        (0x0800_0001, 0x0100_0000_0000),
    ];
    for (bits, value) in cases {
        assert_eq!(CompactTarget(bits).target(), Ok(target(value)), "{bits:#x}");
    }
}

#[test]
fn invalid_bits_are_rejected() {
    for bits in [0x0180_0001, 0x0492_3456, 0x2080_0000, 0xff80_0000] {
        assert_eq!(
            CompactTarget(bits).target(),
            Err(CompactTargetError::Negative { bits })
        );
    }
    for bits in [
        0,
        0x0000_ffff,
        0x0100_ffff,
        0x0200_00ff,
        0x2000_0000,
        0xff00_0000,
    ] {
        assert_eq!(
            CompactTarget(bits).target(),
            Err(CompactTargetError::Zero { bits })
        );
    }
    for bits in [0x2101_0000, 0x2200_0100, 0x2300_0001, 0xff12_3456] {
        assert_eq!(
            CompactTarget(bits).target(),
            Err(CompactTargetError::Overflow { bits })
        );
    }
    assert!(CompactTarget(0x2100_ffff).target().is_ok());
    assert!(CompactTarget(0x2200_00ff).target().is_ok());
}

#[test]
fn floors_are_exact_in_compact_form() {
    for floor_bits in 8..=64 {
        let floor = Target::from_floor_bits(floor_bits);
        assert_eq!(floor.to_compact().target(), Ok(floor));
        assert_eq!(
            floor.work(),
            Work(U256::from((1_u128 << floor_bits) - 1)),
            "{floor_bits} bits"
        );
    }
    assert_eq!(
        Target::from_floor_bits(16).to_compact().to_bits(),
        0x1f01_0000
    );
}

#[test]
fn fast_work_covers_minable_targets() {
    for floor_bits in 8..=40 {
        let floor = Target::from_floor_bits(floor_bits);
        assert_eq!(floor.to_compact().fast_work(), Some(floor.work()));
    }
    let hardest = Target::from_floor_bits(64).to_compact();
    assert_eq!(hardest.fast_work(), None, "needs the long division");
    assert_eq!(CompactTarget(0x1f80_ffff).fast_work(), None, "negative");
    assert_eq!(CompactTarget(0x1f00_0000).fast_work(), None, "zero");
    assert!(CompactTarget(0x2200_00ff).fast_work().is_some());
    assert_eq!(CompactTarget(0x2200_0100).fast_work(), None, "2^256");
}

#[test]
fn hash_equal_to_the_target_meets_it() {
    let bytes = target(1000).to_be_bytes();
    assert!(target(1000).is_met_by(&BlockHash::new(bytes)));
    assert!(!target(999).is_met_by(&BlockHash::new(bytes)));
}

#[test]
fn work_saturates_and_prints_in_decimal() {
    let most = Work(U256::MAX);
    assert_eq!(most.saturating_add(Work(U256::ONE)), most);
    assert_eq!(Work::ZERO.saturating_sub(most), Work::ZERO);
    assert_eq!(Target(U256::MAX).work(), Work(U256::ONE));
    assert_eq!(
        target(1).work().to_string(),
        (U256::ONE << 255_usize).to_string()
    );
    assert_eq!(Work(U256::from(65_535)).to_string(), "65535");
}

proptest! {
    #[test]
    fn compact_form_rounds_down_to_the_nearest(bytes: [u8; 32], shift in 0_usize..256) {
        let target = Target::from_uint(U256::from_be_bytes(bytes) >> shift);
        let compact = target.to_compact();
        let rounded = compact.target().expect("a compact form of a target is valid");
        prop_assert!(rounded <= target);
        prop_assert_eq!(rounded.to_compact(), compact);
        // Unless rounding lost nothing, the next number that compact bits can express is above the target.
        let next = CompactTarget(compact.0 + 1).target();
        prop_assert!(rounded == target || next.map_or(true, |next| next > target));
    }

    #[test]
    fn work_equals_the_512_bit_quotient(bytes: [u8; 32], shift in 0_usize..256) {
        let target = Target::from_uint(U256::from_be_bytes(bytes) >> shift);
        let wide: ruint::aliases::U512 = (ruint::aliases::U512::ONE << 256_usize)
            / (target.0.to::<ruint::aliases::U512>() + ruint::aliases::U512::ONE);
        prop_assert_eq!(target.work().0.to::<ruint::aliases::U512>(), wide);
    }

    #[test]
    fn fast_work_equals_work(size in 0_u32..36, mantissa in 0_u32..0x0100_0000, shift in 0_u32..24) {
        // Powers of two are among them, because they leave no remainder.
        for mantissa in [mantissa >> shift, 1 << shift] {
            let bits = CompactTarget(size << 24 | mantissa);
            if let Some(work) = bits.fast_work() {
                prop_assert_eq!(Ok(work), bits.target().map(|target| target.work()), "{}", bits);
            }
        }
    }

    #[test]
    fn work_is_32_bytes_little_endian(bytes: [u8; 32]) {
        let work = Work::from_le_bytes(bytes);
        prop_assert_eq!(work.to_le_bytes(), bytes);
        prop_assert_eq!(borsh::to_vec(&work).ok(), Some(bytes.to_vec()));
        prop_assert_eq!(borsh::from_slice::<Work>(&bytes).ok(), Some(work));
    }
}
