//! Runs a session beside a terminal until the input ends, a signal comes, or the session ends.

use std::{
    io::{self, BufReader, IsTerminal as _, Write as _},
    pin::pin,
};

use futures::{FutureExt as _, StreamExt as _, stream::FuturesOrdered};
use heartchain_chain::{bpm::Bpm, content::ReadingForm};
use heartchain_sync::io::RecordError;

use super::{
    input::{heart_rate, spawn_lines},
    lines::{Form, Line, RoomLabel},
};
use crate::{
    archive::{ExportError, ExportSchedule},
    network::Network,
    opening::Opened,
    session::{Handle, KeeperEvent, Recorded, SessionError, Stopped},
};

/// Readings that are on their way to the disk while more is typed. Further lines wait unread.
const MAX_PENDING: usize = 64;

/// How a keeper speaks, and what it does besides.
#[derive(Clone, Debug, Default)]
pub struct TerminalOptions {
    /// Whether programs read the output.
    pub json: bool,
    /// Whether to print only errors and to read nothing.
    pub quiet: bool,
    /// When to write exports.
    pub schedule: Option<ExportSchedule>,
    /// Which of several rooms this is. Then nothing is read, because a line would not say for which room it is.
    pub label: Option<RoomLabel>,
}

/// Why a keeper ended that should have gone on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TerminalError {
    /// The session failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The signals of the system cannot be received.
    #[error("cannot listen for signals: {0}")]
    Signals(#[from] io::Error),
    /// A second signal came before everything was on disk.
    #[error("ended before everything was on disk; every reading that was reported is")]
    Impatient,
}

/// Runs a keeper until the end of the input (unless it is quiet), SIGINT or SIGTERM. Then everything is on disk.
///
/// # Errors
/// If the session fails, or a second signal comes.
pub async fn run<N: Network>(
    opened: Opened<N>,
    options: TerminalOptions,
) -> Result<(), TerminalError> {
    let Opened {
        session,
        handle,
        mut events,
    } = opened;
    let mut signals = Signals::listen()?;
    let mut screen = Screen::new(&options);
    if options.quiet {
        // Blocks need not be read from disk for no one. Errors are events, too, so the channel stays open for those.
        screen.is_quiet = true;
    }
    let mut session = pin!(session.run().fuse());
    let started = async {
        let status = handle.status().await;
        status.map(|status| {
            screen.print(screen.form.started(&status));
            if screen.label.is_none()
                && let Some(hint) = screen.form.hint(&status.room)
            {
                screen.print(hint);
            }
            screen.prompt();
            status.room.form()
        })
    };
    let form = tokio::select! {
        ended = &mut session => return ended.map_err(TerminalError::from),
        form = started => form.unwrap_or(ReadingForm::Open),
    };
    let is_read = !options.quiet && options.label.is_none();
    let mut lines = is_read.then(|| spawn_lines(BufReader::new(io::stdin())));
    let mut pending = FuturesOrdered::new();
    let mut export = options
        .schedule
        .as_ref()
        .map(|schedule| Box::pin(schedule.next(&handle)));
    let mut ending = Ending::No;
    let mut is_failing = false;
    loop {
        tokio::select! {
            biased;
            ended = &mut session => {
                while let Ok(event) = events.try_recv() {
                    note_failure(&event, &mut is_failing);
                    screen.print(screen.form.event(&event, form));
                }
                ended?;
                screen.print(screen.form.stopped(is_failing));
                return Ok(());
            }
            () = signals.next() => {
                if ending != Ending::No {
                    return Err(TerminalError::Impatient);
                }
                ending = Ending::Wanted;
                lines = None;
            }
            Some(event) = events.recv() => {
                note_failure(&event, &mut is_failing);
                screen.print(screen.form.event(&event, form));
                screen.prompt();
            }
            Some((bpm, result)) = pending.next() => {
                screen.print(recorded_line(screen.form, bpm, result));
                screen.prompt();
            }
            Some(result) = maybe(&mut export) => {
                export = options.schedule.as_ref().map(|schedule| Box::pin(schedule.next(&handle)));
                let line = match result {
                    Ok((path, exported)) => {
                        if let Some(warning) = exported.warning() {
                            screen.print(screen.form.error(&warning));
                        }
                        let file = path.display().to_string();
                        let found = exported.found;
                        screen.form.exported(&file, found.blocks, found.readings)
                    }
                    Err(ExportError::Stopped(_)) => continue,
                    Err(error) => screen.form.error(&error.to_string()),
                };
                screen.print(line);
                screen.prompt();
            }
            Some(line) = maybe_line(&mut lines), if pending.len() < MAX_PENDING => {
                match line.as_deref().map(heart_rate) {
                    Some(Ok(Some(bpm))) => pending.push_back(record(&handle, bpm)),
                    Some(Ok(None)) => screen.prompt(),
                    Some(Err(sentence)) => {
                        screen.print(screen.form.error(&sentence));
                        screen.prompt();
                    }
                    None => {
                        lines = None;
                        ending = Ending::Wanted;
                    }
                }
            }
            () = handle.stop(), if ending == Ending::Wanted && pending.is_empty() => {
                ending = Ending::Told;
            }
        }
    }
}

/// Whether the keeper ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    /// As soon as what was typed is on disk.
    Wanted,
    /// The session knows it.
    Told,
}

/// Notes whether the disk refused the last write.
const fn note_failure(event: &KeeperEvent, is_failing: &mut bool) {
    match event {
        KeeperEvent::StorageFailing { .. } => *is_failing = true,
        KeeperEvent::StorageRecovered => *is_failing = false,
        KeeperEvent::Block(_)
        | KeeperEvent::Blocks { .. }
        | KeeperEvent::Reorganised { .. }
        | KeeperEvent::Peers { .. }
        | KeeperEvent::Listening { .. }
        | KeeperEvent::NetworkFault { .. }
        | KeeperEvent::Damaged { .. }
        | KeeperEvent::KeyReplaced { .. }
        | KeeperEvent::Equivocation { .. }
        | KeeperEvent::ClockMoved
        | KeeperEvent::Missed { .. } => {}
    }
}

/// The end of a future that may not be there; `None` without one, so that its branch is left out.
async fn maybe<F: Future + Unpin>(future: &mut Option<F>) -> Option<F::Output> {
    match future {
        Some(future) => Some(future.await),
        None => None,
    }
}

/// The next line, `Some(None)` at the end of the input, and `None` if nothing is read.
async fn maybe_line(
    lines: &mut Option<tokio::sync::mpsc::Receiver<String>>,
) -> Option<Option<String>> {
    match lines {
        Some(lines) => Some(lines.recv().await),
        None => None,
    }
}

async fn record(
    handle: &Handle,
    bpm: Bpm,
) -> (Bpm, Result<Result<Recorded, RecordError>, Stopped>) {
    (bpm, handle.record(bpm).await)
}

fn recorded_line(
    form: Form,
    bpm: Bpm,
    result: Result<Result<Recorded, RecordError>, Stopped>,
) -> Line {
    match result {
        Ok(Ok(recorded)) => form.recorded(bpm.get(), recorded),
        Ok(Err(RecordError::NoKey)) => form.error(&format!(
            "{bpm} was not recorded: this keeper does not have the key of the room; start it with --link"
        )),
        Ok(Err(error)) => form.error(&format!("{bpm} was not recorded: {error}")),
        Err(stopped) => form.error(&format!("{bpm} was not recorded: {stopped}")),
    }
}

/// Prints why one of several rooms is not kept.
pub fn print_error(error: &dyn std::error::Error, options: &TerminalOptions) {
    let mut screen = Screen::new(options);
    screen.print(screen.form.error(&error.to_string()));
}

/// Prints lines, and the prompt below them where a person types.
struct Screen {
    form: Form,
    label: Option<RoomLabel>,
    is_quiet: bool,
    /// Whether there is a person who types into the terminal that shows the lines.
    has_prompt: bool,
    /// Whether the prompt is the last line.
    prompted: bool,
}

impl Screen {
    fn new(options: &TerminalOptions) -> Self {
        let form = if options.json { Form::Json } else { Form::Text };
        let is_interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
        Self {
            form,
            is_quiet: options.quiet,
            label: options.label.clone(),
            has_prompt: is_interactive
                && form == Form::Text
                && !options.quiet
                && options.label.is_none(),
            prompted: false,
        }
    }

    /// Prints a line. A keeper goes on if no one reads it.
    fn print(&mut self, line: Line) {
        if self.is_quiet && !line.is_error {
            return;
        }
        let clear = if core::mem::take(&mut self.prompted) {
            "\r\u{1b}[K"
        } else {
            ""
        };
        let to_stderr = line.is_error && self.form == Form::Text;
        let text = format!("{clear}{}\n", line.render(self.label.as_ref()));
        let _ = if to_stderr {
            io::stderr().write_all(text.as_bytes())
        } else {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
    }

    fn prompt(&mut self) {
        if self.has_prompt && !self.prompted {
            self.prompted = true;
            let mut out = io::stdout().lock();
            let _ = out.write_all(b"bpm> ").and_then(|()| out.flush());
        }
    }
}

/// Ctrl-C, and what a service manager sends.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "fails on other systems")]
    fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
