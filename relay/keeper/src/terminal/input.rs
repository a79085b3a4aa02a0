//! What a person types, line by line, and which heart rate a line means.

use std::io::{self, BufRead, ErrorKind};

use heartchain_chain::bpm::Bpm;
use tokio::sync::mpsc;

/// The longest line in bytes. No heart rate needs more; the rest of a longer line is skipped.
pub(crate) const MAX_LINE_LEN: usize = 256;
/// Lines that are read ahead.
const LINES_AHEAD: usize = 16;
/// Characters of a wrong line that a message repeats.
const MAX_SHOWN: usize = 24;

/// Reads lines on a thread of its own, because reading blocks. The channel closes at the end of the input. The thread ends
/// with it, or with the process.
pub(crate) fn spawn_lines(input: impl BufRead + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(LINES_AHEAD);
    // A thread of the runtime would keep the process from ending while no one types.
    std::thread::spawn(move || {
        let mut input = input;
        while let Ok(Some(line)) = next_line(&mut input) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The next line without its end; `None` at the end of the input. A line beyond [`MAX_LINE_LEN`] is cut off.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut found = false;
    loop {
        let bytes = match input.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if bytes.is_empty() {
            break;
        }
        found = true;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
        let room = MAX_LINE_LEN.saturating_sub(line.len());
        line.extend(part.iter().take(room));
        let used = end.map_or(bytes.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            break;
        }
    }
    Ok(found.then(|| String::from_utf8_lossy(&line).into_owned()))
}

/// The heart rate in a line; `None` for an empty line.
///
/// # Errors
/// A sentence that says what a heart rate is.
pub(crate) fn heart_rate(line: &str) -> Result<Option<Bpm>, String> {
    let typed = line.trim();
    if typed.is_empty() {
        return Ok(None);
    }
    let range = format!(
        "a heart rate is a whole number from {} to {}",
        Bpm::MIN,
        Bpm::MAX
    );
    // All digits, but beyond any integer, is a number all the same.
    let is_number = typed.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u16> = typed.parse().ok().filter(|_| is_number);
    match number.map(Bpm::new) {
        Some(Ok(bpm)) => Ok(Some(bpm)),
        Some(Err(_)) => Err(format!("{} was not recorded: {range}", shortened(typed))),
        None if is_number => Err(format!("{} was not recorded: {range}", shortened(typed))),
        None => Err(format!("{:?} is not a number: {range}", shortened(typed))),
    }
}

fn shortened(text: &str) -> String {
    let mut characters = text.chars();
    let mut start: String = characters.by_ref().take(MAX_SHOWN).collect();
    if characters.next().is_some() {
        start.push('\u{2026}');
    }
    start
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn only_heart_rates_are_recorded() {
        for (line, expected) in [
            ("20", Ok(Some(20))),
            (" 72\r", Ok(Some(72))),
            ("400", Ok(Some(400))),
            ("0072", Ok(Some(72))),
            ("", Ok(None)),
            ("  ", Ok(None)),
            ("19", Err("19 was not recorded")),
            ("401", Err("401 was not recorded")),
            ("0", Err("0 was not recorded")),
            ("65608", Err("65608 was not recorded")),
            (
                "99999999999999999999999999",
                Err("999999999999999999999999\u{2026} was"),
            ),
            ("-72", Err("\"-72\" is not a number")),
            ("+72", Err("\"+72\" is not a number")),
            ("72.5", Err("\"72.5\" is not a number")),
            ("7 2", Err("\"7 2\" is not a number")),
            ("\u{ff17}\u{ff12}", Err("is not a number")),
            ("seventy", Err("\"seventy\" is not a number")),
            ("\u{1b}[31m", Err("\"\\u{1b}[31m\" is not a number")),
        ] {
            let found = heart_rate(line);
            match expected {
                Ok(bpm) => assert_eq!(found.map(|bpm| bpm.map(Bpm::get)), Ok(bpm), "{line:?}"),
                Err(words) => {
                    let error = found.expect_err(line);
                    assert!(error.contains(words), "{line:?}: {error}");
                    assert!(error.contains("a whole number from 20 to 400"), "{error}");
                }
            }
        }
    }

    #[test]
    fn long_line_is_cut_off_and_the_next_one_is_whole() {
        let long = "7".repeat(1_000_000);
        let exact = "8".repeat(MAX_LINE_LEN);
        let mut input = Cursor::new(format!("{long}\n{exact}\n\n72"));
        let mut next = || next_line(&mut input).expect("a line");
        assert_eq!(next().map(|line| line.len()), Some(MAX_LINE_LEN));
        assert_eq!(next(), Some(exact));
        assert_eq!(next().as_deref(), Some(""));
        assert_eq!(next().as_deref(), Some("72"));
        assert_eq!(next(), None);
        let mut bytes = Cursor::new(b"\xff\xfe\n".to_vec());
        assert!(next_line(&mut bytes).expect("a line").is_some());
    }
}
