//! The test harness: relays, browsers, tabs, and waiting with a time limit. The only thing that it asserts about
//! Heartchain is that the console stays clean.

mod browser;
mod console;
mod devtools;
mod host;
mod process;
mod relay;
mod strap;
mod tab;
mod tasks;
mod test_env;
mod upgrade_proxy;

pub(crate) use browser::Browser;
pub(crate) use relay::Relay;
pub(crate) use strap::{Operation, Strap};
pub(crate) use tab::Tab;
pub(crate) use tasks::{Task, TaskTrace};
pub(crate) use test_env::{Outcome, TestEnv, agreement, run_test, run_test_at};
pub(crate) use upgrade_proxy::{Build, UpgradeProxy};
#[allow(unused_imports, reason = "for the tests in namespaces")]
pub(crate) use {
    host::Host,
    test_env::{Failure, run_in},
};

use std::time::Duration;

/// Default timeout: many times what an idle machine needs, because two tests, their browsers and a compiler may share
/// two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
