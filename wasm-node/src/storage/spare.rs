//! A third copy of a tab's first key, outside its database: the two in there may lie side by side on the disk. Without its key
//! a tab would sign all of its journal once more. Read only where the database has lost both, and believed only with
//! its checksum.

use super::records;

/// Keeps the copy, where the browser has a place for it.
pub(super) fn keep(database: &str, seed: &[u8; 32]) {
    if find(database) == Some(*seed) {
        return;
    }
    let place = place(database);
    if let Some(storage) = storage() {
        // It is one copy more: that it finds no room is no fault.
        let _ = storage.set_item(&place, &hex::encode(records::sealed_seed(&place, seed)));
    }
}

/// The copy, if it is what was kept.
pub(super) fn find(database: &str) -> Option<[u8; 32]> {
    let place = place(database);
    let text = storage()?.get_item(&place).ok()??;
    records::unsealed_seed(&place, &hex::decode(text).ok()?)
}

fn place(database: &str) -> String {
    format!("{database}/key")
}

fn storage() -> Option<web_sys::Storage> {
    web_sys::window()?.local_storage().ok()?
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn what_was_kept_is_found_and_what_was_changed_is_not() {
        assert_eq!(find("spare none"), None);
        keep("spare", &[7; 32]);
        assert_eq!(find("spare"), Some([7; 32]));
        let storage = storage().expect("a browser");
        let kept = storage
            .get_item("spare/key")
            .ok()
            .flatten()
            .expect("a copy");
        for other in [&kept.replacen('7', "8", 1), "", "no hex", &kept[2..]] {
            storage.set_item("spare/key", other).expect("room");
            assert_eq!(find("spare"), None, "{other:?}");
        }
        storage.set_item("spare other/key", &kept).expect("room");
        assert_eq!(find("spare other"), None);
    }
}
