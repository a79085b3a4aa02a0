//! A native libp2p peer that enters a room as a tab does, and then speaks its protocols as badly as it is told:
//! the bytes of every request, answer and gossip item are the test's.

mod codec;
mod stranger;

pub(crate) use codec::frame;
pub(crate) use stranger::{Answers, Stranger};
