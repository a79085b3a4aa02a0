//! Defaults for detecting lost connections. Data only.

use std::time::Duration;

/// The default time that a connection may stay `disconnected` before it counts as lost. Chromium reports `disconnected`
/// about 6 s after the last packet, and `failed` only another 10 s later. Short gaps in a phone's radio recover within
/// this time.
pub const DISCONNECTED_GRACE: Duration = Duration::from_secs(3);

/// The default time without any packet from the peer (message, acknowledgement or STUN response) after which a
/// connection counts as lost. It equals Chromium's 6 s plus [`DISCONNECTED_GRACE`].
pub const SILENCE_LIMIT: Duration = Duration::from_secs(9);
