//! Workarounds for faults of libp2p crates, one file each: it states the fault, the upstream crate and version, and
//! when the workaround can be removed.

mod close_timeout;
mod repeated_hello;

pub(super) use self::{close_timeout::CloseTimeout, repeated_hello::pass_with_hello};
