//! A process that ends with the test that started it, also when that test panics.

use std::{process::ExitStatus, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::PATIENCE;

/// Time between two looks at a killed process.
const REAPING_INTERVAL: Duration = Duration::from_millis(5);
/// Looks before it is left to init: 2 s.
const REAPING_TRIES: u32 = 400;

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

    /// Sends a signal by its name, such as `TERM` or `STOP`.
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

    /// Waits for the end.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        timeout(PATIENCE, self.child.wait())
            .await
            .with_context(|| format!("{} does not end", self.name))?
            .context("cannot wait for a process")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL reaches stopped processes, too.
        let _ = self.child.start_kill();
        for _ in 0..REAPING_TRIES {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(REAPING_INTERVAL);
        }
    }
}
