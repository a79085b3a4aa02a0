//! Peers that give headers and withhold bodies.

use std::collections::BTreeMap;

use chain::hash::BlockHash;
use sync::{
    config::{BODY_LOOK_INTERVAL, BODY_PATIENCE, LACKING_PATIENCE},
    seam::RequestId,
};

use crate::{
    branch::{Branch, START},
    subject::{Subject, honest_answer, is_bodies},
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

// A peer that says again and again that it has another tip is not asked for the same bodies for ever: nobody has them, and
// the branch that others have is fetched.
#[test]
fn new_claims_do_not_hold_up_another_branch() {
    let (liar, honest) = (1, 2);
    let withheld = Branch::calm(START - 10_000_000, 1, 300);
    let branch = Branch::of(2, 20);
    let mut subject = Subject::new();
    subject.connect(liar);
    subject.serve_some_of(liar, &withheld, |request| !is_bodies(request));
    subject.connect(honest);
    let began = subject.now;
    for turn in 0..1_200_u64 {
        subject.serve(honest, &branch);
        if subject.tip() == branch.tip() {
            break;
        }
        // One answer at a time, so that another one is always on its way.
        if let Some((id, request)) = subject.open(liar, is_bodies) {
            let answer = honest_answer(&withheld, &request, |_| false);
            subject.respond(liar, id, answer.encode());
        }
        let mut claim = withheld.status();
        claim.tip = BlockHash::new([turn.to_le_bytes()[0]; 32]);
        subject.hear_status(liar, claim);
        subject.wait(500);
    }
    assert_eq!(subject.tip(), branch.tip());
    let took = subject.now - began;
    assert!(took <= 40_000, "{took} ms");
}

// The same of two peers that come back again and again under other ids, one of them always here.
#[test]
fn peers_that_come_and_go_do_not_hold_up_another_branch() {
    let withheld = Branch::calm(START - 10_000_000, 1, 300);
    let branch = Branch::of(2, 20);
    for stay in [1_000_u64, 10_000] {
        let honest = u64::MAX;
        let mut subject = Subject::new();
        subject.connect(honest);
        let began = subject.now;
        let mut here = 0;
        while subject.tip() != branch.tip() && subject.now < began + 600_000 {
            subject.connect(here);
            subject.serve_some_of(here, &withheld, |request| !is_bodies(request));
            for _ in 0..stay / 200 {
                subject.serve(honest, &branch);
                subject.wait(100);
            }
            if here > 0 {
                subject.disconnect(here - 1);
            }
            here += 1;
        }
        assert_eq!(subject.tip(), branch.tip());
        let took = subject.now - began;
        assert!(took <= 45_000, "{stay}: {took} ms");
    }
}

// Who comes when nobody else is here has the whole time to give bodies, however long they have been missing.
#[test]
fn peer_that_comes_late_is_asked() {
    let (giver, late) = (1, 2);
    let branch = Branch::of(1, 20);
    let mut subject = Subject::new();
    subject.connect(giver);
    subject.serve_some_of(giver, &branch, |request| !is_bodies(request));
    subject.disconnect(giver);
    subject.wait(2 * LACKING_PATIENCE);
    subject.connect(late);
    subject.wait(1_000);
    subject.serve(late, &branch);
    assert_eq!(subject.tip(), branch.tip());
}

// A peer that got the bodies only after it was asked for them gives them once it says that it has another tip.
#[test]
fn peer_that_lacked_bodies_is_asked_again() {
    let (giver, late) = (1, 2);
    let branch = Branch::of(1, 20);
    let mut subject = Subject::new();
    for peer in [giver, late] {
        subject.connect(peer);
    }
    subject.serve_some_of(giver, &branch, |request| !is_bodies(request));
    // Bodies that do not come are asked of the other, too, which has none by then.
    subject.wait(BODY_PATIENCE + BODY_LOOK_INTERVAL);
    assert!(subject.open(late, is_bodies).is_some());
    subject.serve(late, &Branch::of(2, 1));
    assert!(subject.open(late, is_bodies).is_none());
    subject.wait(1_000);
    subject.hear_status(late, branch.status());
    subject.wait(1_000);
    subject.serve(late, &branch);
    assert_eq!(subject.tip(), branch.tip());
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
