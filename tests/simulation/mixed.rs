//! Troubles and standing attackers that any run of a class may have besides its other troubles.

use crate::{
    attackers::Attack,
    dice::Dice,
    node::Node,
    trouble::Trouble,
    world::{Happening, Id, World},
};

const YEAR: i64 = 365 * 24 * 60 * 60_000;

/// Its chance does not depend on what else a run draws.
pub(crate) fn dice(seed: u64) -> Dice {
    Dice::new(seed ^ 0x4845_4152_5443_4841)
}

/// Adds an attacker now and then, before the peers of the class: it has the lowest name.
pub(crate) fn attackers(world: &mut World, dice: &mut Dice) {
    if dice.one_in(6)
        && let Some(attack) = dice.pick(&Attack::ALL)
    {
        world.add_attacker(attack);
    }
}

/// Adds a computer with several slots, now and then.
pub(crate) fn computers(world: &mut World, dice: &mut Dice, length: u64) {
    if !dice.one_in(8) {
        return;
    }
    let slots = (0..dice.between(2, 3)).map(|_| Node::new(dice.bytes(), 200));
    let slots = slots.collect();
    let computer = world.add_computer(slots);
    let slots = world.computers[computer].slots.clone();
    world.open_tab(computer);
    for _ in 0..dice.between(1, 5) {
        let at = dice.below(length);
        world.after(at, Happening::Trouble(Trouble::OpenTab(computer)));
        if let Some(slot) = dice.pick(&slots) {
            let at = dice.below(length);
            world.after(at, Happening::Trouble(Trouble::CloseTab(slot)));
        }
    }
    for at in slots {
        for _ in 0..dice.below(4) {
            world.after(dice.below(length), Happening::Entry { at });
        }
    }
}

/// Makes an author leave for good, now and then. Returns how long the run takes then: readings have to become old.
pub(crate) fn leavers(world: &mut World, dice: &mut Dice, length: u64) -> u64 {
    let candidates: Vec<Id> = (1..world.nodes.len() as Id)
        .filter(|id| world.node(*id).is_honest() && !world.node(*id).key_is_shared)
        .collect();
    let (true, Some(leaver)) = (dice.one_in(6), dice.pick(&candidates)) else {
        return length;
    };
    world.node_mut(leaver).leaves = true;
    for node in &mut world.nodes {
        node.disk.is_sound = true;
    }
    for _ in 0..dice.between(1, 6) {
        world.after(dice.below(40_000), Happening::Entry { at: leaver });
    }
    let goes = dice.between(100_000, 180_000);
    world.after(goes, Happening::Trouble(Trouble::Leave(leaver)));
    length.max(goes + dice.between(10_000, 60_000))
}

/// Clocks that jump, starts with wrong clocks, disks that fail for a while.
pub(crate) fn trouble(world: &mut World, dice: &mut Dice, length: u64) {
    let peers: Vec<Id> = (0..world.nodes.len() as Id)
        .filter(|id| world.node(*id).is_honest() && world.node(*id).computer.is_none())
        .collect();
    let jumps = [
        YEAR, -YEAR, 3_600_000, -3_600_000, 600_000, -600_000, 40_000, -40_000,
    ];
    let later = |world: &mut World, at: u64, trouble: Trouble| {
        world.after(at.min(length), Happening::Trouble(trouble));
    };
    if dice.one_in(5)
        && let (Some(id), Some(jump)) = (dice.pick(&peers), dice.pick(&jumps))
    {
        let from = dice.below(length);
        later(world, from, Trouble::SetClock(id, jump));
        let until = from + dice.between(1_000, 60_000);
        later(world, until, Trouble::SetClock(id, 0));
    }
    if dice.one_in(5)
        && let (Some(id), Some(jump)) = (dice.pick(&peers), dice.pick(&jumps))
    {
        let from = dice.below(length);
        later(world, from, Trouble::Crash(id));
        later(world, from + 1_000, Trouble::StartWithClock(id, jump));
        let until = from + dice.between(2_000, 60_000);
        later(world, until, Trouble::Crash(id));
        later(world, until + 1_000, Trouble::SetClock(id, 0));
        later(world, until + 1_000, Trouble::StartWithClock(id, 0));
    }
    if dice.one_in(8)
        && let Some(id) = dice.pick(&peers)
    {
        let time = dice.between(5_000, 60_000);
        later(world, dice.below(length), Trouble::FillDisk(id, time));
    }
    if dice.one_in(12)
        && let Some(id) = dice.pick(&peers)
    {
        later(world, dice.below(length), Trouble::EmptyDisk(id));
    }
}
