//! libp2p streams over WebRTC data channels, without IO: what browsers and servers have in common.
//!
//! - [`frame`] is the wire format of a stream, and [`state`] its state machine (open, half-closed, reset).
//! - [`receive`] buffers unread data within fixed limits.
//! - [`protobuf`] reads the two kinds of message that libp2p's WebRTC specifications define.
//!
//! A data channel's messages go into [`receive::ReceiveBuffer`], which returns the flags to answer with. What is written
//! goes through [`frame::encode_payload`], and what the application does to a stream through [`state::Lifecycle`]:
//!
//! ```
//! use std::sync::Arc;
//! use libp2p_webrtc_streams::frame::{Flag, encode_flag, encode_payload};
//! use libp2p_webrtc_streams::receive::{ReceiveBudget, ReceiveBuffer};
//! use libp2p_webrtc_streams::state::{Dialect, Lifecycle};
//!
//! let mut lifecycle = Lifecycle::new(Dialect::FinAck);
//! let mut received = ReceiveBuffer::new(Arc::new(ReceiveBudget::default()));
//! let mut message = Vec::new();
//! encode_payload(b"hello", &mut message);
//! message.extend(encode_flag(Flag::Fin));
//! assert_eq!(received.receive(&mut lifecycle, &message), Ok(vec![Flag::FinAck]));
//! let mut data = [0; 5];
//! assert_eq!((received.read(&mut data), &data), (5, b"hello"));
//! assert_eq!(lifecycle.check_readable(), Ok(false));
//! ```
//!
//! This crate never touches a data channel, a clock or a socket. A peer can send any bytes: lengths are checked before
//! data is kept, and every buffer has a limit.

mod config;
pub mod frame;
pub mod protobuf;
pub mod receive;
pub mod state;

pub use config::StreamConfig;
