//! Peers that give headers and withhold bodies.

use std::collections::BTreeMap;

use chain::hash::BlockHash;
use sync::seam::RequestId;

use crate::{
    branch::{Branch, START},
    subject::{Subject, is_bodies},
};

/// A branch that takes more than one plan to fetch.
fn long() -> Branch {
    Branch::calm(START - 20_000_000, 1, 6_000)
}

/// How long a newcomer takes, ms, when so many of its peers give Status and headers and never a body. At most ten
/// minutes.
fn time_among_silent(branch: &Branch, many: u64, returns: bool) -> u64 {
    let honest = u64::MAX;
    let mut subject = Subject::new();
    let mut hostile: Vec<u64> = (2_000_000..2_000_000 + many).collect();
    let mut next = 1_000_000;
    for peer in &hostile {
        subject.connect(*peer);
    }
    subject.connect(honest);
    let began = subject.now;
    let mut seen: BTreeMap<RequestId, u64> = BTreeMap::new();
    while subject.tip() != branch.tip() && subject.now < began + 600_000 {
        for at in &mut hostile {
            let peer = *at;
            subject.serve_some_of(peer, branch, |request| !is_bodies(request));
            let Some((id, _)) = subject.open(peer, is_bodies) else {
                continue;
            };
            let now = subject.now;
            let since = *seen.entry(id).or_insert(now);
            // It comes back under another id, as cheap as the first.
            if returns && now - since >= 1_900 {
                subject.disconnect(peer);
                *at = next;
                subject.connect(next);
                next -= 1;
                subject.serve_some_of(*at, branch, |request| !is_bodies(request));
            }
        }
        subject.serve(honest, branch);
        subject.wait(100);
    }
    subject.now - began
}

// The lowest bodies that are missing are asked of another peer, too, when they do not come soon.
#[test]
fn silent_peers_delay_a_newcomer_briefly() {
    let took = time_among_silent(&long(), 23, false);
    assert!(took <= 60_000, "{took} ms");
}

// The same though each silent peer comes back under another id, without what was noted of it.
#[test]
fn returning_silent_peers_delay_a_newcomer_briefly() {
    let branch = long();
    let took = [4, 23].map(|many| (many, time_among_silent(&branch, many, true)));
    assert!(took.iter().all(|(_, took)| *took <= 60_000), "{took:?} ms");
}

// A Status may come at any rate, so it does not make the machine plan its requests again: they stay as they are.
#[test]
fn status_leaves_requests_for_bodies_alone() {
    let branch = Branch::calm(START - 100_000_000, 1, 3_000);
    let mut subject = Subject::new();
    for peer in [1, 2] {
        subject.connect(peer);
    }
    while subject.open(1, |request| !is_bodies(request)).is_some() {
        subject.serve_some_of(1, &branch, |request| !is_bodies(request));
    }
    assert_eq!(subject.machine.load().bodiless_blocks, 3_000);
    let bodies = |subject: &Subject| {
        let asked = subject.asked.iter();
        let asked = asked.filter(|(_, (_, request))| is_bodies(request));
        asked.map(|(id, _)| *id).collect::<Vec<RequestId>>()
    };
    let before = bodies(&subject);
    assert!(!before.is_empty());
    for number in 0..200 {
        let mut claim = Branch::new().status();
        claim.tip = BlockHash::new([number; 32]);
        subject.hear_status(2, claim);
    }
    assert_eq!(bodies(&subject), before);
}
