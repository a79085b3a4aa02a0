//! Workarounds for faults of libp2p crates that concern browsers only, one file each: it states the fault, the upstream
//! crate and version, and when the workaround can be removed. Those of every platform are in `heartchain_peer`.

mod no_delay_flush;

pub(crate) use self::no_delay_flush::NoDelayFlush;
