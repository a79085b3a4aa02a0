//! Tests of the tree and the mempool: by behaviour, and against a simple model.

mod early_blocks;
mod fixtures;
mod mempool;
mod model;
mod tree;
