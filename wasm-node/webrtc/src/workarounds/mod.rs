//! Workarounds for faults in other libp2p implementations. There is one file for each; its docs name the fault, the
//! affected versions, and the condition under which it can be removed.

mod hide_observed_addr;

pub use self::hide_observed_addr::HideObservedAddr;
