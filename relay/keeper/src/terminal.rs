//! The terminal of a keeper: a person types heart rates, and each new block is a line.
//!
//! - `input`: what is typed. `lines`: what is printed. `run`: both, beside the session

mod input;
mod lines;
mod run;

pub use self::{
    lines::RoomLabel,
    run::{TerminalError, TerminalOptions, print_error, run},
};
