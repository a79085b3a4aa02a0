//! The life of one stream as a state machine: FIN, FIN_ACK, STOP_SENDING and RESET, each half by itself.
//!
//! It decides which flags are sent, what reads and writes return, and when the data channel may be closed. It never
//! sends, waits or buffers; `stream.rs` does.

use std::io;

use crate::frame::{Flag, FrameError};

/// What the other side understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The current spec: FIN is answered with FIN_ACK, and the data channel stays open until it has come. Spoken by
    /// js-libp2p and by this crate.
    FinAck,
    /// `libp2p-webrtc-utils` 0.5, thus rust-libp2p's native server: FIN_ACK is an error that breaks its stream, and any
    /// frame without data ends its reading half. So FIN_ACK is neither sent nor awaited, and STOP_SENDING goes out
    /// only after FIN, when that reading half has ended anyway.
    Stock,
}

/// Why a stream cannot be read from or written to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer sent RESET.
    #[error("the peer reset the stream")]
    ResetByPeer,
    /// The peer sent STOP_SENDING: it reads no more.
    #[error("the peer stopped reading the stream")]
    StoppedByPeer,
    /// Written to after it was closed.
    #[error("the stream was already closed for writing")]
    AlreadyClosed,
    /// The data channel, or the whole connection, went away in the middle of the stream.
    #[error("the stream's data channel closed before the stream ended")]
    ChannelClosed,
    /// The peer sent faster than the stream was read. A data channel cannot hold its sender back.
    #[error("more than {cap} bytes unread: the stream was reset")]
    UnreadOverflow {
        /// The cap in bytes.
        cap: usize,
    },
    /// The peer sent more on all streams of the connection than may wait there.
    #[error("more than {cap} bytes unread on all streams of the connection")]
    ConnectionOverflow {
        /// The cap in bytes.
        cap: usize,
    },
    /// The peer sent text, which no libp2p stream does.
    #[error("the peer sent a text message")]
    TextMessage,
    /// The peer sent something that is not a frame.
    #[error("malformed frame: {0}")]
    Malformed(#[from] FrameError),
    /// This side gave the stream up.
    #[error("the stream was given up by this side")]
    GivenUp,
    /// The browser refused to send.
    #[error("the browser refused to send: {0}")]
    SendRefused(String),
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match error {
            StreamError::ResetByPeer
            | StreamError::UnreadOverflow { .. }
            | StreamError::ConnectionOverflow { .. }
            | StreamError::GivenUp => io::ErrorKind::ConnectionReset,
            StreamError::StoppedByPeer | StreamError::AlreadyClosed => io::ErrorKind::BrokenPipe,
            StreamError::ChannelClosed | StreamError::SendRefused(_) => {
                io::ErrorKind::ConnectionAborted
            }
            StreamError::TextMessage | StreamError::Malformed(_) => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// The half that this side writes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Writing {
    Open,
    /// STOP_SENDING came. FIN is still owed: it tells the peer that nothing more is under way.
    Stopped,
    /// FIN is sent, FIN_ACK awaited.
    Finishing,
    Finished,
    Broken(StreamError),
}

/// The half that this side reads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reading {
    Open,
    Ended,
    /// STOP_SENDING is sent; nobody reads any more.
    Stopped,
    Broken(StreamError),
}

/// Both halves of one stream.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    dialect: Dialect,
    writing: Writing,
    reading: Reading,
}

impl Lifecycle {
    /// A stream open on both halves.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            writing: Writing::Open,
            reading: Reading::Open,
        }
    }

    /// Whether data may be written.
    ///
    /// # Errors
    /// Says why it may not.
    pub fn check_writable(&self) -> Result<(), StreamError> {
        match &self.writing {
            Writing::Open => Ok(()),
            Writing::Stopped => Err(StreamError::StoppedByPeer),
            Writing::Finishing | Writing::Finished => Err(StreamError::AlreadyClosed),
            Writing::Broken(error) => Err(error.clone()),
        }
    }

    /// Whether more data may come; `false` is the orderly end of the stream.
    ///
    /// # Errors
    /// When it ended otherwise.
    pub fn check_readable(&self) -> Result<bool, StreamError> {
        match &self.reading {
            Reading::Open => Ok(true),
            Reading::Ended | Reading::Stopped => Ok(false),
            Reading::Broken(error) => Err(error.clone()),
        }
    }

    /// Whether data that arrives is worth keeping.
    #[must_use]
    pub fn takes_data(&self) -> bool {
        self.reading == Reading::Open
    }

    /// Whether both halves are over and, as far as the dialect has it, acknowledged: the data channel may be closed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.writing, Writing::Finished | Writing::Broken(_))
            && self.reading != Reading::Open
    }

    /// A flag came from the peer; returns the flag to answer with.
    pub fn receive(&mut self, flag: Flag) -> Option<Flag> {
        match flag {
            Flag::Fin => {
                // Once: a peer that repeats it and takes no answers would fill the browser's queue with them.
                let is_first = matches!(self.reading, Reading::Open | Reading::Stopped);
                if is_first {
                    self.reading = Reading::Ended;
                }
                match (self.dialect, is_first) {
                    (Dialect::FinAck, true) => Some(Flag::FinAck),
                    (Dialect::FinAck | Dialect::Stock, _) => None,
                }
            }
            Flag::FinAck => {
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
                self.break_off(&StreamError::ResetByPeer);
                None
            }
        }
    }

    /// This side has written all it will; returns the flag to send.
    ///
    /// # Errors
    /// When the stream broke before, so that the peer may lack data.
    pub fn finish(&mut self) -> Result<Option<Flag>, StreamError> {
        match &self.writing {
            Writing::Open | Writing::Stopped => {
                self.writing = match self.dialect {
                    Dialect::FinAck => Writing::Finishing,
                    Dialect::Stock => Writing::Finished,
                };
                Ok(Some(Flag::Fin))
            }
            Writing::Finishing | Writing::Finished => Ok(None),
            Writing::Broken(error) => Err(error.clone()),
        }
    }

    /// This side lets go of the stream; returns the flag to send: none after an orderly end, STOP_SENDING when only
    /// reading was left (a RESET would let the peer discard what was written), RESET otherwise.
    pub fn abandon(&mut self) -> Option<Flag> {
        match (&self.writing, &self.reading) {
            (Writing::Open | Writing::Stopped, _) => {
                self.break_off(&StreamError::GivenUp);
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

    /// The stream cannot go on because of something on this side; returns the flag to send.
    pub fn give_up(&mut self, error: &StreamError) -> Option<Flag> {
        let was_over = self.is_over();
        self.break_off(error);
        (!was_over).then_some(Flag::Reset)
    }

    /// The data channel is gone. A half that had come to its end stays ended: the peer closes once it has seen
    /// everything, and its FIN_ACK may have been the last thing to get lost.
    pub fn channel_closed(&mut self) {
        self.break_off(&StreamError::ChannelClosed);
    }

    /// Breaks what was not over.
    fn break_off(&mut self, error: &StreamError) {
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

    const BOTH: [Dialect; 2] = [Dialect::FinAck, Dialect::Stock];

    #[test]
    fn fin_both_ways_and_acknowledged_is_over() {
        let mut stream = Lifecycle::new(Dialect::FinAck);
        assert_eq!(stream.finish(), Ok(Some(Flag::Fin)));
        assert_eq!(stream.receive(Flag::Fin), Some(Flag::FinAck));
        assert!(!stream.is_over(), "FIN_ACK is still missing");
        assert_eq!(stream.receive(Flag::FinAck), None);
        assert!(stream.is_over());
        assert_eq!(stream.abandon(), None);
    }

    #[test]
    fn stock_peer_never_gets_nor_owes_a_fin_ack() {
        let mut stream = Lifecycle::new(Dialect::Stock);
        assert_eq!(stream.receive(Flag::Fin), None);
        assert_eq!(stream.finish(), Ok(Some(Flag::Fin)));
        assert!(stream.is_over());
    }

    #[test]
    fn closing_one_half_leaves_the_other_open() {
        for dialect in BOTH {
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
        for dialect in BOTH {
            let mut stream = Lifecycle::new(dialect);
            assert_eq!(stream.abandon(), Some(Flag::Reset));
            assert!(stream.is_over());
            assert_eq!(stream.abandon(), None, "RESET goes out once");
        }
    }

    #[test]
    fn dropping_after_the_peers_fin_still_resets_the_unfinished_half() {
        let mut stream = Lifecycle::new(Dialect::FinAck);
        stream.receive(Flag::Fin);
        assert_eq!(stream.abandon(), Some(Flag::Reset));
    }

    #[test]
    fn dropping_a_finished_stream_only_stops_the_peer_and_keeps_what_was_written() {
        for dialect in BOTH {
            let mut stream = Lifecycle::new(dialect);
            stream.finish().expect("open stream");
            assert_eq!(stream.abandon(), Some(Flag::StopSending));
            assert_eq!(stream.is_over(), dialect == Dialect::Stock);
            assert!(!stream.takes_data());
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
    fn stopped_writer_fails_but_may_still_finish() {
        let mut stream = Lifecycle::new(Dialect::FinAck);
        assert_eq!(stream.receive(Flag::StopSending), None);
        assert_eq!(stream.check_writable(), Err(StreamError::StoppedByPeer));
        assert_eq!(stream.check_readable(), Ok(true));
        assert_eq!(stream.finish(), Ok(Some(Flag::Fin)));
    }

    #[test]
    fn reset_breaks_both_halves() {
        for dialect in BOTH {
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
    fn closed_channel_breaks_only_what_had_not_ended() {
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
    fn giving_up_sends_reset_unless_the_stream_is_over() {
        let overflow = StreamError::UnreadOverflow { cap: 1 };
        let mut stream = Lifecycle::new(Dialect::FinAck);
        assert_eq!(stream.give_up(&overflow), Some(Flag::Reset));
        assert_eq!(stream.check_readable(), Err(overflow.clone()));
        assert_eq!(stream.give_up(&overflow), None);
    }

    #[test]
    fn any_sequence_of_flags_and_actions_keeps_the_promises() {
        // Every sequence of up to 5 steps over 8 kinds of steps, in both dialects.
        let steps: [fn(&mut Lifecycle) -> Option<Flag>; 8] = [
            |s| s.receive(Flag::Fin),
            |s| s.receive(Flag::FinAck),
            |s| s.receive(Flag::StopSending),
            |s| s.receive(Flag::Reset),
            |s| s.finish().ok().flatten(),
            Lifecycle::abandon,
            |s| s.give_up(&StreamError::TextMessage),
            |s| {
                s.channel_closed();
                None
            },
        ];
        for dialect in BOTH {
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
                            assert_eq!(dialect, Dialect::FinAck, "sequence {code}")
                        }
                        Some(Flag::StopSending) => {
                            assert_eq!(fins, 1, "STOP_SENDING only after FIN, sequence {code}")
                        }
                        None => {}
                    }
                    assert!(fins <= 1 && resets <= 1, "sequence {code}");
                    assert!(
                        stream.is_over() || !over,
                        "what is over stays over, sequence {code}"
                    );
                    over = stream.is_over();
                }
            }
        }
    }
}
