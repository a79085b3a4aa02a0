//! A keeper as a child process: what is typed into it, and the lines of JSON that it prints.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{patience::PATIENCE, process::Process, relay::native_binary};

/// A running keeper with its own data folder.
#[derive(Debug)]
pub(crate) struct Keeper {
    data: TempDir,
    process: Process,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it has printed so far.
    seen: Vec<Value>,
}

impl Keeper {
    /// Starts a keeper with these flags.
    pub(crate) async fn start(flags: &[&str]) -> Result<Self> {
        Self::start_in(tempfile::tempdir()?, flags).await
    }

    /// Starts a keeper in the data folder of an earlier one.
    pub(crate) async fn start_in(data: TempDir, flags: &[&str]) -> Result<Self> {
        let mut command = Command::new(native_binary("keeper").await?);
        command
            .args(["--json", "--data-dir"])
            .arg(data.path())
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Process::spawn("the keeper", &mut command)?;
        let child = process.child();
        let input = child.stdin.take().context("stdin is piped")?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut keeper = Self {
            data,
            process,
            input,
            lines: BufReader::new(stdout).lines(),
            seen: Vec::new(),
        };
        keeper.until("started", |_| true).await?;
        Ok(keeper)
    }

    /// Types a line, as a person does.
    pub(crate) async fn enter(&mut self, line: &str) -> Result<()> {
        let typed = format!("{line}\n");
        Ok(self.input.write_all(typed.as_bytes()).await?)
    }

    /// The first event of this kind for which `wanted` holds, whether it was printed already or is still to come.
    pub(crate) async fn until(
        &mut self,
        event: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let is_wanted = |found: &Value| found["event"] == event && wanted(found);
        if let Some(found) = self.seen.iter().find(|found| is_wanted(found)) {
            return Ok(found.clone());
        }
        loop {
            let line = timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.with_context(|| format!("no {event} among {:?}", self.seen))??;
            let line = line.with_context(|| format!("the keeper ended before {event}"))?;
            let found: Value = serde_json::from_str(&line)?;
            self.seen.push(found.clone());
            if is_wanted(&found) {
                return Ok(found);
            }
        }
    }

    /// Waits for a block with a reading of this heart rate.
    pub(crate) async fn until_bpm(&mut self, bpm: u64) -> Result<Value> {
        let has_bpm = |block: &Value| {
            let readings = block["readings"].as_array();
            readings.is_some_and(|readings| readings.iter().any(|one| one["bpm"] == bpm))
        };
        self.until("block", has_bpm).await
    }

    /// The multiaddr with this protocol at which it listens.
    pub(crate) async fn address(&mut self, protocol: &str) -> Result<String> {
        let found = self
            .until("listening", |found| {
                found["address"]
                    .as_str()
                    .is_some_and(|address| address.contains(protocol))
            })
            .await?;
        Ok(found["address"].as_str().unwrap_or_default().to_owned())
    }

    /// Kills it as a power cut would. Returns its data folder.
    pub(crate) async fn kill(mut self) -> Result<TempDir> {
        self.process.signal("KILL").await?;
        self.process.ended().await?;
        Ok(self.data)
    }

    /// Stops it as a person would, and expects a clean exit.
    pub(crate) async fn stop(mut self) -> Result<TempDir> {
        self.process.signal("INT").await?;
        let status = self.process.ended().await?;
        ensure!(status.success(), "the keeper ended with {status}");
        Ok(self.data)
    }
}
