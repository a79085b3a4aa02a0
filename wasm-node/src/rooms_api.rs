//! The JavaScript API for the rooms on this device. Contains no logic of its own.

use serde::Serialize;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

use crate::{
    api::to_js,
    api_error::ApiError,
    arguments,
    leaving::all_have_left,
    room_access::RoomAccess,
    storage::{self, StoredRoom},
};

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
