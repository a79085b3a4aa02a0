//! Tells the person at the terminal what a long build is doing. Cargo hides what a build script prints, so
//! this goes to the terminal itself; where there is none it says nothing.

use std::io::Write as _;

pub(crate) fn tell(words: &str) {
    let Ok(mut terminal) = std::fs::OpenOptions::new().write(true).open("/dev/tty") else {
        return;
    };
    // Clears the line that Cargo's progress bar is on; Cargo draws it again below.
    let _ = write!(terminal, "\r\x1b[K   Heartchain {words}\r\n");
}
