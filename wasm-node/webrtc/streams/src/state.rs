//! The state machine of one stream: handles FIN, FIN_ACK, STOP_SENDING and RESET separately for each direction.
//!
//! It decides which flags to send, what reads and writes return, and when the data channel may be closed. It never
//! sends, waits or buffers; `channel.rs` and `receive.rs` do.

use std::io;

use crate::frame::{Flag, FrameError};

/// How the implementation at the other end closes streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The current spec, as implemented by js-libp2p and this crate: FIN is answered with FIN_ACK, and the data channel
    /// stays open until FIN_ACK has arrived.
    FinAck,
    /// `libp2p-webrtc-utils` 0.5, which rust-libp2p's native server uses. There, FIN_ACK is an error that breaks the
    /// stream, and any frame without data ends its reading half. So FIN_ACK is neither sent nor awaited, and
    /// STOP_SENDING is sent only after FIN, when the server's reading half has ended anyway.
    Stock,
    /// For servers that do not know which of the other two a client speaks. FIN_ACK is sent only after FIN, when a stock
    /// client has ended its reading half and ignores it. A client of the current spec gets it a little later.
    LateFinAck,
}

/// Why a stream cannot be read from or written to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer sent RESET.
    #[error("the peer reset the stream")]
    ResetByPeer,
    /// The peer sent STOP_SENDING: it has stopped reading.
    #[error("the peer stopped reading the stream")]
    StoppedByPeer,
    /// The stream was written to after it was closed for writing.
    #[error("the stream was already closed for writing")]
    AlreadyClosed,
    /// The data channel or the whole connection ended before the stream did.
    #[error("the stream's data channel closed before the stream ended")]
    ChannelClosed,
    /// The peer sent faster than the stream was read. A data channel cannot slow down its sender.
    #[error("more than {cap} bytes unread: the stream was reset")]
    UnreadOverflow {
        /// The limit of unread bytes on one stream.
        cap: usize,
    },
    /// The peer exceeded the limit of unread bytes on all streams of the connection.
    #[error("more than {cap} bytes unread on all streams of the connection")]
    ConnectionOverflow {
        /// The limit of unread bytes on all streams of a connection.
        cap: usize,
    },
    /// The peer sent a text message; libp2p streams are binary.
    #[error("the peer sent a text message")]
    TextMessage,
    /// The peer sent bytes that are not a valid frame.
    #[error("malformed frame: {0}")]
    Malformed(#[from] FrameError),
    /// This side dropped the stream before its end.
    #[error("the stream was abandoned by this side")]
    Abandoned,
    /// The browser refused to send a message.
    #[error("the browser refused to send: {0}")]
    SendRefused(String),
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match error {
            StreamError::ResetByPeer
            | StreamError::UnreadOverflow { .. }
            | StreamError::ConnectionOverflow { .. }
            | StreamError::Abandoned => io::ErrorKind::ConnectionReset,
            StreamError::StoppedByPeer | StreamError::AlreadyClosed => io::ErrorKind::BrokenPipe,
            StreamError::ChannelClosed | StreamError::SendRefused(_) => {
                io::ErrorKind::ConnectionAborted
            }
            StreamError::TextMessage | StreamError::Malformed(_) => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// The sending half of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Writing {
    Open,
    /// STOP_SENDING was received. FIN must still be sent: it tells the peer that no more data is in flight.
    Stopped,
    /// FIN was sent, and FIN_ACK is awaited.
    Finishing,
    Finished,
    Broken(StreamError),
}

/// The receiving half of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reading {
    Open,
    Ended,
    /// STOP_SENDING was sent; there is no reader any longer.
    Stopped,
    Broken(StreamError),
}

/// The state of one stream: its sending and its receiving half.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    dialect: Dialect,
    writing: Writing,
    reading: Reading,
    /// FIN was received, and its acknowledgement waits for this side's FIN.
    owes_fin_ack: bool,
    /// The peer has sent FIN_ACK.
    has_fin_ack: bool,
}

impl Lifecycle {
    /// Creates a stream whose halves are both open.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            writing: Writing::Open,
            reading: Reading::Open,
            owes_fin_ack: false,
            has_fin_ack: false,
        }
    }

    /// Whether data may be written.
    ///
    /// # Errors
    /// If the sending half is closed or broken.
    pub fn check_writable(&self) -> Result<(), StreamError> {
        match &self.writing {
            Writing::Open => Ok(()),
            Writing::Stopped => Err(StreamError::StoppedByPeer),
            Writing::Finishing | Writing::Finished => Err(StreamError::AlreadyClosed),
            Writing::Broken(error) => Err(error.clone()),
        }
    }

    /// Whether more data may arrive; `false` after an orderly end of the stream.
    ///
    /// # Errors
    /// If the receiving half is broken.
    pub fn check_readable(&self) -> Result<bool, StreamError> {
        match &self.reading {
            Reading::Open => Ok(true),
            Reading::Ended | Reading::Stopped => Ok(false),
            Reading::Broken(error) => Err(error.clone()),
        }
    }

    /// Whether arriving data should be kept for the reader.
    #[must_use]
    pub fn accepts_data(&self) -> bool {
        self.reading == Reading::Open
    }

    /// Whether both halves have ended and, if the dialect requires it, been acknowledged. The data channel may then be
    /// closed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.writing, Writing::Finished | Writing::Broken(_))
            && self.reading != Reading::Open
    }

    /// Whether the peer has sent FIN_ACK, which stock servers never do.
    #[must_use]
    pub fn has_fin_ack(&self) -> bool {
        self.has_fin_ack
    }

    /// Handles a flag from the peer, and returns the flag to answer with.
    pub fn receive(&mut self, flag: Flag) -> Option<Flag> {
        match flag {
            Flag::Fin => {
                // Answer only once: a peer that repeats FIN and reads no answers would fill the browser's send queue.
                let is_first = matches!(self.reading, Reading::Open | Reading::Stopped);
                if is_first {
                    self.reading = Reading::Ended;
                }
                match (self.dialect, is_first) {
                    (Dialect::FinAck, true) => Some(Flag::FinAck),
                    (Dialect::LateFinAck, true) => {
                        self.owes_fin_ack = true;
                        self.take_owed_fin_ack()
                    }
                    (Dialect::FinAck | Dialect::Stock | Dialect::LateFinAck, _) => None,
                }
            }
            Flag::FinAck => {
                self.has_fin_ack = true;
                if self.writing == Writing::Finishing {
                    self.writing = Writing::Finished;
                }
                None
            }
            Flag::StopSending => {
                if self.writing == Writing::Open {
                    self.writing = Writing::Stopped;
                }
                None
            }
            Flag::Reset => {
                self.break_open_halves(&StreamError::ResetByPeer);
                None
            }
        }
    }

    /// Closes the sending half, and returns the flag to send.
    ///
    /// # Errors
    /// If the stream broke before, so that the peer may be missing data.
    pub fn finish(&mut self) -> Result<Option<Flag>, StreamError> {
        match &self.writing {
            Writing::Open | Writing::Stopped => {
                self.writing = match self.dialect {
                    Dialect::FinAck | Dialect::LateFinAck => Writing::Finishing,
                    Dialect::Stock => Writing::Finished,
                };
                Ok(Some(Flag::Fin))
            }
            Writing::Finishing | Writing::Finished => Ok(None),
            Writing::Broken(error) => Err(error.clone()),
        }
    }

    /// Returns the acknowledgement that [`Dialect::LateFinAck`] held back, once this side's FIN was sent. Send it after
    /// each FIN.
    pub fn take_owed_fin_ack(&mut self) -> Option<Flag> {
        let is_due = match self.writing {
            Writing::Finishing | Writing::Finished => self.owes_fin_ack,
            Writing::Open | Writing::Stopped | Writing::Broken(_) => false,
        };
        is_due.then(|| {
            self.owes_fin_ack = false;
            Flag::FinAck
        })
    }

    /// Called when this side drops the stream. Returns the flag to send: none after an orderly end, STOP_SENDING if
    /// only the receiving half is open (after a RESET the peer could discard data that was written), and RESET
    /// otherwise.
    pub fn abandon(&mut self) -> Option<Flag> {
        match (&self.writing, &self.reading) {
            (Writing::Open | Writing::Stopped, _) => {
                self.break_open_halves(&StreamError::Abandoned);
                Some(Flag::Reset)
            }
            (Writing::Finishing | Writing::Finished, Reading::Open) => {
                self.reading = Reading::Stopped;
                Some(Flag::StopSending)
            }
            (
                Writing::Finishing | Writing::Finished,
                Reading::Ended | Reading::Stopped | Reading::Broken(_),
            )
            | (Writing::Broken(_), _) => None,
        }
    }

    /// Breaks the stream because of an error on this side, and returns the flag to send.
    pub fn fail(&mut self, error: &StreamError) -> Option<Flag> {
        let was_over = self.is_over();
        self.break_open_halves(error);
        (!was_over).then_some(Flag::Reset)
    }

    /// Called when the data channel has closed. A half that has already ended stays ended: the peer closes the channel
    /// only after it has received everything, even if its last FIN_ACK got lost.
    pub fn channel_closed(&mut self) {
        self.break_open_halves(&StreamError::ChannelClosed);
    }

    /// Breaks the halves that have not ended yet.
    fn break_open_halves(&mut self, error: &StreamError) {
        match self.writing {
            Writing::Open | Writing::Stopped => self.writing = Writing::Broken(error.clone()),
            Writing::Finishing => self.writing = Writing::Finished,
            Writing::Finished | Writing::Broken(_) => {}
        }
        match self.reading {
            Reading::Open => self.reading = Reading::Broken(error.clone()),
            Reading::Ended | Reading::Stopped | Reading::Broken(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Dialect; 3] = [Dialect::FinAck, Dialect::Stock, Dialect::LateFinAck];

    #[test]
    fn stream_is_over_after_fin_and_ack_both_ways() {
        let mut stream = Lifecycle::new(Dialect::FinAck);
        assert_eq!(stream.finish(), Ok(Some(Flag::Fin)));
        assert_eq!(stream.receive(Flag::Fin), Some(Flag::FinAck));
        assert!(!stream.is_over(), "FIN_ACK is still missing");
        assert_eq!(stream.receive(Flag::FinAck), None);
        assert!(stream.is_over());
        assert_eq!(stream.abandon(), None);
    }

    #[test]
    fn stock_dialect_has_no_fin_ack() {
        let mut stream = Lifecycle::new(Dialect::Stock);
        assert_eq!(stream.receive(Flag::Fin), None);
        assert_eq!(stream.finish(), Ok(Some(Flag::Fin)));
        assert!(stream.is_over() && !stream.has_fin_ack());
        assert_eq!(stream.receive(Flag::FinAck), None);
        assert!(stream.has_fin_ack(), "the server is of another kind");
    }

    #[test]
    fn late_fin_ack_follows_fin() {
        let mut stream = Lifecycle::new(Dialect::LateFinAck);
        assert_eq!(stream.receive(Flag::Fin), None);
        assert_eq!(
            stream.take_owed_fin_ack(),
            None,
            "a stock client may still read"
        );
        assert_eq!(stream.finish(), Ok(Some(Flag::Fin)));
        assert_eq!(stream.take_owed_fin_ack(), Some(Flag::FinAck));
        assert_eq!(stream.take_owed_fin_ack(), None);
        stream.receive(Flag::FinAck);
        assert!(stream.is_over());

        let mut stream = Lifecycle::new(Dialect::LateFinAck);
        assert_eq!(stream.finish(), Ok(Some(Flag::Fin)));
        assert_eq!(stream.receive(Flag::Fin), Some(Flag::FinAck));
        assert_eq!(stream.receive(Flag::Fin), None);
    }

    #[test]
    fn closing_one_half_leaves_the_other_open() {
        for dialect in ALL {
            let mut stream = Lifecycle::new(dialect);
            assert_eq!(stream.finish(), Ok(Some(Flag::Fin)));
            assert_eq!(stream.finish(), Ok(None), "FIN goes out once");
            assert_eq!(stream.check_writable(), Err(StreamError::AlreadyClosed));
            assert_eq!(stream.check_readable(), Ok(true));
            assert!(!stream.is_over());

            let mut stream = Lifecycle::new(dialect);
            stream.receive(Flag::Fin);
            assert_eq!(stream.check_readable(), Ok(false));
            assert_eq!(stream.check_writable(), Ok(()));
            assert!(!stream.is_over());
        }
    }

    #[test]
    fn dropping_an_open_stream_resets_it() {
        for dialect in ALL {
            let mut stream = Lifecycle::new(dialect);
            assert_eq!(stream.abandon(), Some(Flag::Reset));
            assert!(stream.is_over());
            assert_eq!(stream.abandon(), None, "RESET goes out once");
        }
    }

    #[test]
    fn dropping_after_peers_fin_resets_the_open_half() {
        let mut stream = Lifecycle::new(Dialect::FinAck);
        stream.receive(Flag::Fin);
        assert_eq!(stream.abandon(), Some(Flag::Reset));
    }

    #[test]
    fn dropping_a_finished_stream_stops_the_peer() {
        for dialect in ALL {
            let mut stream = Lifecycle::new(dialect);
            stream.finish().expect("open stream");
            assert_eq!(stream.abandon(), Some(Flag::StopSending));
            assert_eq!(stream.is_over(), dialect == Dialect::Stock);
            assert!(!stream.accepts_data());
            stream.receive(Flag::FinAck);
            assert!(stream.is_over());
        }
    }

    #[test]
    fn fin_after_stop_sending_is_acknowledged() {
        let mut stream = Lifecycle::new(Dialect::FinAck);
        stream.finish().expect("open stream");
        stream.abandon();
        assert_eq!(stream.receive(Flag::Fin), Some(Flag::FinAck));
    }

    #[test]
    fn repeated_fin_is_acknowledged_once() {
        let mut stream = Lifecycle::new(Dialect::FinAck);
        assert_eq!(stream.receive(Flag::Fin), Some(Flag::FinAck));
        assert_eq!(stream.receive(Flag::Fin), None);
    }

    #[test]
    fn stopped_writer_can_still_finish() {
        let mut stream = Lifecycle::new(Dialect::FinAck);
        assert_eq!(stream.receive(Flag::StopSending), None);
        assert_eq!(stream.check_writable(), Err(StreamError::StoppedByPeer));
        assert_eq!(stream.check_readable(), Ok(true));
        assert_eq!(stream.finish(), Ok(Some(Flag::Fin)));
    }

    #[test]
    fn reset_breaks_both_halves() {
        for dialect in ALL {
            let mut stream = Lifecycle::new(dialect);
            assert_eq!(stream.receive(Flag::Reset), None);
            assert_eq!(stream.check_readable(), Err(StreamError::ResetByPeer));
            assert_eq!(stream.check_writable(), Err(StreamError::ResetByPeer));
            assert_eq!(stream.finish(), Err(StreamError::ResetByPeer));
            assert!(stream.is_over());
            assert_eq!(
                stream.receive(Flag::Fin),
                None,
                "nothing is acknowledged after a reset"
            );
        }
    }

    #[test]
    fn closed_channel_breaks_only_open_halves() {
        let mut open = Lifecycle::new(Dialect::FinAck);
        open.channel_closed();
        assert_eq!(open.check_readable(), Err(StreamError::ChannelClosed));
        assert_eq!(open.check_writable(), Err(StreamError::ChannelClosed));

        let mut finished = Lifecycle::new(Dialect::FinAck);
        finished.finish().expect("open stream");
        finished.receive(Flag::Fin);
        finished.channel_closed();
        assert_eq!(finished.check_readable(), Ok(false));
        assert_eq!(finished.finish(), Ok(None));
        assert!(finished.is_over());
    }

    #[test]
    fn failing_sends_reset_unless_over() {
        let overflow = StreamError::UnreadOverflow { cap: 1 };
        let mut stream = Lifecycle::new(Dialect::FinAck);
        assert_eq!(stream.fail(&overflow), Some(Flag::Reset));
        assert_eq!(stream.check_readable(), Err(overflow.clone()));
        assert_eq!(stream.fail(&overflow), None);
    }

    #[test]
    fn invariants_hold_for_all_short_sequences() {
        // All sequences of 5 steps out of 8 kinds, in all dialects.
        let steps: [fn(&mut Lifecycle) -> Option<Flag>; 8] = [
            |s| s.receive(Flag::Fin),
            |s| s.receive(Flag::FinAck),
            |s| s.receive(Flag::StopSending),
            |s| s.receive(Flag::Reset),
            |s| {
                let flag = s.finish().ok().flatten();
                // It has no effect on the state.
                let owed = s.take_owed_fin_ack();
                assert!(owed.is_none() || s.dialect == Dialect::LateFinAck);
                flag
            },
            Lifecycle::abandon,
            |s| s.fail(&StreamError::TextMessage),
            |s| {
                s.channel_closed();
                None
            },
        ];
        for dialect in ALL {
            for code in 0..steps.len().pow(5) {
                let (mut stream, mut rest) = (Lifecycle::new(dialect), code);
                let (mut fins, mut resets, mut over) = (0, 0, false);
                for _ in 0..5 {
                    let (step, next) = (steps[rest % steps.len()], rest / steps.len());
                    rest = next;
                    match step(&mut stream) {
                        Some(Flag::Fin) => fins += 1,
                        Some(Flag::Reset) => resets += 1,
                        Some(Flag::FinAck) => {
                            assert_ne!(dialect, Dialect::Stock, "sequence {code}")
                        }
                        Some(Flag::StopSending) => {
                            assert_eq!(fins, 1, "STOP_SENDING only after FIN, sequence {code}")
                        }
                        None => {}
                    }
                    assert!(fins <= 1 && resets <= 1, "sequence {code}");
                    assert!(
                        stream.is_over() || !over,
                        "a stream that is over stays over, sequence {code}"
                    );
                    over = stream.is_over();
                }
            }
        }
    }
}
