//! Names of authors: peers choose them, and the honest peers must agree on them in the end.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use heartchain_chain::{
    key::{Author, SecretKey},
    profile::{Profile, ProfileName},
    room::Room,
};
use heartchain_sync::{Input, config::MAX_REVISION_AHEAD, io::Ticket};

use crate::{attack::Attack, id::Id, node::Node, world::World};

/// What people choose. An empty name erases the one before.
const NAMES: [&str; 6] = [
    "",
    "Ada",
    "Bo",
    "\u{c7}elik",
    "\u{5fc3}\u{81d3}",
    "1234567890123456789012345678901234567890",
];

impl World {
    /// A person chooses a name.
    pub(crate) fn set_name(&mut self, at: Id) {
        let text = self.rng.pick(&NAMES).unwrap_or_default();
        let name = ProfileName::new(text).expect("a name");
        let node = self.node_mut(at);
        let ticket = Ticket(node.state.next_id());
        node.pending_names.insert(ticket, name.clone());
        self.feed(at, Input::SetName { ticket, name });
    }
}

/// Authors that change their names without end. Peers take different ones of their revisions.
pub(crate) fn flooding_authors(world: &World) -> BTreeSet<Author> {
    let nodes = world.nodes.iter().filter(|node| {
        let attack = node.attack.as_ref().map(|attacker| &attacker.attack);
        matches!(attack, Some(Attack::ProfileFlood))
    });
    let keys = nodes.map(|node| SecretKey::from_seed(node.key_seed));
    keys.map(|key| key.author()).collect()
}

/// What is wrong with the names of authors on the chain, as these honest peers have them.
pub(crate) fn disagreements(
    room: &Room,
    now: u64,
    nodes: &[&Node],
    flooding: &BTreeSet<Author>,
) -> Vec<String> {
    let mut held: BTreeMap<Author, Vec<(&Node, &Profile)>> = BTreeMap::new();
    for node in nodes {
        for profile in node.machine().profiles() {
            if node.machine().next_seq(&profile.author) > 0 {
                held.entry(profile.author)
                    .or_default()
                    .push((node, profile));
            }
        }
    }
    // A profile that is ahead of a peer's clock is not known to that peer yet.
    let clocks = nodes.iter().map(|node| corrected_clock(node, now));
    let latest = clocks
        .min()
        .unwrap_or(now)
        .saturating_add(MAX_REVISION_AHEAD);
    held.retain(|author, rows| {
        !flooding.contains(author)
            && rows
                .iter()
                .all(|(_, profile)| profile.revision.get() <= latest)
    });
    let mut found = Vec::new();
    for (author, rows) in &held {
        // Peers without the key of a private room cannot tell a name from junk, which members ignore.
        for has_key in [true, false] {
            let members = nodes.iter().filter(|node| node.has_key == has_key);
            let members: BTreeSet<Id> = members.map(|node| node.id).collect();
            let rows = rows.iter().filter(|(node, _)| members.contains(&node.id));
            let rows: Vec<(Id, &Profile)> =
                rows.map(|(node, profile)| (node.id, *profile)).collect();
            let winner = rows.iter().map(|(_, profile)| *profile);
            let Some(winner) =
                winner.max_by_key(|profile| (profile.revision, Reverse(profile.encode())))
            else {
                continue;
            };
            let agreeing = rows
                .iter()
                .filter(|(_, profile)| *profile == winner)
                .count();
            if agreeing < members.len() {
                let shown = rows.iter().map(|(id, profile)| {
                    let name = room.open_profile(profile);
                    format!(
                        "{id}: {:?} of {}",
                        name.as_ref().map(ProfileName::as_str),
                        profile.revision
                    )
                });
                let shown: Vec<String> = shown.collect();
                found.push(format!(
                    "{members:?} have other names of {author}: {shown:?}"
                ));
            }
        }
    }
    found.extend(nodes.iter().filter_map(|node| own_name_is_lost(node)));
    found
}

/// The wall clock of a peer, corrected as its machine corrects it.
fn corrected_clock(node: &Node, now: u64) -> u64 {
    let offset = node.machine().status().clock_offset_ms.unwrap_or(0);
    node.local(now).get().saturating_add_signed(offset.min(0))
}

/// Says so if a peer shows another name than the last one that was stored for it.
fn own_name_is_lost(node: &Node) -> Option<String> {
    let chosen = node.name.as_ref().filter(|_| !node.key_is_shared)?;
    let author = node.machine().author();
    let mut names = node.machine().names();
    let shown = names
        .find(|view| view.author == author)
        .map_or("", |view| view.name);
    (shown != chosen.as_str()).then(|| {
        let id = node.id;
        format!(
            "{id} chose the name {:?}, and shows {shown:?}",
            chosen.as_str()
        )
    })
}
