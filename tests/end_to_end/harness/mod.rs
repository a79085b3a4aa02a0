//! The test harness: relays, browsers, tabs, and waiting with a time limit. The only thing that it asserts about
//! Heartchain is that the console stays clean.

mod browser;
mod console;
mod devtools;
mod host;
mod keeper;
mod patience;
mod process;
mod relay;
mod reverse_proxy;
mod strap;
mod tab;
mod tasks;
mod test_env;
mod upgrade_proxy;

#[allow(unused_imports, reason = "not for the tests in namespaces")]
pub(crate) use devtools::Event;
#[allow(unused_imports, reason = "not for the tests in namespaces")]
pub(crate) use keeper::Keeper;
pub(crate) use patience::PATIENCE;
pub(crate) use relay::Relay;
pub(crate) use strap::{Operation, Strap};
pub(crate) use tab::Tab;
pub(crate) use tasks::{Task, TaskTrace};
pub(crate) use test_env::{Outcome, TestEnv, agreement, run_test, run_test_at};
pub(crate) use upgrade_proxy::{Build, UpgradeProxy};
#[allow(unused_imports, reason = "for the tests in namespaces")]
pub(crate) use {
    browser::Browser,
    host::Host,
    reverse_proxy::{Proxy, Website},
    test_env::{Failure, run_in},
};
