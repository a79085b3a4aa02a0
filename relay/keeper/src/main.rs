//! The `keeper` binary: parses the flags and runs what they ask for. Everything else is in the library.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Parser as _;
use futures::future::join_all;
use keeper::{
    archive::{Verified, imported_json, imported_text},
    cli::{Cli, CliCommand, RunArgs},
    commands::{self, CommandError},
    network::NetworkOptions,
    opening::{KeeperOptions, open_online},
    terminal::{self, RoomLabel, TerminalError, TerminalOptions},
};

/// How long the process waits at its end for a disk that does not answer.
const END_PATIENCE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // If the output is closed, there is nothing left to do.
            let _ = error.print();
            return match error.use_stderr() {
                true => ExitCode::FAILURE,
                false => ExitCode::SUCCESS,
            };
        }
    };
    let is_json = cli.prints_json();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failure(&error, is_json),
    };
    let result = runtime.block_on(run(cli));
    runtime.shutdown_timeout(END_PATIENCE);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure(&error, is_json),
    }
}

/// Why the keeper cannot go on.
#[derive(Debug, thiserror::Error)]
enum MainError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Terminal(#[from] TerminalError),
    #[error("{failed} of {all} rooms ended with an error")]
    Rooms { failed: usize, all: usize },
}

/// Prints the error as one sentence.
fn failure(error: &dyn std::error::Error, is_json: bool) -> ExitCode {
    // If the output is closed, there is nothing left to do.
    let _ = match is_json {
        true => {
            let line = serde_json::json!({ "event": "error", "message": error.to_string() });
            writeln!(io::stdout(), "{line}")
        }
        false => writeln!(io::stderr(), "keeper: {error}"),
    };
    ExitCode::FAILURE
}

async fn run(cli: Cli) -> Result<(), MainError> {
    match cli.command {
        None => keep(&cli.run).await,
        Some(CliCommand::Export { file, place }) => {
            let exported = commands::export(&file, &place).await?;
            say(&format!(
                "{}: {}",
                file.display(),
                sentence(&exported.found)
            ));
            if let Some(warning) = exported.warning() {
                say(&warning);
            }
            Ok(())
        }
        Some(CliCommand::Import { file, json, place }) => {
            let found = commands::import(&file, &place).await?;
            let name = file.display().to_string();
            say(&match json {
                true => imported_json(&name, &found).to_string(),
                false => imported_text(&name, &found),
            });
            Ok(())
        }
        Some(CliCommand::Verify { file, json }) => {
            let found = commands::verify(&file)?;
            say(&match json {
                true => serde_json::json!({
                    "valid": true,
                    "room": found.room,
                    "blocks": found.blocks,
                    "readings": found.readings,
                    "waiting": found.waiting,
                    "names": found.names,
                })
                .to_string(),
                false => format!("{}: {}", file.display(), sentence(&found)),
            });
            Ok(())
        }
    }
}

/// Keeps rooms until the input ends or a signal comes.
async fn keep(args: &RunArgs) -> Result<(), MainError> {
    let rooms = args.options().map_err(CommandError::from)?;
    let network = args.network().map_err(CommandError::from)?;
    let terminal = TerminalOptions {
        json: args.json,
        quiet: args.quiet,
        schedule: args.schedule(),
        label: None,
    };
    match <[KeeperOptions; 1]>::try_from(rooms) {
        Ok([room]) => keep_room(room, network, terminal).await,
        Err(rooms) => keep_rooms(rooms, &network, &terminal).await,
    }
}

/// Keeps several rooms. If one of them ends with an error, the others go on.
async fn keep_rooms(
    rooms: Vec<KeeperOptions>,
    network: &NetworkOptions,
    terminal: &TerminalOptions,
) -> Result<(), MainError> {
    let all = rooms.len();
    let rooms = rooms.into_iter().map(async |room| {
        let terminal = TerminalOptions {
            label: Some(RoomLabel::new(&room.room)),
            ..terminal.clone()
        };
        let kept = keep_room(room, network.clone(), terminal.clone()).await;
        kept.inspect_err(|error| terminal::print_error(error, &terminal))
    });
    let ended = join_all(rooms).await;
    match ended.iter().filter(|kept| kept.is_err()).count() {
        0 => Ok(()),
        failed => Err(MainError::Rooms { failed, all }),
    }
}

async fn keep_room(
    room: KeeperOptions,
    network: NetworkOptions,
    terminal: TerminalOptions,
) -> Result<(), MainError> {
    let opened = open_online(room, network).map_err(CommandError::from)?;
    Ok(terminal::run(opened, terminal).await?)
}

fn sentence(found: &Verified) -> String {
    let Verified {
        room,
        blocks,
        readings,
        waiting,
        names,
    } = found;
    let room = match room {
        Some(name) => format!("room {name:?}"),
        None => "private room".to_owned(),
    };
    format!("{room}, {blocks} blocks, {readings} readings, {waiting} waiting, {names} names: valid")
}

/// Prints the result of a command.
fn say(text: &str) {
    // If the output is closed, there is nothing left to do.
    let _ = writeln!(io::stdout(), "{text}");
}
