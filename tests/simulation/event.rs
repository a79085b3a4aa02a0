//! What can be scheduled in a run.

use heartchain_peer::net::Path;
use heartchain_sync::{input_queue::VerifierTaskId, verification::VerifiedBodies};

use crate::{
    fault::Fault,
    id::Id,
    packet::{LinkId, Packet},
};

/// A scheduled event. `incarnation` ties an event to one start of a peer: events of an earlier incarnation are ignored.
#[derive(Debug)]
pub(crate) enum SimEvent {
    /// A packet arrives, provided its link is still up.
    Delivery {
        link: LinkId,
        from: Id,
        to: Id,
        packet: Packet,
    },
    /// A peer learns on a link that the other end takes part in the room.
    Identified {
        to: Id,
        incarnation: u32,
        peer: Id,
        link: LinkId,
    },
    /// A peer notices that a link is dead.
    LinkDown {
        to: Id,
        incarnation: u32,
        link: LinkId,
    },
    /// One more connection between two peers is established.
    Dialed { from: Id, to: Id, path: Path },
    /// The timer that a machine set with `WakeAt` fires, unless it has set another one since.
    Timer {
        to: Id,
        incarnation: u32,
        timer: u64,
    },
    /// A disk finishes its oldest job.
    DiskDone { to: Id, incarnation: u32 },
    /// The thread that verifies signatures completes a task, or fails.
    Verified {
        to: Id,
        incarnation: u32,
        task: VerifierTaskId,
        verified: Option<VerifiedBodies>,
    },
    /// A miner finds the nonce for a job.
    NonceFound { to: Id, incarnation: u32, job: u64 },
    /// Peers with too few links dial others.
    Dial,
    /// A user records a heart rate.
    RecordReading { at: Id },
    /// A person chooses a name.
    SetName { at: Id },
    /// A fault begins or ends.
    Fault(Fault),
    /// A misbehaving peer takes its turn.
    MisbehaviourTurn { at: Id },
    /// A persistent attacker takes its turn.
    AttackerTurn { at: Id },
    /// An attacker sends a response that it delayed.
    Send { from: Id, to: Id, packet: Packet },
    /// An attacker cuts a link and sets it up again.
    Reconnect { from: Id, to: Id },
    /// An attacker sets up a link.
    Connect { from: Id, to: Id },
    /// The invariants are checked.
    CheckInvariants,
}
