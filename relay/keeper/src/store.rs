//! What a keeper has on disk for one room: a database in one file, and how a machine is restored from it.
//!
//! - `file`: the store and its requests. `schema`: its tables. `writing`: the machine's batches. `loading`: a restart.
//!   `bounded_file` and `limit_reached`: how large it may become. `error`: what can go wrong. `retry_pause` and `free_room`: when a store
//!   that failed is used again
//! - `queue`: runs requests in order on a thread where they may block
//!
//! docs/keeper.md has the layout.

mod bounded_file;
mod error;
mod file;
mod free_room;
mod limit_reached;
mod loading;
mod queue;
mod retry_pause;
mod schema;
#[cfg(test)]
mod tables_test;
mod writing;

pub use disk_limit::DiskLimit;

#[cfg(test)]
pub(crate) use self::file::Bodies;
pub use self::{
    error::{OpenError, StoreError},
    file::Store,
    limit_reached::LimitReached,
    loading::{Restored, Start},
    queue::StoreLost,
    schema::STORE_VERSION,
};
pub(crate) use self::{
    file::{BlockSnapshot, Storage},
    queue::{Answer, Job, Queue},
};
