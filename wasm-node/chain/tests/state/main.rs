//! The tree and the mempool, by behaviour and against a model that is plainly right.

mod branch;
mod held_back;
mod mempool;
mod model;
mod tree;
