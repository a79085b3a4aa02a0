//! Verifies a block step by step from nothing but its claimed fields, so that a person can check it without trusting
//! anyone. Never asks a peer, and never changes the node's state.

use heartchain_chain::{
    block::check_counts,
    difficulty::Window,
    hash::{BlockHash, ReadingId, ReadingsRoot},
    header::Header,
    merkle::readings_root,
    reading::{Reading, ReadingError},
    room::Room,
    time::UnixMillis,
    work::{CompactTarget, Target},
};

/// A block of unknown origin. None of its fields is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockClaim {
    pub(crate) hash: BlockHash,
    pub(crate) header: Header,
    pub(crate) readings: Vec<ClaimedReading>,
}

/// A reading of unknown origin, with the id that is claimed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClaimedReading {
    pub(crate) id: ReadingId,
    pub(crate) reading: Reading,
}

/// What this tab knows of the block's position in the chain.
#[derive(Clone, Debug)]
pub(crate) struct ParentContext {
    /// The rules for a child of the claimed parent, if the parent is known and exactly one lower.
    pub(crate) parent: Option<Window>,
    /// The hash of this tab's best block at the height below.
    pub(crate) below: Option<BlockHash>,
}

/// The result of each step of the verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) hash: Comparison<BlockHash>,
    /// The target that the bits encode; `None` if they are not a valid target.
    pub(crate) work: Comparison<Option<Target>>,
    /// The hash of this tab's best block at the height below; `None` if the tab has no such block.
    pub(crate) link: Comparison<Option<BlockHash>>,
    pub(crate) root: Comparison<ReadingsRoot>,
    /// The bits that the difficulty rule requires; `None` if the parent is unknown.
    pub(crate) difficulty: Comparison<Option<CompactTarget>>,
    /// The time that the block's time must exceed; `None` if the parent is unknown.
    pub(crate) time: Comparison<Option<UnixMillis>>,
    pub(crate) readings: Vec<CheckedReading>,
    /// Whether the number of readings is within a block's limits.
    pub(crate) count_ok: bool,
}

/// Whether a claimed value is right, and the value it was compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Comparison<T> {
    pub(crate) ok: bool,
    pub(crate) computed: T,
}

/// The verification of one reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckedReading {
    pub(crate) claimed: ReadingId,
    pub(crate) computed: ReadingId,
    pub(crate) verified: Result<(), ReadingError>,
}

impl BlockClaim {
    /// The readings without the ids that are claimed for them.
    pub(crate) fn bodies(&self) -> Vec<Reading> {
        let readings = self.readings.iter();
        readings.map(|claimed| claimed.reading).collect()
    }
}

impl Check {
    /// Whether every step passed.
    pub(crate) fn ok(&self) -> bool {
        self.hash.ok
            && self.work.ok
            && self.link.ok
            && self.root.ok
            && self.difficulty.ok
            && self.time.ok
            && self.count_ok
            && self.readings.iter().all(CheckedReading::ok)
    }
}

impl CheckedReading {
    /// Whether the claimed id is right and the reading is valid.
    pub(crate) fn ok(&self) -> bool {
        self.claimed == self.computed && self.verified.is_ok()
    }

    /// Whether the reading is valid, its signature included.
    pub(crate) fn is_signed(&self) -> bool {
        self.verified.is_ok()
    }
}

/// Runs every check on a claimed block. `verified` is the verification of each of its readings.
pub(crate) fn check(
    room: &Room,
    claim: &BlockClaim,
    context: &ParentContext,
    verified: Vec<Result<(), ReadingError>>,
) -> Check {
    let header = &claim.header;
    let hash = header.hash();
    let bodies = claim.bodies();
    let root = readings_root(&bodies);
    let readings = claim.readings.iter().zip(verified);
    let readings = readings
        .map(|(claimed, verified)| CheckedReading {
            claimed: claimed.id,
            computed: claimed.reading.id(room.id()),
            verified,
        })
        .collect();
    let hash_check = Comparison {
        ok: hash == claim.hash,
        computed: hash,
    };
    let root_check = Comparison {
        ok: root == header.readings_root,
        computed: root,
    };
    let target = header.bits.target().ok();
    if header.index == 0 {
        // Genesis follows from the room's parameters alone: it has no parent and needs no work.
        let ok = header == room.genesis();
        return Check {
            hash: hash_check,
            work: Comparison {
                ok,
                computed: target,
            },
            link: Comparison { ok, computed: None },
            root: root_check,
            difficulty: Comparison {
                ok,
                computed: Some(room.genesis().bits),
            },
            time: Comparison { ok, computed: None },
            readings,
            count_ok: claim.readings.is_empty(),
        };
    }
    let bits = context.parent.as_ref().map(|on| on.next_bits(header.time));
    let after = context.parent.as_ref().map(Window::mtp);
    Check {
        hash: hash_check,
        work: Comparison {
            ok: target.is_some_and(|target| target.is_met_by(&hash)),
            computed: target,
        },
        link: Comparison {
            ok: context.parent.is_some(),
            computed: context.below,
        },
        root: root_check,
        difficulty: Comparison {
            ok: bits == Some(header.bits),
            computed: bits,
        },
        time: Comparison {
            ok: after.is_some_and(|after| header.time > after),
            computed: after,
        },
        readings,
        count_ok: check_counts(&bodies).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use heartchain_chain::{
        block::MAX_AUTHOR_READINGS,
        bpm::Bpm,
        content::Content,
        key::SecretKey,
        mining,
        room::{RoomName, RoomParams},
    };
    use heartchain_sync::verification::verify_each;

    use super::*;

    fn run(claim: &BlockClaim, context: &ParentContext) -> Check {
        let verified = verify_each(room().id(), &claim.bodies(), [7; 32]);
        check(&room(), claim, context, verified)
    }

    fn room() -> Room {
        let name = RoomName::new("check").expect("a room name");
        Room::new(RoomParams::new(name, 8, 1_000).expect("within bounds"))
    }

    /// The room's first block, with two readings, and its context.
    fn block() -> (BlockClaim, ParentContext) {
        let room = room();
        let window = Window::genesis(&room);
        let readings: Vec<ClaimedReading> = [1, 2]
            .map(|author| {
                let key = SecretKey::from_seed([author; 32]);
                let bpm = Bpm::new(72).expect("a heart rate");
                let reading = key.sign(room.id(), 0, UnixMillis::new(5), bpm);
                ClaimedReading {
                    id: reading.id(room.id()),
                    reading,
                }
            })
            .into();
        let time = UnixMillis::new(1_000_000);
        let bodies: Vec<Reading> = readings.iter().map(|claimed| claimed.reading).collect();
        let template = mining::template(&window, room.genesis_hash(), time, &bodies);
        let header = mining::mine(template, 1 << 20).expect("the room is easy");
        let claim = BlockClaim {
            hash: header.hash(),
            header,
            readings,
        };
        let context = ParentContext {
            parent: Some(window),
            below: Some(room.genesis_hash()),
        };
        (claim, context)
    }

    fn failures(claim: &BlockClaim, context: &ParentContext) -> Vec<&'static str> {
        let check = run(claim, context);
        let failed = [
            ("hash", check.hash.ok),
            ("work", check.work.ok),
            ("link", check.link.ok),
            ("root", check.root.ok),
            ("difficulty", check.difficulty.ok),
            ("time", check.time.ok),
            ("count", check.count_ok),
            ("readings", check.readings.iter().all(CheckedReading::ok)),
        ];
        let failed: Vec<_> = failed
            .iter()
            .filter(|(_, ok)| !ok)
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(check.ok(), failed.is_empty());
        failed
    }

    #[test]
    fn valid_block_passes_every_check() {
        let (claim, context) = block();
        assert!(failures(&claim, &context).is_empty());
        let genesis = *room().genesis();
        let claim = BlockClaim {
            hash: genesis.hash(),
            header: genesis,
            readings: Vec::new(),
        };
        assert!(
            failures(
                &claim,
                &ParentContext {
                    parent: None,
                    below: None
                }
            )
            .is_empty()
        );
    }

    #[test]
    fn each_change_fails_the_checks_that_cover_it() {
        let (valid, context) = block();
        let changed = |change: fn(&mut BlockClaim)| {
            let mut claim = valid.clone();
            change(&mut claim);
            failures(&claim, &context)
        };
        assert_eq!(
            changed(|claim| {
                let time = UnixMillis::new(5);
                claim.readings[0].reading.content = Content::Open { time, bpm: 73 };
            }),
            ["root", "readings"]
        );
        assert_eq!(
            changed(|claim| claim.readings[1].id = ReadingId::new([0; 32])),
            ["readings"]
        );
        assert_eq!(
            changed(|claim| claim.hash = BlockHash::new([0; 32])),
            ["hash"]
        );
        assert!(changed(|claim| claim.header.nonce ^= 1).starts_with(&["hash"]));
        let bits = changed(|claim| claim.header.bits = CompactTarget::from_bits(0x2100_ffff));
        assert!(
            bits.contains(&"hash") && bits.contains(&"difficulty"),
            "{bits:?}"
        );
        let no_target = changed(|claim| claim.header.bits = CompactTarget::from_bits(0));
        assert!(no_target.contains(&"work"), "{no_target:?}");
        assert!(changed(|claim| claim.header.time = UnixMillis::new(0)).contains(&"time"));
        assert_eq!(changed(|claim| claim.readings.clear()), ["root", "count"]);
    }

    #[test]
    fn too_many_readings_of_an_author_fail() {
        let (mut claim, context) = block();
        let key = SecretKey::from_seed([3; 32]);
        let bpm = Bpm::new(72).expect("a heart rate");
        for (seq, max) in [(127, 128), (128, 129)] {
            claim.readings = (0..=seq)
                .map(|seq| {
                    let reading = key.sign(room().id(), seq, UnixMillis::new(5), bpm);
                    let id = reading.id(room().id());
                    ClaimedReading { id, reading }
                })
                .collect();
            assert_eq!(claim.readings.len(), max);
            let is_refused = failures(&claim, &context).contains(&"count");
            assert_eq!(is_refused, max > MAX_AUTHOR_READINGS);
        }
    }

    #[test]
    fn block_with_unknown_parent_fails() {
        let (claim, mut context) = block();
        context.parent = None;
        assert_eq!(failures(&claim, &context), ["link", "difficulty", "time"]);
        let check = run(&claim, &context);
        assert_eq!(check.link.computed, Some(room().genesis_hash()));
    }

    #[test]
    fn forged_genesis_fails() {
        let (claim, context) = block();
        let mut claim = BlockClaim {
            readings: Vec::new(),
            ..claim
        };
        claim.header.index = 0;
        assert!(failures(&claim, &context).contains(&"link"));
    }
}
