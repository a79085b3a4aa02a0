//! Exports, in the format of the page (wasm-node/EXPORT.md).
//!
//! - `rows`: one block, reading or name as JSON. `writing`, `document`: a whole file, a row at a time
//! - `verifying`: whether a file is a valid chain. `transfer`: between a file and a session. `imported`: what an import found, in words
//! - `schedule`: regular exports

pub(crate) mod document;
mod imported;
mod rows;
mod schedule;
pub(crate) mod transfer;
mod verifying;
mod writing;

pub use self::{
    document::DocumentError,
    imported::{imported_json, imported_text},
    rows::RowError,
    schedule::{ExportSchedule, MAX_KEPT, MIN_INTERVAL},
    transfer::{ExportError, Exported, TransferError, export},
    verifying::{Verified, VerifyError, verify},
    writing::WriteError,
};
