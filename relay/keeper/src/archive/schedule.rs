//! Regular exports of a running session: which files, and which of them are kept.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use heartchain_chain::{hash::RoomId, time::UnixMillis};
use heartchain_peer::clock;
use tokio::time::sleep;

use super::transfer::{ExportError, Exported, export};
use crate::session::handle::Handle;

/// The shortest time between two exports: each reads the whole chain.
pub const MIN_INTERVAL: Duration = Duration::from_secs(60);
/// The most exports that are kept of a room.
pub const MAX_KEPT: usize = 1_000;

/// When and where a session is exported.
#[derive(Clone, Debug)]
pub struct ExportSchedule {
    /// The time from the start or the end of an export to the next one.
    pub every: Duration,
    /// The folder of the files.
    pub folder: PathBuf,
    /// How many files of the room stay: the newest.
    pub keep: usize,
}

impl ExportSchedule {
    /// Waits until the next export is due, and writes it. Returns its path and what it contains.
    ///
    /// # Errors
    /// If the session ends, or the file cannot be written.
    pub async fn next(&self, handle: &Handle) -> Result<(PathBuf, Exported), ExportError> {
        sleep(self.every).await;
        self.export(handle).await
    }

    async fn export(&self, handle: &Handle) -> Result<(PathBuf, Exported), ExportError> {
        let room = handle.status().await?.room.id();
        let write_error = |source: io::Error| ExportError::Write {
            path: self.folder.clone(),
            source: source.into(),
        };
        fs::create_dir_all(&self.folder).map_err(write_error)?;
        let path = self.folder.join(file_name(room, clock::now()));
        let exported = export(handle, &path).await?;
        remove_oldest(&self.folder, room, self.keep).map_err(write_error)?;
        Ok((path, exported))
    }
}

/// The beginning of the names of a room's exports.
fn prefix(room: RoomId) -> String {
    let id = room.to_string();
    format!("heartchain-{}-", id.get(..8).unwrap_or(&id))
}

/// The name of an export of this time. Names are in the order of time.
fn file_name(room: RoomId, time: UnixMillis) -> String {
    format!("{}{}.json", prefix(room), compact_utc(time))
}

/// Removes the oldest exports of a room, so that `keep` are left. Other files stay.
fn remove_oldest(folder: &Path, room: RoomId, keep: usize) -> io::Result<()> {
    let prefix = prefix(room);
    let example = compact_utc(UnixMillis::new(0));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let time = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        let time = time.and_then(|rest| rest.strip_suffix(".json"));
        let is_ours = |time: &str| {
            time.len() == example.len()
                && time
                    .chars()
                    .all(|c| c.is_ascii_digit() || matches!(c, 'T' | 'Z'))
        };
        if time.is_some_and(is_ours) {
            names.push(name);
        }
    }
    names.sort();
    let old = names.len().saturating_sub(keep);
    names
        .iter()
        .take(old)
        .try_for_each(|name| fs::remove_file(folder.join(name)))
}

/// A time as `20231114T221320456Z`.
fn compact_utc(time: UnixMillis) -> String {
    let (days, millis) = (time.get() / 86_400_000, time.get() % 86_400_000);
    let (year, month, day) = date_of(days);
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let rest = millis % 60_000;
    format!("{year:04}{month:02}{day:02}T{hours:02}{minutes:02}{rest:05}Z")
}

/// The date of the day with this number since 1970-01-01, in the Gregorian calendar.
const fn date_of(days: u64) -> (u64, u64, u64) {
    // Years that begin in March have their leap day at the end; 400 of them have 146,097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use heartchain_test_support as support;

    use super::*;

    #[test]
    fn times_are_utc() {
        for (millis, expected) in [
            (0, "19700101T000000000Z"),
            (1_700_000_000_456, "20231114T221320456Z"),
            (951_782_400_000, "20000229T000000000Z"),
            (1_709_251_199_999, "20240229T235959999Z"),
            (4_107_542_400_000, "21000301T000000000Z"),
        ] {
            assert_eq!(compact_utc(UnixMillis::new(millis)), expected);
        }
    }

    #[test]
    fn newest_exports_of_the_room_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let room = support::room().id();
        let other = support::named_room("other").id();
        let names: Vec<_> = (0..5)
            .map(|day| file_name(room, UnixMillis::new(day * 86_400_000)))
            .collect();
        let foreign = [
            file_name(other, UnixMillis::new(0)),
            format!("{}notes.json", prefix(room)),
            "letter.txt".to_owned(),
        ];
        for name in names.iter().chain(&foreign) {
            fs::write(folder.path().join(name), name).expect("written");
        }
        remove_oldest(folder.path(), room, 2).expect("removed");
        let stays = |name: &String| folder.path().join(name).exists();
        let kept: Vec<_> = names.iter().filter(|name| stays(name)).collect();
        assert_eq!(kept, [&names[3], &names[4]]);
        assert!(foreign.iter().all(stays));
    }
}
