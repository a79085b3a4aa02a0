//! What the tests stand on: a relay, a browser, tabs, and patience with a limit. It asserts nothing about
//! Heartchain but that the console stays clean.

mod browser;
mod console;
mod devtools;
mod front;
mod host;
mod process;
mod relay;
mod stage;
mod strap;
mod tab;
mod tasks;

pub(crate) use browser::Browser;
pub(crate) use front::{Build, Front};
pub(crate) use relay::Relay;
pub(crate) use stage::{Outcome, Stage, agreement, on_stage, on_stage_at};
pub(crate) use strap::{Operation, Strap};
pub(crate) use tab::Tab;
pub(crate) use tasks::{Task, TaskWatch};
#[allow(unused_imports, reason = "for the tests in namespaces")]
pub(crate) use {
    host::Host,
    stage::{Failure, play},
};

use std::time::Duration;

/// How long anything may take that has no limit of its own: many times what a quiet machine needs, because
/// two tests, their browsers and a compiler may share two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
