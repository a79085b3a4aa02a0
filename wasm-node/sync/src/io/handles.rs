//! Numbers that connect an answer with what was asked.

macro_rules! handle_type {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);
    )+};
}

handle_type! {
    /// Identifies one call of `record()`. Chosen by the driver and returned in the answer.
    Ticket,
    /// Identifies a gossip item that waits for its verdict. Chosen by the driver.
    GossipId,
    /// Identifies a peer's request that waits for our answer. Chosen by the driver.
    InboundId,
    /// Identifies one of our requests. Chosen by the machine.
    RequestId,
    /// Identifies a batch to be written. Chosen by the machine.
    WriteId,
    /// Identifies a read of bodies. Chosen by the machine.
    ReadId,
    /// Identifies a template given to the miner. Chosen by the machine; a newer one replaces the older.
    JobId,
}
