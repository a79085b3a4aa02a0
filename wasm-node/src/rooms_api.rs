//! The JavaScript API for the rooms on this device, and for moving an author to another one. Contains no logic of its own.

use serde::Serialize;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

use crate::{
    api::{HeartchainNode, to_js},
    api_error::ApiError,
    arguments,
    blob_writer::blob_of,
    leaving::all_have_left,
    move_file::{MAX_MOVE_FILE_LEN, MoveFileError},
    moving::{self, MoveError},
    room_access::RoomAccess,
    storage::{self, StoredRoom},
};

/// The media type of a move file.
const MOVE_FILE_TYPE: &str = "application/octet-stream";

/// An element of `rooms()`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StoredRoomView {
    genesis: String,
    room: Option<String>,
    private: bool,
    label: Option<String>,
    link: Option<String>,
    readings: u64,
    bytes: Option<u64>,
    last_opened: u64,
    open: bool,
}

/// The result of `importIdentity()`.
#[derive(Debug, Serialize)]
struct ImportedIdentityView {
    genesis: String,
    link: String,
    readings: u64,
}

impl From<StoredRoom> for StoredRoomView {
    fn from(stored: StoredRoom) -> Self {
        let label = stored.label.as_deref().unwrap_or_default();
        let link = stored.access.as_ref().map(|access| link(access, label));
        let (room, private) = match stored.access {
            Some(RoomAccess::Open(name)) => (Some(name.to_string()), false),
            Some(RoomAccess::Private(_)) => (None, true),
            None => (None, false),
        };
        Self {
            genesis: stored.room.to_string(),
            room,
            private,
            label: stored.label,
            link,
            readings: stored.readings,
            bytes: stored.bytes,
            last_opened: stored.last_opened.get(),
            open: stored.open,
        }
    }
}

/// The part of a link that opens a room.
fn link(access: &RoomAccess, label: &str) -> String {
    match access {
        RoomAccess::Open(name) => arguments::open_room_link(name),
        RoomAccess::Private(key) => arguments::room_link(key, label),
    }
}

/// The rooms on this device, the one that was opened last first. Needs no node.
///
/// # Errors
/// None: what cannot be read is left out.
#[wasm_bindgen(unchecked_return_type = "StoredRoom[]")]
pub async fn rooms() -> Result<JsValue, ApiError> {
    let stored = storage::stored_rooms().await;
    let views: Vec<StoredRoomView> = stored.into_iter().map(StoredRoomView::from).collect();
    to_js(&views)
}

/// Changes what a room is called on this device; an empty label removes it. Needs no node.
///
/// Rejects with a descriptive Error.
///
/// # Errors
/// If the label is too long, the room is not on this device, or storage fails.
#[wasm_bindgen(js_name = labelRoom)]
pub async fn label_room(
    #[wasm_bindgen(unchecked_param_type = "string")] genesis: JsValue,
    #[wasm_bindgen(unchecked_param_type = "string")] label: JsValue,
) -> Result<(), ApiError> {
    let room = arguments::genesis(&genesis)?;
    let label = arguments::label(&label)?;
    let label = label.trim();
    let label = (!label.is_empty()).then(|| label.to_owned());
    if storage::label_room(room, label).await? {
        Ok(())
    } else {
        let unknown = "this room is not on this device: open it first, then name it";
        Err(ApiError::invalid(&unknown))
    }
}

/// Deletes all that this device has of a room: its chain, keys, readings and names. Other devices keep theirs. Needs no
/// node.
///
/// Rejects with a descriptive Error. While a tab has the room open, its code is `room-open`, and nothing was deleted.
///
/// # Errors
/// If a tab has the room open, or storage fails.
#[wasm_bindgen(js_name = deleteRoom)]
pub async fn delete_room(
    #[wasm_bindgen(unchecked_param_type = "string")] genesis: JsValue,
) -> Result<(), ApiError> {
    let room = arguments::genesis(&genesis)?;
    all_have_left().await;
    Ok(storage::delete_room(room).await?)
}

/// Imports a move file: the next tab that opens its room is that author. Needs no node.
///
/// Rejects with a descriptive Error; then nothing has changed. Its code is `wrong-passphrase` or `not-a-move-file` if the
/// file cannot be opened.
///
/// # Errors
/// If the file cannot be opened, or there is no place for the identity.
#[wasm_bindgen(js_name = importIdentity, unchecked_return_type = "ImportedIdentity")]
pub async fn import_identity(
    #[wasm_bindgen(unchecked_param_type = "Blob")] file: JsValue,
    #[wasm_bindgen(unchecked_param_type = "string")] passphrase: JsValue,
) -> Result<JsValue, ApiError> {
    let passphrase = arguments::passphrase(&passphrase)?;
    let file = arguments::file(&file, MAX_MOVE_FILE_LEN).await?;
    let file = file.ok_or(MoveError::File(MoveFileError::TooLong))?;
    all_have_left().await;
    let imported = moving::import_identity(&file, &passphrase).await?;
    to_js(&ImportedIdentityView {
        genesis: imported.room.to_string(),
        link: link(&imported.access, &imported.label),
        readings: imported.readings,
    })
}

#[wasm_bindgen]
impl HeartchainNode {
    /// Makes a move file of this tab's author, encrypted with a passphrase: its keys, its readings and the room's link.
    /// The tab keeps working; see `retire()`.
    ///
    /// Rejects with a descriptive Error.
    ///
    /// # Errors
    /// If the passphrase is empty, or the node or the storage has failed.
    #[wasm_bindgen(js_name = exportIdentity, unchecked_return_type = "Blob")]
    pub async fn export_identity(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string")] passphrase: JsValue,
    ) -> Result<JsValue, ApiError> {
        let passphrase = arguments::passphrase(&passphrase)?;
        let node = self.handle();
        let file = moving::export_identity(node, &passphrase).await?;
        blob_of(&file, MOVE_FILE_TYPE)
            .ok_or_else(|| ApiError::internal("this browser cannot make a file of it"))
    }

    /// Stops this tab and removes its author from this device, after a person has confirmed that the import of the move
    /// file worked. The copy of the chain stays, and the next tab gets a new author.
    ///
    /// Rejects with a descriptive Error; then the author stays. Its code is `not-moved` if something was recorded here
    /// after the last move file was made.
    ///
    /// # Errors
    /// If no move file has all readings, or storage fails.
    pub async fn retire(&self) -> Result<(), ApiError> {
        let node = self.handle();
        Ok(moving::retire(node).await?)
    }
}
