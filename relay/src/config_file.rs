//! The configuration file and the environment: every flag of [`Cli`](crate::cli::Cli) is also a key of one TOML file and an
//! environment variable.
//!
//! A flag on the command line counts before its variable, and that before its key in the file. The file's values become
//! arguments, so they are checked exactly as flags are, contradictions included. Nothing here knows a single flag.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    path::PathBuf,
};

use clap::{Arg, ArgAction, ArgMatches, Command, error::ErrorKind, parser::ValueSource};
use toml::{Table, Value};

use crate::bounded_file::{ReadError, read_at_most};

/// The flag that names the file, without dashes.
const CONFIG: &str = "config";
/// What the names of all environment variables begin with.
const PREFIX: &str = "HEARTCHAIN_";
/// Bytes of a configuration file that are read: many times what all flags need.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The help or the version was requested; not an error.
    #[error("{0}")]
    Information(clap::Error),
    /// The flags, or the variables in their place, are wrong.
    #[error("{0} (see --help)")]
    Flags(String),
    /// The file could not be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is larger than any configuration.
    #[error("{}: more than {MAX_FILE_BYTES} bytes, so this is not a configuration file", path.display())]
    TooLong {
        /// The path of the file.
        path: PathBuf,
    },
    /// The file is not valid TOML.
    #[error("{}: {reason}", path.display())]
    Syntax {
        /// The path of the file.
        path: PathBuf,
        /// Line, column, and what was expected there.
        reason: String,
    },
    /// A key of the file is no flag.
    #[error("{}: there is no setting {key:?}: the settings have the names of the flags in --help", path.display())]
    UnknownKey {
        /// The path of the file.
        path: PathBuf,
        /// The key as it is in the file.
        key: String,
    },
    /// The value of a key has a type that no flag has, such as a table.
    #[error("{}: {key} must be {expected}", path.display())]
    Type {
        /// The path of the file.
        path: PathBuf,
        /// The key as it is in the file.
        key: String,
        /// The type that it must have.
        expected: &'static str,
    },
    /// The file's values do not fit.
    #[error("{}: {reason}", path.display())]
    Values {
        /// The path of the file.
        path: PathBuf,
        /// The value and what is wrong with it.
        reason: String,
    },
}

/// Parses `arguments` (the first is the program's name), the environment, and the file that they name.
///
/// # Errors
/// Fails if any of them is wrong, or if they ask for the help or the version.
pub fn parse<T: clap::CommandFactory + clap::FromArgMatches>(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<T, ConfigError> {
    parse_with(arguments, true)
}

fn parse_with<T: clap::CommandFactory + clap::FromArgMatches>(
    arguments: impl IntoIterator<Item = OsString>,
    environment: bool,
) -> Result<T, ConfigError> {
    let mut file_command = T::command().mut_args(with_list);
    let mut command = file_command.clone();
    if environment {
        command = command.mut_args(with_variable);
    }
    file_command.build();
    command.build();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let lenient = command.clone().ignore_errors(true);
    // Only to find the file, and what counts before it. Errors are reported below, together with the file's values.
    let given = lenient.try_get_matches_from(&arguments).ok();
    let path = given
        .as_ref()
        .and_then(|given| given.try_get_one::<PathBuf>(CONFIG).ok().flatten())
        .cloned();
    let mut all = arguments.clone();
    if let (Some(path), Some(given)) = (&path, &given) {
        let from_file = file_arguments(&command, given, path)?;
        check_alone(file_command, &from_file, path)?;
        all.extend(from_file);
    }
    let matches = command.try_get_matches_from_mut(all).map_err(describe)?;
    T::from_arg_matches(&matches).map_err(describe)
}

/// Lets a repeatable flag have several values, separated by commas, because there is only one variable for them.
fn with_list(arg: Arg) -> Arg {
    if matches!(arg.get_action(), ArgAction::Append) {
        arg.value_delimiter(',')
    } else {
        arg
    }
}

/// Adds the flag's environment variable.
fn with_variable(arg: Arg) -> Arg {
    let Some(long) = arg.get_long() else {
        return arg;
    };
    let name = format!("{PREFIX}{}", long.replace('-', "_").to_uppercase());
    // A variable that is set to nothing counts as not set, as in `docker run -e HEARTCHAIN_X=`.
    if env::var_os(&name).is_some_and(|value| value.is_empty()) {
        return arg;
    }
    arg.env(name).hide_env(true)
}

/// The file's values as arguments, without those that count less than what was given elsewhere.
fn file_arguments(
    command: &Command,
    given: &ArgMatches,
    path: &std::path::Path,
) -> Result<Vec<OsString>, ConfigError> {
    let table = read(path)?;
    let mut arguments = Vec::new();
    for (key, value) in table {
        let flag = command
            .get_arguments()
            .find(|arg| arg.get_long() == Some(key.as_str()))
            .filter(|arg| key != CONFIG && !is_information(arg));
        let Some(flag) = flag else {
            let path = path.to_owned();
            return Err(ConfigError::UnknownKey { path, key });
        };
        let converted = flag_arguments(flag, &key, &value);
        let converted = converted.map_err(|expected| ConfigError::Type {
            path: path.to_owned(),
            key,
            expected,
        })?;
        let source = given.value_source(flag.get_id().as_str());
        if !matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        ) {
            arguments.extend(converted);
        }
    }
    Ok(arguments)
}

fn read(path: &std::path::Path) -> Result<Table, ConfigError> {
    let failed = |error| match error {
        ReadError::Io(source) => ConfigError::Read {
            path: path.to_owned(),
            source,
        },
        ReadError::TooLong { .. } => ConfigError::TooLong {
            path: path.to_owned(),
        },
    };
    let bytes = read_at_most(path, MAX_FILE_BYTES).map_err(failed)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error).into()))?;
    text.parse::<Table>().map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        ConfigError::Syntax {
            path: path.to_owned(),
            reason: format!("line {line}: {}", one_line(error.message())),
        }
    })
}

/// One key of the file as arguments, or the type that it should have.
fn flag_arguments(flag: &Arg, key: &str, value: &Value) -> Result<Vec<OsString>, &'static str> {
    let is_switch = matches!(flag.get_action(), ArgAction::SetTrue);
    let is_repeatable = matches!(flag.get_action(), ArgAction::Append);
    if is_switch {
        let on = value.as_bool().ok_or("true or false")?;
        return Ok(on.then(|| format!("--{key}").into()).into_iter().collect());
    }
    let expected = if is_repeatable {
        "a text, a number, or a list of them"
    } else {
        "a text or a number"
    };
    if let (Value::Array(values), true) = (value, is_repeatable) {
        let values = values.iter().map(|value| {
            let text = plain(value).ok_or("a list of texts or numbers")?;
            Ok(argument(key, &text))
        });
        return values.collect();
    }
    Ok(vec![argument(key, &plain(value).ok_or(expected)?)])
}

fn argument(key: &str, value: &str) -> OsString {
    format!("--{key}={value}").into()
}

/// A value as it would be on the command line.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

/// Parses the file's values without the others, so that an error in them names the file. `command` must not have the
/// variables: a mistake in one of them is not the file's.
fn check_alone(
    command: Command,
    from_file: &[OsString],
    path: &std::path::Path,
) -> Result<(), ConfigError> {
    let name = OsStr::new("relay").to_owned();
    let arguments = [name].into_iter().chain(from_file.iter().cloned());
    match command.try_get_matches_from(arguments) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::NoEquals
            ) =>
        {
            Err(ConfigError::Values {
                path: path.to_owned(),
                reason: first_paragraph(&error),
            })
        }
        // What is missing here may be given elsewhere.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn is_information(arg: &Arg) -> bool {
    matches!(
        arg.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    )
}

fn describe(error: clap::Error) -> ConfigError {
    let kind = error.kind();
    if matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        ConfigError::Information(error)
    } else {
        ConfigError::Flags(first_paragraph(&error))
    }
}

/// The message of clap without its hints, in one line.
fn first_paragraph(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    one_line(paragraph.strip_prefix("error: ").unwrap_or(paragraph))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::test_folder::TestFolder;

    #[derive(Debug, PartialEq, Parser)]
    struct Flags {
        #[arg(long)]
        config: Option<PathBuf>,
        #[arg(long, default_value_t = 8080)]
        http_port: u16,
        #[arg(long, requires = "tls_key")]
        tls_cert: Option<PathBuf>,
        #[arg(long)]
        tls_key: Option<PathBuf>,
        #[arg(long)]
        tls_self_signed: bool,
        #[arg(long)]
        announce: Vec<String>,
    }

    /// Parses `flags` with a file of this content.
    fn with_file(content: &str, flags: &[&str]) -> Result<Flags, String> {
        let folder = TestFolder::new();
        let path = folder.file("relay.toml", content);
        let file = format!("--config={}", path.display());
        let arguments = ["relay", &file].into_iter().chain(flags.iter().copied());
        let parsed = parse_with::<Flags>(arguments.map(OsString::from), false);
        parsed.map_err(|error| {
            let error = error.to_string();
            assert_eq!(error.lines().count(), 1, "{error}");
            error.replace(&path.display().to_string(), "FILE")
        })
    }

    #[test]
    fn file_has_every_kind_of_flag() {
        let content = "# Comment\nhttp-port = 80\ntls-self-signed = true\nannounce = ['a', 'b']\ntls-key = '/k'\n";
        let parsed = with_file(content, &[]).expect("valid");
        assert_eq!((parsed.http_port, parsed.tls_self_signed), (80, true));
        assert_eq!(parsed.announce, ["a", "b"]);
        assert_eq!(parsed.tls_key, Some("/k".into()));
        let parsed = with_file("announce = 'a'\ntls-self-signed = false", &[]).expect("valid");
        assert_eq!((parsed.announce.len(), parsed.tls_self_signed), (1, false));
    }

    #[test]
    fn flags_count_before_the_file() {
        let content = "http-port = 80\nannounce = ['a', 'b']";
        let flags = ["--http-port", "81", "--announce", "c"];
        let parsed = with_file(content, &flags).expect("valid");
        assert_eq!(
            (parsed.http_port, parsed.announce),
            (81, vec!["c".to_owned()])
        );
        // A flag and a key together must fit.
        let parsed = with_file("tls-key = '/k'", &["--tls-cert", "/c"]);
        assert!(parsed.is_ok(), "{parsed:?}");
        let error = with_file("tls-cert = '/c'", &[]).expect_err("no key");
        assert!(error.contains("--tls-key"), "{error}");
    }

    #[test]
    fn errors_in_the_file_name_it() {
        for (content, expected) in [
            ("htp-port = 80", "FILE: there is no setting \"htp-port\""),
            ("config = 'x'", "FILE: there is no setting \"config\""),
            ("help = true", "FILE: there is no setting \"help\""),
            ("[http]\nport = 80", "FILE: there is no setting \"http\""),
            ("http-port = 65536", "FILE: invalid value '65536'"),
            (
                "http-port = [80]",
                "FILE: http-port must be a text or a number",
            ),
            (
                "http-port = true",
                "FILE: http-port must be a text or a number",
            ),
            (
                "tls-self-signed = 1",
                "FILE: tls-self-signed must be true or false",
            ),
            ("announce = [[]]", "FILE: announce must be a list"),
            ("http-port = 1\nhttp-port", "FILE: line 2: "),
            ("http-port = 1\nhttp-port = 2", "FILE: line 2: "),
        ] {
            let error = with_file(content, &[]).expect_err(content);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn missing_file_is_an_error() {
        let arguments = ["relay", "--config", "/no/such/file"].map(OsString::from);
        let error = parse_with::<Flags>(arguments, false).expect_err("no file");
        assert!(error.to_string().contains("/no/such/file"), "{error}");
    }

    #[test]
    fn help_is_no_error_and_mistakes_take_one_line() {
        let help = parse_with::<Flags>(["relay", "--help"].map(OsString::from), false);
        assert!(matches!(help, Err(ConfigError::Information(_))));
        let error = parse_with::<Flags>(["relay", "--htp-port=1"].map(OsString::from), false);
        let error = error.expect_err("no such flag").to_string();
        assert_eq!(error, "unexpected argument '--htp-port' found (see --help)");
    }
}
