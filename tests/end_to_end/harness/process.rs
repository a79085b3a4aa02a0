//! A child process that ends with the test that started it, even if that test panics.

use std::{process::ExitStatus, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::patience::PATIENCE;

/// Time between two checks whether a killed process has ended.
const REAP_INTERVAL: Duration = Duration::from_millis(5);
/// Checks before the process is left to init: 2 s in total.
const MAX_REAP_CHECKS: u32 = 400;

/// A child process, killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: &'static str,
}

impl Process {
    pub(crate) fn spawn(name: &'static str, command: &mut Command) -> Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}: {command:?}"))?;
        Ok(Self { child, name })
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends the signal of this name, such as `TERM` or `STOP`.
    pub(crate) async fn signal(&self, signal: &str) -> Result<()> {
        let id = self
            .child
            .id()
            .with_context(|| format!("{} has ended already", self.name))?;
        let sent = Command::new("kill")
            .args(["-s", signal, &id.to_string()])
            .status()
            .await
            .context("cannot run kill")?;
        ensure!(sent.success(), "cannot send SIG{signal} to {}", self.name);
        Ok(())
    }

    /// Waits until the process ends and returns its status.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        timeout(PATIENCE, self.child.wait())
            .await
            .with_context(|| format!("{} does not end", self.name))?
            .context("cannot wait for a process")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL also ends stopped processes.
        let _ = self.child.start_kill();
        for _ in 0..MAX_REAP_CHECKS {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(REAP_INTERVAL);
        }
    }
}
