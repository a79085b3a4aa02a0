//! A binding proves the author of one peer in one room, and is sealed in a private one.

use super::*;
use crate::room::{RoomName, RoomParams, rooms_of_both_kinds};

const PEER: &[u8] = b"a peer's id";

fn key() -> SecretKey {
    SecretKey::from_seed([1; 32])
}

#[test]
fn binding_proves_the_author_of_its_peer() {
    for room in rooms_of_both_kinds() {
        let binding = room.bind(&key(), PEER).expect("the key is known");
        assert_eq!(room.bound_author(&binding, PEER), Some(key().author()));
        assert_eq!(room.bound_author(&binding, b"another peer"), None);
        let bytes = borsh::to_vec(&binding).expect("memory");
        assert_eq!(
            bytes.len(),
            if room.form() == ReadingForm::Open {
                96
            } else {
                112
            }
        );
        let decoded = Binding::deserialize(room.form(), &mut &bytes[..]);
        assert_eq!(decoded.ok(), Some(binding));
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            let altered = Binding::deserialize(room.form(), &mut &altered[..]).expect("its length");
            assert_eq!(room.bound_author(&altered, PEER), None, "byte {at}");
        }
        assert!(Binding::deserialize(room.form(), &mut &bytes[1..]).is_err());
    }
}

#[test]
fn binding_of_another_room_proves_nothing() {
    let [open, private] = rooms_of_both_kinds();
    let name = RoomName::new("other").expect("a room name");
    let other = Room::new(RoomParams::with_defaults(name));
    let binding = open.bind(&key(), PEER).expect("an open room");
    assert_eq!(other.bound_author(&binding, PEER), None);
    assert_eq!(private.bound_author(&binding, PEER), None);
    let sealed = private.bind(&key(), PEER).expect("the key is known");
    assert_eq!(open.bound_author(&sealed, PEER), None);
}

#[test]
fn peer_without_the_key_neither_binds_nor_sees() {
    let [_, private] = rooms_of_both_kinds();
    let outside = Room::new(private.params().clone());
    assert_eq!(outside.bind(&key(), PEER), None);
    let sealed = private.bind(&key(), PEER).expect("the key is known");
    assert_eq!(outside.bound_author(&sealed, PEER), None);
    let bytes = borsh::to_vec(&sealed).expect("memory");
    let author = key().author();
    assert!(
        !bytes
            .windows(8)
            .any(|part| author.as_bytes().windows(8).any(|own| own == part))
    );
}
