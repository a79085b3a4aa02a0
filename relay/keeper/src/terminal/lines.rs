//! What a keeper prints: lines for people, or one JSON object a line for programs. Prints nothing itself.

use heartchain_chain::{
    content::ReadingForm,
    key::Author,
    room::{Room, RoomKind},
};
use heartchain_sync::SyncState;
use serde_json::{Value, json};

use crate::session::{KeeperEvent, KeeperStatus, Recorded, ShownBlock};

/// Digits of a key or a hash that a person sees.
const SHORT_LEN: usize = 8;

/// Who reads the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// People read sentences.
    Text,
    /// Programs read objects.
    Json,
}

/// A line, and whether it is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    content: Content,
    pub(crate) is_error: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Text(String),
    Json(Value),
}

impl Line {
    /// What is printed. With several rooms, it says to which one it belongs.
    pub(crate) fn render(self, room: Option<&RoomLabel>) -> String {
        match (self.content, room) {
            (Content::Text(text), None) => text,
            (Content::Text(text), Some(room)) => format!("{}: {text}", room.name),
            (Content::Json(mut value), room) => {
                if let (Some(fields), Some(room)) = (value.as_object_mut(), room) {
                    fields.insert("roomId".to_owned(), room.id.clone().into());
                }
                value.to_string()
            }
        }
    }
}

/// How lines tell the rooms of one keeper apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomLabel {
    /// The beginning of each line for people.
    name: String,
    /// The id of the room in hexadecimal, as in the names of its files.
    id: String,
}

impl RoomLabel {
    /// The label of a room: its name, or the first digits of a private room's commitment.
    #[must_use]
    pub fn new(room: &Room) -> Self {
        let name = match room.params().kind() {
            RoomKind::Open { name } => name.to_string(),
            RoomKind::Private { commitment } => format!("private {}", first_digits(commitment)),
        };
        let id = room.id().to_string();
        Self { name, id }
    }
}

impl Form {
    fn line(self, text: impl FnOnce() -> String, json: impl FnOnce() -> Value) -> Line {
        let content = match self {
            Self::Text => Content::Text(text()),
            Self::Json => Content::Json(json()),
        };
        Line {
            content,
            is_error: false,
        }
    }

    /// An error or a warning, as a sentence.
    pub(crate) fn error(self, sentence: &str) -> Line {
        let line = self.line(
            || sentence.to_owned(),
            || json!({ "event": "error", "message": sentence }),
        );
        Line {
            is_error: true,
            ..line
        }
    }

    /// The session runs, and this is what it begins with.
    pub(crate) fn started(self, status: &KeeperStatus) -> Line {
        let room = &status.room;
        let (blocks, waiting) = (status.machine.index, status.machine.mempool);
        self.line(
            || {
                let author = short(&status.author);
                let role = match room.is_member() {
                    true => format!("you are {author}"),
                    false => "without its key, so its readings stay sealed".to_owned(),
                };
                format!(
                    "{}: {blocks} blocks, {waiting} readings wait; {role}",
                    room_name(room)
                )
            },
            || {
                json!({
                    "event": "started",
                    "room": room.params().name().map(ToString::to_string),
                    "commitment": match room.params().kind() {
                        RoomKind::Open { .. } => None,
                        RoomKind::Private { commitment } => Some(commitment.to_string()),
                    },
                    "genesis": room.genesis_hash().to_string(),
                    "author": status.author.to_string(),
                    "tip": { "index": blocks, "hash": status.machine.tip.to_string() },
                    "waiting": waiting,
                    "state": state(status.machine.state),
                })
            },
        )
    }

    /// What a person can do now.
    pub(crate) fn hint(self, room: &Room) -> Option<Line> {
        let text = match room.is_member() {
            true => "Type a heart rate (20 to 400) and press Enter to record it. Ctrl-D ends.",
            false => "Ctrl-D ends.",
        };
        (self == Self::Text).then(|| Line {
            content: Content::Text(text.to_owned()),
            is_error: false,
        })
    }

    /// A reading is on disk.
    pub(crate) fn recorded(self, bpm: u16, recorded: Recorded) -> Line {
        let Recorded { id, seq } = recorded;
        self.line(
            || format!("recorded {bpm} as your reading {seq}"),
            || json!({ "event": "recorded", "bpm": bpm, "seq": seq, "id": id.to_string() }),
        )
    }

    /// The keeper ends. If the disk refused the last changes, only what was reported is on it.
    pub(crate) fn stopped(self, is_failing: bool) -> Line {
        let text = match is_failing {
            false => "Everything is on disk.",
            true => "The disk refused the last changes. Every reading that was reported is on it.",
        };
        self.line(
            || text.to_owned(),
            || json!({ "event": "stopped", "saved": !is_failing }),
        )
    }

    /// An export was written and verified.
    pub(crate) fn exported(self, file: &str, blocks: u64, readings: u64) -> Line {
        self.line(
            || format!("exported {blocks} blocks with {readings} readings to {file}"),
            || json!({ "event": "exported", "file": file, "blocks": blocks, "readings": readings }),
        )
    }

    /// Something that the session tells.
    pub(crate) fn event(self, event: &KeeperEvent, form: ReadingForm) -> Line {
        match event {
            KeeperEvent::Block(block) => {
                self.line(|| block_text(block, form), || block_json(block))
            }
            KeeperEvent::Blocks { from, to } => self.line(
                || format!("blocks {from} to {to} joined"),
                || json!({ "event": "blocks", "from": from, "to": to }),
            ),
            KeeperEvent::Reorganised { from } => self.line(
                || format!("a heavier branch took over from block {from} on; no reading is lost"),
                || json!({ "event": "reorganised", "from": from }),
            ),
            KeeperEvent::Peers { connected } => self.line(
                || match connected {
                    0 => "no peer is connected".to_owned(),
                    1 => "1 peer is connected".to_owned(),
                    more => format!("{more} peers are connected"),
                },
                || json!({ "event": "peers", "connected": connected }),
            ),
            KeeperEvent::Listening { address } => self.line(
                || format!("listening: --peer {address}"),
                || json!({ "event": "listening", "address": address }),
            ),
            KeeperEvent::NetworkFault { reason } => self.error(reason),
            KeeperEvent::StorageRecovered => self.line(
                || "The disk takes writes again.".to_owned(),
                || json!({ "event": "storage-recovered" }),
            ),
            KeeperEvent::KeyReplaced { author } => {
                let new = short(author);
                self.line(
                    || format!("your key was used in another place as well, so you are {new} from now on; no reading is lost"),
                    || json!({ "event": "key-replaced", "author": author.to_string() }),
                )
            }
            KeeperEvent::StorageFailing { reason } => self.error(&format!(
                "{reason}: nothing is recorded until it has room or works again; the keeper goes on and tries again"
            )),
            KeeperEvent::Damaged { records } => self.error(&format!(
                "{records} records on disk were damaged; the keeper asks its peers for what they had"
            )),
            KeeperEvent::Equivocation { author, seq } => self.error(&format!(
                "{} signed two different readings with the number {seq}; one of them counts",
                short(author)
            )),
            KeeperEvent::ClockMoved => {
                self.error("the clock of this computer was set or is wrong: check it")
            }
            KeeperEvent::Missed { events } => self.error(&format!(
                "{events} lines are not shown, because the terminal was too slow"
            )),
        }
    }
}

fn room_name(room: &Room) -> String {
    match room.params().kind() {
        RoomKind::Open { name } => format!("room {name}"),
        RoomKind::Private { commitment } => format!("private room {commitment}"),
    }
}

/// The beginning of a key.
fn short(value: &Author) -> String {
    first_digits(value)
}

/// The beginning of a key or a hash.
fn first_digits(value: &impl ToString) -> String {
    let text = value.to_string();
    text.get(..SHORT_LEN).unwrap_or(&text).to_owned()
}

fn block_text(block: &ShownBlock, form: ReadingForm) -> String {
    // The first digits of a hash are zeros, because of the work.
    let hash = block.hash.to_string();
    let hash = hash.get(hash.len().saturating_sub(SHORT_LEN)..);
    let hash = hash.unwrap_or_default();
    let head = format!("block {} \u{2026}{hash}:", block.index);
    let sealed = block
        .readings
        .iter()
        .filter(|reading| reading.content.is_none());
    let sealed = sealed.count();
    let readable = block.readings.iter().filter_map(|reading| {
        let (_, bpm) = reading.content?;
        Some(format!("{} {bpm}", short(&reading.author)))
    });
    let mut parts: Vec<String> = readable.collect();
    if sealed > 0 {
        let kind = match form {
            ReadingForm::Sealed => "sealed",
            ReadingForm::Open => "unreadable",
        };
        let noun = if sealed == 1 { "reading" } else { "readings" };
        parts.push(format!("{sealed} {kind} {noun}"));
    }
    format!("{head} {}", parts.join(", "))
}

fn block_json(block: &ShownBlock) -> Value {
    let readings = block.readings.iter().map(|reading| {
        json!({
            "author": reading.author.to_string(),
            "seq": reading.seq,
            "time": reading.content.map(|(time, _)| time.get()),
            "bpm": reading.content.map(|(_, bpm)| bpm),
        })
    });
    json!({
        "event": "block",
        "index": block.index,
        "hash": block.hash.to_string(),
        "time": block.time.get(),
        "readings": readings.collect::<Vec<_>>(),
    })
}

const fn state(state: SyncState) -> &'static str {
    match state {
        SyncState::Starting => "starting",
        SyncState::Syncing => "syncing",
        SyncState::Synced => "synced",
        SyncState::Alone => "alone",
    }
}
