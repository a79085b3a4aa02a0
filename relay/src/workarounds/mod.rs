//! Workarounds for bugs in libp2p crates, one module for each. The module says what the bug is, which version of which
//! crate has it, and when the workaround can be removed.

mod idle_timeout;

pub(crate) use self::idle_timeout::IdleTimeout;
