//! How much control a gossip RPC contains. Gossipsub exports neither the type of an RPC nor its fields, but prints it for
//! traces. So this counts names in what it prints; it keeps none of it.

use std::fmt::{self, Debug, Write};

use super::gossip_budget::{CONTROL_BURST, CONTROL_OVERHEAD};

/// What an RPC contains besides messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RpcSize {
    /// Subscriptions, and the topics and message IDs of control items.
    items: u64,
}

impl RpcSize {
    /// The size of the RPC that an event of gossipsub's connection handler brings. `None` for an event that brings no RPC,
    /// but is about what this tab sends.
    pub(crate) fn of(event: &impl Debug) -> Option<Self> {
        let mut counter = Counter::default();
        // Counting ends early if there are too many in any case.
        let _ = write!(counter, "{event:?}");
        let items = counter.items;
        counter.is_rpc.unwrap_or(false).then_some(Self { items })
    }

    /// What it costs in the budget for control. Only an RPC with messages may contain none.
    pub(crate) const fn control_cost(self, has_messages: bool) -> u64 {
        if self.items == 0 && has_messages {
            0
        } else {
            self.items.saturating_add(CONTROL_OVERHEAD)
        }
    }
}

/// Pieces that are printed after the messages of a valid RPC. Each further one counts as an item: a key of an invalid message
/// is printed byte by byte, and an honest peer sends no such messages.
const FREE_PIECES: u64 = 16;

/// Counts the items while an event is printed. A text of the peer that contains one of the names only adds to its count.
#[derive(Default)]
struct Counter {
    /// Whether the event is an RPC. `None` until its name was printed, which comes first.
    is_rpc: Option<bool>,
    /// Whether the messages have been printed, which come before the rest.
    is_past_messages: bool,
    /// Pieces printed of invalid messages, which come last. `None` before them.
    invalid_pieces: Option<u64>,
    items: u64,
}

impl Write for Counter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text {
            _ if self.is_rpc.is_none() => self.is_rpc = Some(text == "Message"),
            // A text of the peer may repeat the name.
            "invalid_messages" => _ = self.invalid_pieces.get_or_insert(0),
            "subscriptions" | "control_msgs" => self.is_past_messages = true,
            "TopicHash" | "MessageId(" if self.is_past_messages => self.items += 1,
            _ => {}
        }
        if let Some(pieces) = &mut self.invalid_pieces {
            *pieces += 1;
            self.items += u64::from(*pieces > FREE_PIECES);
        }
        if self.is_rpc == Some(true) && self.items <= CONTROL_BURST {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}
