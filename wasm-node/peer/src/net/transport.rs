//! What the transports of every platform have in common: how long a connection may take to begin and to end, and how many
//! streams it has. Never dials.

use std::{error::Error, io, time::Duration};

use libp2p::{
    PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, timeout::TransportTimeout},
    },
};

use super::workarounds::CloseTimeout;

/// Streams of one WebSocket, TCP connection or circuit at one time: 24 circuits, gossip, pings, and 4 requests in each
/// direction.
pub const MAX_STREAMS_PER_CONNECTION: usize = 256;
/// A connection fails after this time, which covers the socket and all handshakes.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long closing a connection may wait for the remote to agree. A dead one never does.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// The transport with limits for the time that dialing, accepting and closing take.
pub fn with_time_limits<T>(transport: T) -> Boxed<(PeerId, StreamMuxerBox)>
where
    T: Transport<Output = (PeerId, StreamMuxerBox)> + Send + Unpin + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
    T::Error: Error + Send + Sync + 'static,
{
    let closing = transport.map(|(peer, muxer), _| {
        let muxer = CloseTimeout::new(muxer, CLOSE_TIMEOUT);
        (peer, StreamMuxerBox::new(muxer))
    });
    TransportTimeout::new(closing, DIAL_TIMEOUT)
        .map_err(io::Error::other)
        .boxed()
}
