//! Peers that send headers and withhold bodies.

use std::collections::BTreeMap;

use heartchain_chain::hash::BlockHash;
use heartchain_sync::{
    config::{BODY_PATIENCE, LACKING_PATIENCE, LATE_BODIES_CHECK_INTERVAL},
    io::RequestId,
};
use heartchain_test_support::{Branch, Driver as _, START};

use crate::subject::{Subject, honest_response, is_bodies};

/// A branch that is too long for one download plan.
fn long() -> Branch {
    Branch::min_difficulty(START - 20_000_000, 1, 6_000)
}

/// How long a new peer takes to sync, ms, when `many` of its peers send status and headers but never a body. Stops
/// after ten minutes.
fn sync_time_among_silent(branch: &Branch, many: u64, returns: bool) -> u64 {
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
            subject.serve_requests_of(peer, branch, |request| !is_bodies(request));
            let Some((id, _)) = subject.open_request(peer, is_bodies) else {
                continue;
            };
            let now = subject.now;
            let since = *seen.entry(id).or_insert(now);
            // It reconnects under a new peer ID, because peer IDs are free.
            if returns && now - since >= 1_900 {
                subject.disconnect(peer);
                *at = next;
                subject.connect(next);
                next -= 1;
                subject.serve_requests_of(*at, branch, |request| !is_bodies(request));
            }
        }
        subject.serve(honest, branch);
        subject.advance(100);
    }
    subject.now - began
}

// If the lowest missing bodies do not arrive soon, they are requested from a second peer, too.
#[test]
fn silent_peers_delay_a_newcomer_briefly() {
    let took = sync_time_among_silent(&long(), 23, false);
    assert!(took <= 60_000, "{took} ms");
}

// The same holds if each silent peer reconnects under a new peer ID, so that its record is lost.
#[test]
fn returning_silent_peers_delay_a_newcomer_briefly() {
    let branch = long();
    let took = [4, 23].map(|many| (many, sync_time_among_silent(&branch, many, true)));
    assert!(took.iter().all(|(_, took)| *took <= 60_000), "{took:?} ms");
}

// A peer that keeps claiming new tips is not asked for the same bodies forever. No peer has them, so the branch that
// other peers have is fetched.
#[test]
fn new_claims_do_not_hold_up_another_branch() {
    let (liar, honest) = (1, 2);
    let withheld = Branch::min_difficulty(START - 10_000_000, 1, 300);
    let branch = Branch::of(2, 20);
    let mut subject = Subject::new();
    subject.connect(liar);
    subject.serve_requests_of(liar, &withheld, |request| !is_bodies(request));
    subject.connect(honest);
    let began = subject.now;
    for turn in 0..1_200_u64 {
        subject.serve(honest, &branch);
        if subject.tip() == branch.tip() {
            break;
        }
        // It answers one request per turn, so that another request is always open.
        if let Some((id, request)) = subject.open_request(liar, is_bodies) {
            let response = honest_response(&withheld, &request, |_| false);
            subject.respond(liar, id, response.encode());
        }
        let mut claim = withheld.status();
        claim.tip = BlockHash::new([turn.to_le_bytes()[0]; 32]);
        subject.receive_status(liar, claim);
        subject.advance(500);
    }
    assert_eq!(subject.tip(), branch.tip());
    let took = subject.now - began;
    assert!(took <= 40_000, "{took} ms");
}

// The same holds for peers that keep reconnecting under new peer IDs, so that one of them is always connected.
#[test]
fn reconnecting_peers_do_not_hold_up_another_branch() {
    let withheld = Branch::min_difficulty(START - 10_000_000, 1, 300);
    let branch = Branch::of(2, 20);
    for stay in [1_000_u64, 10_000] {
        let honest = u64::MAX;
        let mut subject = Subject::new();
        subject.connect(honest);
        let began = subject.now;
        let mut liar = 0;
        while subject.tip() != branch.tip() && subject.now < began + 600_000 {
            subject.connect(liar);
            subject.serve_requests_of(liar, &withheld, |request| !is_bodies(request));
            for _ in 0..stay / 200 {
                subject.serve(honest, &branch);
                subject.advance(100);
            }
            if liar > 0 {
                subject.disconnect(liar - 1);
            }
            liar += 1;
        }
        assert_eq!(subject.tip(), branch.tip());
        let took = subject.now - began;
        assert!(took <= 45_000, "{stay}: {took} ms");
    }
}

// If no peer stayed connected, the wait starts again with those that are here: an honest peer that joined late counts then.
#[test]
fn late_honest_peer_ends_a_hold_up() {
    let withheld = Branch::min_difficulty(START - 10_000_000, 1, 300);
    let branch = Branch::of(2, 20);
    let honest = u64::MAX;
    let mut subject = Subject::new();
    let began = subject.now;
    for attacker in 0..600 {
        subject.connect(attacker);
        subject.serve_requests_of(attacker, &withheld, |request| !is_bodies(request));
        if attacker == 2 {
            subject.connect(honest);
        }
        for _ in 0..5 {
            subject.advance(100);
            if attacker >= 2 {
                subject.serve(honest, &branch);
            }
        }
        if attacker > 0 {
            subject.disconnect(attacker - 1);
        }
        if subject.tip() == branch.tip() {
            break;
        }
    }
    assert_eq!(subject.tip(), branch.tip());
    let took = subject.now - began;
    assert!(took <= 2 * LACKING_PATIENCE + 15_000, "{took} ms");
}

// A peer that connects when no other peer is left has the full time to send bodies, however long they have been
// missing.
#[test]
fn late_peer_is_asked_for_bodies() {
    let (giver, late) = (1, 2);
    let branch = Branch::of(1, 20);
    let mut subject = Subject::new();
    subject.connect(giver);
    subject.serve_requests_of(giver, &branch, |request| !is_bodies(request));
    subject.disconnect(giver);
    subject.advance(2 * LACKING_PATIENCE);
    subject.connect(late);
    subject.advance(1_000);
    subject.serve(late, &branch);
    assert_eq!(subject.tip(), branch.tip());
}

// A peer may receive the bodies only after it was asked for them. It is asked again once its tip changes.
#[test]
fn peer_that_lacked_bodies_is_asked_again() {
    let (giver, late) = (1, 2);
    let branch = Branch::of(1, 20);
    let mut subject = Subject::new();
    for peer in [giver, late] {
        subject.connect(peer);
    }
    subject.serve_requests_of(giver, &branch, |request| !is_bodies(request));
    // Bodies that do not arrive are requested from the other peer, too, which still lacks them.
    subject.advance(BODY_PATIENCE + LATE_BODIES_CHECK_INTERVAL);
    assert!(subject.open_request(late, is_bodies).is_some());
    subject.serve(late, &Branch::of(2, 1));
    assert!(subject.open_request(late, is_bodies).is_none());
    subject.advance(1_000);
    subject.receive_status(late, branch.status());
    subject.advance(1_000);
    subject.serve(late, &branch);
    assert_eq!(subject.tip(), branch.tip());
}

// Status messages are not rate-limited, so they must not make the machine replan its body requests.
#[test]
fn status_does_not_replan_body_requests() {
    let branch = Branch::min_difficulty(START - 100_000_000, 1, 3_000);
    let mut subject = Subject::new();
    for peer in [1, 2] {
        subject.connect(peer);
    }
    while subject
        .open_request(1, |request| !is_bodies(request))
        .is_some()
    {
        subject.serve_requests_of(1, &branch, |request| !is_bodies(request));
    }
    assert_eq!(subject.machine.load().bodiless_blocks, 3_000);
    let bodies = |subject: &Subject| {
        let asked = subject.state.open_requests.iter();
        let asked = asked.filter(|(_, (_, request))| is_bodies(request));
        asked.map(|(id, _)| *id).collect::<Vec<RequestId>>()
    };
    let before = bodies(&subject);
    assert!(!before.is_empty());
    for number in 0..200 {
        let mut claim = Branch::new().status();
        claim.tip = BlockHash::new([number; 32]);
        subject.receive_status(2, claim);
    }
    assert_eq!(bodies(&subject), before);
}
