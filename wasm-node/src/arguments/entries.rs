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
    /// looks like the layout is the layout. The blocks are most of the text, so it is searched from both ends.
    pub(super) fn find(text: &JsString) -> Option<Self> {
        let [blocks, waiting, profiles] = LIST_STARTS;
        let end = text.length().checked_sub(len(END))?;
        if !text.ends_with(END, text.length().cast_signed()) {
            return None;
        }
        let profiles_at = find_last(text, profiles, end)?;
        let waiting_at = find_last(text, waiting, profiles_at.0)?;
        let blocks_at = find(text, blocks, 0)?;
        if blocks_at.1 > waiting_at.0 {
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

    /// The entries in a part of an export, as [`Self::text`] returned it.
    pub(super) fn of_text(text: &JsString) -> Self {
        Self::lines(text.clone(), 0, text.length())
    }

    const fn lines(text: JsString, from: u32, to: u32) -> Self {
        Self {
            taken: 0,
            rest: Rest::Lines { text, from, to },
        }
    }

    /// Moves the next entries into a list of their own: as many as end within this length of text, at most `limit`, and at least
    /// one. All that is left, if the document was parsed as a whole; `None` at the end.
    pub(super) fn split_next(&mut self, max_len: u32, limit: usize) -> Option<Self> {
        let taken = self.taken;
        let rest = match &mut self.rest {
            Rest::Parsed(list) if self.taken >= list.length() => return None,
            Rest::Parsed(list) => {
                self.taken = list.length();
                Rest::Parsed(list.clone())
            }
            Rest::Lines { from, to, .. } if *from >= *to => return None,
            Rest::Lines { text, from, to } => {
                let began = *from;
                let mut end = began;
                for _ in 0..limit {
                    if *from >= *to {
                        break;
                    }
                    let (mut line_end, next) = line_end(text, *from, *to);
                    if line_end == *from {
                        // With its separator, an empty line stays one, which is refused.
                        line_end = next;
                    }
                    if end > began && line_end.saturating_sub(began) > max_len {
                        break;
                    }
                    (end, *from) = (line_end, next);
                    self.taken = self.taken.saturating_add(1);
                }
                Rest::Lines {
                    text: text.clone(),
                    from: began,
                    to: end,
                }
            }
        };
        Some(Self { taken, rest })
    }

    /// The length of that text; 0 if the document was parsed as a whole.
    pub(super) const fn text_len(&self) -> u32 {
        match &self.rest {
            Rest::Parsed(_) => 0,
            Rest::Lines { from, to, .. } => to.saturating_sub(*from),
        }
    }

    /// The text of all these entries; `None` if the document was parsed as a whole.
    pub(super) fn text(&self) -> Option<JsString> {
        match &self.rest {
            Rest::Parsed(_) => None,
            Rest::Lines { text, from, to } => Some(text.substring(*from, *to)),
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
                let (end, next) = line_end(text, *from, *to);
                let line = text.substring(*from, end);
                *from = next;
                parse(&line)?
            }
        };
        self.taken = self.taken.saturating_add(1);
        Ok(Some((self.taken, value)))
    }
}

/// Where the line that begins at `from` ends, and where the next one begins. The last one ends at `to`.
fn line_end(text: &JsString, from: u32, to: u32) -> (u32, u32) {
    let separator = find(text, ",\n", from).filter(|found| found.0 < to);
    separator.unwrap_or((to, to))
}

/// Where a part of the text begins and ends, the last one that ends by this position.
fn find_last(text: &JsString, part: &str, end: u32) -> Option<(u32, u32)> {
    let from = end.checked_sub(len(part))?;
    let at = text.last_index_of(part, from.cast_signed());
    let at = u32::try_from(at).ok()?;
    Some((at, at.saturating_add(len(part))))
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

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// The positions of the entries in each part.
    fn parts(mut entries: Entries, max_len: u32, limit: usize) -> Vec<Vec<u32>> {
        let mut parts = Vec::new();
        while let Some(mut part) = entries.split_next(max_len, limit) {
            let mut positions = Vec::new();
            while let Some((position, _)) = part.take_next().expect("JSON") {
                positions.push(position);
            }
            parts.push(positions);
        }
        parts
    }

    #[test]
    fn lists_are_found_from_both_ends() {
        let [blocks, waiting, profiles] = LIST_STARTS;
        let text = |parts: &[&str]| JsString::from(parts.concat());
        let whole = [
            "{\"a\":1",
            blocks,
            "[1]",
            waiting,
            "[2],\n[3]",
            profiles,
            "",
            END,
        ];
        let found = Lines::find(&text(&whole)).expect("the layout");
        let lists = found.lists.map(|list| list.text().map(String::from));
        let expected = ["[1]", "[2],\n[3]", ""].map(|list| Some(list.to_owned()));
        assert_eq!(lists, expected);
        for wrong in [
            &whole[..7],
            &["{\"a\":1", blocks, profiles, END],
            &["{\"a\":1", waiting, blocks, profiles, END],
            &["{\"a\":1", blocks, profiles, waiting, END],
            &["{\"a\":1", waiting, profiles, END],
            &["", END],
        ] {
            assert!(Lines::find(&text(wrong)).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn lines_are_split_by_length_and_number() {
        let text = JsString::from("[1],\n[22],\n[333],\n[4],\n[5]");
        let lines = || Entries::of_text(&text);
        for (max_len, limit, expected) in [
            (u32::MAX, usize::MAX, vec![vec![1, 2, 3, 4, 5]]),
            (u32::MAX, 2, vec![vec![1, 2], vec![3, 4], vec![5]]),
            // A line that is longer than the limit is a part of its own.
            (0, 9, vec![vec![1], vec![2], vec![3], vec![4], vec![5]]),
            (9, 9, vec![vec![1, 2], vec![3], vec![4, 5]]),
            (8, 9, vec![vec![1], vec![2], vec![3], vec![4, 5]]),
        ] {
            assert_eq!(
                parts(lines(), max_len, limit),
                expected,
                "{max_len}, {limit}"
            );
        }
        let mut entries = lines();
        let part = entries.split_next(9, 9).expect("a part");
        assert_eq!(part.text(), Some(JsString::from("[1],\n[22]")));
        assert_eq!((part.text_len(), entries.text_len()), (9, 15));
        assert!(Entries::of_text(&"".into()).split_next(9, 9).is_none());
    }

    #[test]
    fn parsed_list_is_one_part() {
        let list = || Entries::parsed(Array::of2(&1.into(), &2.into()));
        assert_eq!(parts(list(), 0, 1), [[1, 2]]);
        let part = list().split_next(0, 1).expect("a part");
        assert_eq!((part.text(), part.text_len()), (None, 0));
    }
}
