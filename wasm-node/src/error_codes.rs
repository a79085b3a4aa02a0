//! The codes of all errors that JavaScript can get.

use heartchain_peer::net::{AddressError, IceServerError};
use heartchain_sync::io::{AdoptError, NameError, RecordError};

use crate::{
    api_error::{ErrorCode, INVALID},
    arguments::{ArgumentError, BlockArgumentError, DocumentError, RoomLinkError},
    move_file::MoveFileError,
    moving::MoveError,
    node::NodeError,
    start::StartError,
    storage::{DeleteRoomError, KeepIdentityError, RetireError, StoreError},
};

impl ErrorCode for ArgumentError {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownOption { .. } => "unknown-option",
            Self::Type { .. } | Self::TooMany { .. } | Self::Bpm { .. } => INVALID,
        }
    }
}

impl ErrorCode for BlockArgumentError {
    fn code(&self) -> &'static str {
        INVALID
    }
}

impl ErrorCode for AddressError {
    fn code(&self) -> &'static str {
        INVALID
    }
}

impl ErrorCode for IceServerError {
    fn code(&self) -> &'static str {
        INVALID
    }
}

impl ErrorCode for heartchain_chain::room::RoomNameError {
    fn code(&self) -> &'static str {
        INVALID
    }
}

impl ErrorCode for heartchain_chain::profile::ProfileNameError {
    fn code(&self) -> &'static str {
        INVALID
    }
}

impl ErrorCode for RoomLinkError {
    fn code(&self) -> &'static str {
        "invalid-link"
    }
}

impl ErrorCode for DocumentError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoText | Self::TooLong { .. } | Self::NoDocument => "not-an-export",
            Self::Format { .. } => "unknown-format",
            Self::OtherRoom { .. } | Self::OtherPrivateRoom | Self::OtherRules { .. } => {
                "other-room"
            }
            Self::Block { .. }
            | Self::Altered { .. }
            | Self::Reading { .. }
            | Self::AlteredReading { .. }
            | Self::Profile { .. } => "invalid-import",
        }
    }
}

impl ErrorCode for StoreError {
    fn code(&self) -> &'static str {
        "storage"
    }
}

impl ErrorCode for StartError {
    fn code(&self) -> &'static str {
        match self {
            Self::Entropy(_) => "no-randomness",
            Self::Network(_) | Self::Transport(_) => "internal",
        }
    }
}

impl ErrorCode for getrandom::Error {
    fn code(&self) -> &'static str {
        "no-randomness"
    }
}

impl ErrorCode for NodeError {
    fn code(&self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Busy { .. } => "busy",
            Self::Record(error) => record_code(error),
            Self::Name(error) => name_code(error),
            Self::Backwards { .. } | Self::TooManyBlocks { .. } => INVALID,
            Self::Changing { .. } | Self::LeftBehind => "changing",
            Self::Damaged { .. } => "damaged",
            Self::NotWritten(_) => "internal",
            Self::Document(error) => error.code(),
            Self::Adopt(AdoptError::NotStored) => "storage",
            Self::Adopt(AdoptError::TooMany { .. }) => "busy",
            // A reading of the file breaks a rule.
            Self::Import(_) | Self::Adopt(_) => "invalid-import",
            Self::Store(error) => error.code(),
        }
    }
}

impl ErrorCode for DeleteRoomError {
    fn code(&self) -> &'static str {
        match self {
            Self::Open => ROOM_OPEN,
            Self::Store(error) => error.code(),
        }
    }
}

impl ErrorCode for MoveFileError {
    fn code(&self) -> &'static str {
        match self {
            Self::TooLong | Self::OtherKind | Self::Newer | Self::Damaged | Self::Content => {
                "not-a-move-file"
            }
            Self::Passphrase => "wrong-passphrase",
            Self::TooManyKeys => "journal-full",
            Self::Memory => "internal",
        }
    }
}

impl ErrorCode for KeepIdentityError {
    fn code(&self) -> &'static str {
        match self {
            Self::Open => ROOM_OPEN,
            Self::NoFreeSlot | Self::NoStorage => "storage",
            Self::Deleting(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
}

impl ErrorCode for RetireError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotMoved => "not-moved",
            Self::Open => ROOM_OPEN,
            Self::Store(error) => error.code(),
        }
    }
}

impl ErrorCode for MoveError {
    fn code(&self) -> &'static str {
        match self {
            Self::Node(error) => error.code(),
            Self::File(error) => error.code(),
            Self::Entropy(error) => error.code(),
            Self::NoKey => "invalid-link",
            Self::Keep(error) => error.code(),
            Self::Retire(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
}

/// A tab has the room open.
const ROOM_OPEN: &str = "room-open";

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum may grow; other causes are the disk's, too"
)]
fn record_code(error: &RecordError) -> &'static str {
    match error {
        RecordError::JournalFull { .. } => "journal-full",
        RecordError::TooMany { .. } => "busy",
        RecordError::NoKey => "invalid-link",
        _ => "storage",
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum may grow; other causes are the disk's, too"
)]
fn name_code(error: &NameError) -> &'static str {
    match error {
        NameError::TooMany { .. } => "busy",
        NameError::NoKey => "invalid-link",
        NameError::Clock => "clock",
        _ => "storage",
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen::JsCast as _;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::api_error::{ApiError, NAME};
    use wasm_bindgen::JsValue;

    fn thrown(error: impl Into<ApiError>) -> (String, Option<String>, String) {
        let error: JsValue = error.into().into();
        let code = js_sys::Reflect::get(&error, &"code".into()).expect("an object");
        let error: js_sys::Error = error.dyn_into().expect("an Error");
        (
            error.name().into(),
            code.as_string(),
            error.message().into(),
        )
    }

    #[test]
    fn error_has_a_name_a_code_and_a_message() {
        let (name, code, message) =
            thrown(NodeError::Record(RecordError::JournalFull { limit: 7 }));
        assert_eq!(
            (name.as_str(), code.as_deref()),
            (NAME, Some("journal-full"))
        );
        assert!(message.contains("7 readings"), "{message}");
        let (_, code, _) = thrown(DocumentError::NoDocument);
        assert_eq!(code.as_deref(), Some("not-an-export"));
        let (_, code, _) = thrown(ApiError::internal("so"));
        assert_eq!(code.as_deref(), Some("internal"));
    }
}
