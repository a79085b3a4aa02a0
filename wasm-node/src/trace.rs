//! Traces every input and output of the machine for developers: its kind, peer and size, never a key or a whole body.
//! Compiled out of a release, where `tracing` has no level (see the features in Cargo.toml).

#[cfg(feature = "trace")]
mod console;

use heartchain_sync::{Batch, Input, Output, StoreOperation};
use tracing::debug;

use heartchain_peer::net::PeerId;

#[cfg(feature = "trace")]
pub(crate) use console::print_on_console;

/// The target of inputs. All targets of this crate begin with `heartchain`, so that a filter can name them together.
const INPUT: &str = "heartchain::input";
/// The target of outputs.
const OUTPUT: &str = "heartchain::output";

/// Traces an input before the machine handles it.
pub(crate) fn input(input: &Input<PeerId>) {
    match input {
        Input::Record { ticket, .. } => debug!(target: INPUT, ticket = ticket.0, "record"),
        Input::SetName { ticket, .. } => debug!(target: INPUT, ticket = ticket.0, "set name"),
        Input::Import { ticket, piece } => debug!(
            target: INPUT,
            ticket = ticket.0,
            blocks = piece.blocks.len(),
            readings = piece.readings.len(),
            profiles = piece.profiles.len(),
            last = piece.is_last,
            "import"
        ),
        Input::Adopt { ticket, readings } => {
            debug!(target: INPUT, ticket = ticket.0, readings = readings.len(), "adopt");
        }
        Input::PeerConnected { peer } => debug!(target: INPUT, %peer, "peer connected"),
        Input::PeerDisconnected { peer } => debug!(target: INPUT, %peer, "peer disconnected"),
        Input::PeerFlooded { peer } => debug!(target: INPUT, %peer, "peer flooded"),
        Input::Gossip { from, id, item } => match item {
            Ok(item) => debug!(
                target: INPUT,
                %from,
                id = id.0,
                topic = ?item.topic(),
                bytes = item.encoded_len(),
                "gossip"
            ),
            Err(error) => debug!(target: INPUT, %from, id = id.0, %error, "gossip"),
        },
        Input::Request { from, id, request } => match request {
            Ok(request) => {
                debug!(target: INPUT, %from, id = id.0, bytes = request.encoded_len(), "request");
            }
            Err(error) => debug!(target: INPUT, %from, id = id.0, %error, "request"),
        },
        Input::Response { peer, id, response } => match response {
            Ok(response) => {
                debug!(target: INPUT, %peer, id = id.0, bytes = response.encoded_len(), "response");
            }
            Err(error) => debug!(target: INPUT, %peer, id = id.0, %error, "response"),
        },
        Input::RequestFailed { peer, id, failure } => {
            debug!(target: INPUT, %peer, id = id.0, ?failure, "request failed");
        }
        Input::Written { id } => debug!(target: INPUT, id = id.0, "written"),
        Input::WriteFailed { id, full } => debug!(target: INPUT, id = id.0, full, "write failed"),
        Input::StoreReset => debug!(target: INPUT, "store reset"),
        Input::Read { id, bodies } => {
            debug!(target: INPUT, id = id.0, bodies = bodies.len(), "read");
        }
        Input::ReadFailed { id } => debug!(target: INPUT, id = id.0, "read failed"),
        Input::BodiesMissing { hashes } => {
            debug!(target: INPUT, blocks = hashes.len(), "bodies missing");
        }
        Input::Mined { job, nonce } => debug!(target: INPUT, job = job.0, nonce, "mined"),
        Input::Resumed => debug!(target: INPUT, "resumed"),
        Input::Tick => debug!(target: INPUT, "tick"),
    }
}

/// Traces an output before the driver performs it.
pub(crate) fn output(output: &Output<PeerId>) {
    match output {
        Output::Write { id, batch } => debug!(
            target: OUTPUT,
            id = id.0,
            operations = batch.operations.len(),
            blocks = blocks(batch),
            strict = batch.strict,
            "write"
        ),
        Output::Read { id, hashes } => {
            debug!(target: OUTPUT, id = id.0, blocks = hashes.len(), "read");
        }
        Output::Request {
            peer,
            id,
            request,
            deadline,
        } => debug!(
            target: OUTPUT,
            %peer,
            id = id.0,
            bytes = request.encoded_len(),
            deadline = deadline.get(),
            "request"
        ),
        Output::Respond { id, response } => {
            debug!(target: OUTPUT, id = id.0, bytes = response.encoded_len(), "respond");
        }
        Output::Refuse { id } => debug!(target: OUTPUT, id = id.0, "refuse"),
        Output::Publish(item) => {
            debug!(target: OUTPUT, topic = ?item.topic(), bytes = item.encoded_len(), "publish");
        }
        Output::Verdict { id, from, verdict } => {
            debug!(target: OUTPUT, %from, id = id.0, ?verdict, "verdict");
        }
        Output::Mine { job, header } => {
            debug!(target: OUTPUT, job = job.0, index = header.index, "mine");
        }
        Output::StopMining => debug!(target: OUTPUT, "stop mining"),
        Output::WakeAt(at) => debug!(target: OUTPUT, at = at.get(), "wake"),
        Output::Emit(event) => debug!(target: OUTPUT, ?event, "emit"),
        Output::ProvedMember { peer } => debug!(target: OUTPUT, %peer, "proved member"),
        Output::Disconnect {
            peer,
            reason,
            until,
        } => {
            debug!(target: OUTPUT, %peer, %reason, until = until.map(|until| until.get()), "disconnect")
        }
    }
}

/// How many blocks a batch stores.
fn blocks(batch: &Batch) -> usize {
    let is_block = |operation: &&StoreOperation| matches!(operation, StoreOperation::PutBlock(..));
    batch.operations.iter().filter(is_block).count()
}
