//! Reports the progress of a long build to the terminal.
//!
//! Cargo hides the output of build scripts, so this writes directly to `/dev/tty`. Without a terminal it does nothing.

use std::io::Write as _;

/// Prints a line with `message` above Cargo's progress bar.
pub(crate) fn report_progress(message: &str) {
    let Ok(mut terminal) = std::fs::OpenOptions::new().write(true).open("/dev/tty") else {
        return;
    };
    // Clears the line of Cargo's progress bar, which Cargo draws again below.
    let _ = write!(terminal, "\r\x1b[K   Heartchain {message}\r\n");
}
