//! The tree and the mempool, by behaviour and against a model that is plainly right.

mod branch;
mod mempool;
mod model;
mod tree;
