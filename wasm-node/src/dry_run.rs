//! Tests what this tab would do with a reading or a block from an unknown peer. Runs on a copy of the sync machine that
//! is discarded: nothing is sent, stored or changed.

mod ignore_reason;
mod kind;

use std::fmt::Debug;

use self::ignore_reason::IgnoreReason;
pub(crate) use self::kind::FaultKind;
use heartchain_sync::{
    Event, Input, Machine, Output,
    config::VERDICT_PATIENCE,
    io::{GossipId, Now, Verdict},
    message::GossipItem,
};

/// The result of a dry run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DryRun {
    pub(crate) verdict: Verdict,
    /// The reason for the verdict in words; `None` if the item would be accepted and forwarded.
    pub(crate) reason: Option<String>,
    /// The reason for the verdict as a stable code.
    pub(crate) kind: Option<FaultKind>,
    /// Whether the sender would be disconnected and banned.
    pub(crate) dropped: bool,
}

/// The gossip id of the item. The real ids count up from zero and never reach it.
const ITEM: GossipId = GossipId(u64::MAX);

/// Passes `candidate` to a copy of the machine as gossip. `stranger` must be a peer ID that the machine does not know.
pub(crate) fn dry_run<P: Copy + Ord + Debug>(
    mut machine: Machine<P>,
    stranger: P,
    candidate: &GossipItem,
    now: Now,
) -> DryRun {
    let known = is_known(&machine, candidate);
    let connected = machine.handle(Input::PeerConnected { peer: stranger }, now);
    drop(connected);
    let gossip = Input::Gossip {
        from: stranger,
        id: ITEM,
        item: Ok(candidate.clone()),
    };
    let mut outputs: Vec<Output<P>> = machine.handle(gossip, now).collect();
    let held_back = verdict_in(&outputs).is_none();
    if held_back {
        // The machine holds the item back. After `VERDICT_PATIENCE` it gives a verdict in any case.
        let later = Now {
            wall: now.wall.saturating_add(VERDICT_PATIENCE),
            monotonic: now.monotonic.saturating_add(VERDICT_PATIENCE),
        };
        outputs.extend(machine.handle(Input::Tick, later));
    }
    let reason = outputs.iter().find_map(|output| {
        let Output::Disconnect { peer, reason, .. } = output else {
            return None;
        };
        (*peer == stranger).then(|| (reason.to_string(), FaultKind::from(reason)))
    });
    let verdict = verdict_in(&outputs).unwrap_or(Verdict::Ignore);
    let dropped = reason.is_some();
    let ignored = || {
        (verdict == Verdict::Ignore).then(|| {
            let reason = ignore_reason(&machine, candidate, known, held_back, &outputs);
            (reason.to_string(), FaultKind::from(&reason))
        })
    };
    let (reason, kind) = reason.or_else(ignored).unzip();
    DryRun {
        verdict,
        reason,
        kind,
        dropped,
    }
}

fn verdict_in<P>(outputs: &[Output<P>]) -> Option<Verdict> {
    outputs.iter().find_map(|output| {
        let Output::Verdict { id, verdict, .. } = output else {
            return None;
        };
        (*id == ITEM).then_some(*verdict)
    })
}

fn is_known<P: Copy + Ord + Debug>(machine: &Machine<P>, candidate: &GossipItem) -> bool {
    match candidate {
        GossipItem::Reading(reading) => machine.contains_reading(reading),
        GossipItem::Block(block) => machine.header(&block.header.hash()).is_some(),
        GossipItem::Profile(profile) => machine.profiles().any(|known| known == profile),
    }
}

/// Why the machine ignored the item. `known` is from before the machine handled the item; `machine` is from after.
fn ignore_reason<P: Copy + Ord + Debug>(
    machine: &Machine<P>,
    candidate: &GossipItem,
    known: bool,
    held_back: bool,
    outputs: &[Output<P>],
) -> IgnoreReason {
    if known {
        return IgnoreReason::AlreadyKnown;
    }
    match candidate {
        GossipItem::Reading(reading) => {
            let (seq, next) = (reading.seq, machine.next_seq(&reading.author));
            let equivocation =
                |output: &Output<P>| matches!(output, Output::Emit(Event::Equivocation { .. }));
            if !machine.is_readable(reading) {
                IgnoreReason::Unreadable
            } else if seq < next {
                IgnoreReason::Past { seq, next }
            } else if outputs.iter().any(equivocation) {
                IgnoreReason::Equivocation { seq }
            } else {
                IgnoreReason::NoRoom
            }
        }
        GossipItem::Block(block) => {
            let parent = block.header.prev_hash;
            if machine.header(&block.header.hash()).is_some() {
                IgnoreReason::Lighter
            } else if machine.header(&parent).is_none() {
                IgnoreReason::UnknownParent { parent }
            } else if held_back {
                IgnoreReason::TooEarly
            } else {
                IgnoreReason::OffTheTree
            }
        }
        // No page passes a profile.
        GossipItem::Profile(_) => IgnoreReason::NoRoom,
    }
}

#[cfg(test)]
mod tests {
    use heartchain_chain::{
        block::Block,
        bpm::Bpm,
        difficulty::Window,
        header::Header,
        key::SecretKey,
        mining,
        reading::Reading,
        room::{Room, RoomName, RoomParams},
        time::{MonotonicMillis, UnixMillis},
    };
    use heartchain_sync::Config;

    use super::*;

    const TIME: UnixMillis = UnixMillis::new(1_700_000_000_000);
    const NOW: Now = Now {
        wall: TIME,
        monotonic: MonotonicMillis::new(0),
    };
    const STRANGER: u64 = 99;

    fn room() -> Room {
        let name = RoomName::new("stage").expect("a room name");
        Room::new(RoomParams::new(name, 8, 1_000).expect("within bounds"))
    }

    fn reading(author: u8, seq: u64, bpm: u16) -> Reading {
        let bpm = Bpm::new(bpm).expect("a heart rate");
        SecretKey::from_seed([author; 32]).sign(room().id(), seq, TIME, bpm)
    }

    fn block(on: &[Block], readings: Vec<Reading>, ahead: u64) -> Block {
        let room = room();
        let headers = on.iter().map(|block| block.header);
        let window = Window::from_headers(&room, [*room.genesis()].into_iter().chain(headers));
        let time = TIME.saturating_add(ahead + on.len() as u64);
        let parent = on.last().map(|last| last.header.hash());
        let prev_hash = parent.unwrap_or(room.genesis_hash());
        let template = mining::template(&window, prev_hash, time, &readings);
        let header = mining::mine(template, u32::MAX).expect("the room is easy");
        Block { header, readings }
    }

    /// A machine whose chain has these blocks.
    fn machine(blocks: &[Block]) -> Machine<u64> {
        let key = SecretKey::from_seed([1; 32]);
        let mut machine = Machine::new(Config { mining: false }, room(), key, [2; 32], NOW);
        for block in blocks {
            let _ = machine.handle(
                Input::Gossip {
                    from: 7,
                    id: GossipId(0),
                    item: Ok(GossipItem::Block(Box::new(block.clone()))),
                },
                NOW,
            );
        }
        assert_eq!(machine.status().index, blocks.len() as u64);
        machine
    }

    fn run(machine: &Machine<u64>, candidate: &GossipItem) -> DryRun {
        let before = (machine.status(), machine.load());
        let dry_run = dry_run(machine.clone(), STRANGER, candidate, NOW);
        assert_eq!((machine.status(), machine.load()), before);
        dry_run
    }

    fn ignored(why: IgnoreReason) -> DryRun {
        DryRun {
            verdict: Verdict::Ignore,
            reason: Some(why.to_string()),
            kind: Some(FaultKind::from(&why)),
            dropped: false,
        }
    }

    /// Asserts that the item would be rejected for this reason and its sender banned.
    fn assert_rejected(dry_run: &DryRun, kind: FaultKind, words: &str) {
        assert_eq!((dry_run.verdict, dry_run.dropped), (Verdict::Reject, true));
        assert_eq!(dry_run.kind, Some(kind));
        let reason = dry_run.reason.as_ref();
        assert!(
            reason.is_some_and(|reason| reason.contains(words)),
            "{reason:?}"
        );
    }

    #[test]
    fn valid_new_items_are_accepted() {
        let first = block(&[], vec![reading(1, 0, 72)], 0);
        let machine = machine(std::slice::from_ref(&first));
        let next = block(&[first], vec![reading(1, 1, 72)], 0);
        let accepted = DryRun {
            verdict: Verdict::Accept,
            reason: None,
            kind: None,
            dropped: false,
        };
        assert_eq!(
            run(&machine, &GossipItem::Block(Box::new(next))),
            accepted.clone()
        );
        assert_eq!(
            run(&machine, &GossipItem::Reading(reading(2, 0, 80))),
            accepted
        );
    }

    #[test]
    fn forgery_is_rejected_and_sender_banned() {
        let first = block(&[], vec![reading(1, 0, 72)], 0);
        let machine = machine(std::slice::from_ref(&first));
        let mut forged = reading(1, 1, 72);
        forged.content = reading(1, 1, 180).content;
        let dry_run = run(&machine, &GossipItem::Reading(forged));
        assert_rejected(&dry_run, FaultKind::Signature, "signature");

        let mut tampered = block(&[], vec![reading(1, 0, 72)], 1);
        tampered.readings[0].content = reading(1, 0, 180).content;
        let dry_run = run(&machine, &GossipItem::Block(Box::new(tampered)));
        assert_rejected(&dry_run, FaultKind::Root, "readings root");

        let mut without_work = first;
        without_work.header.nonce = (0..)
            .find(|nonce| {
                let header = Header {
                    nonce: *nonce,
                    ..without_work.header
                };
                !room().floor().is_met_by(&header.hash())
            })
            .expect("most hashes miss the target");
        let dry_run = run(&machine, &GossipItem::Block(Box::new(without_work)));
        assert_rejected(&dry_run, FaultKind::Work, "exceeds the target");
    }

    #[test]
    fn useless_items_are_ignored_with_a_reason() {
        let first = block(&[], vec![reading(1, 0, 72)], 0);
        let second = block(std::slice::from_ref(&first), vec![reading(1, 1, 72)], 0);
        let machine = machine(&[first.clone(), second.clone()]);
        assert_eq!(
            run(&machine, &GossipItem::Block(Box::new(first.clone()))),
            ignored(IgnoreReason::AlreadyKnown)
        );
        assert_eq!(
            run(&machine, &GossipItem::Reading(reading(1, 0, 72))),
            ignored(IgnoreReason::AlreadyKnown)
        );
        assert_eq!(
            run(&machine, &GossipItem::Reading(reading(1, 1, 180))),
            ignored(IgnoreReason::Past { seq: 1, next: 2 })
        );
        let rival = block(&[], vec![reading(2, 0, 72)], 5);
        assert_eq!(
            run(&machine, &GossipItem::Block(Box::new(rival.clone()))),
            ignored(IgnoreReason::Lighter)
        );
        let orphan = block(&[rival], vec![reading(2, 1, 72)], 0);
        let parent = orphan.header.prev_hash;
        assert_eq!(
            run(&machine, &GossipItem::Block(Box::new(orphan))),
            ignored(IgnoreReason::UnknownParent { parent })
        );
        let early = block(&[first, second], vec![reading(1, 2, 72)], 40_000);
        assert_eq!(
            run(&machine, &GossipItem::Block(Box::new(early))),
            ignored(IgnoreReason::TooEarly)
        );
        assert_eq!(
            run(&machine, &GossipItem::Reading(reading(1, 5_000, 72))),
            ignored(IgnoreReason::NoRoom)
        );
    }

    #[test]
    fn equivocation_is_ignored_with_that_reason() {
        let mut machine = machine(&[]);
        let _ = machine.handle(
            Input::Gossip {
                from: 7,
                id: GossipId(0),
                item: Ok(GossipItem::Reading(reading(1, 0, 72))),
            },
            NOW,
        );
        assert_eq!(
            run(&machine, &GossipItem::Reading(reading(1, 0, 180))),
            ignored(IgnoreReason::Equivocation { seq: 0 })
        );
    }
}
