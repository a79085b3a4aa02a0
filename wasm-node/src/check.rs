//! Does a block's sums again, one by one, from nothing but what somebody claims of it: what a person can check
//! without trusting anybody. Never asks a peer, and never changes what this tab holds.

use chain::{
    block::{MAX_BLOCK_READINGS, MIN_BLOCK_READINGS},
    difficulty::Window,
    hash::{BlockHash, ReadingId, ReadingsRoot},
    header::Header,
    merkle::readings_root,
    reading::{Reading, ReadingError},
    room::Room,
    time::UnixMillis,
    work::{CompactTarget, Target},
};

/// A block as somebody shows it: nothing in it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) hash: BlockHash,
    pub(crate) header: Header,
    pub(crate) readings: Vec<ClaimedReading>,
}

/// A reading as somebody shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClaimedReading {
    pub(crate) id: ReadingId,
    pub(crate) reading: Reading,
}

/// What this tab knows of the place that the block claims.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The block that it says it stands on, if that is known and one lower, with the rules on it.
    pub(crate) parent: Option<Window>,
    /// The hash that the block below has here.
    pub(crate) below: Option<BlockHash>,
}

/// What came of every sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) hash: Sum<BlockHash>,
    /// The target that follows from the bits; `None`: these bits are no target.
    pub(crate) work: Sum<Option<Target>>,
    /// What the block below has for its hash here; `None`: nothing is known there.
    pub(crate) link: Sum<Option<BlockHash>>,
    pub(crate) root: Sum<ReadingsRoot>,
    /// The bits that the rule asks for; `None`: the parent is not known.
    pub(crate) difficulty: Sum<Option<CompactTarget>>,
    /// The time that the block's must be later than; `None`: the parent is not known.
    pub(crate) time: Sum<Option<UnixMillis>>,
    pub(crate) readings: Vec<CheckedReading>,
    /// Whether there are as many readings as a block may have.
    pub(crate) count_ok: bool,
}

/// Whether a claim is what a sum says, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sum<T> {
    pub(crate) ok: bool,
    pub(crate) computed: T,
}

/// What came of a reading's sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckedReading {
    pub(crate) claimed: ReadingId,
    pub(crate) computed: ReadingId,
    pub(crate) verified: Result<(), ReadingError>,
}

impl Check {
    /// Whether everything is as it should be.
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
    /// Whether its id is its own and its signature its author's.
    pub(crate) fn ok(&self) -> bool {
        self.claimed == self.computed && self.verified.is_ok()
    }

    /// Whether the author signed just this.
    pub(crate) fn is_signed(&self) -> bool {
        self.verified.is_ok()
    }
}

/// Does all sums.
pub(crate) fn check(room: &Room, claim: &Claim, place: &Place) -> Check {
    let header = &claim.header;
    let hash = header.hash();
    let root = readings_root(
        &claim
            .readings
            .iter()
            .map(|claimed| claimed.reading)
            .collect::<Vec<_>>(),
    );
    let readings = claim
        .readings
        .iter()
        .map(|claimed| CheckedReading {
            claimed: claimed.id,
            computed: claimed.reading.id(room.id()),
            verified: claimed.reading.verify(room.id()),
        })
        .collect();
    let hash_sum = Sum {
        ok: hash == claim.hash,
        computed: hash,
    };
    let root_sum = Sum {
        ok: root == header.readings_root,
        computed: root,
    };
    let target = header.bits.target().ok();
    if header.index == 0 {
        // Genesis follows from the room's name alone; it stands on nothing and needs no work.
        let ok = header == room.genesis();
        return Check {
            hash: hash_sum,
            work: Sum {
                ok,
                computed: target,
            },
            link: Sum { ok, computed: None },
            root: root_sum,
            difficulty: Sum {
                ok,
                computed: Some(room.genesis().bits),
            },
            time: Sum { ok, computed: None },
            readings,
            count_ok: claim.readings.is_empty(),
        };
    }
    let bits = place.parent.as_ref().map(|on| on.next_bits(header.time));
    let after = place.parent.as_ref().map(Window::mtp);
    Check {
        hash: hash_sum,
        work: Sum {
            ok: target.is_some_and(|target| target.is_met_by(&hash)),
            computed: target,
        },
        link: Sum {
            ok: place.parent.is_some(),
            computed: place.below,
        },
        root: root_sum,
        difficulty: Sum {
            ok: bits == Some(header.bits),
            computed: bits,
        },
        time: Sum {
            ok: after.is_some_and(|after| header.time > after),
            computed: after,
        },
        readings,
        count_ok: (MIN_BLOCK_READINGS..=MAX_BLOCK_READINGS).contains(&claim.readings.len()),
    }
}

#[cfg(test)]
mod tests {
    use chain::{
        bpm::Bpm,
        key::SecretKey,
        mining,
        room::{RoomName, RoomParams},
    };

    use super::*;

    fn room() -> Room {
        let name = RoomName::new("sums").expect("a room name");
        Room::new(RoomParams::new(name, 8, 1_000).expect("within bounds"))
    }

    /// The room's first block with two readings, and what is known of its place.
    fn block() -> (Claim, Place) {
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
        let claim = Claim {
            hash: header.hash(),
            header,
            readings,
        };
        let place = Place {
            parent: Some(window),
            below: Some(room.genesis_hash()),
        };
        (claim, place)
    }

    fn failures(claim: &Claim, place: &Place) -> Vec<&'static str> {
        let check = check(&room(), claim, place);
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
    fn an_honest_block_passes_every_sum() {
        let (claim, place) = block();
        assert!(failures(&claim, &place).is_empty());
        let genesis = *room().genesis();
        let claim = Claim {
            hash: genesis.hash(),
            header: genesis,
            readings: Vec::new(),
        };
        assert!(
            failures(
                &claim,
                &Place {
                    parent: None,
                    below: None
                }
            )
            .is_empty()
        );
    }

    #[test]
    fn each_thing_that_is_changed_fails_the_sums_that_it_is_in() {
        let (honest, place) = block();
        let changed = |change: fn(&mut Claim)| {
            let mut claim = honest.clone();
            change(&mut claim);
            failures(&claim, &place)
        };
        assert_eq!(
            changed(|claim| claim.readings[0].reading.bpm = 73),
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
    fn a_block_on_nothing_known_fails_and_says_what_is_below() {
        let (claim, mut place) = block();
        place.parent = None;
        assert_eq!(failures(&claim, &place), ["link", "difficulty", "time"]);
        let check = check(&room(), &claim, &place);
        assert_eq!(check.link.computed, Some(room().genesis_hash()));
    }

    #[test]
    fn a_made_up_genesis_fails() {
        let (claim, place) = block();
        let mut claim = Claim {
            readings: Vec::new(),
            ..claim
        };
        claim.header.index = 0;
        assert!(failures(&claim, &place).contains(&"link"));
    }
}
