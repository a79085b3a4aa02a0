//! Reads an export from a file, row by row: a long one is never in memory as a whole. Accepts any layout and any order of
//! the fields, as wasm-node/EXPORT.md asks of readers.

use core::{cell::Cell, fmt};
use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    rc::Rc,
};

use heartchain_chain::{block::Block, profile::Profile, reading::Reading, room::Room};
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::rows::{BlockRow, FORMAT, Head, ProfileRow, ReadingRow, RowError};

/// The longest row in bytes, whatever its layout. That of the largest block has 0.4 MB.
pub(crate) const MAX_ROW_LEN: usize = 2 * 1024 * 1024;
/// Bytes that are read from the file at a time.
const BUFFER_LEN: usize = 64 * 1024;

/// Why a file is not an export.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is not JSON, or not an export.
    #[error("{} is no file that Heartchain exported: {reason}", path.display())]
    NoDocument {
        /// The path of the file.
        path: PathBuf,
        /// Where it differs, in the words of the parser.
        reason: String,
    },
    /// The file has another version of the format.
    #[error(
        "this file has the format {found:?}, and this version of Heartchain reads {FORMAT:?}: use the newest version"
    )]
    Format {
        /// The format that the file names.
        found: String,
    },
    /// The parameters of the room break a rule.
    #[error("the room of this file is not valid: {0}")]
    Room(RowError),
    /// A row breaks the format.
    #[error("{list} number {position} of this file cannot be read: {source}")]
    Row {
        /// What a message calls the row.
        list: &'static str,
        /// Its position in its list, from 1.
        position: u64,
        /// What is wrong with it.
        source: RowError,
    },
}

/// A row of a document.
#[derive(Debug)]
pub(crate) enum Row {
    Block(Block),
    Waiting(Reading),
    Profile(Profile),
}

/// A document whose head was read.
#[derive(Debug)]
pub(crate) struct Document {
    path: PathBuf,
    /// All fields that are not lists.
    pub(crate) head: Head,
    /// The room of the document. Its key, if it is private, is not known.
    pub(crate) room: Room,
    /// Whether one pass reads the lists in the order in which they are needed.
    is_ordered: bool,
}

/// Why reading the rows ended early.
#[derive(Debug)]
pub(crate) enum ReadError<E> {
    Document(DocumentError),
    /// What the reader of the rows returned.
    Stopped(E),
}

impl Document {
    /// Reads the head, and checks that the file is JSON with all lists.
    pub(crate) fn open(path: &Path) -> Result<Self, DocumentError> {
        let mut order = Vec::new();
        let mut head = serde_json::Map::new();
        pass(path, |budget, deserializer| {
            let visitor = HeadVisitor {
                budget,
                order: &mut order,
                head: &mut head,
            };
            deserializer.deserialize_map(visitor)
        })?;
        let no_document = |reason: String| DocumentError::NoDocument {
            path: path.to_owned(),
            reason,
        };
        let format = head.get("format").and_then(|format| format.as_str());
        match format {
            Some(FORMAT) => {}
            Some(found) => {
                return Err(DocumentError::Format {
                    found: found.to_owned(),
                });
            }
            None => return Err(no_document("it names no format".to_owned())),
        }
        let head = Head::deserialize(serde_json::Value::Object(head));
        let head = head.map_err(|error| no_document(error.to_string()))?;
        if let Some(missing) = List::ALL.into_iter().find(|list| !order.contains(list)) {
            return Err(no_document(format!("it has no {}", missing.name())));
        }
        let room = head.room.room().map_err(DocumentError::Room)?;
        Ok(Self {
            path: path.to_owned(),
            head,
            room,
            is_ordered: order == List::ALL,
        })
    }

    /// Reads all rows: first the blocks, then the waiting readings, then the names.
    pub(crate) fn read<E>(
        &self,
        mut each: impl FnMut(Row) -> Result<(), E>,
    ) -> Result<(), ReadError<E>> {
        if self.is_ordered {
            return self.read_lists(&List::ALL, &mut each);
        }
        for list in List::ALL {
            self.read_lists(&[list], &mut each)?;
        }
        Ok(())
    }

    fn read_lists<E>(
        &self,
        wanted: &[List],
        each: &mut dyn FnMut(Row) -> Result<(), E>,
    ) -> Result<(), ReadError<E>> {
        let mut ended: Option<ReadError<E>> = None;
        let ended_at = &mut ended;
        let result = pass(&self.path, |budget, deserializer| {
            deserializer.deserialize_map(RowsVisitor {
                budget,
                wanted,
                room: &self.room,
                each,
                ended: ended_at,
            })
        });
        match (ended, result) {
            (Some(ended), _) => Err(ended),
            (None, result) => result.map_err(ReadError::Document),
        }
    }
}

/// A list of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Blocks,
    Waiting,
    Profiles,
}

impl List {
    const ALL: [Self; 3] = [Self::Blocks, Self::Waiting, Self::Profiles];

    const fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Waiting => "waiting",
            Self::Profiles => "profiles",
        }
    }

    /// What a message calls a row of the list.
    const fn row_name(self) -> &'static str {
        match self {
            Self::Blocks => "block",
            Self::Waiting => "waiting reading",
            Self::Profiles => "name",
        }
    }

    fn of(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|list| list.name() == key)
    }
}

/// How many more bytes the current row may have.
type Budget = Rc<Cell<usize>>;

/// Refuses to read on when a row is longer than the budget.
struct BoundedReader {
    file: BufReader<File>,
    budget: Budget,
}

impl Read for BoundedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read(buffer)?;
        let left = self.budget.get().checked_sub(len).ok_or_else(|| {
            let text = format!("a row has more than {MAX_ROW_LEN} bytes");
            io::Error::other(text)
        })?;
        self.budget.set(left);
        Ok(len)
    }
}

/// Parses the file once.
fn pass(
    path: &Path,
    parse: impl FnOnce(
        Budget,
        &mut serde_json::Deserializer<serde_json::de::IoRead<BoundedReader>>,
    ) -> Result<(), serde_json::Error>,
) -> Result<(), DocumentError> {
    let io_error = |source| DocumentError::Io {
        path: path.to_owned(),
        source,
    };
    let budget = Rc::new(Cell::new(MAX_ROW_LEN));
    let file = File::open(path).map_err(io_error)?;
    let reader = BoundedReader {
        file: BufReader::with_capacity(BUFFER_LEN, file),
        budget: Rc::clone(&budget),
    };
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let parsed = parse(budget, &mut deserializer).and_then(|()| deserializer.end());
    parsed.map_err(|error| match error.io_error_kind() {
        Some(kind) if kind != io::ErrorKind::Other => io_error(error.into()),
        _ => DocumentError::NoDocument {
            path: path.to_owned(),
            reason: error.to_string(),
        },
    })
}

/// Collects all fields but the lists, whose rows are skipped.
struct HeadVisitor<'a> {
    budget: Budget,
    order: &'a mut Vec<List>,
    head: &'a mut serde_json::Map<String, serde_json::Value>,
}

impl<'de> Visitor<'de> for HeadVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an export")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if let Some(list) = List::of(&key) {
                if self.order.contains(&list) {
                    return Err(A::Error::custom(format!("it has {key} twice")));
                }
                self.order.push(list);
                map.next_value_seed(Rows::<_, IgnoredAny>::new(&self.budget, |_| Ok(())))?;
            } else if matches!(
                key.as_str(),
                "format" | "exportedAt" | "room" | "tip" | "totalWork"
            ) {
                let value = map.next_value()?;
                if self.head.insert(key, value).is_some() {
                    return Err(A::Error::custom("it has a field twice"));
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            self.budget.set(MAX_ROW_LEN);
        }
        Ok(())
    }
}

/// Passes the rows of the wanted lists on.
struct RowsVisitor<'a, E> {
    budget: Budget,
    wanted: &'a [List],
    room: &'a Room,
    each: &'a mut dyn FnMut(Row) -> Result<(), E>,
    ended: &'a mut Option<ReadError<E>>,
}

impl<'de, E> Visitor<'de> for RowsVisitor<'_, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an export")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let budget = Rc::clone(&self.budget);
        let room = self.room;
        while let Some(key) = map.next_key::<String>()? {
            let list = List::of(&key).filter(|list| self.wanted.contains(list));
            let mut position = 0;
            match list {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(list @ List::Blocks) => {
                    map.next_value_seed(Rows::new(&budget, |row: BlockRow| {
                        position += 1;
                        self.pass_on(list, position, row.block(room).map(Row::Block))
                    }))?;
                }
                Some(list @ List::Waiting) => {
                    map.next_value_seed(Rows::new(&budget, |row: ReadingRow| {
                        position += 1;
                        self.pass_on(list, position, row.reading(room).map(Row::Waiting))
                    }))?;
                }
                Some(list @ List::Profiles) => {
                    map.next_value_seed(Rows::new(&budget, |row: ProfileRow| {
                        position += 1;
                        self.pass_on(list, position, row.profile(room).map(Row::Profile))
                    }))?;
                }
            }
            budget.set(MAX_ROW_LEN);
        }
        Ok(())
    }
}

impl<E> RowsVisitor<'_, E> {
    /// Passes a row on. `Err` ends the parser; why is in `ended`.
    fn pass_on(
        &mut self,
        list: List,
        position: u64,
        row: Result<Row, RowError>,
    ) -> Result<(), Ended> {
        let result = match row {
            Ok(row) => (self.each)(row).map_err(ReadError::Stopped),
            Err(source) => Err(ReadError::Document(DocumentError::Row {
                list: list.row_name(),
                position,
                source,
            })),
        };
        result.map_err(|ended| {
            *self.ended = Some(ended);
            Ended
        })
    }
}

/// The parser must end.
struct Ended;

/// The rows of a list, each of which is passed on as soon as it is parsed.
struct Rows<'a, F, T> {
    budget: &'a Budget,
    each: F,
    row: core::marker::PhantomData<T>,
}

impl<'a, F, T> Rows<'a, F, T> {
    const fn new(budget: &'a Budget, each: F) -> Self {
        Self {
            budget,
            each,
            row: core::marker::PhantomData,
        }
    }
}

impl<'de, F: FnMut(T) -> Result<(), Ended>, T: Deserialize<'de>> DeserializeSeed<'de>
    for Rows<'_, F, T>
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(T) -> Result<(), Ended>, T: Deserialize<'de>> Visitor<'de> for Rows<'_, F, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut rows: A) -> Result<(), A::Error> {
        self.budget.set(MAX_ROW_LEN);
        while let Some(row) = rows.next_element()? {
            (self.each)(row).map_err(|Ended| A::Error::custom("ended"))?;
            self.budget.set(MAX_ROW_LEN);
        }
        Ok(())
    }
}
