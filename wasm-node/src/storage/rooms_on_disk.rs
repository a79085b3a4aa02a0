//! Finds the rooms of which this device has something, by the names of databases and of items in `localStorage`. Opens
//! no database.

use heartchain_chain::hash::RoomId;
use litemap::LiteMap;

use super::{mirror, rebuilding::database_names, slot::MAX_SLOTS};

/// The numbers of the slots of each room that are on the disk.
pub(super) type SlotsOnDisk = LiteMap<RoomId, LiteMap<u32, ()>>;

/// Finds all of them. A browser that does not list its databases shows only those with a mirror.
pub(super) async fn slots_on_disk() -> SlotsOnDisk {
    let mut found = SlotsOnDisk::new();
    let databases = database_names().await.unwrap_or_default();
    for name in databases.into_iter().chain(mirror::item_names()) {
        if let Some((room, number)) = parse(&name) {
            found.entry(room).or_default().insert(number, ());
        }
    }
    found
}

/// The room and the slot that a database or an item belongs to: `heartchain/<room>/<slot>`, and what may follow after a
/// slash.
fn parse(name: &str) -> Option<(RoomId, u32)> {
    let mut parts = name.strip_prefix("heartchain/")?.split('/');
    let room = parts.next()?.parse().ok()?;
    let number: u32 = parts.next()?.parse().ok()?;
    (number < MAX_SLOTS).then_some((room, number))
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn only_names_of_slots_are_recognized() {
        let room = RoomId::new([0xab; 32]);
        assert_eq!(parse(&format!("heartchain/{room}/7")), Some((room, 7)));
        assert_eq!(
            parse(&format!("heartchain/{room}/7/saved")),
            Some((room, 7))
        );
        for name in [
            format!("heartchain/{room}/64"),
            format!("heartchain/{room}/slot"),
            format!("heartchain/{room}"),
            "heartchain/abc/7".to_owned(),
            format!("other/{room}/7"),
            "heartchain-history".to_owned(),
        ] {
            assert_eq!(parse(&name), None, "{name}");
        }
    }
}
