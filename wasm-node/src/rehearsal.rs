//! What this tab would do with a reading or a block if a stranger sent it: asked of a copy of its own machine, which is
//! thrown away. Nothing is sent, stored or changed by it.

mod kind;

use std::fmt::Debug;

pub(crate) use self::kind::Kind;
use chain::{block::Block, hash::BlockHash, reading::Reading};
use sync::{
    Event, Input, Machine, Output,
    config::VERDICT_PATIENCE,
    seam::{GossipId, Now, Topic, Verdict},
};

/// What is sent for the rehearsal.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    /// A reading by itself.
    Reading(Reading),
    /// A block.
    Block(Block),
}

/// What would come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rehearsal {
    pub(crate) verdict: Verdict,
    /// Why, in words; `None` if it would be taken and passed on.
    pub(crate) reason: Option<String>,
    /// Why, by its name.
    pub(crate) kind: Option<Kind>,
    /// Whether the sender would be shut out.
    pub(crate) dropped: bool,
}

/// Why something that breaks no rule would not be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Useless {
    #[error("it is known already")]
    Known,
    #[error("the block that it stands on, {parent}, is not known here")]
    UnknownParent { parent: BlockHash },
    #[error("it is ahead of the clock and would be tried again later")]
    TooEarly,
    #[error(
        "it breaks no rule, but its branch does not outweigh the best one; it would be kept beside it"
    )]
    Lighter,
    #[error("it is on a branch that proved invalid, or stands too far below the tip to matter")]
    OffTheTree,
    #[error("the chain has gone past its place {seq}: the author's next is {next}")]
    Past { seq: u64, next: u64 },
    #[error("its author signed another reading with the same place, {seq}")]
    Equivocation { seq: u64 },
    #[error("there is no place for it among the readings that wait")]
    NoPlace,
}

/// The only item of the rehearsal. The machine's own are counted up from zero.
const ITEM: GossipId = GossipId(u64::MAX);

/// Lets a stranger send something to a copy of the machine. `stranger` names nobody that it knows.
pub(crate) fn rehearse<P: Copy + Ord + Debug>(
    mut machine: Machine<P>,
    stranger: P,
    sent: &Sent,
    now: Now,
) -> Rehearsal {
    let known = is_known(&machine, sent);
    let (topic, data) = match sent {
        Sent::Reading(reading) => (Topic::Readings, reading.to_bytes().to_vec()),
        Sent::Block(block) => (Topic::Blocks, block.encode()),
    };
    let connected = machine.handle(Input::PeerConnected { peer: stranger }, now);
    drop(connected);
    let gossip = Input::Gossip {
        from: stranger,
        id: ITEM,
        topic,
        data,
    };
    let mut outputs: Vec<Output<P>> = machine.handle(gossip, now).collect();
    let held = verdict_in(&outputs).is_none();
    if held {
        // A verdict that has to wait is given without what it waits for in the end.
        let later = Now {
            wall: now.wall.saturating_add(VERDICT_PATIENCE),
            monotonic: now.monotonic.saturating_add(VERDICT_PATIENCE),
        };
        outputs.extend(machine.handle(Input::Tick, later));
    }
    let reason = outputs.iter().find_map(|output| {
        let Output::Drop { peer, reason, .. } = output else {
            return None;
        };
        (*peer == stranger).then(|| (reason.to_string(), Kind::from(reason)))
    });
    let verdict = verdict_in(&outputs).unwrap_or(Verdict::Ignore);
    let dropped = reason.is_some();
    let useless = || {
        (verdict == Verdict::Ignore).then(|| {
            let useless = why_useless(&machine, sent, known, held, &outputs);
            (useless.to_string(), Kind::from(&useless))
        })
    };
    let (reason, kind) = reason.or_else(useless).unzip();
    Rehearsal {
        verdict,
        reason,
        kind,
        dropped,
    }
}

fn verdict_in<P>(outputs: &[Output<P>]) -> Option<Verdict> {
    outputs.iter().find_map(|output| {
        let Output::Judge { id, verdict, .. } = output else {
            return None;
        };
        (*id == ITEM).then_some(*verdict)
    })
}

fn is_known<P: Copy + Ord + Debug>(machine: &Machine<P>, sent: &Sent) -> bool {
    match sent {
        Sent::Reading(reading) => machine.knows_reading(reading),
        Sent::Block(block) => machine.header(&block.header.hash()).is_some(),
    }
}

/// Looks at the machine after it has judged, but for what it `known` before.
fn why_useless<P: Copy + Ord + Debug>(
    machine: &Machine<P>,
    sent: &Sent,
    known: bool,
    held: bool,
    outputs: &[Output<P>],
) -> Useless {
    if known {
        return Useless::Known;
    }
    match sent {
        Sent::Reading(reading) => {
            let (seq, next) = (reading.seq, machine.next_seq(&reading.author));
            let equivocation =
                |output: &Output<P>| matches!(output, Output::Tell(Event::Equivocation { .. }));
            if seq < next {
                Useless::Past { seq, next }
            } else if outputs.iter().any(equivocation) {
                Useless::Equivocation { seq }
            } else {
                Useless::NoPlace
            }
        }
        Sent::Block(block) => {
            let parent = block.header.prev_hash;
            if machine.header(&block.header.hash()).is_some() {
                Useless::Lighter
            } else if machine.header(&parent).is_none() {
                Useless::UnknownParent { parent }
            } else if held {
                Useless::TooEarly
            } else {
                Useless::OffTheTree
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chain::{
        bpm::Bpm,
        difficulty::Window,
        header::Header,
        key::SecretKey,
        mining,
        room::{Room, RoomName, RoomParams},
        time::{MonotonicMillis, UnixMillis},
    };
    use sync::Config;

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
                    topic: Topic::Blocks,
                    data: block.encode(),
                },
                NOW,
            );
        }
        assert_eq!(machine.status().index, blocks.len() as u64);
        machine
    }

    fn told(machine: &Machine<u64>, sent: &Sent) -> Rehearsal {
        let before = (machine.status(), machine.load());
        let rehearsal = rehearse(machine.clone(), STRANGER, sent, NOW);
        assert_eq!((machine.status(), machine.load()), before);
        rehearsal
    }

    fn useless(why: Useless) -> Rehearsal {
        Rehearsal {
            verdict: Verdict::Ignore,
            reason: Some(why.to_string()),
            kind: Some(Kind::from(&why)),
            dropped: false,
        }
    }

    /// It would be refused for this, and whoever sent it shut out.
    fn assert_refused(rehearsal: &Rehearsal, kind: Kind, words: &str) {
        assert_eq!(
            (rehearsal.verdict, rehearsal.dropped),
            (Verdict::Reject, true)
        );
        assert_eq!(rehearsal.kind, Some(kind));
        let reason = rehearsal.reason.as_ref();
        assert!(
            reason.is_some_and(|reason| reason.contains(words)),
            "{reason:?}"
        );
    }

    #[test]
    fn what_is_good_and_new_would_be_passed_on() {
        let first = block(&[], vec![reading(1, 0, 72)], 0);
        let machine = machine(std::slice::from_ref(&first));
        let next = block(&[first], vec![reading(1, 1, 72)], 0);
        let good = Rehearsal {
            verdict: Verdict::Accept,
            reason: None,
            kind: None,
            dropped: false,
        };
        assert_eq!(told(&machine, &Sent::Block(next)), good.clone());
        assert_eq!(told(&machine, &Sent::Reading(reading(2, 0, 80))), good);
    }

    #[test]
    fn a_forgery_would_be_refused_and_its_sender_shut_out() {
        let first = block(&[], vec![reading(1, 0, 72)], 0);
        let machine = machine(std::slice::from_ref(&first));
        let forged = Reading {
            bpm: 180,
            ..reading(1, 1, 72)
        };
        let told_of = told(&machine, &Sent::Reading(forged));
        assert_refused(&told_of, Kind::Signature, "signature");

        let mut tampered = block(&[], vec![reading(1, 0, 72)], 1);
        tampered.readings[0].bpm = 180;
        let told_of = told(&machine, &Sent::Block(tampered));
        assert_refused(&told_of, Kind::Root, "readings root");

        let mut unworked = first;
        unworked.header.nonce = (0..)
            .find(|nonce| {
                let header = Header {
                    nonce: *nonce,
                    ..unworked.header
                };
                !room().floor().is_met_by(&header.hash())
            })
            .expect("most hashes miss the target");
        let told_of = told(&machine, &Sent::Block(unworked));
        assert_refused(&told_of, Kind::Work, "exceeds the target");
    }

    #[test]
    fn what_is_of_no_use_would_be_ignored_and_why_is_said() {
        let first = block(&[], vec![reading(1, 0, 72)], 0);
        let second = block(std::slice::from_ref(&first), vec![reading(1, 1, 72)], 0);
        let machine = machine(&[first.clone(), second.clone()]);
        assert_eq!(
            told(&machine, &Sent::Block(first.clone())),
            useless(Useless::Known)
        );
        assert_eq!(
            told(&machine, &Sent::Reading(reading(1, 0, 72))),
            useless(Useless::Known)
        );
        assert_eq!(
            told(&machine, &Sent::Reading(reading(1, 1, 180))),
            useless(Useless::Past { seq: 1, next: 2 })
        );
        let rival = block(&[], vec![reading(2, 0, 72)], 5);
        assert_eq!(
            told(&machine, &Sent::Block(rival.clone())),
            useless(Useless::Lighter)
        );
        let orphan = block(&[rival], vec![reading(2, 1, 72)], 0);
        let parent = orphan.header.prev_hash;
        assert_eq!(
            told(&machine, &Sent::Block(orphan)),
            useless(Useless::UnknownParent { parent })
        );
        let early = block(&[first, second], vec![reading(1, 2, 72)], 40_000);
        assert_eq!(
            told(&machine, &Sent::Block(early)),
            useless(Useless::TooEarly)
        );
        assert_eq!(
            told(&machine, &Sent::Reading(reading(1, 5_000, 72))),
            useless(Useless::NoPlace)
        );
    }

    #[test]
    fn a_second_reading_with_one_place_is_called_that() {
        let mut machine = machine(&[]);
        let data = reading(1, 0, 72).to_bytes().to_vec();
        let _ = machine.handle(
            Input::Gossip {
                from: 7,
                id: GossipId(0),
                topic: Topic::Readings,
                data,
            },
            NOW,
        );
        assert_eq!(
            told(&machine, &Sent::Reading(reading(1, 0, 180))),
            useless(Useless::Equivocation { seq: 0 })
        );
    }
}
