//! The entries of a document's lists, one by one: from a document that was parsed as a whole, or from the lines of an
//! export, each of which is parsed when it is its turn. Knows the layout, not what an entry is.

use js_sys::{Array, JsString};
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

/// What is between the head of an export and its lists, in order.
const LIST_STARTS: [&str; 3] = [
    ",\n\"blocks\":[\n",
    "\n],\n\"waiting\":[\n",
    "\n],\n\"profiles\":[\n",
];
/// The end of an export. A file that was cut off does not have it.
const END: &str = "\n]\n}\n";

#[wasm_bindgen]
extern "C" {
    /// The browser's `JSON.parse`, on the browser's string: the text never enters wasm memory, which cannot shrink.
    #[wasm_bindgen(js_namespace = JSON, js_name = parse, catch)]
    pub(super) fn parse(text: &JsString) -> Result<JsValue, JsValue>;
}

/// An export by its lines: its head, parsed, and its lists.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) head: JsValue,
    /// Blocks, waiting readings, profiles.
    pub(super) lists: [Entries; 3],
}

/// What remains of a list.
#[derive(Debug)]
pub(super) struct Entries {
    /// How many were returned.
    taken: u32,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    Parsed(Array),
    /// One entry a line, with a comma at the end of all but the last.
    Lines {
        text: JsString,
        from: u32,
        to: u32,
    },
}

impl Lines {
    /// Finds the lists in a text; `None` if it is not laid out like an export. No text of JSON contains a line break, so what
    /// looks like the layout is the layout.
    pub(super) fn find(text: &JsString) -> Option<Self> {
        let [blocks, waiting, profiles] = LIST_STARTS;
        let blocks_at = find(text, blocks, 0)?;
        let waiting_at = find(text, waiting, blocks_at.1)?;
        let profiles_at = find(text, profiles, waiting_at.1)?;
        let end = text.length().checked_sub(len(END))?;
        if !text.ends_with(END, text.length().cast_signed()) || end < profiles_at.1 {
            return None;
        }
        let head = text.substring(0, blocks_at.0).concat(&"}".into());
        Some(Self {
            head: parse(&head).ok()?,
            lists: [
                (blocks_at.1, waiting_at.0),
                (waiting_at.1, profiles_at.0),
                (profiles_at.1, end),
            ]
            .map(|(from, to)| Entries::lines(text.clone(), from, to)),
        })
    }
}

impl Entries {
    /// The entries of a list that was parsed as a whole.
    pub(super) const fn parsed(list: Array) -> Self {
        Self {
            taken: 0,
            rest: Rest::Parsed(list),
        }
    }

    const fn lines(text: JsString, from: u32, to: u32) -> Self {
        Self {
            taken: 0,
            rest: Rest::Lines { text, from, to },
        }
    }

    /// The next entry and its position in the list, from 1; `None` at the end.
    ///
    /// # Errors
    /// If the next line is not JSON.
    pub(super) fn take_next(&mut self) -> Result<Option<(u32, JsValue)>, JsValue> {
        let value = match &mut self.rest {
            Rest::Parsed(list) if self.taken >= list.length() => return Ok(None),
            Rest::Parsed(list) => list.get(self.taken),
            Rest::Lines { from, to, .. } if *from >= *to => return Ok(None),
            Rest::Lines { text, from, to } => {
                let separator = find(text, ",\n", *from).filter(|found| found.0 < *to);
                let (end, next) = separator.unwrap_or((*to, *to));
                let line = text.substring(*from, end);
                *from = next;
                parse(&line)?
            }
        };
        self.taken = self.taken.saturating_add(1);
        Ok(Some((self.taken, value)))
    }
}

/// Where a part of the text begins and ends, from this position on.
fn find(text: &JsString, part: &str, from: u32) -> Option<(u32, u32)> {
    let at = text.index_of(part, from.cast_signed());
    let at = u32::try_from(at).ok()?;
    Some((at, at.saturating_add(len(part))))
}

/// The length of a short text of ASCII letters in UTF-16 units.
fn len(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}
