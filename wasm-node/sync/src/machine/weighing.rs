//! Two passes over a branch that has more headers than may be held before it is known to outweigh ours.
//!
//! The first pass checks every header by rules 1 to 5 and keeps none: only what the branch weighs, and the hash of
//! each answer's last header as a mark. A hash binds all headers below it, so the second pass can take nothing but the
//! branch that was weighed: an answer is kept only if it goes through the next mark. Whoever makes a peer hold a long
//! branch has thus done more work for it than stands in the peer's own.

use alloc::{boxed::Box, collections::VecDeque};

use chain::{
    difficulty::Window,
    hash::BlockHash,
    header::Header,
    time::UnixMillis,
    tree::BlockInfo,
    validate::{HeaderError, check_header},
    work::Work,
};

use crate::config::MAX_MARKS;

/// A header that the second pass must come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) hash: BlockHash,
    pub(super) index: u64,
}

/// The first pass, as far as it has come.
#[derive(Clone, Debug)]
pub(super) struct Weighing {
    window: Window,
    last: Mark,
    total_work: Work,
    marks: VecDeque<Mark>,
}

/// Why an answer cannot be weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unweighable {
    /// A header breaks a rule.
    Header(HeaderError),
    /// It does not go on from where the last one ended: the peer is on another branch now.
    Elsewhere,
}

impl Weighing {
    /// Begins behind the last header that is held; `window` is what the rules need to judge the next one.
    pub(super) fn behind(held: &BlockInfo, window: Window) -> Box<Self> {
        Box::new(Self {
            window,
            last: Mark {
                hash: held.hash,
                index: held.index,
            },
            total_work: held.total_work,
            marks: VecDeque::new(),
        })
    }

    /// The last header weighed, from which the next request goes on.
    pub(super) const fn last(&self) -> Mark {
        self.last
    }

    /// What the branch weighs as far as it has come.
    pub(super) const fn total_work(&self) -> Work {
        self.total_work
    }

    /// Whether there is no place for another mark.
    pub(super) fn is_full(&self) -> bool {
        self.marks.len() >= MAX_MARKS
    }

    /// Weighs an answer's headers.
    pub(super) fn take(&mut self, headers: &[Header], now: UnixMillis) -> Result<(), Unweighable> {
        for header in headers {
            if header.prev_hash != self.last.hash {
                return Err(Unweighable::Elsewhere);
            }
            let hash = header.hash();
            let target = check_header(
                &self.window,
                self.last.hash,
                self.last.index,
                header,
                &hash,
                now,
            )
            .map_err(Unweighable::Header)?;
            self.window.push(header);
            self.total_work = self.total_work.saturating_add(target.work());
            self.last = Mark {
                hash,
                index: header.index,
            };
        }
        if !headers.is_empty() {
            self.marks.push_back(self.last);
        }
        Ok(())
    }

    /// The branch outweighs ours: what the second pass must come by, the lowest first.
    pub(super) fn into_marks(self) -> VecDeque<Mark> {
        self.marks
    }
}

/// How many of these headers go through marks, if they follow one another from `behind` on; the marks they pass are
/// taken off. `None`: they are of another branch.
pub(super) fn pass_marks(
    marks: &mut VecDeque<Mark>,
    behind: &BlockHash,
    headers: &[Header],
) -> Option<usize> {
    let mut previous = *behind;
    let mut passed = 0;
    for (count, header) in (1..).zip(headers) {
        if header.prev_hash != previous {
            return None;
        }
        previous = header.hash();
        match marks.front() {
            Some(mark) if mark.index == header.index => {
                if mark.hash != previous {
                    return None;
                }
                marks.pop_front();
                passed = count;
            }
            Some(_) => {}
            // Beyond the last mark each is judged by itself.
            None => passed = count,
        }
    }
    Some(passed)
}

#[cfg(test)]
mod tests {
    use chain::{
        hash::ReadingsRoot,
        mining,
        room::{Room, RoomName, RoomParams},
        work::CompactTarget,
    };

    use super::*;

    const NOW: UnixMillis = UnixMillis::new(1_700_000_000_000);

    fn room() -> Room {
        let name = RoomName::new("weighing").expect("a room name");
        Room::new(RoomParams::new(name, 8, 1_000).expect("in bounds"))
    }

    fn genesis() -> BlockInfo {
        BlockInfo {
            hash: room().genesis_hash(),
            index: 0,
            time: UnixMillis::new(0),
            total_work: Work::ZERO,
            has_body: true,
            on_best: true,
        }
    }

    /// A branch from genesis, told from others by `root`.
    fn branch(root: u8, blocks: usize) -> alloc::vec::Vec<Header> {
        let mut window = Window::genesis(&room());
        let mut headers = alloc::vec::Vec::new();
        let mut prev_hash = room().genesis_hash();
        for _ in 0..blocks {
            let time = UnixMillis::new(1_000 * window.next_index());
            let template = Header {
                readings_root: ReadingsRoot::new([root; 32]),
                ..mining::template(&window, prev_hash, time, &[])
            };
            let header = mining::mine(template, u32::MAX).expect("the room is easy");
            prev_hash = header.hash();
            window.push(&header);
            headers.push(header);
        }
        headers
    }

    #[test]
    fn weighs_what_the_rules_say_and_marks_each_answer() {
        let headers = branch(1, 9);
        let mut weighing = Weighing::behind(&genesis(), Window::genesis(&room()));
        for answer in headers.chunks(4) {
            assert_eq!(weighing.take(answer, NOW), Ok(()));
        }
        assert_eq!(weighing.take(&[], NOW), Ok(()));
        let work = |header: &Header| header.bits.target().expect("a target").work();
        let expected = headers
            .iter()
            .map(work)
            .fold(Work::ZERO, Work::saturating_add);
        assert_eq!(weighing.total_work(), expected);
        assert_eq!(weighing.last().hash, headers[8].hash());
        let marks = weighing.into_marks();
        let indices: alloc::vec::Vec<u64> = marks.iter().map(|mark| mark.index).collect();
        assert_eq!(indices, [4, 8, 9]);
    }

    #[test]
    fn header_without_work_or_of_another_branch_is_not_weighed() {
        let (headers, other) = (branch(1, 4), branch(2, 4));
        let begun = || Weighing::behind(&genesis(), Window::genesis(&room()));
        assert_eq!(
            begun().take(&[headers[0], other[1]], NOW),
            Err(Unweighable::Elsewhere)
        );
        let mut easier = headers[1];
        easier.bits = CompactTarget::from_bits(0x207f_ffff);
        assert!(matches!(
            begun().take(&[headers[0], easier], NOW),
            Err(Unweighable::Header(HeaderError::Bits { .. }))
        ));
    }

    #[test]
    fn marks_are_bounded() {
        let mut weighing = Weighing::behind(&genesis(), Window::genesis(&room()));
        let mark = weighing.last();
        weighing.marks = core::iter::repeat_n(mark, MAX_MARKS - 1).collect();
        assert!(!weighing.is_full());
        assert_eq!(weighing.take(&branch(1, 1), NOW), Ok(()));
        assert!(weighing.is_full());
    }

    #[test]
    fn second_pass_takes_only_what_was_weighed() {
        let (headers, other) = (branch(1, 9), branch(2, 9));
        let genesis = room().genesis_hash();
        let marks: VecDeque<Mark> = [4, 8]
            .map(|index: usize| Mark {
                hash: headers[index - 1].hash(),
                index: index as u64,
            })
            .into();
        let mut open = marks.clone();
        assert_eq!(
            pass_marks(&mut open, &genesis, &headers[..7]),
            Some(4),
            "up to the last mark passed"
        );
        assert_eq!(open.len(), 1);
        assert_eq!(
            pass_marks(&mut open, &headers[3].hash(), &headers[4..]),
            Some(5),
            "beyond the last mark all"
        );
        assert!(open.is_empty());
        let mut open = marks.clone();
        assert_eq!(pass_marks(&mut open, &genesis, &other), None);
        assert_eq!(pass_marks(&mut open, &genesis, &headers[1..]), None);
        assert_eq!(pass_marks(&mut open, &genesis, &headers[..3]), Some(0));
    }
}
