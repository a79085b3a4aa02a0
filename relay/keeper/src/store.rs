//! What a keeper has on disk for one room: a database in one file, and how a machine is restored from it.
//!
//! - `file`: the store and its requests. `schema`: its tables. `writing`: the machine's batches. `loading`: a restart.
//!   `bounded_file`: how large it may become. `error`: what can go wrong
//! - `queue`: runs requests in order on a thread where they may block
//!
//! docs/keeper.md has the layout.

mod bounded_file;
mod error;
mod file;
mod loading;
mod queue;
mod schema;
mod writing;

#[cfg(test)]
pub(crate) use self::file::Bodies;
pub use self::{
    bounded_file::DiskLimit,
    error::{OpenError, StoreError},
    file::Store,
    loading::{Restored, Start},
    queue::StoreLost,
    schema::STORE_VERSION,
};
pub(crate) use self::{
    file::{BlockSnapshot, Storage},
    queue::{Answer, Job, Queue},
};
