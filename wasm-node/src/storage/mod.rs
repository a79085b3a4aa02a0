//! Storage of a peer: its keys, its journal and its blocks. A store executes requests and validates nothing; data read
//! from a store is as untrusted as data from a peer.
//!
//! In reading order:
//! - `opening` takes one of the browser's slots (`listed_slot` and `slot`, and `database_lock` where there are no Web Locks),
//!   opens its database, and restores the machine from it.
//! - `store` says what a store is.
//! - `indexed_db` is the open database of the store on disk, with `schema`, `records`, `segments` and `summary`.
//!   `loading` reads all of it at the start, `compaction` and `checking` tend it, and `disk_store` executes requests.
//! - `close_signal`, `reopening`, `database` and `rebuilding` handle databases that the browser closed, deleted or left
//!   incomplete.
//! - `mirror` is a second copy, in `localStorage`, of the data that peers cannot restore.
//! - `memory` is a store without a disk.
//! - `queue` serializes the requests to either store.
//! - `health` is the state of the storage that the page can see.
//! - `room_list` is the list of all rooms on this device, with a `room_record` for each. `room_use` tells it what a slot
//!   holds, `stored_rooms` shows it, and finds again what it lacks (`rooms_on_disk`). `room_deletion` deletes a room, unless
//!   `open_slots` or locks show that a tab has it open; `deletion_note` tells a start of it that cannot read the list.
//! - `moved_slot` writes an identity that comes from another device to a slot, and removes one that went to another device.
//! - `adoption` finds readings that closed tabs have not shared; `read_only` reads their databases.

mod adoption;
mod checking;
mod close_signal;
mod compaction;
mod database;
mod database_lock;
mod deletion_note;
mod disk_store;
#[cfg(test)]
mod fault_injector;
mod health;
mod indexed_db;
mod listed_slot;
mod loading;
mod memory;
mod mirror;
mod mirror_page;
mod moved_slot;
mod open_slots;
mod opening;
mod patience;
mod queue;
mod read_only;
mod rebuilding;
mod records;
mod reopening;
mod room_deletion;
mod room_list;
mod room_record;
mod room_use;
mod rooms_on_disk;
mod schema;
mod segments;
mod slot;
mod store;
mod stored_rooms;
#[doc(hidden)]
pub mod suite;
mod summary;

pub(crate) use adoption::{Adoption, Unshared};
pub use close_signal::{CloseSignal, ClosedBy};
pub(crate) use health::{Failing, Health, Loss, Reason};
pub use indexed_db::IndexedDb;
pub use memory::MemoryStore;
pub(crate) use mirror::{MAX_MIRRORED_ENTRIES, Mirror};
pub(crate) use moved_slot::{
    KeepIdentityError, RetireError, keep_identity, moved_len, note_moved, retire,
};
pub(crate) use opening::{Opened, open};
pub(crate) use queue::{Answer, Bodies, Queue};
pub(crate) use room_deletion::{DeleteRoomError, delete_room};
pub(crate) use room_record::MAX_ROOM_LABEL_LEN;
pub(crate) use slot::Released;
pub use store::{CheckProgress, Reopened, Storage, StoreError};
pub(crate) use stored_rooms::{StoredRoom, label_room, room_label, stored_rooms};
