//! Header presync, as in Bitcoin Core: two passes over a branch with more headers than may be stored before it
//! is known to have more work than ours.
//!
//! The first pass verifies every header (link, height, difficulty, proof of work, time) and stores none. It
//! keeps the total work, and the hash of the last header of each answer as a checkpoint. A header's hash
//! commits to all headers below it, so the second pass accepts only the branch of the first: an answer is
//! stored only up to a checkpoint that it passes. A peer that makes this one store a long branch has therefore
//! done more work for it than is in the local branch.

use alloc::{boxed::Box, collections::VecDeque};

use heartchain_chain::{
    difficulty::Window,
    hash::BlockHash,
    header::Header,
    time::UnixMillis,
    tree::BlockInfo,
    validate::{HeaderError, check_header},
    work::Work,
};

use crate::config::MAX_CHECKPOINTS;

/// A header that the second pass must contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) hash: BlockHash,
    pub(super) index: u64,
}

/// The state of the first pass.
#[derive(Clone, Debug)]
pub(super) struct HeaderPresync {
    window: Window,
    last: Checkpoint,
    total_work: Work,
    checkpoints: VecDeque<Checkpoint>,
}

/// Why presync rejects an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PresyncError {
    /// A header breaks a rule.
    Header(HeaderError),
    /// A header does not connect to the last one: the peer has switched to another branch.
    NotConnected,
}

impl HeaderPresync {
    /// Starts after the last stored header. `window` is what the difficulty and time rules need to check the next one.
    pub(super) fn start_after(last: &BlockInfo, window: Window) -> Box<Self> {
        Box::new(Self {
            window,
            last: Checkpoint {
                hash: last.hash,
                index: last.index,
            },
            total_work: last.total_work,
            checkpoints: VecDeque::new(),
        })
    }

    /// The last header verified. The next request starts from it.
    pub(super) const fn last(&self) -> Checkpoint {
        self.last
    }

    /// The total work of the branch so far.
    pub(super) const fn total_work(&self) -> Work {
        self.total_work
    }

    /// Whether there is no room for another checkpoint.
    pub(super) fn is_full(&self) -> bool {
        self.checkpoints.len() >= MAX_CHECKPOINTS
    }

    /// Verifies the headers of an answer and adds their work.
    pub(super) fn take(&mut self, headers: &[Header], now: UnixMillis) -> Result<(), PresyncError> {
        for header in headers {
            if header.prev_hash != self.last.hash {
                return Err(PresyncError::NotConnected);
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
            .map_err(PresyncError::Header)?;
            self.window.push(header);
            self.total_work = self.total_work.saturating_add(target.work());
            self.last = Checkpoint {
                hash,
                index: header.index,
            };
        }
        if !headers.is_empty() {
            self.checkpoints.push_back(self.last);
        }
        Ok(())
    }

    /// Ends the first pass. Returns the checkpoints for the second pass, lowest first.
    pub(super) fn into_checkpoints(self) -> VecDeque<Checkpoint> {
        self.checkpoints
    }
}

/// Returns how many of these headers lead to a checkpoint, if they form a chain that starts behind `behind`.
/// Passed checkpoints are removed. `None` if the headers belong to another branch.
pub(super) fn pass_checkpoints(
    checkpoints: &mut VecDeque<Checkpoint>,
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
        match checkpoints.front() {
            Some(checkpoint) if checkpoint.index == header.index => {
                if checkpoint.hash != previous {
                    return None;
                }
                checkpoints.pop_front();
                passed = count;
            }
            Some(_) => {}
            // Behind the last checkpoint every header counts.
            None => passed = count,
        }
    }
    Some(passed)
}

#[cfg(test)]
mod tests {
    use heartchain_chain::{
        hash::ReadingsRoot,
        mining,
        room::{Room, RoomName, RoomParams},
        work::CompactTarget,
    };

    use super::*;

    const NOW: UnixMillis = UnixMillis::new(1_700_000_000_000);

    fn room() -> Room {
        let name = RoomName::new("presync").expect("a room name");
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

    /// A branch from genesis. `root` makes its hashes different from those of other branches.
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
    fn presync_adds_work_and_checkpoints() {
        let headers = branch(1, 9);
        let mut presync = HeaderPresync::start_after(&genesis(), Window::genesis(&room()));
        for answer in headers.chunks(4) {
            assert_eq!(presync.take(answer, NOW), Ok(()));
        }
        assert_eq!(presync.take(&[], NOW), Ok(()));
        let work = |header: &Header| header.bits.target().expect("a target").work();
        let expected = headers
            .iter()
            .map(work)
            .fold(Work::ZERO, Work::saturating_add);
        assert_eq!(presync.total_work(), expected);
        assert_eq!(presync.last().hash, headers[8].hash());
        let checkpoints = presync.into_checkpoints();
        let indices: alloc::vec::Vec<u64> = checkpoints
            .iter()
            .map(|checkpoint| checkpoint.index)
            .collect();
        assert_eq!(indices, [4, 8, 9]);
    }

    #[test]
    fn presync_refuses_bad_or_unconnected_headers() {
        let (headers, other) = (branch(1, 4), branch(2, 4));
        let begun = || HeaderPresync::start_after(&genesis(), Window::genesis(&room()));
        assert_eq!(
            begun().take(&[headers[0], other[1]], NOW),
            Err(PresyncError::NotConnected)
        );
        let mut easier = headers[1];
        easier.bits = CompactTarget::from_bits(0x207f_ffff);
        assert!(matches!(
            begun().take(&[headers[0], easier], NOW),
            Err(PresyncError::Header(HeaderError::Bits { .. }))
        ));
    }

    #[test]
    fn checkpoints_are_bounded() {
        let mut presync = HeaderPresync::start_after(&genesis(), Window::genesis(&room()));
        let checkpoint = presync.last();
        presync.checkpoints = core::iter::repeat_n(checkpoint, MAX_CHECKPOINTS - 1).collect();
        assert!(!presync.is_full());
        assert_eq!(presync.take(&branch(1, 1), NOW), Ok(()));
        assert!(presync.is_full());
    }

    #[test]
    fn redownload_accepts_only_presynced_headers() {
        let (headers, other) = (branch(1, 9), branch(2, 9));
        let genesis = room().genesis_hash();
        let checkpoints: VecDeque<Checkpoint> = [4, 8]
            .map(|index: usize| Checkpoint {
                hash: headers[index - 1].hash(),
                index: index as u64,
            })
            .into();
        let mut open = checkpoints.clone();
        assert_eq!(
            pass_checkpoints(&mut open, &genesis, &headers[..7]),
            Some(4),
            "up to the last checkpoint passed"
        );
        assert_eq!(open.len(), 1);
        assert_eq!(
            pass_checkpoints(&mut open, &headers[3].hash(), &headers[4..]),
            Some(5),
            "beyond the last checkpoint all"
        );
        assert!(open.is_empty());
        let mut open = checkpoints.clone();
        assert_eq!(pass_checkpoints(&mut open, &genesis, &other), None);
        assert_eq!(pass_checkpoints(&mut open, &genesis, &headers[1..]), None);
        assert_eq!(
            pass_checkpoints(&mut open, &genesis, &headers[..3]),
            Some(0)
        );
    }
}
