//! What an import found, as people and programs read it.

use heartchain_sync::{ImportSummary, NotStored, config::MAX_ADOPTED};
use serde_json::{Value, json};

/// What was new, what was here before, and what is not stored and why. The first line has the counts.
#[must_use]
pub fn imported_text(file: &str, found: &ImportSummary) -> String {
    let ImportSummary {
        blocks,
        new_blocks,
        readings,
        new_readings,
        not_stored,
    } = found;
    let known_blocks = blocks.saturating_sub(*new_blocks);
    let (known, total) = (found.known_readings(), not_stored.total());
    let mut text = format!(
        "{file}: {blocks} blocks ({new_blocks} new, {known_blocks} already here), \
         {readings} readings ({new_readings} new, {known} already here, {total} not stored)"
    );
    for reason in reasons(not_stored) {
        text.push('\n');
        text.push_str(&reason);
    }
    text
}

/// The same for programs.
#[must_use]
pub fn imported_json(file: &str, found: &ImportSummary) -> Value {
    let NotStored {
        own_key,
        number_taken,
        unreadable,
        no_room,
    } = found.not_stored;
    json!({
        "event": "imported",
        "file": file,
        "blocks": found.blocks,
        "newBlocks": found.new_blocks,
        "readings": found.readings,
        "newReadings": found.new_readings,
        "notStored": {
            "ownKey": own_key,
            "numberTaken": number_taken,
            "unreadable": unreadable,
            "noRoom": no_room,
        },
    })
}

/// A sentence for each reason why readings are not stored.
fn reasons(not_stored: &NotStored) -> impl Iterator<Item = String> {
    let NotStored {
        own_key,
        number_taken,
        unreadable,
        no_room,
    } = *not_stored;
    let sentences = [
        (
            own_key,
            "have this keeper's own key but were not recorded here; only what was recorded here may use the numbers of the key. Keep the file.".to_owned(),
        ),
        (
            number_taken,
            "have numbers that other readings of their authors took, in blocks or among those that wait here.".to_owned(),
        ),
        (
            unreadable,
            "are sealed with another key than that of the room.".to_owned(),
        ),
        (
            no_room,
            format!(
                "came after {MAX_ADOPTED} readings of others that already wait, and no more are kept. Keep the file, and import it again once those are in blocks."
            ),
        ),
    ];
    let counted = sentences.into_iter().filter(|(count, _)| *count > 0);
    counted.map(|(count, why)| format!("Not stored: {count} waiting readings {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: ImportSummary = ImportSummary {
        blocks: 5,
        new_blocks: 2,
        readings: 100,
        new_readings: 60,
        not_stored: NotStored {
            own_key: 1,
            number_taken: 2,
            unreadable: 3,
            no_room: 4,
        },
    };

    #[test]
    fn every_reading_is_counted_once_and_explained() {
        let text = imported_text("a.json", &FOUND);
        let mut lines = text.lines();
        let counts = "a.json: 5 blocks (2 new, 3 already here), 100 readings (60 new, 30 already here, 10 not stored)";
        assert_eq!(lines.next(), Some(counts));
        for (count, why) in [
            (1, "were not recorded here"),
            (2, "that other readings of their authors took"),
            (3, "another key than that of the room"),
            (4, "after 65536 readings of others"),
        ] {
            let line = lines.next().expect("a sentence for each reason");
            let start = format!("Not stored: {count} waiting readings ");
            assert!(line.starts_with(&start) && line.contains(why), "{line}");
        }
        assert_eq!(lines.next(), None);
        let all = ImportSummary {
            not_stored: NotStored::default(),
            ..FOUND
        };
        assert_eq!(imported_text("a.json", &all).lines().count(), 1);
    }

    #[test]
    fn program_reads_the_reasons() {
        let expected = json!({
            "event": "imported", "file": "a.json", "blocks": 5, "newBlocks": 2, "readings": 100, "newReadings": 60,
            "notStored": { "ownKey": 1, "numberTaken": 2, "unreadable": 3, "noRoom": 4 },
        });
        assert_eq!(imported_json("a.json", &FOUND), expected);
    }
}
