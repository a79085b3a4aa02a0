//! Names are bounded and visible, and a profile is its author's in one room only.

use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::room::rooms_of_both_kinds;

const REVISION: UnixMillis = UnixMillis::new(1_700_000_000_000);

fn key() -> SecretKey {
    SecretKey::from_seed([1; 32])
}

fn profile(room: &Room, name: &str) -> Profile {
    let name = ProfileName::new(name).expect("a name");
    let signed = room.sign_profile(&key(), REVISION, &name);
    signed.expect("the key is known")
}

#[test]
fn name_has_up_to_40_visible_bytes() {
    for name in [
        "",
        "Ann",
        "\u{c1}gnes \u{2665}",
        "\u{ae40}\u{bbfc}\u{c900}",
        &"x".repeat(40),
    ] {
        assert_eq!(
            ProfileName::new(name).as_ref().map(ProfileName::as_str),
            Ok(name)
        );
    }
    let found = 41;
    assert_eq!(
        ProfileName::new(&"x".repeat(41)),
        Err(ProfileNameError::TooLong { found })
    );
    for name in [" a", "a ", "\u{3000}"] {
        assert_eq!(
            ProfileName::new(name),
            Err(ProfileNameError::NotTrimmed),
            "{name:?}"
        );
    }
    for character in [
        '\0',
        '\n',
        '\t',
        '\u{7f}',
        '\u{85}',
        '\u{ad}',
        '\u{200b}',
        '\u{200e}',
        '\u{202e}',
        '\u{2066}',
        '\u{2028}',
        '\u{feff}',
        '\u{e0041}',
        // Blank letters, and code points that Unicode keeps for more that cannot be seen.
        '\u{115f}',
        '\u{1160}',
        '\u{2800}',
        '\u{3164}',
        '\u{ffa0}',
        '\u{34f}',
        '\u{17b4}',
        '\u{2065}',
        '\u{fff0}',
        '\u{e0002}',
        '\u{e0fff}',
    ] {
        let name: String = ['a', character, 'b'].iter().collect();
        let error = ProfileNameError::Invisible { character };
        assert_eq!(ProfileName::new(&name), Err(error));
    }
}

#[test]
fn joiners_are_allowed_between_letters() {
    for name in [
        "\u{dc1}\u{dca}\u{200d}\u{dbb}\u{dd3}",
        "\u{645}\u{6cc}\u{200c}\u{62e}",
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    ] {
        assert!(ProfileName::new(name).is_ok(), "{name:?}");
    }
    for (name, character) in [
        ("\u{200d}a", '\u{200d}'),
        ("a\u{200c}", '\u{200c}'),
        ("a \u{200d}b", '\u{200d}'),
        ("a\u{200c}\u{200d}b", '\u{200c}'),
    ] {
        let error = ProfileNameError::Invisible { character };
        assert_eq!(ProfileName::new(name), Err(error), "{name:?}");
    }
}

#[test]
fn variation_selectors_need_a_visible_character() {
    for name in [
        "\u{2764}\u{fe0f}",
        "\u{2764}\u{fe0f}\u{200d}\u{1f525}",
        "\u{845b}\u{e0100}",
        "\u{182d}\u{180d}",
    ] {
        assert!(ProfileName::new(name).is_ok(), "{name:?}");
    }
    for (name, character) in [
        ("\u{fe0f}", '\u{fe0f}'),
        ("a \u{fe0f}", '\u{fe0f}'),
        ("a\u{fe0f}\u{fe0f}", '\u{fe0f}'),
        ("a\u{200d}\u{fe0f}b", '\u{200d}'),
        ("a\u{fe0f}\u{200d}", '\u{200d}'),
        ("\u{e01ef}a", '\u{e01ef}'),
        ("a\u{e01f0}", '\u{e01f0}'),
    ] {
        let error = ProfileNameError::Invisible { character };
        assert_eq!(ProfileName::new(name), Err(error), "{name:?}");
    }
}

#[test]
fn profile_survives_a_round_trip() {
    for room in rooms_of_both_kinds() {
        for name in ["", "Ann", &"x".repeat(40)] {
            let profile = profile(&room, name);
            assert_eq!(profile.verify(room.id()), Ok(()));
            let bytes = profile.encode();
            let expected = match room.form() {
                ReadingForm::Open => 105 + name.len(),
                ReadingForm::Sealed => 160,
            };
            assert_eq!(bytes.len(), expected);
            let decoded = Profile::decode(room.form(), &bytes);
            assert_eq!(decoded.as_ref(), Ok(&profile));
            let mut rest = &bytes[..];
            let read = Profile::deserialize(room.form(), &mut rest);
            assert!(read.is_ok_and(|read| read == profile) && rest.is_empty());
            assert_eq!(borsh::to_vec(&profile).expect("a vector"), bytes);
            let opened = room.open_profile(&profile);
            assert_eq!(opened.as_ref().map(ProfileName::as_str), Some(name));
        }
    }
}

#[test]
fn sealed_names_have_one_length() {
    let [_, private] = rooms_of_both_kinds();
    assert_eq!(
        profile(&private, "").encode().len(),
        profile(&private, "Annabelle").encode().len()
    );
}

#[test]
fn altered_profile_is_refused() {
    for room in rooms_of_both_kinds() {
        let bytes = profile(&room, "Ann").encode();
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            let altered = Profile::decode(room.form(), &altered);
            let verified = altered.and_then(|altered| altered.verify(room.id()));
            assert!(verified.is_err(), "byte {at}");
        }
    }
    let [open, private] = rooms_of_both_kinds();
    assert!(profile(&open, "Ann").verify(private.id()).is_err());
}

#[test]
fn malformed_profile_is_refused() {
    let [open, private] = rooms_of_both_kinds();
    for room in [&open, &private] {
        let bytes = profile(room, "Ann").encode();
        for len in 0..bytes.len() {
            assert!(
                Profile::decode(room.form(), &bytes[..len]).is_err(),
                "{len} bytes"
            );
        }
        assert!(Profile::decode(room.form(), &[&bytes[..], &[0]].concat()).is_err());
    }
    let mut long = profile(&open, &"x".repeat(40)).encode();
    long[40] = 41;
    long.insert(41, b'x');
    let found = 41;
    let error = ProfileNameError::TooLong { found };
    assert_eq!(Profile::decode(ReadingForm::Open, &long), Err(error.into()));
    let mut late = profile(&open, "").encode();
    late[32..40].copy_from_slice(&[0xff; 8]);
    let found = UnixMillis::new(u64::MAX);
    let error = ProfileError::Revision { found };
    assert_eq!(Profile::decode(ReadingForm::Open, &late), Err(error));
}

#[test]
fn sealed_nonsense_is_no_name() {
    let [_, private] = rooms_of_both_kinds();
    let author = key().author();
    let purpose = Purpose::Profile(&author, REVISION.get());
    let ciphers = private.ciphers().expect("the key is known");
    let mut plain = [0; MAX_NAME_LEN];
    for (bytes, is_name) in [
        (&b"Ann"[..], true),
        (b"A\0n", false),
        (b"\xff", false),
        (b" A", false),
    ] {
        plain.fill(0);
        plain[..bytes.len()].copy_from_slice(bytes);
        let content = ProfileContent::Sealed(SealedName::new(ciphers.seal(purpose, &plain)));
        let profile = Profile {
            content,
            ..profile(&private, "")
        };
        assert_eq!(
            private.open_profile(&profile).is_some(),
            is_name,
            "{bytes:?}"
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_profile_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), sealed: bool) {
        let form = if sealed { ReadingForm::Sealed } else { ReadingForm::Open };
        let decoded = Profile::decode(form, &bytes);
        prop_assert!(decoded.is_err() || decoded.is_ok_and(|profile| profile.encode() == bytes));
        let mut rest = &bytes[..];
        if let Ok(profile) = Profile::deserialize(form, &mut rest) {
            prop_assert_eq!(profile.encode(), &bytes[..bytes.len() - rest.len()]);
        }
        let zeros = vec![0; bytes.len()];
        let _ = Profile::decode(form, &zeros);
    }
}
